"""Klaviyo may say more than it does today: what the package does not know, it ignores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator
from airflow_provider_klaviyo.operators.events import KlaviyoSyncEventsOperator
from airflow_provider_klaviyo.operators.lists import KlaviyoSyncListOperator
from airflow_provider_klaviyo.operators.profiles import KlaviyoSyncProfilesOperator
from airflow_provider_klaviyo.operators.subscriptions import KlaviyoSyncSubscriptionsOperator
from tests.integration.conftest import Shop, StartEmulator, run_operator

pytestmark = pytest.mark.integration

COMMON = {
    "task_id": "task",
    "sql_conn_id": "shop",
    "sql": "SELECT id, email FROM customers ORDER BY id",
    "mapping": {"email": "email"},
    "primary_key": "id",
    "poll_interval": 0.05,
    "timeout": 60,
    "max_rejected": 1.0,
}
SYNCS: dict[str, Callable[[], Any]] = {
    "profiles": lambda: KlaviyoSyncProfilesOperator(**COMMON, only_changes=True),
    "events": lambda: KlaviyoSyncEventsOperator(**COMMON, metric="Placed Order"),
    "add": lambda: KlaviyoSyncListOperator(**COMMON, mode="add", list_name="New"),
    "remove": lambda: KlaviyoSyncListOperator(**COMMON, mode="remove", list_name="VIPs"),
    "mirror": lambda: KlaviyoSyncListOperator(**COMMON, mode="mirror", strict=True, list_name="VIPs"),
    "subscribe": lambda: KlaviyoSyncSubscriptionsOperator(**COMMON, mode="subscribe", list_name="VIPs"),
    "unsubscribe": lambda: KlaviyoSyncSubscriptionsOperator(**COMMON, mode="unsubscribe", list_name="VIPs"),
}


def fill(klaviyo: Emulator) -> None:
    """Members of a list, two of whom are in the query and one of whom has opted out."""
    ids = klaviyo.add_profiles([{"email": f"p{n}@shop.io"} for n in range(1, 5)])
    klaviyo.add_list("VIPs", ids)
    klaviyo.set_consent(ids[0], "email", "UNSUBSCRIBED")


@pytest.mark.parametrize("name", SYNCS)
def test_what_an_answer_has_beside_what_is_known_changes_nothing(
    name: str, start_emulator: StartEmulator, shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.fill([(n, f"p{n}@shop.io", None, None, None) for n in (1, 2, 9)])
    found = []
    for talkative in (False, True):
        klaviyo = start_emulator(unknown_members=talkative, subscription_seconds=0.0)
        fill(klaviyo)
        monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", str(tmp_path / f"storage-{talkative}"))
        runs = [run_operator(SYNCS[name](), run_id=run_id) for run_id in ("first", "second")]
        found.append([(str(run.error), run.counts(), run.summary["removed"]) for run in runs])
    assert found[0] == found[1]
    assert found[0][0][1]["rows_read"] == 3

"""A tracked mirror reads Klaviyo's ids of those whom it has added: when, how many, and what happens when it cannot."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator, Fault
from airflow_provider_klaviyo.sync.lists import profile_ids
from tests.integration.conftest import LIST_SYNC, Sync, Warehouse, run_operator
from tests.integration.lists.by_hand import change

pytestmark = pytest.mark.integration

FIND = "get_profiles_for_list"
NOBODY = json.dumps({"data": [], "links": {"next": None}})


def looks(klaviyo: Emulator) -> int:
    return len(klaviyo.requests(FIND))


def test_ids_are_read_once_a_hundred_with_a_request(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, vips: str
) -> None:
    warehouse.fill(1, 250)
    for after in (3, 3):
        assert mirror().error is None
        assert looks(klaviyo) == after
    warehouse.fill(251, 300)
    mirror()
    assert looks(klaviyo) == 4


def test_a_run_reads_so_many_and_the_next_ones_read_the_others(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, vips: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profile_ids, "MOST", 2)
    warehouse.fill(1, 5)
    for after in (1, 2, 3, 3):
        assert mirror().error is None
        assert looks(klaviyo) == after
    for number in range(1, 6):
        change(klaviyo, f"p{number}@shop.io", email=f"edited{number}@shop.io")
    warehouse.hold("bob@shop.io")
    assert mirror().summary["removed"] == 5


def test_who_does_not_show_on_the_list_yet_is_read_by_a_later_run(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, vips: str
) -> None:
    warehouse.hold("ada@shop.io", "bob@shop.io")
    klaviyo.inject(Fault("not_json", FIND, body=NOBODY, count=2))
    for after in (1, 2, 3, 3):
        assert mirror().error is None
        assert looks(klaviyo) == after
    change(klaviyo, "ada@shop.io", email="edited@shop.io")
    warehouse.hold("bob@shop.io")
    assert mirror().summary["removed"] == 1


def test_who_never_shows_is_asked_for_three_times_and_never_again(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, vips: str
) -> None:
    warehouse.hold("ada@shop.io")
    klaviyo.inject(Fault("not_json", FIND, body=NOBODY, count=None))
    for after in (1, 2, 3, 3, 3):
        assert mirror().error is None
        assert looks(klaviyo) == after
    klaviyo.clear_faults()
    mirror(full_refresh=True)
    assert looks(klaviyo) == 4, "who is added again is asked for again"


def test_ids_that_cannot_be_read_fail_no_run_and_a_later_one_reads_them(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, vips: str, caplog: pytest.LogCaptureFixture
) -> None:
    klaviyo.inject(Fault("status", FIND, status=403, count=None))
    warehouse.hold("ada@shop.io", "bob@shop.io")
    run = mirror()
    assert (run.error, run.counts()) == (None, {"rows_read": 2, "accepted": 2})
    assert "could not be read, and a later run reads them" in caplog.text
    klaviyo.clear_faults()
    mirror()
    change(klaviyo, "ada@shop.io", email="edited@shop.io")
    warehouse.hold("bob@shop.io")
    assert mirror().summary["removed"] == 1


def test_a_task_that_is_killed_while_ids_are_read_ends_at_once(
    klaviyo: Emulator, warehouse: Warehouse, vips: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_klaviyo.operators.lists import KlaviyoSyncListOperator

    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", str(tmp_path / "storage"))
    klaviyo.inject(Fault("status", FIND, status=429, retry_after=50, count=None))
    warehouse.hold("ada@shop.io")
    operator = KlaviyoSyncListOperator(task_id="sync_list", mode="mirror", **LIST_SYNC)
    killer = threading.Timer(1.0, operator.on_kill)
    killer.start()
    run = run_operator(operator)
    assert "told to stop" in str(run.error)
    assert looks(klaviyo) == 1


def test_without_an_id_a_changed_address_hides_its_profile(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, vips: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profile_ids, "MOST", 0)
    warehouse.hold("ada@shop.io", "bob@shop.io")
    mirror()
    change(klaviyo, "ada@shop.io", email="edited@shop.io")
    warehouse.hold("bob@shop.io")
    assert mirror().report["were_not_on_list"] == 1


@pytest.mark.parametrize(
    "more", [{"mapping": {"klaviyo_id": "klaviyo"}}, {"strict": True}, {"preview": True}]
)
def test_whom_the_state_or_the_list_knows_by_the_id_is_not_asked_for(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, vips: str, more: dict[str, Any]
) -> None:
    (ada,) = klaviyo.add_profiles([{"email": "ada@shop.io"}])
    warehouse.hold({"key": "1", "klaviyo": ada, "email": "ada@shop.io"})
    assert mirror(sql="SELECT * FROM people", **more).error is None
    assert [each for each in klaviyo.requests(FIND) if "filter" in each.query] == []

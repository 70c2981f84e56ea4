"""Somebody sets the clock while a task is deferred: its jobs are waited for neither for ever nor too short."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator, Fault
from airflow_provider_klaviyo.exceptions import KlaviyoTimeout
from airflow_provider_klaviyo.operators.profiles import KlaviyoSyncProfilesOperator
from tests.clocks import HOUR, JumpingClock
from tests.integration.conftest import MAPPING, SQL, Shop, TaskInstance

pytestmark = pytest.mark.integration

TIMEOUT, SETTLING = 600.0, 300.0


@pytest.fixture
def operator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[float], KlaviyoSyncProfilesOperator]:
    """The operator of a host whose clock is ahead by so much; time passes when somebody sleeps."""
    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", str(tmp_path / "storage"))

    def make(ahead: float) -> KlaviyoSyncProfilesOperator:
        made = KlaviyoSyncProfilesOperator(
            task_id="people",
            sql=SQL,
            sql_conn_id="shop",
            mapping=MAPPING,
            deferrable=True,
            defer_after=0,
            timeout=TIMEOUT,
        )
        made.hook.clock = clock = JumpingClock(ahead)
        clock.sleep(0.0)
        return made

    return make


@pytest.mark.parametrize("ahead", [0.0, HOUR, -HOUR])
def test_jobs_that_never_end_are_waited_for_as_long_as_the_sync_may_take(
    klaviyo: Emulator, shop: Shop, operator: Any, ahead: float
) -> None:
    klaviyo.set(rate_limits="off")
    klaviyo.inject(Fault("job_stuck", count=None))
    shop.fill_with_people(1)
    context = {"ti": TaskInstance("people")}
    with pytest.raises(BaseException) as deferred:
        operator(0.0).execute(context)
    assert type(deferred.value).__name__ == "TaskDeferred"
    later = operator(ahead)
    began = later.hook.clock.monotonic()
    with pytest.raises(KlaviyoTimeout, match="1 import job has no result yet"):
        later.execute_complete(context, {})
    waited = later.hook.clock.monotonic() - began
    assert waited == pytest.approx(SETTLING if ahead > 0 else TIMEOUT, abs=5)
    assert json.loads(Path(context["ti"].pushed["return_value"]["report_path"]).read_text())["duration"] >= 0

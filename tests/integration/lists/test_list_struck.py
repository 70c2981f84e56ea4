"""Wherever a timeout breaks into a mirror, up to its removals: the summary obeys the law, and is pushed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from airflow_provider_klaviyo.emulator import Emulator
from airflow_provider_klaviyo.operators.lists import KlaviyoSyncListOperator
from tests.integration.conftest import LIST_SYNC, Run, Warehouse
from tests.integration.struck import check, run_struck
from tests.striking import Strike, let_go, strikes, wait_for_workers

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # what nobody closes then
]


def run(strike: Strike, run_id: str) -> Run:
    """A mirror as a task runs it."""
    operator = KlaviyoSyncListOperator(task_id="sync_list", mode="mirror", max_removals=None, **LIST_SYNC)
    return run_struck(operator, strike, run_id)


def test_wherever_a_timeout_breaks_in_the_summary_is_pushed_and_obeys_the_law(
    klaviyo: Emulator, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    klaviyo.set(rate_limits="off")
    base, storage = tmp_path / "base", tmp_path / "storage"
    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", str(base))
    warehouse.hold("a@shop.io", "b@shop.io", "c@shop.io")
    assert run(Strike(), "first").error is None
    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", str(storage))
    warehouse.hold("a@shop.io", "c@shop.io", "d@shop.io", "nobody", "a@shop.io")

    shutil.copytree(base, storage)
    undisturbed = Strike()
    assert run(undisturbed, "undisturbed").error is None
    wrong = {}
    for place in strikes(undisturbed.places, seed=2):
        shutil.rmtree(storage)
        shutil.copytree(base, storage)
        before = len(klaviyo.requests())
        outcome = run(Strike(place), "struck")
        try:
            check(outcome, asked=len(klaviyo.requests()) - before)
            wait_for_workers()
        except AssertionError as error:
            wrong[undisturbed.places[place - 1]] = str(error).partition("\n")[0]
    del outcome
    let_go()
    warehouse.end_other_sessions()
    assert wrong == {}

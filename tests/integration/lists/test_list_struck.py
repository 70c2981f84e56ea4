"""Wherever a timeout breaks into a mirror, up to its removals: the summary obeys the law, and is pushed."""

from __future__ import annotations

import gc
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator
from airflow_provider_klaviyo.operators.lists import KlaviyoSyncListOperator
from tests.integration.conftest import LIST_SYNC, Run, TaskInstance, Warehouse
from tests.striking import Strike, Struck, strikes, wait_for_workers

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # what nobody closes then
]


def run(strike: Strike, run_id: str) -> Run:
    """A mirror as a task runs it."""
    operator = KlaviyoSyncListOperator(task_id="sync_list", mode="mirror", max_removals=None, **LIST_SYNC)
    ti = TaskInstance("sync_list", run_id=run_id)
    context: Any = {"ti": ti}
    try:
        return Run(strike.into(lambda: operator.execute(context)), None)
    except BaseException as error:
        return Run(ti.pushed.get("return_value", {}), error)


def check(outcome: Run, *, asked: int) -> None:
    """Every row has one line; without a summary Klaviyo was asked for nothing."""
    if not outcome.summary:
        assert not asked, "there is no summary"
        return
    counts = outcome.counts()
    lines = [line for line in outcome.rejects if line["outcome"] != "warning"]
    assert len({line["row_number"] for line in lines}) == len(lines), "a row has two lines"
    written = Counter(line["outcome"] for line in lines)
    told = {name: counts.get(name, 0) for name in ("skipped", "rejected", "pending")}
    assert {name: written[name] for name in told} == told
    assert isinstance(outcome.error, Struck | None), repr(outcome.error)


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
    gc.collect()
    assert wrong == {}

"""Tasks into which a timeout breaks, and what must hold of each whatever it breaks into."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from airflow.sdk.exceptions import TaskDeferred

from tests.integration.conftest import Run, TaskInstance
from tests.striking import Strike, Struck


def run_struck(operator: Any, strike: Strike, run_id: str, *, resumes: bool = False) -> Run:
    """The operator as a task runs it; a deferral is its error."""
    ti = TaskInstance(operator.task_id, run_id=run_id)
    context: Any = {"ti": ti}
    work: Callable[[], Any] = lambda: operator.execute(context)  # noqa: E731
    if resumes:
        work = lambda: operator.execute_complete(context, {})  # noqa: E731
    try:
        return Run(strike.into(work), None)
    except BaseException as error:
        return Run(ti.pushed.get("return_value", {}), error)


def check(outcome: Run, *, asked: int) -> None:
    """Every row has one line; without a summary Klaviyo was asked for nothing."""
    if isinstance(outcome.error, TaskDeferred):
        return
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

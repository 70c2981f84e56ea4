"""How far a sync that keeps state has come in time, and runs that would take it back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from airflow_provider_klaviyo.state.errors import OlderRun
from airflow_provider_klaviyo.sync.task_run import TaskRun


def progress_after(
    run: TaskRun, runs: Sequence[Mapping[str, Any]], *, now: float, is_success: bool
) -> object:
    """What the state is to remember of how far it has come, after a run that came to its end or failed.

    An interval that ends in the future has brought the state no further than now.

    :param runs: the runs before, oldest first.
    :param now: seconds since the epoch.
    """
    if not is_success:
        return _progress(runs)
    return {"moment": min(run.as_of, now), "run": run.run_id}


def check_age(run: TaskRun, runs: Sequence[Mapping[str, Any]]) -> None:
    """Make sure that a run is not older than the last one that came to its end.

    :param runs: the runs that the state remembers; those of former releases remember no moment, which is no limit.
    :raises OlderRun: naming both moments.
    """
    progress = _progress(runs)
    if not progress or run.as_of >= progress["moment"]:
        return
    msg = (
        f"This run is older than the state: it is of {_shown(run.due)}, and the state has come to "
        f"{shown_progress(runs)}. It would turn people back to what they were. Nothing was sent. If that is meant, run "
        "it with allow_older_run=True."
    )
    raise OlderRun(msg)


def shown_progress(runs: Sequence[Mapping[str, Any]]) -> str:
    """How far a state has come, for people; empty where that is not known."""
    progress = _progress(runs)
    return f"{_shown(progress['moment'])}, by the run {progress['run']}" if progress else ""


def _progress(runs: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    return (runs[-1].get("progress") if runs else None) or {}


def _shown(timestamp: float) -> str:
    return datetime.fromtimestamp(timestamp, UTC).isoformat()

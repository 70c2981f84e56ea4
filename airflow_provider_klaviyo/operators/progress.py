"""How far a sync that keeps state has come in time, and runs that would take it back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_klaviyo.state.errors import OlderRun

if TYPE_CHECKING:
    from airflow.sdk import Context

_OF_DAG_RUN = ("data_interval_end", "logical_date", "run_after", "start_date")
"""What a run is of, the first that is there. When it started comes last: that is new when an old run is cleared."""


def moment_of(context: Context) -> float:
    """The end of a run's data interval, else when it was due; in seconds since the epoch."""
    given: Mapping[str, Any] = dict(context)
    dag_run = given.get("dag_run")
    known = (given.get("data_interval_end"), *(getattr(dag_run, name, None) for name in _OF_DAG_RUN))
    moment = next((each for each in known if each is not None), None) or datetime.now(UTC)
    return float(moment.timestamp())


def progress_after(context: Context, runs: Sequence[Mapping[str, Any]], *, is_success: bool) -> object:
    """What the state is to remember of how far it has come, after a run that came to its end or failed.

    An interval that ends in the future has brought the state no further than now.

    :param runs: the runs before, oldest first.
    """
    if not is_success:
        return _progress(runs)
    return {"moment": min(moment_of(context), datetime.now(UTC).timestamp()), "run": context["ti"].run_id}


def check_age(context: Context, runs: Sequence[Mapping[str, Any]]) -> None:
    """Make sure that a run is not older than the last one that came to its end.

    :param runs: the runs that the state remembers; those of former releases remember no moment, which is no limit.
    :raises OlderRun: naming both moments.
    """
    progress, moment = _progress(runs), moment_of(context)
    if not progress or moment >= progress["moment"]:
        return
    msg = (
        f"This run is older than the state: it is of {_told(moment)}, and the state has come to "
        f"{progress_told(runs)}. It would turn people back to what they were. Nothing was sent. If that is meant, run "
        "it with allow_older_run=True."
    )
    raise OlderRun(msg)


def progress_told(runs: Sequence[Mapping[str, Any]]) -> str:
    """How far a state has come, for people; empty where that is not known."""
    progress = _progress(runs)
    return f"{_told(progress['moment'])}, by the run {progress['run']}" if progress else ""


def _progress(runs: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    return (runs[-1].get("progress") if runs else None) or {}


def _told(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat()

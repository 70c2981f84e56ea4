"""What to do about a run, in words: each rule looks at its report and says something, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from airflow_provider_klaviyo.plugin.charts import duration
from airflow_provider_klaviyo.plugin.told import Told, mapping, number, objects, text
from airflow_provider_klaviyo.wording import counted

LOST_AFTER = 60.0
"""Seconds without news after which a run that goes on has most likely been killed."""


class Advice(NamedTuple):
    """A sentence or two; ``kind`` is ``bad``, ``doubt`` or nothing."""

    words: str
    kind: str = ""


def status_of(told: Told, now: float) -> str:
    """How a run stands: as its report says, or ``lost`` where it says nothing any more."""
    written = told.moment("written_at")
    is_silent = written is not None and now - written > LOST_AFTER
    return "lost" if told.status == "running" and is_silent else told.status


def advice_on(told: Told, now: float) -> Iterator[Advice]:
    """All that is to be said, the most pressing first."""
    for rule in _RULES:
        if advice := rule(told, now):
            yield advice


def _newer(told: Told, _: float) -> Advice | None:
    if not told.is_newer:
        return None
    return Advice(
        "A newer release of the package wrote this report: what this one does not know is missing here. "
        "Upgrade the package on the API server.",
        "doubt",
    )


def _lost(told: Told, now: float) -> Advice | None:
    if status_of(told, now) != "lost":
        return None
    silent = duration(now - (told.moment("written_at") or now))
    return Advice(
        f"There was no news for {silent}. If Airflow does not show the task as running, it was killed: clear the task. "
        "A sync that keeps state goes on where it was, and any other sends its query again.",
        "doubt",
    )


def _full_refresh(told: Told, _: float) -> Advice | None:
    if "full_refresh" not in told.failure:
        return None
    return Advice(
        "If what the message says is what you want: clear and run again with full_refresh. "
        "Set full_refresh=True for that run only, and take it out again when the run is green.",
        "bad",
    )


def _rejected(told: Told, _: float) -> Advice | None:
    if told.status != "failed" or not told.counts["rejected"] or told.get("error"):
        return None
    again = "sends just these, and what else has changed" if _keeps_state(told) else "sends the query again"
    return Advice(
        f"Mend what the reasons below name, then clear the task: it {again}. All other rows were sent. "
        "Where so many rejected rows are all right, raise max_rejected.",
        "bad",
    )


def _pending(told: Told, _: float) -> Advice | None:
    if told.status != "failed" or not told.counts["pending"]:
        return None
    return Advice(
        f"Without a verdict: {counted(told.counts['pending'], 'row')}. Clear the task when the reason is gone: a "
        "retry sends them again, and asks open jobs first.",
        "bad",
    )


def _waiting(told: Told, _: float) -> Advice | None:
    if told.status != "waiting":
        return None
    jobs = len(objects(told, "open_jobs"))
    if not jobs:
        return Advice(
            "Another run of this sync has its state: this one waits for its turn, without a worker."
        )
    return Advice(
        f"The triggerer waits for {counted(jobs, 'job')} of Klaviyo's; no worker is held meanwhile."
    )


_HISTORY_BECAUSE = {
    "parameter": "backfill=True says so",
    "backfill run": "this is a run of airflow backfill",
    "age": "they are older than flow_window",
}


def _history(told: Told, _: float) -> Advice | None:
    events = int(number(mapping(told, "events"), "backfill"))
    because = _HISTORY_BECAUSE.get(text(mapping(told, "parameters"), "backfill_because"))
    if not events or not because:
        return None
    return Advice(f"{counted(events, 'event')} went as history, which starts no flows, since {because}.")


def _unsettled(told: Told, _: float) -> Advice | None:
    jobs = objects(told, "open_jobs")
    if told.status != "succeeded" or not jobs:
        return None
    return Advice(
        f"The run did not wait for {counted(len(jobs), 'job')} of Klaviyo's: their rows are pending here."
    )


def _in_doubt(told: Told, _: float) -> Advice | None:
    rows = mapping(mapping(told, "state"), "rows")
    doubt, failed = int(number(rows, "in_doubt")), int(number(rows, "failed"))
    if not doubt and not failed:
        return None
    found = " and ".join(
        f"{count:,} {what}" for count, what in ((doubt, "in doubt"), (failed, "that failed")) if count
    )
    return Advice(f"The state has rows {found}: the next run sends them again.", "doubt")


def _preview(told: Told, _: float) -> Advice | None:
    if told.get("preview") is not True:
        return None
    return Advice(
        "This is a preview: nothing was written to Klaviyo. Accepted rows are those that would be sent."
    )


def _untold(told: Told, _: float) -> Advice | None:
    rows = int(number(told, "rows_without_line"))
    return (
        Advice(f"Not sent, and without a line in the rejects file: {counted(rows, 'row')}.", "bad")
        if rows
        else None
    )


def _notice(told: Told, _: float) -> Advice | None:
    notice = text(told, "notice")
    return Advice(notice, "doubt") if notice else None


def _keeps_state(told: Told) -> bool:
    return bool(mapping(told, "state"))


_RULES: tuple[Callable[[Told, float], Advice | None], ...] = (
    _newer,
    _lost,
    _full_refresh,
    _rejected,
    _pending,
    _waiting,
    _unsettled,
    _history,
    _untold,
    _notice,
    _in_doubt,
    _preview,
)

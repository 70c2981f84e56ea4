"""What is said of a query and the data interval of its run, where the two do not fit.

A query over an empty data interval selects nothing and stays green for ever; one that does not depend on the interval
is the same in all runs of a backfill.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_START, _END = "data_interval_start", "data_interval_end"


def empty_interval_notice(templates: object, rendered: object, context: Mapping[str, Any]) -> str:
    """What is wrong with the Dag's timetable when the query selects from an interval that is empty; else nothing.

    :param templates: the query and its parameters before they were rendered; None where that was not seen.
    :param rendered: the same after it.
    """
    start, end = context.get(_START), context.get(_END)
    if start is None or start != end:
        return ""
    if not (_names_both(templates) if templates else _has_twice(rendered, start)):
        return ""
    return (
        f"The query selects nothing: the data interval of this run, in which it selects, is empty. It begins and ends "
        f"at {start}, as Airflow 3 has it for Dags with a cron string or without a schedule. Use "
        'schedule=CronDataIntervalTimetable("0 3 * * *", timezone="UTC") from airflow.timetables.interval, whose '
        "intervals reach from one run to the next."
    )


def same_in_each_run_notice(*, reads_now: bool, is_backfill: bool, keeps_state: bool) -> str:
    """What is needless about a backfill by a sync that keeps state, if all its runs read the same; else nothing."""
    if not (reads_now and is_backfill and keeps_state):
        return ""
    return (
        "Of this backfill one run would do: its query does not depend on the data interval, so that each of them reads "
        "what there is now. To read what there was at the end of an interval, use {{ data_interval_end }} in the query."
    )


def _names_both(templates: object) -> bool:
    return _START in str(templates) and _END in str(templates)


def _has_twice(rendered: object, timestamp: Any) -> bool:
    """Whether a query has the moment that is both start and end twice, in one of the forms that moments have in SQL."""
    forms = {
        str(timestamp),
        timestamp.isoformat(),
        f"{timestamp:%Y-%m-%d %H:%M:%S}",
        f"{timestamp:%Y-%m-%dT%H:%M:%S}",
        f"{timestamp:%Y%m%dT%H%M%S}",
        str(int(timestamp.timestamp())),
    }
    return any(str(rendered).count(text) > 1 for text in forms)

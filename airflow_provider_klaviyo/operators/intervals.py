"""A query over an empty data interval selects nothing and stays green for ever: that is said."""

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
        f"The data interval of this run is empty: it begins and ends at {start}, and the query selects what lies "
        "between the two, which is nothing. Airflow 3 gives Dags with a cron string such intervals. Use "
        'schedule=CronDataIntervalTimetable("0 3 * * *", timezone="UTC") from airflow.timetables.interval, whose '
        "intervals reach from one run to the next."
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

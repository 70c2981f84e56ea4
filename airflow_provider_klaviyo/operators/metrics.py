"""What a run has counted, as metrics of Airflow's own (``[metrics]``)."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow_provider_klaviyo._compat import airflow_stats
from airflow_provider_klaviyo.sync.summary import COUNTS

log = logging.getLogger(__name__)

_NOT_SENT = {"rejected", "skipped"}


def emit(report: Mapping[str, Any], tags: Mapping[str, str]) -> None:
    """Give the counts of a run to Airflow's metrics, which do nothing where they are off; an error ends no run.

    :param report: the report of a run that is over.
    :param tags: what tells the task from others.
    """
    try:
        give(airflow_stats(), report, tags)
    except Exception as error:
        log.warning("The metrics of this run were not given to Airflow: %s", error)


def give(stats: Any, report: Mapping[str, Any], of_task: Mapping[str, str]) -> None:
    """Give the counts of a run to what has ``incr``, ``timing`` and ``gauge`` as Airflow has them.

    :param of_task: what tells the task from others.
    """
    tags = {**of_task, "sync_type": report["sync_type"], "mode": report["mode"]}
    counts = {name: report[name] for name in COUNTS}
    counts |= {"requests": report["requests"], "throttled": report["traffic"]["throttled"]}
    for name, count in counts.items():
        stats.incr(f"klaviyo.sync.{name}", count, tags=tags)
    for (outcome, field), rows in rows_by_field(report).items():
        stats.incr(f"klaviyo.sync.{outcome}_by_field", rows, tags={**tags, "field": field or "row"})
    waited = report["seconds_waited_for_rate_limits"]
    stats.timing("klaviyo.sync.waited", timedelta(seconds=waited), tags=tags)
    stats.timing("klaviyo.sync.duration", timedelta(seconds=report["duration"]), tags=tags)
    if report["duration"]:
        stats.gauge("klaviyo.sync.rows_a_second", report["rows_read"] / report["duration"], tags=tags)


def rows_by_field(report: Mapping[str, Any]) -> Counter[tuple[str, str]]:
    """How many rows were not sent because of which field; the reasons themselves would be too many names."""
    rows: Counter[tuple[str, str]] = Counter()
    for each in report["reasons"]:
        if each["outcome"] in _NOT_SENT:
            rows[each["outcome"], each["field"]] += each["rows"]
    return rows

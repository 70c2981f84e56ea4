"""What callbacks and notifiers tell people of a failed task."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from jinja2 import pass_context

from airflow_provider_klaviyo.failures import is_known
from airflow_provider_klaviyo.masking import mask_quotes, words_of
from airflow_provider_klaviyo.state.holder import Holder
from airflow_provider_klaviyo.sync.summary import OUTCOMES
from airflow_provider_klaviyo.wording import counted

log = logging.getLogger(__name__)

_UNFINISHED = ("running", "waiting")
_KILLED = "its process was killed, or Airflow failed it; the task's log says more."


@pass_context
def failure_text(context: Mapping[str, Any]) -> str:
    """A few lines about the failure of a task or a Dag run: what happened, the rows' outcomes, report and log.

    It holds no person, and never fails itself. For a callback ``failure_text(context)``; for the templates of notifiers
    let the Dag have ``user_defined_macros={"klaviyo_failure": failure_text}``, and write ``{{ klaviyo_failure() }}``.

    :param context: what Airflow gives callbacks of a task or a Dag. That of a Dag names one task that failed.
    :returns: plain text, a fact a line.
    """
    ti = context.get("ti")
    if ti is None:
        dag = context.get("dag")
        return (
            f"{getattr(dag, 'dag_id', 'A Dag')} failed: run {context.get('run_id')}, {context.get('reason')}."
        )
    holder = _holder(ti)
    path, report = _report_of(holder)
    mapped = f" [{holder.map_index}]" if holder.map_index >= 0 else ""
    lines = [
        f"{ti.dag_id}.{ti.task_id}{mapped} failed: {_why(context.get('exception'), report)}",
        f"Run {ti.run_id}, try {ti.try_number}.",
    ]
    if report:
        told = [f"{report[name]:,} {name}" for name in OUTCOMES if report.get(name)]
        lines.append(
            f"{counted(report.get('rows_read', 0), 'row')} read{': ' if told else ''}{', '.join(told)}."
        )
    if path:
        lines.append(f"Report: {path}")
    if url := getattr(ti, "log_url", None):
        lines.append(f"Log: {url}")
    return "\n".join(lines)


def _why(exception: object, report: Mapping[str, Any]) -> str:
    if isinstance(exception, BaseException):
        name = "" if is_known(exception) else f"{type(exception).__name__}: "
        return f"{name}{words_of(exception)}"
    if report.get("failure"):
        return str(report["failure"])
    if report.get("status") in _UNFINISHED:
        return _KILLED
    return mask_quotes(str(exception)) if exception else "the task's log says why."


def _holder(ti: Any) -> Holder:
    map_index = -1 if ti.map_index is None else int(ti.map_index)
    return Holder(ti.dag_id, ti.task_id, ti.run_id, map_index, ti.try_number, "", 0)


def _report_of(holder: Holder) -> tuple[str, Mapping[str, Any]]:
    """The path and the content of the report of a try; empty where there is none, or none can be read."""
    from airflow_provider_klaviyo.storage import storage_path
    from airflow_provider_klaviyo.sync.storage import Storage

    try:
        file = Storage(storage_path()).files(holder).report
        if not file.exists():
            return "", {}
        report = json.loads(file.read_bytes())
    except Exception as error:  # whatever a storage may raise: the text is worth more than its last lines
        log.warning("The report of %s cannot be read: %s", holder.task_id, words_of(error))
        return "", {}
    return str(file), report

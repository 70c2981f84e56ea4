"""The page of one task instance: what became of every row, and what to do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from airflow_provider_klaviyo.plugin import charts
from airflow_provider_klaviyo.plugin.addresses import address_of, task_url
from airflow_provider_klaviyo.plugin.advice import advice_on, status_of
from airflow_provider_klaviyo.plugin.around import Around
from airflow_provider_klaviyo.plugin.charts import duration
from airflow_provider_klaviyo.plugin.details import files, parameters, requests, state_and_target, throughput
from airflow_provider_klaviyo.plugin.layout import advice, badge, facts, moment, page, section, table, wide
from airflow_provider_klaviyo.plugin.markup import Markup, tag, together
from airflow_provider_klaviyo.plugin.told import Told, examples_of, number, objects, text
from airflow_provider_klaviyo.sync.summary import OUTCOMES
from airflow_provider_klaviyo.wording import counted

MEANINGS = {
    "accepted": "Klaviyo took it",
    "unchanged": "Klaviyo has it so already",
    "skipped": "deliberately not sent",
    "rejected": "cannot be sent, or Klaviyo refused it",
    "pending": "read, and without a verdict",
}
_SHOWN_REASONS = 50
_LONGEST_ROW = 200
_OUTCOME = ("outcome", "outcome")
_ROWS = ("rows", "number")


def report_page(told: Told, around: Around) -> str:
    """The whole page."""
    status = status_of(told, around.now)
    title = f"{text(told, 'sync_type') or 'sync'} · {text(told, 'mode')}".rstrip(" ·")
    kind = "bad" if status == "failed" else ""
    return page(
        f"{around.address.task_id}: {status}",
        around.nonce,
        _head(told, around, title, status),
        advice(around.shown(told.failure), kind=kind) if told.failure else None,
        *(advice(around.shown(each.words), kind=each.kind) for each in advice_on(told, around.now)),
        _rows(told),
        _reasons(told, around),
        files(around),
        throughput(told),
        requests(told),
        state_and_target(told),
        _last_runs(around),
        parameters(told),
        live=status in ("running", "waiting"),
        said=_said(told, status),
    )


def key(outcome: str) -> Markup:
    """An outcome with its colour."""
    patch = tag(
        "svg",
        tag("rect", class_=f"fill-{outcome}", width=12, height=12),
        class_="key",
        viewBox="0 0 12 12",
        aria_hidden="true",
    )
    return together(patch, outcome)


def _head(told: Told, around: Around, title: str, status: str) -> Markup:
    where = around.address
    mapped = f" [{where.map_index}]" if where.map_index >= 0 else ""
    tries: list[Markup | str] = []
    for number_ in around.tries:
        link = f"{task_url(around.root, where)}?try_number={number_}"
        is_this = number_ == around.try_number
        tries += [
            " ",
            tag("strong", number_) if is_this else tag("a", number_, href=link, id=f"try-{number_}"),
        ]
    return tag(
        "header",
        tag("h1", title, " ", badge(status)),
        tag("p", f"{where.dag_id} / {where.task_id}{mapped}, run {where.run_id}", class_="soft"),
        tag(
            "p",
            "Started ",
            moment(told.moment("started_at")),
            f", {'running for' if status == 'running' else 'took'} {duration(told.seconds)}; report of ",
            moment(told.moment("written_at")),
            *(["; tries:", *tries] if len(around.tries) > 1 else []),
            class_="soft",
        ),
    )


def _said(told: Told, status: str) -> str:
    counts = ", ".join(f"{count:,} {name}" for name, count in told.counts.items() if count)
    return f"{status}: {counted(int(number(told, 'rows_read')), 'row')} read{': ' if counts else ''}{counts}"


def _rows(told: Told) -> Markup:
    counts, read = told.counts, int(number(told, "rows_read"))
    lines = [
        [key(name), tag("span", f"{count:,}"), f"{100 * count / read:.1f} %" if read else "", MEANINGS[name]]
        for name, count in counts.items()
    ]
    heads = [_OUTCOME, _ROWS, ("share", "number"), ("meaning", "")]
    beside = facts(
        ("warnings", f"{counted(int(number(told, 'warnings')), 'row')} of which something was not sent")
        if told.get("warnings")
        else None,
        ("removed", f"{counted(int(number(told, 'removed')), 'person', 'people')} taken off the list")
        if told.get("removed")
        else None,
    )
    return section(
        f"What became of {counted(read, 'row')}",
        charts.stacked_bar(counts, "Rows by outcome"),
        table("Rows by outcome", heads, lines),
        beside,
    )


def _reasons(told: Told, around: Around) -> Markup | None:
    reasons = objects(told, "reasons")
    if not reasons:
        return None
    lines: list[list[Markup | str]] = []
    for each in sorted(reasons, key=lambda each: -number(each, "rows"))[:_SHOWN_REASONS]:
        outcome, name = text(each, "outcome"), text(each, "field")
        reason = together(
            tag("code", name) if name else None, ": " if name else None, around.shown(text(each, "reason"))
        )
        lines.append(
            [
                key(outcome) if outcome in OUTCOMES else outcome,
                f"{int(number(each, 'rows')):,}",
                together(reason, _examples(each, around)),
            ]
        )
    more = len(reasons) - len(lines)
    return section(
        "Why rows were not sent as they are",
        table("Reasons, most rows first", [_OUTCOME, _ROWS, ("reason, with examples", "")], lines),
        tag("p", f"{more} more reasons are in the report.", class_="soft") if more > 0 else None,
    )


def _examples(reason: Mapping[str, Any], around: Around) -> Markup | None:
    numbers = examples_of(reason)
    if not numbers:
        return None
    shown = []
    for row in numbers:
        line = around.rows.get(row)
        if line is None:
            shown.append(tag("div", f"row {row:,}"))
            continue
        values = json.dumps(line.get("row"), ensure_ascii=False, default=str)
        cut = values if len(values) <= _LONGEST_ROW else values[:_LONGEST_ROW] + " …"
        shown.append(tag("div", f"row {row:,}, key {line.get('key')}: ", tag("code", cut)))
    return tag("div", *shown, class_="soft")


def _last_runs(around: Around) -> Markup | None:
    if not around.last_runs:
        return None
    lines, runs = [], []
    for told in around.last_runs:
        address = address_of(told) or around.address
        when = text(told, "started_at")[:16].replace("T", " ")
        counts = told.counts
        runs.append(charts.Run(when or address.run_id, counts, told.seconds))
        link = tag("a", address.run_id, href=task_url(around.root, address))
        cells = [f"{counts[name]:,}" for name in OUTCOMES]
        lines.append([link, badge(status_of(told, around.now)), when, *cells, duration(told.seconds)])
    heads = [("run", "name"), ("status", ""), ("started (UTC)", ""), *((name, "number") for name in OUTCOMES)]
    chart = charts.last_runs(runs, "The last runs: rows by outcome, and duration")
    return section(
        "The last runs",
        wide("The last runs, oldest first", chart),
        table("The last runs, newest first", [*heads, ("duration", "number")], lines[::-1]),
    )

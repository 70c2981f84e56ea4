"""The parts of a run's page that tell how it went: pace, requests, state, files, parameters."""

from __future__ import annotations

import json

from airflow_provider_klaviyo.links.klaviyo import list_url
from airflow_provider_klaviyo.plugin import charts
from airflow_provider_klaviyo.plugin.addresses import rejects_url
from airflow_provider_klaviyo.plugin.around import Around
from airflow_provider_klaviyo.plugin.charts import duration
from airflow_provider_klaviyo.plugin.layout import facts, section, table, wide
from airflow_provider_klaviyo.plugin.markup import Markup, tag, together
from airflow_provider_klaviyo.plugin.told import Told, mapping, number, objects, text

_SHOWN_JOBS = 20


def throughput(told: Told) -> Markup | None:
    """How many rows a second, beside what Klaviyo takes."""
    points = told.points
    if len(points) < 2:
        return None
    ceiling = mapping(mapping(told, "throughput"), "ceiling")
    most = number(ceiling, "rows_a_second")
    seconds, read = points[-1][0] - points[0][0], points[-1][1]
    average = read / seconds if seconds else 0.0
    chart, is_in_sight = charts.throughput(points, most, "Rows a second over time, read and with a verdict")
    words = f"{average:,.0f} rows a second on average."
    if most:
        above = "" if is_in_sight else ", which is above the chart"
        words += f" Klaviyo takes {most:,.0f} rows a second at most ({text(ceiling, 'endpoint')}){above}."
    step = max(1, len(points) // 12)
    lines = [
        [duration(each[0]), f"{each[1]:,.0f}", f"{each[2]:,.0f}", f"{each[3]:,.0f}"]
        for each in [*points[:-1:step], points[-1]]
    ]
    numbered = [("after", ""), ("rows read", "number"), ("with a verdict", "number"), ("requests", "number")]
    return section(
        "Rows a second",
        tag("p", words),
        tag(
            "p", "Dashed: rows read. Solid: rows with a verdict, which jobs give many at once.", class_="soft"
        ),
        wide("Rows a second over time", chart),
        tag(
            "details",
            tag("summary", "The numbers"),
            table("How far the run was", numbered, lines),
            id="points",
        ),
    )


def requests(told: Told) -> Markup:
    """What was sent, and what was waited for."""
    traffic = mapping(told, "traffic")
    waits = [
        [
            tag("code", text(each, "endpoint")),
            f"{int(number(each, 'requests')):,}",
            duration(number(each, "seconds")),
        ]
        for each in objects(traffic, "waits")
    ]
    heads = [("limit of", ""), ("requests that waited", "number"), ("together", "number")]
    return section(
        "Requests",
        facts(
            ("requests sent", f"{int(number(told, 'requests')):,}"),
            ("waited for limits", duration(number(told, "seconds_waited_for_rate_limits"))),
            ("answers of 429", f"{int(number(traffic, 'throttled')):,}"),
            (
                "sent once more",
                f"{int(number(traffic, 'repeated')):,}, "
                f"after {duration(number(traffic, 'seconds_to_repeat'))} of waiting",
            ),
        ),
        table("Waits by limit", heads, waits) if waits else None,
    )


def state_and_target(told: Told) -> Markup | None:
    """What the run sent to, and what the state holds."""
    state, list_id = mapping(told, "state"), text(told, "list_id")
    rows = mapping(state, "rows")
    known = ", ".join(f"{int(number(rows, name)):,} {name.replace('_', ' ')}" for name in rows)
    pairs: list[tuple[str, str] | None] = [
        (name, str(value)) for name, value in mapping(state, "target").items()
    ]
    if state:
        pairs.append(("what it holds", f"keys: {known or 'none'}"))
    jobs = objects(told, "open_jobs")
    pairs += [(f"job {text(each, 'id')}", f"open, rows {text(each, 'rows')}") for each in jobs[:_SHOWN_JOBS]]
    if list_id:
        url = list_url(list_id)
        link = together(
            tag(
                "a",
                f"list {list_id} in Klaviyo",
                href=url,
                target="_blank",
                rel="noopener noreferrer",
                id="list",
            ),
            " ",
            tag(
                "span",
                "(Airflow's frame opens no pages of others: use the button Klaviyo list of the task, or ",
                tag("code", url),
                ")",
                data_needs="allow-popups",
                hidden=True,
                class_="soft",
            ),
        )
        pairs.append(("list", link))
    return section("State and target", facts(*pairs)) if pairs else None


def files(around: Around) -> Markup:
    """Where the rows are that were not sent, for those who may see people."""
    link: Markup | None = None
    if around.has_rejects and around.sees_people:
        url = rejects_url(around.root, around.address, around.try_number)
        link = together(
            tag("a", "Download the rows with their reasons", href=url, download=True, id="rejects"),
            " (JSON lines; they hold people's data). ",
            tag(
                "span",
                "Airflow's frame permits no downloads here: open this address in a tab of its own: ",
                tag("code", url),
                data_needs="allow-downloads",
                hidden=True,
                class_="soft",
            ),
        )
    elif around.has_rejects:
        link = Markup("Rows and their values are for those who may see the task's logs.")
    return section("Files", tag("p", link) if link else None, facts(("kept in", around.place)))


def parameters(told: Told) -> Markup | None:
    """What decides how the counts are to be read."""
    pairs = [(name, json.dumps(value, default=str)) for name, value in mapping(told, "parameters").items()]
    if not pairs:
        return None
    release = text(told, "package_version")
    return section(
        "Parameters",
        tag(
            "details",
            tag("summary", f"{len(pairs)} parameters, release {release}"),
            facts(*pairs),
            id="parameters",
        ),
    )

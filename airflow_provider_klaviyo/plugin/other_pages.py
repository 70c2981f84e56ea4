"""What the pages say where there is no report, and the page of all syncs."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_provider_klaviyo.plugin import charts
from airflow_provider_klaviyo.plugin.addresses import address_of, task_url
from airflow_provider_klaviyo.plugin.advice import status_of
from airflow_provider_klaviyo.plugin.charts import duration
from airflow_provider_klaviyo.plugin.layout import advice, badge, page, section, table
from airflow_provider_klaviyo.plugin.markup import Markup, tag, together
from airflow_provider_klaviyo.plugin.tasks import Known
from airflow_provider_klaviyo.plugin.told import Told, text
from airflow_provider_klaviyo.sync.summary import OUTCOMES
from airflow_provider_klaviyo.wording import counted

_BEFORE = ("", "none", "scheduled", "queued", "restarting", "up_for_retry", "up_for_reschedule")
_DAY = 86_400.0

_REACH = (
    "Workers write reports below [klaviyo] storage_path, and the API server reads them there. Where the two do not "
    "share a disk, set it on both (AIRFLOW__KLAVIYO__STORAGE_PATH) to a place that both reach, such as "
    "s3://connection@bucket/folder."
)


def message_page(nonce: str, title: str, *sentences: str, live: bool = False) -> str:
    """A page that only says something."""
    return page(title, nonce, tag("h1", title), *(advice(each) for each in sentences), live=live)


def no_report(known: Known | None, *, place: str, keep_seconds: float, now: float, nonce: str) -> str:
    """Why a task instance has no report, as far as that can be known."""
    if known and not known.is_sync:
        return message_page(
            nonce,
            "No Klaviyo sync",
            f"This task is a {known.operator}. Klaviyo's syncs show their report here.",
        )
    if known and known.state in _BEFORE:
        return message_page(
            nonce,
            "No report yet",
            f"The task is {known.state or 'not scheduled'}. Its report appears here when it runs.",
            live=True,
        )
    if known and known.state == "running":
        return message_page(
            nonce,
            "No report yet",
            "The task runs, and has written no report so far.",
            f"Looked for in {place}. {_REACH}",
            live=True,
        )
    if known and known.ended and now - known.ended > keep_seconds:
        return message_page(
            nonce,
            "The report is gone",
            f"Reports are deleted after {keep_seconds / _DAY:.0f} days ([klaviyo] keep_days), by later runs of the "
            "task. The task's XCom return_value still has the counts.",
        )
    return message_page(
        nonce,
        "No report",
        f"There is no report of this task instance in {place}.",
        _REACH,
        "A task that failed before its sync began writes none, and its log says why: a template cannot be rendered, a "
        "parameter that a template or another task has given cannot work, or nothing can be kept below that place.",
    )


def unreachable(place: str, error: str, nonce: str) -> str:
    """The storage cannot be read."""
    return message_page(nonce, "Reports cannot be read", f"{place} cannot be read: {error}", _REACH)


def unreadable(place: str, error: str, nonce: str) -> str:
    """A report is damaged."""
    return message_page(nonce, "The report is damaged", f"A report in {place} is no report: {error}")


def syncs_page(syncs: Sequence[Told], *, root: str, now: float, nonce: str, place: str, unread: int) -> str:
    """Every sync with its last run, those that failed first."""
    order = {"failed": 0, "lost": 1, "running": 2, "waiting": 3}
    known = [(told, address) for told in syncs if (address := address_of(told))]
    known.sort(key=lambda each: -(each[0].moment("written_at") or 0))
    known.sort(key=lambda each: order.get(status_of(each[0], now), 4))
    lines: list[list[Markup | str]] = []
    for told, address in known:
        counts = told.counts
        bar = charts.stacked_bar(counts, f"{address.task_id}: rows by outcome", height=12)
        lines.append(
            [
                together(
                    tag("a", address.task_id, href=task_url(root, address)),
                    tag("div", address.dag_id, class_="soft"),
                ),
                f"{text(told, 'sync_type')} {text(told, 'mode')}",
                badge(status_of(told, now)),
                text(told, "started_at")[:16].replace("T", " "),
                duration(told.seconds),
                tag("div", bar, class_="mini"),
                *(f"{counts[name]:,}" for name in OUTCOMES),
            ]
        )
    heads = [
        ("task", "name"),
        ("sync", ""),
        ("last run", ""),
        ("started (UTC)", ""),
        ("took", "number"),
        ("rows", ""),
    ]
    numbers = [(name, "number") for name in OUTCOMES]
    failing = sum(status_of(told, now) in ("failed", "lost") for told, _ in known)
    nothing = None if lines else advice(f"No Dag that you may see has a report in {place}. ", _REACH)
    return page(
        "Klaviyo syncs",
        nonce,
        tag("h1", "Klaviyo syncs"),
        tag(
            "p",
            f"{counted(len(lines), 'sync')}; failed or lost in the last run: {failing}.",
            class_="soft",
        ),
        nothing,
        section("Last runs", table("Every sync with its last run", [*heads, *numbers], lines))
        if lines
        else None,
        advice(f"{counted(unread, 'report')} could not be read.", kind="doubt") if unread else None,
        live=any(told.status in ("running", "waiting") for told, _ in known),
        said=f"{counted(len(lines), 'sync')}, {failing} failed",
    )

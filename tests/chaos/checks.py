"""What must hold after every single run, however it ended."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from airflow_provider_klaviyo.emulator.account.consent_audit import IncidentKind
from tests.chaos.runs import Result
from tests.chaos.shop import DOMAIN, NAME
from tests.chaos.syncs import Sync
from tests.chaos.world import World

_OUTCOMES = ("accepted", "unchanged", "skipped", "rejected", "pending")
_WITH_LINE = ("skipped", "rejected", "pending")
_FOUND_DONE = ("remove", "unsubscribe", "events")
"""Where a row is skipped that was done before a worker died: who is off the list already, and an event that changed
after it was recorded, which with luck it was not."""

_SECRETS = {DOMAIN: "an address", NAME: "a name", "pk_chaos": "the key"}


def faults_of(result: Result) -> Iterator[str]:
    """What a run has told wrongly, or told that it must not tell."""
    if not result.is_ours:
        yield f"the run ended with an error that is not ours: {result.error}\n{result.trace}"
    yield from _told(result.log, "the log")
    yield from _told(result.error, "the error")
    if result.summary:
        yield from _told(json.dumps(result.summary), "the summary")
        yield from _accounted(result.summary, is_over=not result.is_deferred)


def _told(text: str, where: str) -> Iterator[str]:
    for secret, what in _SECRETS.items():
        if secret in text:
            line = next(line for line in text.splitlines() if secret in line)
            yield f"{where} tells {what}: {line}"


def _accounted(summary: dict[str, Any], *, is_over: bool) -> Iterator[str]:
    counts = {name: summary[name] for name in _OUTCOMES}
    if summary["rows_read"] != sum(counts.values()):
        yield f"the law of counts is broken: {summary}"
    written: Counter[str] = Counter()
    rows: set[int] = set()
    for line in lines_of(summary):
        written[line["outcome"]] += 1
        if line["outcome"] != "warning":
            if line["row_number"] in rows:
                yield f"row {line['row_number']} has two lines"
            rows.add(line["row_number"])
        if not line["reason"]:
            yield f"row {line['row_number']} is {line['outcome']} for no reason"
    for name in _WITH_LINE if is_over else ():
        if written[name] != counts[name]:
            yield f"{counts[name]} rows are {name}, and {written[name]} have a line"
    if path := summary.get("report_path"):
        report = Path(path)
        if report.exists():
            yield from _told(report.read_text(), "the report")


def lines_of(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """The lines of the rejects file."""
    path = summary.get("rejected_path")
    return [json.loads(line) for line in Path(path).read_text().splitlines()] if path else []


def incidents_of(world: World, seen: int, may_return: Collection[str]) -> Iterator[str]:
    """What was done to people's consent that must never be done.

    :param seen: how many incidents there were before.
    :param may_return: whose consent is newer than their objection, so that they may be subscribed again.
    """
    for incident in world.klaviyo.incidents()[seen:]:
        if incident.kind is not IncidentKind.RESUBSCRIBED or incident.person not in may_return:
            yield f"{incident.kind}: {incident.person} on {incident.channel}"
    for (person, _, _), messages in world.klaviyo.confirmations().items():
        if messages > 1:
            yield f"{person} was asked {messages} times"


def verdicts_of(result: Result, sync: Sync, free: Collection[str]) -> dict[str, object]:
    """What a run has made of each row, which tells what the state knows of it; less what the rules leave open.

    :param free: against whom nothing stands, where consent is asked for.
    """
    assert result.summary
    told: dict[str, Any] = {name: result.summary[name] for name in ("rows_read", "removed", *_OUTCOMES)}
    for line in lines_of(result.summary):
        told[f"row {line['key']}"] = line["outcome"]
        # Who objects was subscribed before, and is not looked at again; or was not, and is looked at each time.
        is_objecting = sync.has_objections and line["row"]["email"] not in free
        if line["outcome"] == "skipped" and (is_objecting or sync.kind in _FOUND_DONE):
            del told[f"row {line['key']}"]
            told["unchanged"], told["skipped"] = told["unchanged"] + 1, told["skipped"] - 1
    return told

"""What the demo says about a run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

COUNTS = ("accepted", "unchanged", "skipped", "rejected", "pending")
SHOWN = 20


def show_report(report: Mapping[str, Any], rejects: Sequence[Mapping[str, Any]]) -> None:
    """The counts, and why rows are not in Klaviyo as they are in the shop."""
    meaning = {
        "accepted": "would be sent"
        if report["preview"]
        else "Klaviyo took them: the job is complete without them as an error",
        "unchanged": "Klaviyo has them already",
        "skipped": "deliberately not sent",
        "rejected": "cannot be sent, or Klaviyo refused them",
        "pending": "without a verdict yet",
    }
    rows, seconds, requests = f"{report['rows_read']:,}", report["duration"], report["requests"]
    say(f"\nReport    {rows} rows read from the shop in {seconds:.1f} s, {requests:,} requests to Klaviyo")
    for name in COUNTS:
        say(f"          {report[name]:>8,}  {name:10} {meaning[name]}")
    say(f"          {rows:>8}  {'as many as were read' if law_holds(report) else 'ROWS WERE READ'}")
    if rejects:
        say(
            "\nWhy       each row that was not sent as it is (a warning: the row was sent without the field):"
        )
    for each in rejects[:SHOWN]:
        say(f"          {each['outcome']:9} {each['key']!s:8} {_cause(each)}")
    if len(rejects) > SHOWN:
        say(f"          and {len(rejects) - SHOWN:,} more")


def _cause(reject: Mapping[str, Any]) -> str:
    named_in_reason = "," in reject["field"] or not reject["field"]
    return str(reject["reason"]) if named_in_reason else f"{reject['field']}: {reject['reason']}"


def show_emulator(url: str) -> int:
    """What the emulator holds and was asked for; returns the number of its profiles."""
    stats, first = _ask(f"{url}/_emulator/stats"), _ask(f"{url}/_emulator/profiles?limit=1")["profiles"]
    stored = int(stats["stored"]["profiles"])
    say(f"\nKlaviyo   the emulator holds {stored:,} profiles now, such as:")
    for line in json.dumps(first[0], indent=2, ensure_ascii=False).splitlines() if first else []:
        say(f"          {line}")
    return stored


def _ask(url: str) -> Any:
    opener = build_opener(
        ProxyHandler({})
    )  # the environment's proxy has no business with this machine's own ports
    with opener.open(url, timeout=30) as answer:
        return json.load(answer)


def show_files(report: Mapping[str, Any], log: Path, previews: Sequence[Path]) -> None:
    """Where everything lies."""
    say(f"\nFiles     report   {short(report['report_path'])}")
    if report["rejected_path"]:
        say(f"          rejects  {short(report['rejected_path'])} (holds rows: keep it as safe as the shop)")
    for path in previews:
        say(f"          preview  {short(path)}")
    say(f"          log      {short(log)}")


def find_problems(
    report: Mapping[str, Any], stored: int | None, *, succeeded: bool, preview: bool
) -> list[str]:
    """What contradicts a good run; ``stored`` is how many profiles the emulator holds, if it was one."""
    claim = f"The report says {report['accepted']:,} accepted, and the emulator holds {stored} profiles."
    checks = {
        "The Dag run failed.": succeeded,
        "The counts do not add up to the rows that were read.": law_holds(report),
        "Rows are still pending.": report["pending"] == 0,
        "This was to be a preview, and the report says that it was none.": report["preview"] or not preview,
        claim: stored in (None, report["accepted"]),
    }
    return [problem for problem, is_well in checks.items() if not is_well]


def law_holds(report: Mapping[str, Any]) -> bool:
    """Whether every row that was read is accounted for."""
    return bool(report["rows_read"] == sum(report[name] for name in COUNTS))


def short(path: Path | str) -> str:
    """A path as one would type it."""
    path = Path(path)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def say(line: str) -> None:
    """Print at once: what follows may take a while."""
    print(line, flush=True)

"""The summaries of a sync's shards as one: one law, one report, and nobody whom two shards name."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from typing import Any, NamedTuple, cast

from airflow_provider_klaviyo import __version__
from airflow_provider_klaviyo.client.traffic import Traffic, together
from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError
from airflow_provider_klaviyo.sync.overlaps import Overlap, Rolls, find_overlaps
from airflow_provider_klaviyo.sync.report_file import FAILED, FORMAT, SUCCEEDED
from airflow_provider_klaviyo.sync.run_files import RunFiles
from airflow_provider_klaviyo.sync.scratch.folder import scratch_folder
from airflow_provider_klaviyo.sync.storage import Storage
from airflow_provider_klaviyo.sync.summary import COUNTS, OUTCOMES, SyncSummary
from airflow_provider_klaviyo.wording import counted

log = logging.getLogger(__name__)

_SUMS = (*COUNTS, "requests")
_ALIKE = ("sync_type", "mode", "preview")
_NEEDED = {*_ALIKE, *_SUMS, "duration", "list_id", "rejected_path", "report_path"}
"""What every summary has."""

_MOST = 20
"""Pairs of shards that a report names."""


class Shard(NamedTuple):
    """A part of a sync.

    :param files: those of the run that returned the summary; None where they are out of reach.
    """

    name: str
    summary: SyncSummary
    files: RunFiles | None


class Joined:
    """Shards brought together.

    :param summaries: what their tasks returned.
    :param storage: where they have left their reports.
    :raises KlaviyoConfigurationError: when these are no summaries of one sync.
    """

    def __init__(self, summaries: Iterable[Any], storage: Storage) -> None:
        self.shards = _shards(summaries, storage)
        self.overlaps: Sequence[Overlap] = ()
        self.notices: list[str] = []
        self._reports = [_report(shard) for shard in self.shards]
        unread = [shard.name for shard, report in zip(self.shards, self._reports, strict=True) if not report]
        if unread:
            self.notices.append(
                f"No report could be read of {_named(unread)}: their reasons are not in this one."
            )

    @property
    def failed(self) -> dict[str, int]:
        """The task instances whose run failed, by their reports, and how many rows they had read by then."""
        return {
            _task_instance(report["task"]): shard.summary["rows_read"]
            for shard, report in zip(self.shards, self._reports, strict=True)
            if report.get("error")
        }

    def compare_people(self) -> None:
        """Find people whom two shards name; where that cannot be found out it is said."""
        if self.shards[0].summary["sync_type"] == "events":
            return  # each event is known by itself, whoever sends it
        rolls = {shard.name: _rolls(shard) for shard in self.shards}
        without = [name for name, each in rolls.items() if each is None]
        if without:
            self.notices.append(
                f"Whether two shards name one person is not known: {_named(without)} left no roll of people. Only "
                "mapped tasks leave one; it is deleted after keep_days, and when somebody of it is forgotten."
            )
            return
        try:
            with scratch_folder() as scratch:
                self.overlaps = find_overlaps({name: each for name, each in rolls.items() if each}, scratch)
        except (OSError, ValueError) as error:
            self.notices.append(f"Whether two shards name one person could not be found out: {error}")

    @property
    def objection(self) -> str:
        """What is wrong with people whom two shards name; empty where nobody is."""
        if not self.overlaps:
            return ""
        both, removed = (sum(getattr(each, name) for each in self.overlaps) for name in ("people", "removed"))
        shown = "; ".join(
            f"shards {each.first} and {each.second}: {each.people + each.removed:,}"
            for each in self.overlaps[:5]
        )
        words = f"{both:,} people are named by two shards" if both else ""
        if removed:
            others = f"{removed:,} people were taken off the list by one shard and are named by another"
            words = f"{words}, {others}" if words else others
        return (
            f"{words} ({shown}). Shards run in any order, so what became of these people depends on chance. Cut the "
            "query by the hash of what identifies people, in one spelling, and by nothing that changes; then run once "
            "with full_refresh=True."
        )

    def summary(self, report_path: str | None) -> SyncSummary:
        """The sum, in the form that each task returns."""
        parts = [shard.summary for shard in self.shards]
        paths = [str(each["rejected_path"]) for each in parts if each["rejected_path"]]
        lists = {each["list_id"] for each in parts}
        joined: dict[str, Any] = {name: parts[0][name] for name in _ALIKE}  # type: ignore[literal-required]
        joined |= {name: sum(each[name] for each in parts) for name in _SUMS}  # type: ignore[literal-required]
        joined |= {
            "duration": max(each["duration"] for each in parts),
            "list_id": lists.pop() if len(lists) == 1 else None,
            "rejected_path": _common(paths),
            "report_path": report_path,
            "shards": len(parts),
        }
        if any("job_ids" in each for each in parts):
            joined["job_ids"] = [job for each in parts for job in each.get("job_ids", ())]
        if without_line := sum(each.get("rows_without_line", 0) for each in parts):
            joined["rows_without_line"] = without_line
        return cast("SyncSummary", joined)

    def details(
        self, task: Mapping[str, Any], report_path: str | None, failure: str | None
    ) -> dict[str, Any]:
        """The report file, in the format of each shard's; ``by_shard`` and ``overlaps`` are its own.

        :param task: the task that joins, as reports name it.
        :param failure: why it fails.
        """
        reports = [each for each in self._reports if each.get("format") == FORMAT]
        first = reports[0] if reports else {}
        reasons: Counter[tuple[str, str, str]] = Counter()
        for report in reports:
            for each in report["reasons"]:
                reasons[each["outcome"], each["field"], each["reason"]] += each["rows"]
        told = dict.fromkeys(str(each["notice"]) for each in reports if each.get("notice"))
        details: dict[str, Any] = {
            "format": FORMAT,
            "package_version": __version__,
            "status": FAILED if failure else SUCCEEDED,
            "started_at": min((each["started_at"] for each in reports), default=""),
            "written_at": max((each["written_at"] for each in reports), default=""),
            "task": task,
            "parameters": first.get("parameters", {}),
            **self.summary(report_path),
            **_more(reports),
            "seconds_waited_for_rate_limits": round(
                sum(each["seconds_waited_for_rate_limits"] for each in reports), 3
            ),
            "reasons": [
                {"outcome": outcome, "field": field, "reason": reason, "rows": rows, "examples": []}
                for (outcome, field, reason), rows in reasons.most_common()
            ],
            "error": None,
            "failure": failure,
            "open_jobs": [job for each in reports for job in each["open_jobs"]],
            "traffic": reduce(together, (each["traffic"] for each in reports), Traffic().told()),
            "throughput": {"ceiling": first.get("throughput", {}).get("ceiling"), "points": []},
            "state": None,
            "by_shard": [
                {"shard": shard.name, **shard.summary, "failure": report.get("failure")}
                for shard, report in zip(self.shards, self._reports, strict=True)
            ],
            "overlaps": [each._asdict() for each in self.overlaps[:_MOST]],
        }
        notices = [*self.notices, *told]
        return details | ({"notice": " ".join(notices)} if notices else {})

    def __str__(self) -> str:
        """One line for the log."""
        total = self.summary(None)
        counts = ", ".join(f"{total[name]:,} {name}" for name in OUTCOMES if total[name])  # type: ignore[literal-required]
        shards, rows = counted(len(self.shards), "shard"), counted(total["rows_read"], "row")
        return f"{shards} of the {total['sync_type']} sync read {rows}: {counts}."


def _more(reports: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """What sync types count besides, added up."""
    found: Counter[str] = Counter()
    for report in reports:
        own = report.keys() - {*_NEEDED, "format", "shards", "rows_without_line"}
        found.update({name: report[name] for name in own if type(report[name]) is int})
    return dict(found)


def _shards(summaries: Iterable[Any], storage: Storage) -> list[Shard]:
    shards: list[Shard] = []
    for number, summary in enumerate(summaries):
        if not isinstance(summary, Mapping) or not summary.keys() >= _NEEDED:
            msg = f"summaries: number {number} is not what a sync returns: {type(summary).__name__}."
            raise KlaviyoConfigurationError(msg)
        if summary["rows_read"] != sum(summary[name] for name in OUTCOMES):
            msg = f"summaries: the counts of number {number} do not add up to its rows_read."
            raise KlaviyoConfigurationError(msg)
        files = storage.files_of(str(summary["report_path"]))
        index = files.map_index if files else None
        shards.append(
            Shard(str(number if index is None else index), cast("SyncSummary", dict(summary)), files)
        )
    if not shards:
        msg = "summaries: there is none. Give what the syncs return, such as summaries=syncs.output."
        raise KlaviyoConfigurationError(msg)
    kinds = {tuple(shard.summary[name] for name in _ALIKE) for shard in shards}  # type: ignore[literal-required]
    if len(kinds) > 1:
        shown = "; ".join(sorted(str(kind) for kind in kinds))
        msg = f"summaries: these are of different syncs, whose rows cannot be added up ({', '.join(_ALIKE)}): {shown}."
        raise KlaviyoConfigurationError(msg)
    return shards


def _report(shard: Shard) -> Mapping[str, Any]:
    """The report of a shard; empty where it cannot be read."""
    try:
        return dict(json.loads(shard.files.report.read_bytes())) if shard.files else {}
    except (OSError, ValueError, RecursionError) as error:
        log.warning("The report of shard %s cannot be read: %s", shard.name, error)
        return {}


def _task_instance(told: Mapping[str, Any]) -> str:
    """The name of a task instance in its Dag run, as Airflow writes it."""
    mapped = f"_{told['map_index']}" if told["map_index"] >= 0 else ""
    return f"{told['task_id']}{mapped}"


def _rolls(shard: Shard) -> Rolls | None:
    """Where a shard keeps whom it names; None where it does not."""
    files = shard.files
    if files is None or not files.named.exists():
        return None
    return Rolls(files.named, files.removed if files.removed.exists() else None)


def _common(paths: Sequence[str]) -> str | None:
    """The path where there is one, the folder of them where there are several."""
    return paths[0].rpartition("/")[0] if len(paths) > 1 else next(iter(paths), None)


def _named(shards: Sequence[str]) -> str:
    more = f" and {len(shards) - 5:,} more" if len(shards) > 5 else ""
    return f"{'shard' if len(shards) == 1 else 'shards'} {', '.join(shards[:5])}{more}"

"""Where a run keeps its report, its rejected rows, and what it leaves behind for another worker."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from airflow_provider_klaviyo.state.remote import listed, modified
from airflow_provider_klaviyo.state.storage import usable

log = logging.getLogger(__name__)

DRAFT = ".draft"
"""How the name of a file ends that is to take the place of another one; it begins with a dot."""

_DEFERRED = re.compile(r"\.deferred(-\d+)?\.json$")
"""How the name of a file ends that a deferred task leaves behind."""

_MAP_INDEX = re.compile(r"\.map(\d+)\.try\d+$")

_KINDS = {
    "rejects": re.compile(r"\.try\d+\.rejects\.jsonl$"),
    "previews": re.compile(r"\.try\d+\.preview-\d+\.json$"),
    "deferred": re.compile(r"\.try\d+\.deferred-\d+\.json$"),
    "reports": re.compile(r"\.try\d+\.report\.json$"),
    "rolls": re.compile(r"\.try\d+\.(named|removed)\.hashes$"),
}


def kind_of(name: str) -> str | None:
    """What the file of a name holds that may be about people: one of ``_KINDS``."""
    return next((kind for kind, pattern in _KINDS.items() if pattern.search(name)), None)


@dataclass(frozen=True, slots=True)
class RunFiles:
    """The files of one try of one task: ``<folder>/<stem>.<what>``.

    :param folder: a ``pathlib.Path`` or a ``RemotePath``; all tries of all runs of the task share it.
    :param stem: names the try, and ends in ``.try<n>``.
    """

    folder: Any
    stem: str

    @property
    def report(self) -> Any:
        """The report, without people."""
        return self.folder / f"{self.stem}.report.json"

    @property
    def rejects(self) -> Any:
        """The rows that were not sent, with their values."""
        return self.folder / f"{self.stem}.rejects.jsonl"

    @property
    def named(self) -> Any:
        """Whom the rows of a shard name, as hashes (``Roll``)."""
        return self.folder / f"{self.stem}.named.hashes"

    @property
    def removed(self) -> Any:
        """Whom a shard has taken off its list, as hashes (``Roll``)."""
        return self.folder / f"{self.stem}.removed.hashes"

    @property
    def map_index(self) -> int | None:
        """Which instance of a mapped task has written them; None for a task that is not mapped."""
        found = _MAP_INDEX.search(self.stem)
        return int(found[1]) if found else None

    def preview(self, number: int) -> Any:
        """The n-th request of a preview."""
        return self.folder / f"{self.stem}.preview-{number}.json"

    def deferred(self, number: int | None = None) -> Any:
        """What a deferred task leaves behind: its note, and the rows of its n-th open job."""
        part = "" if number is None else f"-{number}"
        return self.folder / f"{self.stem}.deferred{part}.json"

    def left_by_deferral(self) -> list[Any]:
        """What a deferred task has left behind, as far as it is there; the note comes first."""
        files = [file for file in self._there() if _DEFERRED.sub("", file.name) == self.stem]
        return sorted(files, key=lambda file: file.name != self.deferred().name)

    def write_report(self, details: dict[str, object]) -> str:
        """Write the report, in place of one that is there, so that nobody reads a part of it; returns its path.

        :raises KlaviyoConfigurationError: when nothing can be written under ``storage_path``.
        """
        content = msgspec.json.format(msgspec.json.encode(details, enc_hook=str), indent=2) + b"\n"
        with usable(self.report, "The report cannot be written to"):
            self.folder.mkdir(parents=True, exist_ok=True)
            _replace(self.report, content)
        return str(self.report)

    def prune(self, oldest: float) -> list[RunFiles]:
        """Delete this task's files of before then, and what its earlier tries left when deferred.

        A new try means that nobody comes back to settle those. A failure to delete is only logged.

        :param oldest: seconds since the epoch.
        :returns: the files of other tries that were deferred, and have left a note.
        """
        try:
            there = self._there()
            outdated = list(self._outdated(there, oldest))
            for file in outdated:
                file.unlink()
        except Exception as error:
            log.warning("Old reports in %s could not be deleted: %s", self.folder, error)
            return []
        gone, end = {file.name for file in outdated}, ".deferred.json"
        stems = [
            name.removesuffix(end) for file in there if (name := file.name).endswith(end) and name not in gone
        ]
        return [replace(self, stem=stem) for stem in stems if stem != self.stem]

    def _outdated(self, files: Iterable[Any], oldest: float) -> Iterator[Any]:
        earlier = re.compile(rf"{re.escape(self.stem.rpartition('.try')[0])}\.try\d+{_DEFERRED.pattern}")
        for file in files:
            is_ours = file.name.endswith((".json", ".jsonl", ".hashes", DRAFT))
            if is_ours and (earlier.fullmatch(file.name) or _is_older(file, oldest)):
                yield file

    def _there(self) -> list[Any]:
        return listed(self.folder)


def _replace(path: Any, content: bytes) -> None:
    """Write a file at once; an object store does nothing else."""
    if isinstance(path, Path):
        draft = path.with_name(f".{path.name}{DRAFT}")
        try:
            draft.write_bytes(content)
            draft.replace(path)
        except OSError:  # no room for both, or a name that is just short enough
            with suppress(OSError):
                draft.unlink()
        else:
            return
    path.write_bytes(content)


def _is_older(file: Any, oldest: float) -> bool:
    """Whether a file was written before then; one whose age is not known is kept."""
    changed = modified(file)
    return changed is not None and changed < oldest

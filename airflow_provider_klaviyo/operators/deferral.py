"""What a deferred sync leaves behind for the worker that settles it: its counts, and the rows of its open jobs.

The rows are people, as in the rejects file: they are written so that a rejected one can be told with its values on
whatever worker, and deleted as soon as the sync is settled.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from airflow_provider_klaviyo.exceptions import KlaviyoRetryableError
from airflow_provider_klaviyo.operators.storage import RunFiles
from airflow_provider_klaviyo.sync.import_jobs import HandedOver
from airflow_provider_klaviyo.sync.rejects import encode_json, make_private
from airflow_provider_klaviyo.sync.report import SyncReport

log = logging.getLogger(__name__)


class Note(msgspec.Struct):
    """What is kept beside the rows."""

    counts: dict[str, Any]
    reasons: list[tuple[tuple[str, str, str], int]]
    columns: list[str]
    key: list[int]
    jobs: list[HandedOver]
    started: float
    deadline: float
    remembered: bytes = b""


class Deferral:
    """The files of one deferral."""

    def __init__(self, files: RunFiles) -> None:
        self._files = files

    def save(
        self,
        report: SyncReport,
        jobs: Iterator[tuple[HandedOver, Any]],
        deadline: float,
        remembered: bytes = b"",
    ) -> list[str]:
        """Write everything down; the note comes last, so that it is there only when all else is. Returns job ids.

        :param remembered: what the sync type must know to conclude.
        """
        kept = []
        for number, (job, rows) in enumerate(jobs):
            self._write(self._files.deferred(number), encode_json(rows))
            kept.append(job)
        note = Note(
            counts=report.counts(),
            reasons=list(report.reasons.items()),
            columns=list(report.rejects.columns),
            key=list(report.rejects.key),
            jobs=kept,
            started=time.time() - (time.monotonic() - report.started),
            deadline=deadline,
            remembered=remembered,
        )
        self._write(self._files.deferred(), msgspec.json.encode(note))
        return [job.id for job in kept]

    def load(self) -> Note:
        """The note.

        :raises KlaviyoRetryableError: when it is missing or damaged.
        """
        path = self._files.deferred()
        try:
            with path.open("rb") as file:
                return msgspec.json.decode(file.read(), type=Note)
        except (OSError, msgspec.DecodeError) as error:
            msg = (
                f"What this task left behind when it was deferred cannot be read from {path} ({error}): its rows have "
                "no verdict. A retry sends them again; with only_changes it sends only what is not acknowledged. "
                "On workers that do not share a disk, set [klaviyo] storage_path to a place that all of them reach."
            )
            raise KlaviyoRetryableError(msg) from error

    def rows(self, number: int) -> list[tuple[int, str, tuple[object, ...]]]:
        """The rows of a job."""
        with self._files.deferred(number).open("rb") as file:
            return msgspec.json.decode(file.read(), type=list[tuple[int, str, tuple[Any, ...]]])

    def delete(self, jobs: Sequence[HandedOver]) -> None:
        """Delete everything; what cannot be deleted now is, when ``keep_days`` are over."""
        for path in (self._files.deferred(), *(self._files.deferred(number) for number in range(len(jobs)))):
            try:
                path.unlink()
            except Exception as error:
                log.warning("%s could not be deleted: %s", path, error)

    def _write(self, path: Any, content: bytes) -> None:
        with path.open("wb") as file:
            make_private(path)
            file.write(content)

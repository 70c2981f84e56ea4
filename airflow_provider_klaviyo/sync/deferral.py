"""What a deferred sync leaves behind for the worker that settles it: its counts, and the records of its open jobs.

These are people, as in the rejects file: they are written so that a rejected one can be told with its values on
whatever worker, or sent again without a field, and deleted as soon as the sync is settled.
"""

from __future__ import annotations

import json
import logging
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Self

import msgspec

from airflow_provider_klaviyo.client.clock import time_of_day
from airflow_provider_klaviyo.exceptions import KlaviyoRetryableError
from airflow_provider_klaviyo.identity import Identity
from airflow_provider_klaviyo.records.record import Record
from airflow_provider_klaviyo.state.holder import Holder, Whereabouts
from airflow_provider_klaviyo.state.storage import usable
from airflow_provider_klaviyo.sync.outcomes import HandedOver
from airflow_provider_klaviyo.sync.rejects import encode_json, write_private
from airflow_provider_klaviyo.sync.report import SyncReport
from airflow_provider_klaviyo.sync.run_files import RunFiles

log = logging.getLogger(__name__)


_LOST = (
    "What this task left behind when it was deferred cannot be read from {path} ({error}): its rows have "
    "no verdict. A retry sends them again; with only_changes it sends only what is not acknowledged. "
    "On workers that do not share a disk, set [klaviyo] storage_path to a place that all of them reach."
)


class Note(msgspec.Struct):
    """What is kept beside the rows; ``started`` and ``deadline`` are in seconds since the epoch."""

    counts: dict[str, Any]
    reasons: list[tuple[tuple[str, str, str], int]]
    columns: list[str]
    key: list[int]
    jobs: list[HandedOver]
    started: float
    deadline: float
    dumped: bytes = msgspec.field(default=b"", name="remembered")  # the name that earlier builds wrote
    holder: Holder | None = None  # as earlier builds wrote it not at all


class _Handed(msgspec.Struct, array_like=True):
    """What another worker needs of a record: to tell of its row, and to send it again; ``body`` is in Base64."""

    number: int
    identity: str
    row: tuple[Any, ...]
    body: str
    key: int
    person: int
    fingerprint: int

    @classmethod
    def of(cls, record: Record) -> Self:
        body = b64encode(record.body).decode()
        return cls(
            record.number,
            record.identity,
            record.row,
            body,
            record.key,
            record.person,
            record.fingerprint,
        )

    def record(self) -> Record:
        """The record; what a database may give has become what JSON knows."""
        return Record(
            self.number,
            self.row,
            self.identity,
            b64decode(self.body),
            key=self.key,
            person=self.person,
            fingerprint=self.fingerprint,
        )

    @property
    def people(self) -> list[object]:
        """All that it says of whom it is about."""
        body = json.loads(b64decode(self.body)) if self.body else None
        return [*self.row, Identity.of(self.identity).value, body]

    def forgotten(self) -> Self:
        """What is left when the person is forgotten: the place in the job."""
        blank = dict.fromkeys(("key", "person", "fingerprint"), 0)
        return msgspec.structs.replace(self, identity="", row=(None,) * len(self.row), body="", **blank)


def _read(content: bytes) -> list[_Handed]:
    return msgspec.convert(json.loads(content), list[_Handed])  # half characters are JSON's to read


def forgotten_rows(content: bytes, is_named_by: Callable[[object], bool]) -> tuple[bytes, int]:
    """The file of a deferred job's rows without those of some people, and how many rows that were.

    :param is_named_by: whether one of these people is named by a value, or one inside of it.
    :raises ValueError: when the file is damaged.
    """
    handed = _read(content)
    kept = [each.forgotten() if is_named_by(each.people) else each for each in handed]
    count = sum(each is not before for each, before in zip(kept, handed, strict=True))
    return encode_json([msgspec.structs.astuple(each) for each in kept]), count


class Deferral:
    """The files of one deferral."""

    def __init__(self, files: RunFiles) -> None:
        self._files = files

    def save(
        self,
        report: SyncReport,
        jobs: Iterable[tuple[HandedOver, Sequence[Record]]],
        deadline: float,
        holder: Holder,
        dumped: bytes = b"",
    ) -> list[HandedOver]:
        """Write everything down; the note comes last, so that it is there only when all else is. Returns the jobs.

        :param deadline: seconds since the epoch.
        :param holder: the task instance that is deferred.
        :param dumped: what the sync type must know to go on.
        """
        kept = []
        for number, (job, records) in enumerate(jobs):
            handed = [msgspec.structs.astuple(_Handed.of(record)) for record in records]
            self._write(self._files.deferred(number), encode_json(handed))
            kept.append(job)
        note = Note(
            counts=report.counts(),
            reasons=list(report.reasons.items()),
            columns=list(report.rejects.columns),
            key=list(report.rejects.key),
            jobs=kept,
            started=time_of_day(report.clock, report.started),
            deadline=deadline,
            dumped=dumped,
            holder=holder,
        )
        self._write(self._files.deferred(), msgspec.json.encode(note))
        return kept

    def load(self) -> Note:
        """The note.

        :raises KlaviyoRetryableError: when it is missing or damaged.
        """
        path = self._files.deferred()
        try:
            with path.open("rb") as file:
                return msgspec.json.decode(file.read(), type=Note)
        except (OSError, msgspec.DecodeError) as error:
            raise KlaviyoRetryableError(_LOST.format(path=path, error=error)) from error

    def records(self, number: int) -> list[Record]:
        """The records of a job; one without an identity was forgotten.

        :raises KlaviyoRetryableError: when they are missing or damaged.
        """
        path = self._files.deferred(number)
        try:
            return [each.record() for each in _read(path.read_bytes())]
        except (OSError, ValueError, RecursionError) as error:
            raise KlaviyoRetryableError(_LOST.format(path=path, error=error)) from error

    def delete(self) -> None:
        """Delete everything, the note first; what cannot be deleted now is, when ``keep_days`` are over."""
        try:
            for path in self._files.left_by_deferral():
                path.unlink()
        except Exception as error:
            log.warning("What %s was deferred with could not be deleted: %s", self._files.stem, error)

    def _write(self, path: Any, content: bytes) -> None:
        with usable(path, "What a deferred task leaves cannot be written to"):
            write_private(path, content)


def delete_abandoned(deferred: Iterable[RunFiles], whereabouts: Callable[[Holder], Whereabouts]) -> None:
    """Delete what other runs of a task left when they were deferred, where they do not come back for it.

    :param deferred: the files of these runs.
    :param whereabouts: what Airflow knows of a task instance; what it cannot say of is left alone.
    """
    for files in deferred:
        try:
            holder = _holder_of(files)
            where = whereabouts(holder) if holder else Whereabouts.UNKNOWN
        except Exception as error:
            log.warning("Whether %s is still deferred could not be found out: %s", files.stem, error)
            continue
        if where in (Whereabouts.ENDED, Whereabouts.NO_SUCH_RUN):
            log.warning("What %s left when it was deferred is deleted: it %s.", holder, where.value)
            Deferral(files).delete()


def _holder_of(files: RunFiles) -> Holder | None:
    with suppress(KlaviyoRetryableError):
        return Deferral(files).load().holder
    return None

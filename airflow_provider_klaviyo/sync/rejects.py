"""Rows that were not sent as they are, one JSON line each: a file that holds people, as a preview's requests do."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol, Self

import msgspec

from airflow_provider_klaviyo.records.record import Row
from airflow_provider_klaviyo.state.remote import RemotePath
from airflow_provider_klaviyo.state.storage import usable
from airflow_provider_klaviyo.sync.outcomes import Outcome, Verdict

_WARNING = f'"outcome":"{Outcome.WARNING}"'.encode()


class StoragePath(Protocol):
    """What is used of a path; ``pathlib.Path`` and ``RemotePath`` both have it."""

    @property
    def parent(self) -> Self: ...
    def mkdir(self, *, parents: bool, exist_ok: bool) -> None: ...
    def open(self, mode: str) -> BinaryIO: ...
    def exists(self) -> bool: ...


class RejectsFile:
    """Writes verdicts as JSON lines; there is no file when there is nothing to write.

    Each line has ``key`` (of the row), ``outcome``, ``field``, ``reason`` and ``row`` with the row's values.
    A row with several problems has one line, its ``field`` naming all fields and its ``reason`` all reasons.
    """

    def __init__(self, path: StoragePath) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self.columns: Sequence[str] = ()
        self.key: Sequence[int] = ()
        self._earlier: BinaryIO | None = None
        self._begin = self._size = 0
        self.written_to: str | None = None
        self.lines_kept: int | None = None
        """How many rows have a line, where one could not be written; None where all could."""

    def resume(self) -> None:
        """Go on with what the first part of this run wrote, before the task was deferred."""
        if not self._path.exists():
            return
        self._earlier = tempfile.TemporaryFile()  # noqa: SIM115 - closed when it is copied
        with self._path.open("rb") as file:
            shutil.copyfileobj(file, self._earlier)
        self.written_to = str(self._path)

    @property
    def size(self) -> int:
        """Bytes written so far, without those of the run's first part."""
        return self._file.tell() - self._begin if self._file else 0

    def describe(self, columns: Sequence[str], key: Sequence[int]) -> None:
        """Say what the rows hold, once the query's columns are known.

        :param key: the columns whose values name a row; its number in the result does when they are NULL.
        """
        self.columns, self.key = columns, key

    def write(self, verdict: Verdict) -> None:
        """Write one line; nothing, when an earlier one could not be written.

        :raises KlaviyoError: when it cannot be.
        """
        if self.lines_kept is not None:
            return
        line = {
            "key": self._key_of(verdict.row, verdict.number),
            "outcome": verdict.outcome.value,
            "field": ", ".join(dict.fromkeys(problem.field for problem in verdict.problems if problem.field)),
            "reason": _reason(verdict),
            "row_number": verdict.number,
            "row": dict(zip(self.columns, verdict.row, strict=True)),
        }
        content = encode_json(line) + b"\n"
        with self._kept():
            self._open().write(content)
            self._size += len(content)  # a timeout that breaks in before makes it too small, never too large

    def close(self) -> None:
        """Finish the file, so that an object store has it.

        :raises KlaviyoError: when its end cannot be written.
        """
        if self._file:
            with self._kept():
                self._file.close()
                if isinstance(self._path, RemotePath):
                    self._path.check_size(self._size, or_more=True)
            self._file = None
        if self._earlier:
            self._earlier.close()

    @contextmanager
    def _kept(self) -> Iterator[None]:
        """Count the rows that have a line, where the file cannot be written any further, and say why in words."""
        try:
            with usable(self._path, "Rows that are not sent cannot be written to"):
                yield
        except Exception:
            if self._file:
                with suppress(Exception):
                    self._file.close()
            self._file = None
            self.lines_kept = self._count_lines()
            raise

    def _count_lines(self) -> int:
        """The whole lines of rows in the file; a warning is not what became of a row."""
        try:
            with self._path.open("rb") as file:
                return sum(line.endswith(b"\n") and _WARNING not in line for line in file)
        except OSError:
            return 0

    def _open(self) -> BinaryIO:
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            file = self._path.open("wb")
            make_private(self._path)
            self.written_to = str(self._path)
            if self._earlier:  # object stores cannot append
                self._earlier.seek(0)
                shutil.copyfileobj(self._earlier, file)
            self._begin = file.tell()
            self._file = file  # last, so that one that is broken off here begins again
        return self._file

    def _key_of(self, row: Row, number: int) -> object:
        values = [row[index] for index in self.key]
        named = next((value for value in values if value is not None), None) if len(values) == 1 else values
        return f"row {number}" if named is None or not values else named


def write_private(path: Any, content: bytes) -> None:
    """Write a file that holds people.

    :param path: a ``pathlib.Path`` or a ``RemotePath``.
    :raises OSError: when it cannot be written, or an object store has only a part of it.
    """
    if isinstance(path, Path):
        path.touch(mode=0o600)
        make_private(path)
    path.write_bytes(content)


def make_private(path: Any) -> None:
    """Close a file that holds people to other users of the machine; an object store has rules of its own."""
    with suppress(Exception):
        path.chmod(0o600)


def _reason(verdict: Verdict) -> str:
    if len(verdict.problems) == 1:
        return verdict.problems[0].reason
    return "; ".join(f"{problem.field}: {problem.reason}" for problem in verdict.problems)


def encode_json(line: object) -> bytes:
    """JSON of anything that a database may give."""
    try:
        return msgspec.json.encode(line, enc_hook=str)
    except (ValueError, TypeError, OverflowError):  # half characters, odd keys: never lose the row
        return json.dumps(line, default=str, skipkeys=True).encode()

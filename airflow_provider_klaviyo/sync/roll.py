"""Whom the rows of one shard name: a roll of hashes beside its report, for the task that joins the shards.

A roll is one line of JSON, ``Head``, and behind it runs of sorted hashes, eight bytes each, little-endian.
"""

from __future__ import annotations

import shutil
import sys
from array import array
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from airflow_provider_klaviyo.identity import in_full
from airflow_provider_klaviyo.records.record import Mapped, Row
from airflow_provider_klaviyo.state.keys import person_hashes
from airflow_provider_klaviyo.state.storage import usable
from airflow_provider_klaviyo.sync.contracts import Mapper
from airflow_provider_klaviyo.sync.rejects import make_private

FORMAT = 1
HASH = 8
"""Bytes of a hash."""

_RUN = 1 << 18
"""Hashes that are sorted at a time, in about 12 MB."""


class Head(msgspec.Struct):
    """What a roll begins with.

    :param identifier: what people are matched by; those who are matched otherwise have other hashes.
    :param runs: how many hashes each run has.
    """

    format: int
    identifier: str
    runs: list[int]


class Roll:
    """A roll while it is written: on disk but for the last few.

    :param draft: a file of this run's own.
    """

    def __init__(self, draft: Path) -> None:
        self._draft = draft
        self._runs: list[int] = []
        self._hashes = array("q")
        self.identifier = ""
        """What people are matched by; empty where the state of the sync knows."""

    def add(self, people: Sequence[int]) -> None:
        """Note people; the same may be noted again."""
        self._hashes.extend(people)
        if len(self._hashes) >= _RUN:
            self._spill()

    def write(self, path: Any) -> None:
        """Write the whole roll.

        :param path: beside the report; a ``pathlib.Path`` or a ``RemotePath``.
        :raises KlaviyoConfigurationError: when nothing can be written there.
        """
        self._spill()
        head = msgspec.json.encode(Head(FORMAT, self.identifier, self._runs))
        with usable(path, "Whom the rows of this shard name cannot be written to"):
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                make_private(path)
                file.write(head + b"\n")
                if self._runs:
                    with self._draft.open("rb") as draft:
                        shutil.copyfileobj(draft, file)

    def _spill(self) -> None:
        if not self._hashes:
            return
        run = array("q", sorted(self._hashes))
        self._hashes = array("q")
        if sys.byteorder == "big":
            run.byteswap()
        with self._draft.open("ab") as file:
            file.write(run.tobytes())
        self._runs.append(len(run))


class NotingMapper:
    """A mapper that notes on a roll whom its records name."""

    def __init__(self, mapper: Mapper, roll: Roll) -> None:
        self._mapper = mapper
        self._roll = roll
        roll.identifier = mapper.identifier

    @property
    def identifier(self) -> str:
        """That of the mapper."""
        return self._mapper.identifier

    @property
    def key_columns(self) -> Sequence[int]:
        """Those of the mapper."""
        return self._mapper.key_columns

    @property
    def fields(self) -> Mapping[str, int]:
        """Those of the mapper."""
        return self._mapper.fields

    def keep_meanings(self) -> None:
        """Have the mapper keep them."""
        self._mapper.keep_meanings()

    def map(self, rows: Sequence[Row], first: int) -> Mapped:
        """Map some rows."""
        mapped = self._mapper.map(rows, first)
        names = in_full([record.identity for record in mapped.records], self.identifier)
        self._roll.add(person_hashes(names))
        return mapped


class ReadRoll:
    """A roll that is read once, from the smallest hash to the largest; it takes 64 KB of memory a run.

    :param path: where it is kept.
    :param copy: a file of this run's own, since a store is slow to be read here and there.
    :raises ValueError: when it is not whole.
    :raises OSError: when it cannot be read, or what else the store raises.
    """

    def __init__(self, path: Any, copy: Path) -> None:
        with path.open("rb") as source, copy.open("wb") as file:
            shutil.copyfileobj(source, file)
        self._file: BinaryIO = copy.open("rb")
        head = msgspec.json.decode(self._file.readline(), type=Head)
        self.identifier = head.identifier
        self.count = sum(head.runs)
        start = self._file.tell()
        if head.format != FORMAT or copy.stat().st_size != start + HASH * self.count:
            self.close()
            msg = f"{path} is not whole, or of a newer release"
            raise ValueError(msg)
        self._runs = []
        for length in head.runs:
            self._runs.append(_Run(self._file, start, length))
            start += HASH * length

    def below(self, bound: int) -> set[int]:
        """The hashes below a bound that were not read before."""
        found: set[int] = set()
        for run in self._runs:
            run.take(bound, found)
        return found

    def close(self) -> None:
        """Give the copy back."""
        self._file.close()


class _Run:
    """Sorted hashes of a file, read a block at a time."""

    _BLOCK = 8_192

    def __init__(self, file: BinaryIO, start: int, length: int) -> None:
        self._file = file
        self._next = start
        self._left = length
        self._block = array("q")
        self._place = 0

    def take(self, bound: int, found: set[int]) -> None:
        """Add what comes next and is below a bound."""
        while self._place < len(self._block) or self._left:
            if self._place == len(self._block):
                self._read()
            end = bisect_left(self._block, bound, self._place)
            found.update(self._block[self._place : end])
            self._place = end
            if end < len(self._block):
                return

    def _read(self) -> None:
        size = min(self._left, self._BLOCK)
        self._file.seek(self._next)
        self._block = array("q", self._file.read(HASH * size))
        if sys.byteorder == "big":
            self._block.byteswap()
        self._next += HASH * size
        self._left -= size
        self._place = 0

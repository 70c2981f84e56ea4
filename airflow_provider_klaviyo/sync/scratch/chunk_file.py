"""Chunks of a run that wait on disk, so that memory stays flat however many there are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

from airflow_provider_klaviyo.sync.scratch.packing import Packing

T = TypeVar("T")


class ChunkFile(Generic[T]):
    """Chunks in the order in which they came, to be read as often as needed.

    A chunk counts when ``add`` has come to its end: one that an exception broke off was never there.

    :param kind: the type of a chunk.
    """

    def __init__(self, path: Path, kind: Any) -> None:
        self._file = path.open("w+b")
        self._packing: Packing[T] = Packing(kind)
        self._ends = [0]

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> T:
        start, end = self._ends[index : index + 2]
        self._file.seek(start)
        return self._packing.load(self._file.read(end - start))

    def __iter__(self) -> Iterator[T]:
        return (self[index] for index in range(len(self)))

    def add(self, chunk: T) -> None:
        """Write a chunk behind the others."""
        content = self._packing.dump(chunk)
        self._file.seek(self._ends[-1])
        self._file.write(content)
        self._file.flush()
        self._ends.append(self._ends[-1] + len(content))

    def close(self) -> None:
        """Give the file back."""
        self._file.close()

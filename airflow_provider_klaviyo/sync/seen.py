"""Who was already met in this run."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path

from airflow_provider_klaviyo.sync.claims import Claims


class SeenPeople:
    """The people of a run, by hashes of what names them (Python's own, which is keyed for strings).

    Where two people share a hash, the second is reported as a duplicate, never lost in silence. ``claims`` has room
    for what else the people of the run have.
    """

    def __init__(self, directory: Path) -> None:
        self.claims = Claims(directory / "people")
        self._count = 0

    def add(self, people: Sequence[Hashable]) -> list[int]:
        """Remember a chunk of people; returns the indexes of those met before, in it or in an earlier chunk."""
        first, self._count = self._count, self._count + len(people)
        return sorted(self.claims.claim(list(map(hash, people)), list(range(first, self._count))))

    def close(self) -> None:
        """Forget everyone."""
        self.claims.close()

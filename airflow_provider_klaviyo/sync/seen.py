"""Who was already met in this run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from airflow_provider_klaviyo.sync.claims import Claims


class SeenPeople:
    """The people of a run, by hashes of what names them (Python's own of strings, which is keyed).

    Where two people share a hash, the second is reported as a duplicate, never lost in silence. ``claims`` has room
    for what else the people of the run have.
    """

    def __init__(self, directory: Path) -> None:
        self.claims = Claims(directory / "people.sqlite")
        self._count = 0

    def add(self, identities: Sequence[str]) -> list[int]:
        """Remember a chunk of people; returns the places of those met before, in it or in an earlier chunk."""
        first, self._count = self._count, self._count + len(identities)
        return sorted(self.claims.claim(list(map(hash, identities)), list(range(first, self._count))))

    def close(self) -> None:
        """Forget everyone."""
        self.claims.close()

"""Who came first with a value in this run: in memory that is bounded, and behind it on disk."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path

from airflow_provider_klaviyo.sync.scratch.first_notes import FirstNotes

QUICK = 699_000
"""Values in the dictionary: a few more would double what it takes."""

SLOTS = 1 << 20
"""Places of the table, of 16 bytes each."""

_LOAD = 0.6
"""Part of the slots that are taken at the most: from there on it takes ever longer to find a free one."""


class Claims:
    """Remembers the first claimant of each value; both are 64-bit hashes.

    Among ten million values the chance that any two share a hash is about 3 in a million. A dictionary is quick, but
    takes 110 bytes a value; a table of 16 bytes is slower, and the disk slowest. Measured on a busy machine, in µs of
    CPU a value: 0.4 for the first 699,000, in 75 MB; 0.6 for 629,000 more, in 16 MB; 2 to 4 for all others.

    :param path: of the file, which is made when it is needed.
    """

    def __init__(self, path: Path, *, quick: int = QUICK, slots: int = SLOTS) -> None:
        self._path = path
        self._quick: dict[int, int] = {}
        self._max_quick = quick
        self._slots = slots
        self._table: _Table | None = None

    def claim(self, values: Sequence[int], claimants: Sequence[int]) -> dict[int, int]:
        """Claim each value for its claimant; returns the indexes of those that somebody else has, and who."""
        if len(self._quick) + len(values) <= self._max_quick:
            holders = list(map(self._quick.setdefault, values, claimants))
        else:
            holders = self._claim_behind(values, claimants)
        if holders == claimants:
            return {}
        pairs = enumerate(zip(holders, claimants, strict=True))
        return {index: holder for index, (holder, claimant) in pairs if holder != claimant}

    def close(self) -> None:
        """Forget everything."""
        if self._table:
            self._table.close()

    def _claim_behind(self, values: Sequence[int], claimants: Sequence[int]) -> list[int]:
        """Look for values in the dictionary, which takes no more of them, and claim the others behind it."""
        self._max_quick = 0
        table = self._table = self._table or _Table(self._path, self._slots)
        holders = list(map(self._quick.get, values))
        left = [index for index, holder in enumerate(holders) if holder is None]
        found = table.claim([values[index] for index in left], [claimants[index] for index in left])
        behind = iter(found)
        return [next(behind) if holder is None else holder for holder in holders]


class _Table:
    """Values and their claimants side by side, where the value's last bits say, or as soon behind as there is room."""

    def __init__(self, path: Path, slots: int) -> None:
        self._path = path
        self._cells = array("q", (0,)) * (2 * slots)
        self._free = int(slots * _LOAD)
        self._notes: FirstNotes | None = None

    def claim(self, values: Sequence[int], claimants: Sequence[int]) -> list[int]:
        """The claimants of all these values."""
        cells, last, free = self._cells, len(self._cells) - 2, self._free
        holders = list(claimants)
        beyond: list[int] = []
        for number, value in enumerate(values):
            cell = value & last
            while (found := cells[cell]) and found != value:
                cell = cell + 2 & last
            if found:
                holders[number] = cells[cell + 1]
            elif free:
                cells[cell] = value
                cells[cell + 1] = claimants[number]
                free -= 1
            else:
                beyond.append(number)
        self._free = free
        if beyond:
            noted = self._claim_on_disk({values[number]: claimants[number] for number in reversed(beyond)})
            for number in beyond:
                holders[number] = noted[values[number]]
        return holders

    def close(self) -> None:
        """Give the file back."""
        if self._notes:
            self._notes.close()

    def _claim_on_disk(self, claims: Mapping[int, int]) -> Mapping[int, int]:
        notes = self._notes = self._notes or FirstNotes(self._path)
        before = notes.count
        notes.note(claims)
        return claims if notes.count - before == len(claims) else notes.find(claims)

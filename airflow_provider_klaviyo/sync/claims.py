"""Who came first with a value in this run: in memory that is bounded, and behind it on disk."""

from __future__ import annotations

import json
from array import array
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from airflow_provider_klaviyo.sync.scratch.first_notes import scratch_database

QUICK = 699_000
"""Values in the dictionary: a few more would double what it takes."""

SLOTS = 1 << 20
"""Places of the table, of 16 bytes each."""

_LOAD = 0.6
"""Part of the slots that are taken at the most: from there on it takes ever longer to find a free one."""

FILTER_BITS = 27
"""The filter has two to the power of so many bits: 16 MB."""


class Claims:
    """Remembers the first claimant of each value; both are 64-bit hashes.

    Among ten million values the chance that any two share a hash is about 3 in a million. A dictionary is quick, but
    takes 110 bytes a value; a table of 16 bytes is slower, and the disk slowest. Measured on a busy machine, in µs of
    CPU a value: 0.4 for the first 699,000, in 75 MB; 0.6 for those of the table, in 16 MB; 4 to 5 for all others.

    :param path: of the file, which is made when it is needed.
    """

    def __init__(
        self, path: Path, *, quick: int = QUICK, slots: int = SLOTS, filter_bits: int = FILTER_BITS
    ) -> None:
        self._path = path
        self._filter_bits = filter_bits
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
        table = self._table = self._table or _Table(self._path, self._slots, self._filter_bits)
        holders = list(map(self._quick.get, values))
        left = [index for index, holder in enumerate(holders) if holder is None]
        found = table.claim([values[index] for index in left], [claimants[index] for index in left])
        behind = iter(found)
        return [next(behind) if holder is None else holder for holder in holders]


class _Table:
    """Values and their claimants side by side, where the value's last bits say, or as soon behind as there is room.

    When there is no room for more all of them go to disk, and it begins anew.
    """

    def __init__(self, path: Path, slots: int, filter_bits: int) -> None:
        self._path = path
        self._slots = slots
        self._filter_bits = filter_bits
        self._most = max(int(slots * _LOAD), 1)
        self._disk: _Disk | None = None
        self._empty()

    def claim(self, values: Sequence[int], claimants: Sequence[int]) -> list[int]:
        """The claimants of all these values."""
        holders = list(claimants)
        for start in range(0, len(values), self._most):
            self._claim(range(start, min(start + self._most, len(values))), values, holders)
        return holders

    def close(self) -> None:
        """Give the file back."""
        if self._disk:
            self._disk.close()

    def _empty(self) -> None:
        self._cells = array("q", (0,)) * (2 * self._slots)
        self._free = self._most

    def _claim(self, numbers: Sequence[int], values: Sequence[int], holders: list[int]) -> None:
        if self._free < len(numbers):
            self._disk = self._disk or _Disk(self._path, self._slots, self._filter_bits)
            self._disk.take(self._cells)
            self._empty()
        disk = self._disk
        doubtful = self._claim_here(numbers, values, holders, disk)
        if disk and doubtful:
            known = disk.find({values[number] for number in doubtful})
            for number in doubtful:
                holders[number] = known.get(values[number], holders[number])
            self._claim_here([each for each in doubtful if values[each] not in known], values, holders, None)

    def _claim_here(
        self, numbers: Sequence[int], values: Sequence[int], holders: list[int], disk: _Disk | None
    ) -> list[int]:
        """Claim values that nobody has, for which there is room, and see who has the others.

        :param holders: the claimant of each value, in whose place the holder is put.
        :param disk: what may have values, too; they are left alone, and their numbers returned.
        """
        cells, last, free = self._cells, len(self._cells) - 2, self._free
        doubtful: list[int] = []
        for number in numbers:
            value = values[number]
            cell = value & last
            while (found := cells[cell]) and found != value:
                cell = cell + 2 & last
            if found:
                holders[number] = cells[cell + 1]
            elif disk and disk.may_have(value):
                doubtful.append(number)
            else:
                cells[cell] = value
                cells[cell + 1] = holders[number]
                free -= 1
        self._free = free
        return doubtful


class _Disk:
    """Values and their claimants on disk, and a filter in memory: of nearly all that are not there it knows that.

    The filter is Bloom's, of two bits a value: at 20 million it is wrong of one in fifteen.

    :param slots: of the tables that are taken, whose order is the one on disk: so those that are written together lie
        together.
    """

    def __init__(self, path: Path, slots: int, filter_bits: int) -> None:
        self._database = scratch_database(path)
        self._database.execute("CREATE TABLE claims (key INTEGER PRIMARY KEY, claimant INTEGER)")
        self._database.execute("BEGIN")
        self._bits = bytearray((1 << filter_bits) // 8)
        self._filter_bits = filter_bits
        self._mask = (1 << filter_bits) - 1
        self._low = 2 * slots - 1
        self._shift = self._low.bit_length()

    def may_have(self, value: int) -> bool:
        """Whether a value may be here."""
        first, second = value & self._mask, value >> self._filter_bits & self._mask
        bits = self._bits
        return bool(bits[first >> 3] >> (first & 7) & bits[second >> 3] >> (second & 7) & 1)

    def take(self, cells: Sequence[int]) -> None:
        """Keep all values of a table; none of them is here yet."""
        self._database.executemany("INSERT INTO claims VALUES (?, ?)", self._rows(cells))

    def find(self, values: Collection[int]) -> dict[int, int]:
        """The claimants of those values that are here."""
        keys = {self._key(value): value for value in values}
        query = "SELECT key, claimant FROM claims WHERE key IN (SELECT value FROM json_each(?))"
        found = self._database.execute(query, (json.dumps(sorted(keys)),))
        return {keys[key]: claimant for key, claimant in found}

    def close(self) -> None:
        """Forget everything."""
        self._database.close()

    def _rows(self, cells: Sequence[int]) -> Iterator[tuple[int, int]]:
        bits, mask, more = self._bits, self._mask, self._filter_bits
        for cell in range(0, len(cells), 2):
            if value := cells[cell]:
                for bit in (value & mask, value >> more & mask):
                    bits[bit >> 3] |= 1 << (bit & 7)
                yield self._key(value), cells[cell + 1]

    def _key(self, value: int) -> int:
        """The value with its last bits first: in the order of the table."""
        key = (value & self._low) << (64 - self._shift) | (value >> self._shift & (1 << 64 - self._shift) - 1)
        return key - (1 << 63)

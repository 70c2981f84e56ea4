"""Who came first with a value in this run: in memory that is bounded, and behind it on disk."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path

QUICK = 349_000
"""Values in the dictionary: a few more would double what it takes."""

SLOTS = 1 << 20
"""Places of a table, of 16 bytes each."""

_LOAD = 0.6
"""Part of the slots that are taken at the most: from there on it takes ever longer to find a free one."""

FILTER_BITS = 28
"""The filter has two to the power of so many bits: 32 MB."""

_NOUGHT = 0x5DEECE66D1234567
"""In place of the value 0, which is a free slot."""

_PART = 1 << 16
"""Numbers of a table that are read, or made 0, at a time."""

_BITS = tuple(1 << bit for bit in range(8))

_LOOK = 512
"""Bytes of a table that are read to find a value: all that may be in its place are rarely more."""


class Claims:
    """Remembers the first claimant of each value; both are 64-bit hashes.

    Among ten million values the chance that any two share a hash is about 3 in a million. A dictionary is quick, but
    takes 110 bytes a value; a table of 16 bytes a slot is slower, and goes to disk when it is full, with what the
    dictionary has. From then on memory stays as it is: 16 MB for the table that is filled, and 32 MB for the filter.

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
        if self._table is None and len(self._quick) + len(values) <= self._max_quick:
            holders = list(map(self._quick.setdefault, values, claimants))
            if holders == claimants:
                return {}
            pairs = enumerate(zip(holders, claimants, strict=True))
            return {index: holder for index, (holder, claimant) in pairs if holder != claimant}
        self._table = self._table or _Table(self._path, self._quick, self._slots, self._filter_bits)
        return self._table.claim(values, claimants)

    def close(self) -> None:
        """Forget everything."""
        self._quick.clear()
        if self._table:
            self._table.close()


class _Table:
    """Values and their claimants side by side, where the value's last bits say, or as soon behind as there is room.

    When there is no room for more it goes to disk, and it begins anew.

    :param quick: values that have a claimant already; they are taken over when the first table goes to disk.
    """

    def __init__(self, path: Path, quick: dict[int, int], slots: int, filter_bits: int) -> None:
        self._path = path
        self._quick = quick
        if 0 in quick:
            quick[_NOUGHT] = quick.pop(0)
        self._filter_bits = filter_bits
        self._cells = array("q", (0,)) * (2 * slots)
        self._free = self._most = max(int(slots * _LOAD), 1)
        self._full: _FullTables | None = None

    def claim(self, values: Sequence[int], claimants: Sequence[int]) -> dict[int, int]:
        """Claim each value for its claimant; returns the indexes of those that somebody else has, and who."""
        if 0 in values:
            values = [value or _NOUGHT for value in values]
        taken: dict[int, int] = {}
        for start in range(0, len(values), self._most):
            end = start + self._most
            taken |= self._claim(start, values[start:end], claimants[start:end])
        return taken

    def close(self) -> None:
        """Give the file back."""
        if self._full:
            self._full.close()

    def _claim(self, first: int, values: Sequence[int], claimants: Sequence[int]) -> dict[int, int]:
        """Claim values for which a table has room; ``first`` is the index of the first of them."""
        while self._free < len(values):
            self._empty()
        known = self._known(values)
        if not known:
            return self._claim_here(enumerate(zip(values, claimants, strict=True), first))
        pairs = list(enumerate(zip(values, claimants, strict=True), first))
        taken = {
            index: known[value]
            for index, (value, claimant) in pairs
            if known.get(value, claimant) != claimant
        }
        return taken | self._claim_here(pair for pair in pairs if pair[1][0] not in known)

    def _known(self, values: Sequence[int]) -> dict[int, int]:
        """The claimants of those values that are not in the table, but before or behind it."""
        known = self._full.find(values) if self._full else {}
        if self._quick:
            known |= {value: self._quick[value] for value in values if value in self._quick}
        return known

    def _claim_here(self, pairs: Iterator[tuple[int, tuple[int, int]]]) -> dict[int, int]:
        """Claim values that are nowhere else, and for which there is room."""
        cells, last, free = self._cells, len(self._cells) - 2, self._free
        taken: dict[int, int] = {}
        for index, (value, claimant) in pairs:
            cell = value & last
            while (found := cells[cell]) and found != value:
                cell = cell + 2 & last
            if not found:
                cells[cell] = value
                cells[cell + 1] = claimant
                free -= 1
            elif cells[cell + 1] != claimant:
                taken[index] = cells[cell + 1]
        self._free = free
        return taken

    def _empty(self) -> None:
        """Bring the table to disk, and begin anew with what the dictionary has, whose memory the filter may need."""
        cells, quick = self._cells, self._quick
        full = self._full = self._full or _FullTables(self._path, len(cells), self._filter_bits)
        full.write(cells)
        for start in range(0, len(cells), _PART):
            cells[start : start + _PART] = array("q", (0,)) * min(_PART, len(cells) - start)
        self._free = self._most
        self._claim_here((0, quick.popitem()) for _ in range(min(len(quick), self._free)))
        if not quick:
            quick.clear()  # only this gives its memory back
        full.note_last()


class _FullTables:
    """Tables on disk, one behind the other, and a filter in memory: of nearly all that are not there it knows that.

    The filter is Bloom's, of three bits a value: at 20 million it is wrong of one in a hundred, which is looked for in
    every table.

    :param cells: how many numbers a table has.
    """

    def __init__(self, path: Path, cells: int, filter_bits: int) -> None:
        self._file = path.open("w+b", buffering=0)
        self._cells = cells
        self._count = 0
        self._bits = bytearray((1 << filter_bits) // 8)
        self._second, self._third = filter_bits, 64 - filter_bits

    def write(self, cells: array[int]) -> None:
        """Keep a table; its values are found when they are noted, too.

        :raises OSError: when there is no room for it.
        """
        left = memoryview(cells).cast("B")
        while left:
            left = left[self._file.write(left) :]
        self._count += 1

    def note_last(self) -> None:
        """Note the values of the last table in the filter."""
        bits, last, more, most = self._bits, len(self._bits) - 1, self._second, self._third
        for start in range(0, self._cells, _PART):
            for value in self._read(self._count - 1, start, _PART)[::2]:
                if value:
                    bits[value >> 3 & last] |= _BITS[value & 7]
                    second, third = value >> more, value >> most
                    bits[second >> 3 & last] |= _BITS[second & 7]
                    bits[third >> 3 & last] |= _BITS[third & 7]

    def find(self, values: Sequence[int]) -> dict[int, int]:
        """The claimants of those values that are here."""
        bits, last, more, most = self._bits, len(self._bits) - 1, self._second, self._third
        possible = [
            value
            for value in values
            if bits[value >> 3 & last] & _BITS[value & 7]
            and bits[(second := value >> more) >> 3 & last] & _BITS[second & 7]
            and bits[(third := value >> most) >> 3 & last] & _BITS[third & 7]
        ]
        found = ((value, self._claimant(value)) for value in possible)
        return {value: claimant for value, claimant in found if claimant is not None}

    def close(self) -> None:
        """Forget everything."""
        self._file.close()

    def _claimant(self, value: int) -> int | None:
        found = (self._claimant_in(table, value) for table in range(self._count))
        return next((claimant for claimant in found if claimant is not None), None)

    def _claimant_in(self, table: int, value: int) -> int | None:
        cell = value & self._cells - 2
        while True:
            cells = self._read(table, cell, _LOOK // 8)
            for index in range(0, len(cells), 2):
                if cells[index] == value:
                    return cells[index + 1]
                if not cells[index]:
                    return None
            cell = (cell + len(cells)) % self._cells

    def _read(self, table: int, cell: int, count: int) -> memoryview[int]:
        """Some numbers of a table, fewer at its end.

        :raises OSError: when they are not there.
        """
        count = min(count, self._cells - cell)
        content = os.pread(self._file.fileno(), 8 * count, 8 * (table * self._cells + cell))
        if len(content) != 8 * count:
            msg = f"{self._file.name} is shorter than what was written to it"
            raise OSError(msg)
        return memoryview(content).cast("q")

"""Who came first with a value in this run: in memory that is bounded, and behind it on disk."""

from __future__ import annotations

import os
import random
from array import array
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import BinaryIO, NamedTuple

QUICK = 43_690
"""Values in the dictionary: one more would double what it takes."""

SLOTS = 1 << 22
"""Places of the first index, of 4 bytes each; those that follow have half of them, as there is a filter then."""

FILTER_WORDS = 1 << 21
"""The filter has so many words of 8 bytes."""

_LOAD = 0.6
"""Part of the slots that are taken at the most: from there on it takes ever longer to find a free one."""

_NUMBERS = 1 << 22
"""A slot has a number below this, and in the bits above it the first ones of a half of the value."""

_MARK = (1 << 32) - _NUMBERS

_PATTERNS = 1 << 12
"""As many choices there are of bits of a word that stand for a value in the filter."""

_BITS = 4

_ALL = (1 << 64) - 1

_PART = 1 << 15
"""Claims that are read at a time."""

_LOOK = 16
"""Slots that are read to find a value: all that may be in its place are rarely more."""

_CLAIM = 16
"""Bytes of a claim on disk."""


class Claims:
    """Remembers the first claimant of each value; both are 64-bit hashes.

    Among ten million values the chance that any two share a hash is about 3 in a million. A dictionary is quick, but
    takes 110 bytes a value. So when it is full, all claims are written down on disk, and memory has an index of them,
    of 16 MB. When that is full, it goes to disk too, and memory has a smaller one and a filter, of 24 MB together; so
    it stays.

    :param path: of the files, which are made when they are needed; their names begin with its own.
    """

    def __init__(
        self, path: Path, *, quick: int = QUICK, slots: int = SLOTS, filter_words: int = FILTER_WORDS
    ) -> None:
        self._path = path
        self._quick: dict[int, int] = {}
        self._max_quick = quick
        self._slots = slots
        self._filter_words = filter_words
        self._index: _Index | None = None

    def claim(self, values: Sequence[int], claimants: Sequence[int]) -> dict[int, int]:
        """Claim each value for its claimant; returns the indexes of those that somebody else has, and who.

        :raises OSError: when there is no room on disk.
        """
        quick = self._quick
        if self._index is None and len(quick) + len(values) <= self._max_quick:
            holders = list(map(quick.setdefault, values, claimants))
            if holders == claimants:
                return {}
            pairs = enumerate(zip(holders, claimants, strict=True))
            return {index: holder for index, (holder, claimant) in pairs if holder != claimant}
        if self._index is None:
            self._index = _Index(self._path, self._slots, self._filter_words)
            self._index.claim(list(quick), list(quick.values()))
            quick.clear()
        return self._index.claim(values, claimants)

    def close(self) -> None:
        """Forget everything."""
        self._quick.clear()
        if self._index:
            self._index.close()


class _Index:
    """Where the claim of each value is written down: in the slot that its last bits say, or the first free one behind.

    A slot has the claim's number, counted from the index's first one, and the first bits of its value: they nearly
    always tell values apart, without a look at the disk.
    """

    def __init__(self, path: Path, slots: int, filter_words: int) -> None:
        self._closing = ExitStack()
        self._written = _Written(self._closing.enter_context(_opened(path, "claims")))
        full = self._closing.enter_context(_opened(path, "indexes"))
        self._full = _FullIndexes(full, self._written, filter_words)
        self._more = max(slots // 2, 2)
        self._begin(slots)

    def claim(self, values: Sequence[int], claimants: Sequence[int]) -> dict[int, int]:
        """Claim each value for its claimant; returns the indexes of those that somebody else has, and who."""
        taken: dict[int, int] = {}
        for start in range(0, len(values), self._at_once):
            end = start + self._at_once
            held = self._claim(values[start:end], claimants[start:end])
            taken |= {start + index: who for index, who in held.items() if who != claimants[start + index]}
        return taken

    def close(self) -> None:
        """Give the files back."""
        self._closing.close()

    @property
    def _at_once(self) -> int:
        """How many values any index has room for."""
        return _room(self._more)

    def _begin(self, slots: int) -> None:
        self._slots = array("I", (0,)) * slots
        self._free = _room(slots)
        self._before = self._written.count

    def _claim(self, values: Sequence[int], claimants: Sequence[int]) -> dict[int, int]:
        """Claim values for which an index has room; returns the indexes of those that had a claimant, and who."""
        if self._free < len(values) or self._written.count - self._before + len(values) >= _NUMBERS:
            self._full.write(self._slots, self._before)
            self._slots = array("I")  # the filter needs its memory
            self._full.note_last()
            self._begin(self._more)
        held = self._full.find(values)
        if not held:
            return self._claim_here(values, claimants)
        new = [index for index in range(len(values)) if index not in held]
        here = self._claim_here([values[each] for each in new], [claimants[each] for each in new])
        return held | {new[index]: who for index, who in here.items()}

    def _claim_here(self, values: Sequence[int], claimants: Sequence[int]) -> dict[int, int]:
        """The same for values that no full index has. This runs for every row."""
        slots, last, mark = self._slots, len(self._slots) - 1, _MARK
        packed = array("q", values)
        first = self._written.add(packed, claimants) - self._before
        held: dict[int, int] = {}
        for number, (half, other) in enumerate(_halves(packed), first):
            slot = half & last
            while found := slots[slot]:
                if not (found ^ other) & mark:
                    who = self._written.claimant(self._before + (found & ~mark), values[number - first])
                    if who is not None:
                        held[number - first] = who
                        break
                slot = slot + 1 & last
            else:
                slots[slot] = other & mark | number
        self._free -= len(values) - len(held)
        return held


class _Written:
    """All claims, one behind the other; they are numbered from 1."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.count = 0

    def add(self, values: array[int], claimants: Sequence[int]) -> int:
        """Write claims down; returns the number of the first one.

        :raises OSError: when there is no room for them.
        """
        pairs = array("q", bytes(_CLAIM * len(values)))
        pairs[::2], pairs[1::2] = values, array("q", claimants)
        _write(self._file, pairs)
        first = self.count + 1
        self.count += len(values)
        return first

    def claimant(self, number: int, value: int) -> int | None:
        """Who made a claim; None where it is one of another value."""
        found, claimant = _read(self._file, _CLAIM * (number - 1), _CLAIM).cast("q")
        return claimant if found == value else None

    def values_after(self, number: int) -> Iterator[array[int]]:
        """The values of all claims after one, part by part."""
        for start in range(number, self.count, _PART):
            length = min(_PART, self.count - start)
            yield array("q", _read(self._file, _CLAIM * start, _CLAIM * length).cast("q")[::2])


class _Full(NamedTuple):
    """An index on disk: where it begins, its slots, and how many claims were written down before its first one."""

    start: int
    slots: int
    before: int


class _FullIndexes:
    """Indexes on disk, one behind the other, and a filter in memory: of nearly all that they have not it knows that.

    The filter is Bloom's, with all bits of a value in one word, so that one look tells; bits that were noted are 0.
    """

    def __init__(self, file: BinaryIO, written: _Written, filter_words: int) -> None:
        self._file = file
        self._written = written
        self._indexes: list[_Full] = []
        self._size = 0
        self._filter_words = filter_words
        self._words = array("Q")

    def write(self, slots: array[int], before: int) -> None:
        """Keep an index; its values are found when they are noted, too.

        :param before: how many claims were written down before its first one.
        :raises OSError: when there is no room for it.
        """
        _write(self._file, slots)
        self._indexes.append(_Full(self._size, len(slots), before))
        self._size += slots.itemsize * len(slots)

    def note_last(self) -> None:
        """Note the values of the last index in the filter, which are those of the last claims."""
        words = self._words = self._words or array("Q", (_ALL,)) * self._filter_words
        patterns, last_pattern, last_word = (
            [_ALL ^ each for each in _patterns()],
            _PATTERNS - 1,
            len(words) - 1,
        )
        for values in self._written.values_after(self._indexes[-1].before):
            for half, other in _halves(values):
                words[other & last_word] &= patterns[half & last_pattern]

    def find(self, values: Sequence[int]) -> dict[int, int]:
        """The indexes of those values that are here, and their claimants."""
        words = self._words
        if not words:
            return {}
        patterns, last_pattern, last_word = _patterns(), _PATTERNS - 1, len(words) - 1
        possible = [
            (index, half, other)
            for index, (half, other) in enumerate(_halves(array("q", values)))
            if not patterns[half & last_pattern] & words[other & last_word]
        ]
        found = ((index, self._claimant(values[index], half, other)) for index, half, other in possible)
        return {index: claimant for index, claimant in found if claimant is not None}

    def _claimant(self, value: int, half: int, other: int) -> int | None:
        found = (self._claimant_in(index, value, half, other) for index in self._indexes)
        return next((claimant for claimant in found if claimant is not None), None)

    def _claimant_in(self, index: _Full, value: int, half: int, other: int) -> int | None:
        slot = half & index.slots - 1
        while True:
            length = min(_LOOK, index.slots - slot)
            for found in _read(self._file, index.start + 4 * slot, 4 * length).cast("I"):
                if not found:
                    return None
                if not (found ^ other) & _MARK:
                    claimant = self._written.claimant(index.before + (found & ~_MARK), value)
                    if claimant is not None:
                        return claimant
            slot = (slot + length) % index.slots


@cache
def _patterns() -> Sequence[int]:
    """Bits of a word that stand for a value, by the last bits of a half of it."""
    dice = random.Random(_PATTERNS)  # noqa: S311 - any patterns do
    return tuple(sum(1 << bit for bit in dice.sample(range(64), _BITS)) for _ in range(_PATTERNS))


def _halves(values: array[int]) -> Iterator[tuple[int, int]]:
    """The halves of each value: Python is quicker with them, and it is all the same which is which."""
    halves = memoryview(values).cast("B").cast("I")
    return zip(halves[::2].tolist(), halves[1::2].tolist(), strict=True)


def _room(slots: int) -> int:
    return max(int(slots * _LOAD), 1)


def _opened(path: Path, name: str) -> BinaryIO:
    return path.with_name(f"{path.name}-{name}").open("w+b", buffering=0)


def _write(file: BinaryIO, numbers: array[int]) -> None:
    left = memoryview(numbers).cast("B")
    while left:
        left = left[file.write(left) :]


def _read(file: BinaryIO, start: int, length: int) -> memoryview[int]:
    """Some bytes.

    :raises OSError: when they are not there.
    """
    content = os.pread(file.fileno(), length, start)
    if len(content) != length:
        msg = f"{file.name} is shorter than what was written to it"
        raise OSError(msg)
    return memoryview(content)

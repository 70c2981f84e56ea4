"""People whom two shards of a sync name, found by the rolls that the shards left; memory stays flat."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from airflow_provider_klaviyo.sync.roll import ReadRoll

_AT_ONCE = 500_000
"""Hashes that are compared at a time, of all shards together: about 60 MB."""

_LEAST, _BEYOND = -(1 << 63), 1 << 63


class Rolls(NamedTuple):
    """Where a shard keeps whom its rows name, and whom it has taken off its list (None where that is nobody)."""

    named: Any
    removed: Any


class Overlap(NamedTuple):
    """What two shards have in common.

    :param people: how many both name.
    :param removed: how many the first has taken off the list, and the second names.
    """

    first: str
    second: str
    people: int
    removed: int


def find_overlaps(shards: Mapping[str, Rolls], scratch: Path) -> list[Overlap]:
    """Compare the people of shards; those with most in common come first.

    :param shards: by name, in an order that stays.
    :param scratch: a private folder, which gets a copy of each roll.
    :raises ValueError: when a roll is not whole, or shards match people by different identifiers.
    :raises OSError: when a roll cannot be read, or what else the store raises.
    """
    rolls: list[ReadRoll] = []

    def read(path: Any) -> ReadRoll | None:
        if path is not None:
            rolls.append(ReadRoll(path, scratch / f"roll-{len(rolls)}"))
            return rolls[-1]
        return None

    try:
        named = {name: ReadRolls(read(each.named), read(each.removed)) for name, each in shards.items()}
        if (
            len({roll.identifier for roll in rolls if roll.count} - {""}) > 1
        ):  # those removed are of the same state
            msg = "the shards match people by different identifiers"
            raise ValueError(msg)
        both, removed = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
        ranges = 1 + sum(roll.count for roll in rolls) // _AT_ONCE
        for number in range(1, ranges + 1):
            bound = _BEYOND if number == ranges else _LEAST + (number * (_BEYOND - _LEAST)) // ranges
            _compare({name: each.below(bound) for name, each in named.items()}, both, removed)
    finally:
        for roll in rolls:
            roll.close()
    pairs = sorted(both.keys() | removed.keys(), key=lambda pair: (-both[pair] - removed[pair], pair))
    return [Overlap(*pair, both[pair], removed[pair]) for pair in pairs]


class ReadRolls(NamedTuple):
    """The two rolls of a shard, open."""

    named: ReadRoll | None
    removed: ReadRoll | None

    def below(self, bound: int) -> tuple[set[int], set[int]]:
        """The next hashes of each."""
        named = self.named.below(bound) if self.named else set()
        return named, self.removed.below(bound) if self.removed else set()


def _compare(
    shards: Mapping[str, tuple[set[int], set[int]]],
    both: Counter[tuple[str, str]],
    removed: Counter[tuple[str, str]],
) -> None:
    """Count what shards have in common of one range of hashes."""
    everybody: set[int] = set()
    repeated: set[int] = set()
    for named, _ in shards.values():
        repeated |= everybody & named
        everybody |= named
    for person in repeated:
        first, *others = [name for name, (named, _) in shards.items() if person in named]
        for second in others:
            both[first, second] += 1
    for name, (_, gone) in shards.items():
        for person in gone & everybody:
            for other, (named, _) in shards.items():
                if other != name and person in named:
                    removed[name, other] += 1

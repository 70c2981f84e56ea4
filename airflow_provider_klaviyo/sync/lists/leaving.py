"""Who is to leave a mirrored list, and when people may be removed at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import msgspec

from airflow_provider_klaviyo.state.tracked import Absent

_ALWAYS = 10
"""So many removals a share always permits: of a list of five, one is a fifth."""


@dataclass(frozen=True, slots=True)
class MirrorRules:
    """When people may be removed; the names are those of the operator's parameters.

    :param allows: whether so many rejected rows, of so many, are within ``max_rejected``.
    """

    max_removals: float | None
    allow_empty: bool
    full_refresh: bool
    allows: Callable[[int, int], bool]

    def most(self, people: int) -> int | None:
        """How many of so many people may be removed; None for no limit."""
        if self.max_removals is None or isinstance(self.max_removals, int):
            return self.max_removals
        return max(_ALWAYS, int(self.max_removals * people + 1e-9))


class Leaving(msgspec.Struct, array_like=True):
    """The people that leave the list, as any worker can remove them: small, without a name or an address.

    ``ids`` are Klaviyo's, where they are known; ``held_by`` are rows that named a person before (see ``Absent``),
    ``people`` is how many a share of removals is a share of, and ``since`` is the last change of the state before the
    run. ``field`` is what people are matched by, and ``unreadable`` are members who do not show it, and so stay.
    """

    persons: list[int]
    held_by: dict[int, tuple[int, ...]]
    people: int
    ids: list[str] = []
    since: int = 0
    field: str = ""
    unreadable: int = 0

    def add(self, absent: Iterable[Absent]) -> None:
        """Add people that no row names."""
        for person, held_by in absent:
            self.persons.append(person)
            if held_by:
                self.held_by[person] = held_by

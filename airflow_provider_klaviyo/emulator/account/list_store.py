"""The account's lists and who is on them since when."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Literal, NamedTuple

from airflow_provider_klaviyo.emulator.account.profile_store import Profile

OptIn = Literal["double_opt_in", "single_opt_in"]
OPT_IN_PROCESSES: tuple[OptIn, ...] = ("double_opt_in", "single_opt_in")


class Place(NamedTuple):
    """Where somebody stands on a list: by when they joined, and among those of one instant by who came first."""

    joined: float
    turn: int


Placed = tuple[Place, int]
"""A member's place and the number of the profile."""


@dataclass(slots=True)
class ProfileList:
    """A list; `members` maps profile numbers to their places, in the order of coming."""

    id: str
    name: str
    opt_in_process: OptIn
    created: float
    updated: float
    members: dict[int, Place] = field(default_factory=dict)
    _turns: int = 0
    _order: list[tuple[float, int, int]] = field(default_factory=list)
    """Joined, turn and number of everybody; those who left stay until they are the most."""

    def join(self, number: int, joined: float) -> None:
        """Put a profile on the list; who is on it already keeps the moment of joining."""
        if number not in self.members:
            self.members[number] = Place(joined, self._turns)
            insort(self._order, (joined, self._turns, number))
            self._turns += 1

    def leave(self, number: int) -> None:
        """Take a profile off the list, if it is on it."""
        gone = self.members.pop(number, None)
        if gone and len(self._order) > 2 * len(self.members) + 100:
            self._order = sorted((*place, number) for number, place in self.members.items())

    def only(self, numbers: Iterable[int]) -> ProfileList:
        """A copy with none but these profiles."""
        members = {number: self.members[number] for number in numbers if number in self.members}
        order = sorted((*place, number) for number, place in members.items())
        return replace(self, members=members, _order=order)

    def oldest_first(self, first: float, last: float, after: Place | None = None) -> Iterator[Placed]:
        """Members who joined from one instant to another, both included; only those behind a place."""
        start = bisect_left(self._order, (first,))
        if after is not None:
            start = max(start, bisect_right(self._order, (*after, math.inf)))
        yield from takewhile(lambda each: each[0].joined <= last, self._there(range(start, len(self._order))))

    def newest_first(
        self, first: float, last: float, after: Place | None = None, *, turns_stay: bool
    ) -> Iterator[Placed]:
        """The same the other way round; `turns_stay` leaves those of one instant in the order of coming."""
        end = bisect_right(self._order, (last if after is None else min(last, after.joined), math.inf))
        while end and (joined := self._order[end - 1][0]) >= first:
            start = left = bisect_left(self._order, (joined,))
            if after is not None and joined == after.joined:
                left = bisect_right(self._order, (*after, math.inf)) if turns_stay else left
                end = end if turns_stay else bisect_left(self._order, (*after,))
            alike = range(left, end)
            yield from self._there(alike if turns_stay else reversed(alike))
            end = start

    def _there(self, indexes: Iterable[int]) -> Iterator[Placed]:
        for joined, turn, number in map(self._order.__getitem__, indexes):
            if self.members.get(number) == (joined, turn):
                yield Place(joined, turn), number


class ListStore:
    """Lists by id, oldest first. Two of them may have one name."""

    def __init__(self) -> None:
        self._lists: dict[str, ProfileList] = {}

    def __iter__(self) -> Iterator[ProfileList]:
        return iter(self._lists.values())

    def get(self, list_id: str) -> ProfileList | None:
        """A list that exists."""
        return self._lists.get(list_id)

    def add(self, profile_list: ProfileList) -> None:
        """Keep a new list."""
        self._lists[profile_list.id] = profile_list

    def remove(self, list_id: str) -> None:
        """Delete a list; its members stay in the account."""
        del self._lists[list_id]

    def join(self, list_id: str, profile: Profile, now: float) -> None:
        """Put somebody on a list; who is on it already keeps the moment of joining."""
        profile_list = self._lists.get(list_id)
        if profile_list is not None:
            profile_list.join(profile.number, now)

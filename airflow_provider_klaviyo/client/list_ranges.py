"""Which cursors read a list side by side, and when each has read enough.

A list can be read from any instant on, in the order of joining, and backwards. So the time over which its members
joined is cut into ranges, and each has a cursor of its own. Where people are is not known beforehand: whoever has
nothing to do takes a part of the range that has the most left.

A cursor has read enough when it comes upon those with whom the next one began, or upon somebody who joined later than
they did. Nothing follows from where a range was to begin, nor from a clock: Klaviyo shows whole seconds, and what it
orders and filters by may be finer. Those of one second cannot be cut any more. They are read from both ends, and enough
was read when one end comes upon people whom the other has read last, in the opposite order; where they come in the same
order, as Klaviyo does not say, one end reads them all.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

SECOND = 1_000_000
"""Instants are whole microseconds since 1970."""

_MILLISECOND = 1_000

_LEAST = 3.0
"""Pages that each part of a range should have: a cut costs about one, since cursors meet in the middle of a page."""

_CROWDED = 2
"""Pages of one instant in a row after which more are expected."""

_TAIL = 2
"""Pages of which a cursor remembers whom it has read."""


class Joined(NamedTuple):
    """Who joined when; None where it is not shown."""

    id: str
    at: int | None


class OutOfOrder(Exception):
    """The pages are not in the order that was asked for, or not of the members that were asked for."""


class Cursor:
    """One way through the members: all who joined at ``start`` or later, or backwards all who joined before it.

    :param start: None for everybody.
    :param density: microseconds that a page is expected to cover; 0.0 where nothing is known.
    """

    def __init__(
        self, start: int | None, *, density: float = 0.0, is_backwards: bool = False, is_second: bool = False
    ) -> None:
        self.start = start
        self.is_backwards = is_backwards
        self.is_second = is_second
        self.is_done = False
        """Nothing more of it is needed."""
        self.is_at_the_end = False
        self.at: int | None = None
        """The latest instant that it has shown; backwards the earliest."""
        self.head: frozenset[Joined] = frozenset()
        """Whom it showed first."""
        self.head_at: int | None = None
        self.head_is_shown = False
        """Whether it is shown of all these when they joined."""
        self.density = density
        self.stays = 0
        """How many pages in a row were of one instant."""
        self.crowd: Sequence[Joined] = ()
        """The first of these."""
        self._tail: deque[Sequence[Joined]] = deque(maxlen=_TAIL)

    @property
    def tail(self) -> list[Joined]:
        """Whom it has read last, in the order of reading."""
        return [each for page in self._tail for each in page]

    def note(self, page: Sequence[Joined]) -> None:
        """Take a page for read."""
        self._tail.append(page)
        instants = [each.at for each in page if each.at is not None]
        if not self.head:
            self.head = frozenset(page)
            self.head_at = instants[0] if instants else None
            self.head_is_shown = len(instants) == len(page)
        if not instants:
            return
        before = instants[0] if self.at is None else self.at
        self.at = min(before, instants[-1]) if self.is_backwards else max(before, instants[-1])
        self.density = float(abs(self.at - before))
        self.stays = 0 if self.density else self.stays + 1
        self.crowd = page if self.stays == 1 else self.crowd

    def has_passed(self, other: Cursor, enough: int) -> bool:
        """Whether it has read everybody before those with whom the other began.

        :param enough: how many of these it must have read to have come there: one may have left and joined again.
        """
        if self.at is not None and other.head_at is not None:
            if self.at > other.head_at:
                return True
            if self.at < other.head_at and other.head_is_shown:  # nobody of them has come
                return False
        return len(other.head.intersection(self.tail)) >= min(enough, len(other.head))


class Ranges:
    """The ranges of one list while it is read.

    ``first`` is the cursor that reads from the beginning; ``more`` names others.

    :param enough: how many people both ends must have read in the opposite order to have met.
    """

    def __init__(self, enough: int = 10) -> None:
        self.first = Cursor(None)
        self._chain = [self.first]
        self._backwards: dict[Cursor, Cursor] = {}
        self._enough = enough
        self._due: list[Cursor] = []
        self._newest: int | None = None
        self._grain = SECOND
        self._ties_turn = True

    @property
    def is_read(self) -> bool:
        """Whether everybody was read."""
        return not self._due and all(each.is_done for each in self._chain)

    def take(self, cursor: Cursor, page: Sequence[Joined], *, is_last: bool) -> None:
        """Note what a cursor has shown.

        :raises OutOfOrder: when nothing can be told from it.
        """
        if cursor.is_done:
            return
        self._check(cursor, page)
        instants = [each.at for each in page if each.at is not None]
        self._grain = min(self._grain, _grain_of(math.gcd(*instants)))
        self._newest = max((*instants, *([] if self._newest is None else [self._newest])), default=None)
        if page:
            cursor.note(page)
        if cursor.is_backwards:
            self._take_backwards(cursor, is_last=is_last)
        else:
            self._take_forwards(cursor, is_last=is_last)
        self._forget()

    def newest(self, page: Sequence[Joined]) -> None:
        """Note the page of those who joined last: how far there is to read."""
        looked = Cursor(None, is_backwards=True)
        self._check(looked, page)
        looked.note(page)
        instants = [each.at for each in page if each.at is not None]
        self._newest = max((*instants, *([] if self._newest is None else [self._newest])), default=None)
        if looked.density:
            self.first.density = min(self.first.density or math.inf, looked.density)

    def more(self, idle: int) -> list[Cursor]:
        """Cursors that are to be opened, for so many that have nothing to do, and those that must be."""
        found, self._due = self._due, []
        cuts: dict[Cursor, int] = {}
        for _ in range(idle - len(found)):
            longest = max(self._chain, key=lambda each: self._left(each, cuts.get(each, 0)))
            if self._left(longest, cuts.get(longest, 0)) < _LEAST:
                break
            cuts[longest] = cuts.get(longest, 0) + 1
        for cursor, count in cuts.items():
            found += self._cut(cursor, count) if self._room(cursor) > self._grain else self._turn(cursor)
        return found

    # --- what was shown ---------------------------------------------------------------------------------------

    def _check(self, cursor: Cursor, page: Sequence[Joined]) -> None:
        instants = [each.at for each in page if each.at is not None]
        if cursor.is_backwards:
            instants.reverse()
        if instants != sorted(instants):
            msg = "the members do not come in the order of joining"
            raise OutOfOrder(msg)
        if cursor.start is None or not instants:
            return
        if instants[-1] >= cursor.start if cursor.is_backwards else instants[0] <= cursor.start - SECOND:
            msg = "members come who joined at another time than asked for"
            raise OutOfOrder(msg)

    def _take_forwards(self, cursor: Cursor, *, is_last: bool) -> None:
        if is_last:
            self._end(cursor)
        if not cursor.head:
            return
        place = self._chain.index(cursor)
        if before := next((each for each in self._chain[:place][::-1] if each.head), None):
            self._meet(before, cursor)
        while not cursor.is_done and (following := self._next(cursor)):
            if not self._meet(cursor, following):
                break
        if mate := self._backwards.get(cursor):
            self._cross(cursor, mate)

    def _end(self, cursor: Cursor) -> None:
        """Take it that the list ends here; where others have seen people beyond, that is asked once more."""
        place = self._chain.index(cursor)
        if not cursor.head and place:
            cursor.is_done = True
            del self._chain[place]
            return
        at = cursor.at
        beyond = (each.at for each in self._chain[place + 1 :] if each.head)
        if at is not None and not cursor.is_second and any(each is not None and each > at for each in beyond):
            again = Cursor(at, is_second=True)
            self._chain.insert(place + 1, again)
            self._due.append(again)
        cursor.is_done = cursor.is_at_the_end = True

    def _meet(self, cursor: Cursor, following: Cursor) -> bool:
        """Let one of two go on where the first has come to those with whom the second began; whether it has."""
        if not cursor.head or not following.head or not cursor.has_passed(following, self._enough):
            return False
        is_ahead = (cursor.at or 0) > (following.at or 0) and not following.is_done
        if is_ahead and (cursor.is_at_the_end or not cursor.is_done):
            left_out = following
        else:
            cursor.is_done = True
            left_out = None
        first, last = self._chain.index(cursor), self._chain.index(following)
        for each in self._chain[first + 1 : last] + ([left_out] if left_out else []):
            each.is_done = True
            self._chain.remove(each)
        return True

    def _next(self, cursor: Cursor) -> Cursor | None:
        """The next one that has shown anybody."""
        later = self._chain[self._chain.index(cursor) + 1 :]
        return next((each for each in later if each.head), None)

    def _take_backwards(self, cursor: Cursor, *, is_last: bool) -> None:
        self._cross(next(each for each, mate in self._backwards.items() if mate is cursor), cursor)
        cursor.is_done = (
            cursor.is_done or is_last
        )  # at the beginning, without having met the other: that tells nothing

    def _cross(self, cursor: Cursor, mate: Cursor) -> None:
        """Note when the two ends of an instant have met."""
        if mate.is_done or cursor.at is None or mate.at is None:
            return
        if mate.at >= cursor.at:
            common = _common(cursor.tail, mate.tail)
            if _is_rising(common) or _is_rising(_common(cursor.crowd, mate.tail)):
                self._ties_turn, mate.is_done = False, True
                return
            if len(common) < self._enough:
                return
        cursor.is_done = mate.is_done = True
        self._go_on(cursor, mate.start)

    def _go_on(self, cursor: Cursor, start: int | None) -> None:
        """Have those read who joined from ``start`` on, where the next cursor began later, or there is none."""
        place = self._chain.index(cursor) + 1
        following = self._chain[place].start if place < len(self._chain) else None
        if following is None or (start is not None and following > start):
            self._chain.insert(place, Cursor(start))
            self._due.append(self._chain[place])

    def _forget(self) -> None:
        """Forget whom nobody will come upon any more."""
        for cursor, mate in list(self._backwards.items()):
            if cursor.is_done:
                mate.is_done = True
                del self._backwards[cursor]
        chain = self._chain
        self._chain = [
            each
            for place, each in enumerate(chain)
            if not (place and each.is_done and chain[place - 1].is_done)
        ]

    # --- who may have nothing to do ---------------------------------------------------------------------------

    def _room(self, cursor: Cursor) -> int:
        """Microseconds between where a cursor is and where the next began."""
        at = cursor.start if cursor.at is None else cursor.at
        if at is None or self._newest is None:
            return 0
        place = self._chain.index(cursor)
        after = self._chain[place + 1].start if place + 1 < len(self._chain) else None
        return (self._newest + self._grain if after is None else after) - at

    def _left(self, cursor: Cursor, cuts: int) -> float:
        """Pages that each part of a range would have after one more cut than so many; 0.0 where it is not to be cut."""
        room = self._room(cursor)
        if cursor.is_done or room <= 0 or (cuts and not cursor.density):
            return 0.0
        if room <= self._grain:
            is_worth_it = cursor.stays >= _CROWDED and cursor not in self._backwards and self._ties_turn
            return math.inf if is_worth_it and not cuts else 0.0
        if not cursor.density:
            return math.inf if cursor.head else 0.0
        return room / cursor.density / (cuts + 2)

    def _cut(self, cursor: Cursor, count: int) -> list[Cursor]:
        """Give the later parts of a range to others; an instant with many is parted from all that follows."""
        at = cursor.start if cursor.at is None else cursor.at
        if at is None:
            return []
        room, place = self._room(cursor), self._chain.index(cursor)
        if cursor.stays >= _CROWDED:
            points = [at + self._grain]
        else:
            points = [
                at + room * part // (count + 1) // self._grain * self._grain for part in range(1, count + 1)
            ]
        made = [
            Cursor(each, density=cursor.density) for each in dict.fromkeys(points) if at < each < at + room
        ]
        self._chain[place + 1 : place + 1] = made
        return made

    def _turn(self, cursor: Cursor) -> list[Cursor]:
        """Have what is left of a range read from its end, too."""
        at = cursor.at
        if at is None:
            return []
        self._backwards[cursor] = Cursor(at + self._room(cursor), is_backwards=True)
        return [self._backwards[cursor]]


def _common(one: Sequence[Joined], other: Sequence[Joined]) -> list[int]:
    """The places on one page of those who are on the other, in its order."""
    places = {each: place for place, each in enumerate(one)}
    return [places[each] for each in other if each in places]


def _is_rising(places: Sequence[int]) -> bool:
    """Whether any two do not come in the opposite order."""
    return any(one < following for one, following in pairwise(places))


def _grain_of(divisor: int) -> int:
    """The finest unit that instants are shown in, by their greatest common divisor."""
    if divisor % SECOND == 0:
        return SECOND
    return _MILLISECOND if divisor % _MILLISECOND == 0 else 1

"""Reading a list by ranges, decided without a client: nobody is lost, and little is read twice."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_klaviyo.client.list_ranges import SECOND, Cursor, Joined, OutOfOrder, Ranges

DAY = 86_400 * SECOND
PAGE = 4


@dataclass
class Members:
    """A list as Klaviyo may keep it: in the order of joining, finer than it may show.

    :param shown: what instants are cut to.
    :param ties_turn: whether those of one instant come the other way round when the newest come first.
    """

    shown: int = SECOND
    ties_turn: bool = True
    size: int = PAGE
    pages: int = 0
    now: int = 0
    _turn: int = 0
    _there: dict[str, tuple[int, int]] = field(default_factory=dict)
    _after: dict[Cursor, tuple[int, int]] = field(default_factory=dict)

    @classmethod
    def of(cls, times: Sequence[int], **options: int) -> Members:
        members = cls(**options)  # type: ignore[arg-type]
        for number, instant in enumerate(times):
            members.join(f"p{number}", instant)
        return members

    def join(self, member: str, instant: int | None = None) -> None:
        at = self.now if instant is None else instant
        self._turn += 1
        self.now = max(self.now, at)
        self._there[member] = at, self._turn

    def leave(self, member: str) -> None:
        self._there.pop(member, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._there)

    def page(self, cursor: Cursor) -> tuple[list[Joined], bool]:
        """The next page of a cursor, and whether it is the last one."""
        self.pages += 1
        key = self._backwards if cursor.is_backwards else lambda place: place
        start, after = cursor.start, self._after.get(cursor)
        found = sorted(
            (key(place), place, member)
            for member, place in self._there.items()
            if (start is None or (place[0] < start if cursor.is_backwards else place[0] >= start))
            and (after is None or key(place) > after)
        )
        if found:
            self._after[cursor] = found[: self.size][-1][0]
        shown = [
            Joined(member, place[0] // self.shown * self.shown) for _, place, member in found[: self.size]
        ]
        return shown, len(found) <= self.size

    def _backwards(self, place: tuple[int, int]) -> tuple[int, int]:
        return -place[0], -place[1] if self.ties_turn else place[1]


def read(
    members: Members, width: int, pick: Callable[[int], int], meanwhile: Callable[[], None] = lambda: None
) -> set[str]:
    """Read with so many requests at once; `pick` tells which of them is answered next."""
    ranges, newest = Ranges(enough=2 if members.size < 100 else 10), Cursor(None, is_backwards=True)
    asked, ready, seen = [ranges.first], [], set[str]()
    while not ranges.is_read:
        ready = [each for each in ready if not each.is_done]
        ready += ranges.more(width - len(asked) - len(ready))
        while ready and len(asked) < width:
            asked.append(ready.pop(0))
        cursor = asked.pop(pick(len(asked)))
        page, is_last = members.page(cursor)
        meanwhile()
        seen |= {each.id for each in page}
        is_first = len(seen) == len(page)
        if cursor is newest:
            ranges.newest(page)
            continue
        ranges.take(cursor, page, is_last=is_last)
        ready += [] if cursor.is_done else [cursor]
        ready += [newest] if is_first and newest not in members._after else []
    return seen


def in_turn(_: int) -> int:
    return 0


INSTANTS = st.one_of(
    st.integers(0, 40).map(lambda each: each * SECOND),
    st.sampled_from([0, 5 * SECOND, 5 * SECOND, 5 * SECOND + 1, 400 * DAY]),
    st.integers(0, 3 * SECOND),
    st.integers(0, 900 * DAY),
)
TIMES = st.lists(st.tuples(INSTANTS, st.integers(1, 30)), max_size=12).map(
    lambda crowds: [instant for instant, count in crowds for _ in range(count)]
)


@given(
    times=TIMES,
    shown=st.sampled_from([1, 1_000, SECOND]),
    ties_turn=st.booleans(),
    width=st.integers(1, 12),
    seed=st.integers(0, 1 << 32),
    changes=st.sampled_from([0.0, 0.1, 0.5, 0.9]),
)
@settings(max_examples=100, deadline=None)
def test_who_is_on_the_list_all_the_time_is_read_whatever_comes_first(
    times: list[int], shown: int, ties_turn: bool, width: int, seed: int, changes: float
) -> None:
    dice = random.Random(seed)
    members = Members.of(times, shown=shown, ties_turn=ties_turn)
    before, left = set(members), set[str]()
    new = iter(range(1_000))

    def change() -> None:
        members.now += dice.choice([0, SECOND // 2, DAY])
        if dice.random() >= changes:
            return
        gone = dice.choice([*members, "nobody"])
        members.leave(gone)
        left.add(gone)
        if dice.random() < 0.5:
            members.now += SECOND
            members.join(dice.choice([gone, f"new{next(new)}"]))

    everybody = before | {"nobody"} | {f"new{number}" for number in range(1_000)}
    seen = read(members, width, dice.randrange, change)
    assert before - left <= seen <= everybody


CASES = {
    "evenly": (lambda number: number * SECOND, 25),
    "ever more": (lambda number: int(1_000 * DAY * (number / 2_000) ** 0.05), 30),
    "a hundred in a second": (lambda number: number * SECOND // 100, 40),
    "imports all over a year": (lambda number: number // 500 * 60 * DAY, 25),
    "imports in some seconds": (lambda number: number // 500 * SECOND, 25),
    "an import among others": (lambda number: 500 * DAY if number % 3 else number * DAY // 6, 45),
    "one import": (lambda _: 7 * SECOND, 5),
}


@pytest.mark.parametrize("ties_turn", [True, False])
@pytest.mark.parametrize(("joined", "more"), CASES.values(), ids=CASES)
def test_few_pages_are_read_twice(joined: Callable[[int], int], more: int, ties_turn: bool) -> None:
    members = Members.of([joined(number) for number in range(2_000)], ties_turn=ties_turn, size=100)
    assert read(members, 10, in_turn) == set(members)
    assert members.pages <= 20 + more


@pytest.mark.parametrize("joined", [each for each, _ in CASES.values()], ids=CASES)
def test_an_answer_that_comes_last_of_all_leaves_no_gap(joined: Callable[[int], int]) -> None:
    members = Members.of([joined(number // 10) for number in range(200)])
    assert read(members, 4, lambda under_way: under_way - 1) == set(members)


def test_whoever_is_said_to_be_the_last_and_is_not_ends_no_range() -> None:
    members = Members.of([number * SECOND for number in range(400)])
    ranges, newest = Ranges(enough=2), Cursor(None, is_backwards=True)
    page, _ = members.page(ranges.first)
    ranges.take(ranges.first, page, is_last=False)
    ranges.newest(members.page(newest)[0])
    (later,) = ranges.more(1)
    ranges.take(later, members.page(later)[0], is_last=False)
    page, _ = members.page(ranges.first)
    ranges.take(ranges.first, page, is_last=True)
    assert ranges.first.is_done
    assert not ranges.is_read
    (again,) = ranges.more(1)
    assert again.start == page[-1].at, "where it ended it is asked once more"


def shown(*instants: int | None) -> list[Joined]:
    return [Joined(f"p{number}", each) for number, each in enumerate(instants)]


@pytest.mark.parametrize(
    ("cursor", "page"),
    [
        (Cursor(None), shown(2 * SECOND, SECOND)),
        (Cursor(None), shown(2 * SECOND, None, SECOND)),
        (Cursor(None, is_backwards=True), shown(SECOND, 2 * SECOND)),
        (Cursor(5 * SECOND), shown(4 * SECOND, 6 * SECOND)),
        (Cursor(5 * SECOND, is_backwards=True), shown(5 * SECOND, 4 * SECOND)),
    ],
)
def test_members_in_no_order_or_of_another_time_are_not_trusted(cursor: Cursor, page: list[Joined]) -> None:
    with pytest.raises(OutOfOrder, match=r"order of joining|another time"):
        Ranges().take(cursor, page, is_last=False)


def test_members_without_an_instant_are_read_like_all_others() -> None:
    ranges = Ranges()
    ranges.take(ranges.first, shown(None, None), is_last=False)
    assert ranges.more(9) == []
    ranges.take(ranges.first, shown(None, SECOND), is_last=True)
    assert ranges.is_read

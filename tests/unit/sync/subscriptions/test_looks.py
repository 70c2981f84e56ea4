"""Looks: side by side, in time, as large as Klaviyo is fast."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_klaviyo.client.endpoints import GET_PROFILES
from airflow_provider_klaviyo.client.people import Ask
from airflow_provider_klaviyo.exceptions import KlaviyoError, KlaviyoStopped, KlaviyoTimeout
from airflow_provider_klaviyo.sync.subscriptions.looks import Look, Looks

PEOPLE: Any = range(1_000)


_ASKS = 20
"""So often the looking thread asks for the time before it passes: by then it has seen whatever was answered."""


class Clock:
    """Stands still until somebody lets time pass, and the thread that looks has seen what came before."""

    def __init__(self) -> None:
        self.at = 1_000.0
        self._seconds = 0.0
        self._asks = 0
        self._change = threading.Condition()

    def monotonic(self) -> float:
        with self._change:
            if self._seconds and threading.current_thread() is threading.main_thread():
                self._asks += 1
                if self._asks == _ASKS:
                    self.at, self._seconds, self._asks = self.at + self._seconds, 0.0, 0
                    self._change.notify_all()
            return self.at

    def pass_for(self, look: Look, seconds: float) -> None:
        """Let so many seconds of a look pass, unless its time is up."""
        with self._change:
            if look.time_left > 0:
                self._seconds = seconds
                assert self._change.wait_for(lambda: not self._seconds, timeout=30)


@pytest.fixture
def clock() -> Clock:
    return Clock()


Make = Callable[..., Looks[Any, int]]


class Pace:
    """One request until the first was answered, and then as many as are given."""

    def __init__(self) -> None:
        self.is_proven = False
        self._under_way: set[object] = set()

    @property
    def width(self) -> int:
        return 15 if self.is_proven else 1

    @property
    def has_room(self) -> bool:
        return len(self._under_way) < self.width

    def begin(self, piece: object) -> None:
        self._under_way.add(piece)

    def end(self, piece: object) -> None:
        self._under_way.discard(piece)


class Hundreds:
    """People who are seen a hundred at a time, by one filter each."""

    def __init__(self, people: Sequence[int]) -> None:
        self._people = people
        self._seen: dict[int, int] = {}
        parts = [people[start : start + 100] for start in range(0, len(people), 100)]
        self._asks = [Ask("email", list(map(str, part))) for part in parts]

    def asks(self, *, whole_only: bool) -> Sequence[Ask]:
        asks, self._asks = self._asks, []
        return asks

    def take(self, ask: Ask, profiles: Sequence[Any]) -> None:
        self._seen |= dict(zip(map(int, ask.values), profiles, strict=True))

    def shown(self) -> Sequence[int | None]:
        return [self._seen.get(each) for each in self._people]


@pytest.fixture
def make(clock: Clock) -> Iterator[Make]:
    made: list[Looks[Any, int]] = []
    pace = Pace()

    def look(
        see: Callable[[Sequence[int], Look], list[int]], check_stop: Callable[[], None] = lambda: None
    ) -> Looks[Any, int]:
        def answer(ask: Ask, during: Any) -> Any:
            seen = see(list(map(int, ask.values)), during.__self__)
            pace.is_proven = True
            return seen

        client: Any = SimpleNamespace(
            clock=clock,
            check_stop=check_stop,
            longest_exchange=0.5,
            until=lambda _: nullcontext(),
            pace=lambda _: pace,
        )
        made.append(Looks(client, Hundreds, [GET_PROFILES], most=1_000, answer=answer, poll=0.01))
        return made[-1]

    yield look
    for each in made:
        each.close()


def test_parts_are_looked_at_side_by_side_once_the_first_was_answered(make: Make) -> None:
    together = threading.Barrier(9)
    alone: list[bool] = []

    def see(part: Sequence[int], look: Look) -> list[int]:
        with look.request():
            if part[0]:
                together.wait(timeout=30)
            else:
                alone.append(together.n_waiting == 0)
        return [-each for each in part]

    seen = make(see).at(PEOPLE)
    assert seen.shown == [-each for each in PEOPLE]
    assert seen.left == []
    assert alone == [True]


class Slow:
    """Shows the parts that begin with one of ``in_time``; for the others time runs out first.

    :param under_way: whether that happens while a request is, or while one is held back.
    """

    def __init__(self, clock: Clock, in_time: Sequence[int], *, under_way: bool) -> None:
        self._clock = clock
        self._in_time = set(in_time)
        self._is_under_way = under_way
        self._change = threading.Condition()
        self.is_over = threading.Event()
        self.sizes: list[int] = []

    def __call__(self, part: Sequence[int], look: Look) -> list[int]:
        self.sizes.append(len(part))
        is_over = self.is_over
        with look.request():
            if part[0] in self._in_time:
                return self._show(part)
            if self._is_under_way:
                self._be_late(look)
                is_over.wait(timeout=30)
        self._be_late(look)
        with look.request():
            msg = "a request left after its look"
            raise AssertionError(msg)

    def _show(self, part: Sequence[int]) -> list[int]:
        with self._change:
            self._in_time.discard(part[0])
            self._change.notify_all()
        return list(part)

    def _be_late(self, look: Look) -> None:
        with self._change:
            self._change.wait_for(lambda: not self._in_time, timeout=30)
        self._clock.pass_for(look, 9.5)


def test_what_is_late_is_left_in_order_and_the_rest_is_shown(make: Make, clock: Clock) -> None:
    seen = make(Slow(clock, [0, 100, 300, 500, 600], under_way=False)).at(PEOPLE)
    shown = [*range(200), *range(300, 400), *range(500, 700)]
    assert seen.shown == shown
    assert seen.left == [each for each in PEOPLE if each not in set(shown)]
    assert seen.began == 1_000.0


def test_a_look_is_as_large_as_was_shown_in_time_and_grows_again(make: Make, clock: Clock) -> None:
    slow = Slow(clock, [0, 100, 200], under_way=False)
    answers: list[Callable[..., list[int]]] = [slow]

    def see(part: Sequence[int], look: Look) -> list[int]:
        return answers[-1](part, look)

    looks = make(see)
    looks.at(PEOPLE)
    answers.append(fast)
    assert [len(looks.at(PEOPLE).shown) for _ in range(4)] == [300, 600, 1_000, 1_000]


def fast(part: Sequence[int], look: Look) -> list[int]:
    with look.request():
        return list(part)


@pytest.mark.parametrize(
    ("under_way", "words"), [(True, "Klaviyo answers slowly"), (False, "rate limits are used up")]
)
def test_a_look_in_vain_says_why_and_after_some_the_run_ends(
    make: Make,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
    under_way: bool,
    words: str,
) -> None:
    slow = Slow(clock, [], under_way=under_way)
    looks = make(slow)

    def in_vain() -> None:
        seen = looks.at(PEOPLE)
        assert (seen.shown, seen.left) == ([], list(PEOPLE))

    for _ in range(11):
        in_vain()
        slow.is_over.set()
        slow.is_over = threading.Event()
    with pytest.raises(KlaviyoTimeout, match=words):
        in_vain()
    slow.is_over.set()
    assert min(slow.sizes) == 10
    assert len([line for line in caplog.messages if words in line]) == 11


def test_an_error_ends_the_look_and_nothing_more_is_asked(make: Make) -> None:
    asked: list[int] = []

    def see(part: Sequence[int], look: Look) -> list[int]:
        with look.request():
            asked.append(part[0])
            msg = "no"
            raise KlaviyoError(msg)

    with pytest.raises(KlaviyoError, match="no"):
        make(see).at(PEOPLE)
    assert asked == [0]


def test_a_request_that_hangs_is_given_up_when_told_to_stop(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    has_begun, may_end = threading.Event(), threading.Event()

    def see(part: Sequence[int], look: Look) -> list[int]:
        has_begun.set()
        may_end.wait()
        return []

    def check_stop() -> None:
        if has_begun.is_set():
            msg = "told to stop"
            raise KlaviyoStopped(msg)

    looks = make(see, check_stop)
    with pytest.raises(KlaviyoStopped):
        looks.at(PEOPLE)
    looks.close()
    assert "1 request came to no end" in caplog.text
    may_end.set()


def test_a_look_that_is_not_let_begin_is_over_soon_and_never_in_vain(make: Make, clock: Clock) -> None:
    """A turn is held meanwhile, and Klaviyo was not even asked."""

    def see(part: Sequence[int], look: Look) -> list[int]:
        clock.pass_for(look, 9.5)
        with look.request():
            msg = "a request left after its look"
            raise AssertionError(msg)

    looks = make(see)
    for _ in range(15):
        seen = looks.at(PEOPLE)
        assert (seen.shown, seen.left) == ([], list(PEOPLE))


def test_only_who_can_look_at_once_is_given_room(make: Make) -> None:
    looks = make(fast)
    looks.at(PEOPLE)
    entered = [threading.Event() for _ in range(3)]
    may_leave = threading.Event()

    def look(event: threading.Event) -> None:
        with looks.room(1_000):
            event.set()
            may_leave.wait(timeout=30)

    threads = [threading.Thread(target=look, args=(event,)) for event in entered]
    for thread in threads[:2]:
        thread.start()
    assert [event.wait(timeout=30) for event in entered[:2]] == [True, True]
    threads[2].start()
    assert not entered[2].wait(timeout=0.1), "20 requests are wanted, and 15 are of use at once"
    may_leave.set()
    assert entered[2].wait(timeout=30)
    for thread in threads:
        thread.join(timeout=30)

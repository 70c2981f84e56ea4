from __future__ import annotations

import heapq
import itertools
import random
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_klaviyo.client.rate_limit import MemoryWindows, RateLimiter, WindowStore
from airflow_provider_klaviyo.client.rate_limit_files import FileWindows
from airflow_provider_klaviyo.client.rate_limit_slots import Rate, seconds_until_slot
from airflow_provider_klaviyo.client.rate_limit_waits import Caller, RateLimitDeadline, WaitStopped

BULK_IMPORT = (Rate(10, 1.0), Rate(150, 60.0))
HOLD, LONGEST_PREPARATION = 5.0, 3.0


class VirtualTime:
    """A clock for many threads of which one runs at a time: who sleeps hands over to whoever wakes first."""

    def __init__(self) -> None:
        self.time = 1_000.0
        self._sleepers: list[tuple[float, int, threading.Event]] = []
        self._order = itertools.count()

    def now(self) -> float:
        return 1_700_000_000.0 + self.time

    def monotonic(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        awake = self._queue(seconds)
        self._wake_next()
        awake.wait()

    def run(self, actors: Sequence[Callable[[], None]]) -> None:
        with ThreadPoolExecutor(len(actors)) as pool:
            turns = [pool.submit(self._act, actor, self._queue(0.0)) for actor in actors]
            self._wake_next()
        for turn in turns:
            turn.result()

    def _act(self, actor: Callable[[], None], turn: threading.Event) -> None:
        turn.wait()
        try:
            actor()
        finally:
            self._wake_next()

    def _queue(self, seconds: float) -> threading.Event:
        awake = threading.Event()
        heapq.heappush(self._sleepers, (self.time + seconds, next(self._order), awake))
        return awake

    def _wake_next(self) -> None:
        if self._sleepers:
            self.time, _, awake = heapq.heappop(self._sleepers)
            awake.set()


class FakeClock:
    """A clock for one thread; remembers how it slept."""

    def __init__(self) -> None:
        self.time = 1_000.0
        self.sleeps: list[float] = []

    def now(self) -> float:
        return 1_700_000_000.0 + self.time

    def monotonic(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.time += seconds


class Call(NamedTuple):
    """One request of the model: its way takes ``latency``, the server counts it after ``share`` of that.

    It is prepared when it has its permit, which takes ``preparation``, and was thought to take ``prepares``.
    """

    pause_before: float
    prepares: float
    preparation: float
    latency: float
    share: float
    dies: bool


calls = st.builds(
    Call,
    pause_before=st.one_of(st.just(0.0), st.floats(0.0, 3.0)),
    prepares=st.one_of(st.just(0.0), st.floats(0.0, 3.0)),
    preparation=st.one_of(st.just(0.0), st.floats(0.0, LONGEST_PREPARATION)),
    latency=st.one_of(st.just(0.0), st.floats(0.0, HOLD)),
    share=st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0.0, 1.0)),
    dies=st.sampled_from([False] * 9 + [True]),
)


def worker(
    limiter: RateLimiter,
    time: VirtualTime,
    plan: Sequence[Call],
    rates: Sequence[Rate],
    counted: list[float],
    graves: ExitStack,
) -> None:
    for call in plan:
        time.sleep(call.pause_before)
        permit = limiter.permit("e", rates, hold=HOLD + LONGEST_PREPARATION, prepares=call.prepares)
        given = permit.__enter__()
        time.sleep(call.preparation)
        time.sleep(max(0.0, given.not_before - time.time))
        counted.append(time.time + call.latency * call.share)
        if call.dies:  # it never says that its request is over
            graves.push(permit)
        else:
            time.sleep(call.latency)
            permit.__exit__(None, None, None)


def most_in_any_window(moments: Sequence[float], seconds: float) -> int:
    """The most that a window can count, over all its possible alignments."""
    times = sorted(moments)
    return max(sum(start <= time < start + seconds for time in times) for start in times)


@pytest.mark.parametrize("kind", ["memory", "files"])
@pytest.mark.parametrize("limiters", [1, 2, 8], ids=["one-limiter", "two-limiters", "eight-limiters"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_window_of_any_alignment_is_exceeded_at_any_latency(
    data: st.DataObject, limiters: int, kind: str
) -> None:
    burst = data.draw(st.integers(1, 8), "burst")
    rates = (Rate(burst, 1.0), Rate(data.draw(st.integers(burst, 24), "steady"), 10.0))
    share = data.draw(st.sampled_from([0.1, 0.5, 0.9, 1.0]), "share")
    workers = data.draw(st.integers(limiters, max(limiters, 6)), "workers")
    plans = data.draw(st.lists(st.lists(calls, max_size=8), min_size=workers, max_size=workers), "plans")
    time, counted = VirtualTime(), list[float]()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as graves:
        memory = MemoryWindows()
        stores: list[WindowStore] = [
            memory if kind == "memory" else FileWindows(Path(folder)) for _ in range(limiters)
        ]
        sharers = [RateLimiter(store, account="a", share=share, clock=time) for store in stores]
        time.run(
            [
                lambda plan=plan, limiter=limiter: worker(limiter, time, plan, rates, counted, graves)  # type: ignore[misc]
                for plan, limiter in zip(plans, itertools.cycle(sharers), strict=False)
            ]
        )
    assert len(counted) == sum(map(len, plans))
    for rate in rates if counted else ():
        assert most_in_any_window(counted, rate.seconds) <= max(1, int(rate.limit * share))


def test_nearly_all_that_klaviyo_allows_is_used() -> None:
    time, sent = VirtualTime(), list[float]()
    limiter = RateLimiter(MemoryWindows(), account="a", share=1.0, clock=time)
    start, minutes = time.time, 20

    def send_all_the_time() -> None:
        while time.time < start + 60 * minutes:
            with limiter.permit("bulk_import_profiles", BULK_IMPORT, hold=70):
                sent.append(time.time)
                time.sleep(0.3)

    time.run([send_all_the_time] * 8)
    in_time = sum(moment < start + 60 * minutes for moment in sent)
    assert in_time >= 0.95 * 150 * minutes
    assert most_in_any_window(sent, 60) <= 150


class CountedWindows(FileWindows):
    """Notes how often it was asked for a slot."""

    asked = 0

    def acquire(self, key: str, token: int, rates: Sequence[Rate], hold: float, caller: Caller) -> float:
        CountedWindows.asked += 1
        return super().acquire(key, token, rates, hold, caller)


def test_many_who_wait_get_as_much_each_and_ask_seldom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CountedWindows, "asked", 0)
    time, rates, seconds = VirtualTime(), (Rate(75, 1.0), Rate(300, 5.0)), 10.0
    end, sent, answers = time.time + seconds, [list[float]() for _ in range(40)], random.Random(4)

    def send_all_the_time(mine: list[float]) -> None:
        limiter = RateLimiter(CountedWindows(tmp_path), account="a", share=1.0, clock=time)
        while time.time < end:
            with limiter.permit("get_profiles", rates, hold=70):
                mine.append(time.time)
                time.sleep(answers.uniform(0.01, 0.03))

    time.run([lambda mine=mine: send_all_the_time(mine) for mine in sent])  # type: ignore[misc]
    moments = [moment for mine in sent for moment in mine]
    assert sum(moment < end for moment in moments) >= 0.95 * 60 * seconds
    assert min(map(len, sent)) >= 0.8 * len(moments) / len(sent)
    assert CountedWindows.asked <= 5 * len(moments)
    for rate in rates:
        assert most_in_any_window(moments, rate.seconds) <= rate.limit


def test_who_prepares_a_request_has_the_slot_that_is_free_by_then() -> None:
    clock = FakeClock()
    limiter = used_up(clock)
    began = clock.monotonic()
    with limiter.permit("e", [Rate(1, 60.0)], hold=HOLD, prepares=20.0) as permit:
        assert 40 <= clock.monotonic() - began < 41
        assert 60 <= permit.not_before - began < 61
    assert sum(clock.sleeps) == permit.waited


def test_nobody_prepares_for_a_slot_that_somebody_has_who_was_not_answered_yet() -> None:
    clock, minute = FakeClock(), [Rate(1, 60.0)]
    limiter = RateLimiter(MemoryWindows(), account="a", share=1.0, clock=clock)
    with (
        limiter.permit("e", minute, hold=HOLD),
        pytest.raises(RateLimitDeadline),
        limiter.permit("e", minute, hold=HOLD, prepares=100.0, deadline=clock.monotonic() + 30),
    ):
        pass


@pytest.mark.parametrize(
    ("limit", "share", "allowed"),
    [(150, 0.9, 135), (10, 0.95, 9), (100, 0.29, 29), (15, 1, 15), (1, 0.9, 1), (3, 0.1, 1), (10, 0.001, 1)],
)
def test_a_share_is_rounded_down_but_lets_one_through(limit: int, share: float, allowed: int) -> None:
    clock = FakeClock()
    limiter = RateLimiter(MemoryWindows(), account="a", share=share, clock=clock)
    waits = []
    for _ in range(allowed + 1):
        with limiter.permit("e", [Rate(limit, 60.0)], hold=HOLD) as permit:
            waits.append(permit.waited)
    assert waits[:-1] == [0.0] * allowed
    assert waits[-1] >= 60


@pytest.mark.parametrize("share", [0, -0.1, 1.01, float("nan")])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="rate_limit_share"):
        RateLimiter(MemoryWindows(), account="a", share=share)


@pytest.mark.parametrize("hold", [0.0, -1.0, 86_401.0, float("nan")])
def test_a_hold_out_of_range_is_refused(hold: float) -> None:
    limiter = RateLimiter(MemoryWindows(), account="a", clock=FakeClock())
    with pytest.raises(ValueError, match="held"), limiter.permit("e", BULK_IMPORT, hold=hold):
        pass


def used_up(clock: FakeClock) -> RateLimiter:
    """A limiter whose only place of a minute is taken."""
    limiter = RateLimiter(MemoryWindows(), account="a", clock=clock)
    with limiter.permit("e", [Rate(1, 60.0)], hold=HOLD):
        pass
    return limiter


def test_the_permit_says_how_long_it_was_waited_for() -> None:
    clock = FakeClock()
    with used_up(clock).permit("e", [Rate(1, 60.0)], hold=HOLD) as permit:
        assert permit.waited == sum(clock.sleeps) > 0


def test_a_wait_is_as_long_as_the_window_and_hardly_longer() -> None:
    clock = FakeClock()
    with used_up(clock).permit("e", [Rate(1, 60.0)], hold=HOLD) as permit:
        assert 60 <= permit.waited < 61


def test_a_wait_beyond_the_deadline_is_refused_at_once() -> None:
    clock = FakeClock()
    limiter = used_up(clock)
    with (
        pytest.raises(RateLimitDeadline, match=r"allows e in 60\.1 s"),
        limiter.permit("e", [Rate(1, 60.0)], hold=HOLD, deadline=clock.monotonic() + 59),
    ):
        pass
    assert clock.sleeps == []


def test_a_refused_wait_takes_no_place() -> None:
    clock = FakeClock()
    limiter = used_up(clock)
    for _ in range(5):
        with (
            pytest.raises(RateLimitDeadline),
            limiter.permit("e", [Rate(1, 60.0)], hold=HOLD, deadline=clock.monotonic()),
        ):
            pass
    with limiter.permit("e", [Rate(1, 60.0)], hold=HOLD, deadline=clock.monotonic() + 61):
        pass


def test_a_deadline_that_has_passed_lets_nothing_through() -> None:
    clock = FakeClock()
    limiter = RateLimiter(MemoryWindows(), account="a", clock=clock)
    with (
        pytest.raises(RateLimitDeadline),
        limiter.permit("e", BULK_IMPORT, hold=HOLD, deadline=clock.monotonic() - 1),
    ):
        pass


def test_a_waiter_asks_each_second_whether_to_stop() -> None:
    clock = FakeClock()
    limiter = used_up(clock)
    began = clock.time
    with (
        pytest.raises(WaitStopped),
        limiter.permit("e", [Rate(1, 60.0)], hold=HOLD, stop=lambda: clock.time >= began + 7),
    ):
        pass
    assert clock.time <= began + 8
    assert max(clock.sleeps) <= 1


def test_a_waiter_does_not_keep_busy() -> None:
    """A minute's wait for a request in flight: looks every second whether to stop, and twice at the windows."""
    clock = FakeClock()
    limiter = RateLimiter(MemoryWindows(), account="a", clock=clock)
    with ExitStack() as graves:
        graves.enter_context(limiter.permit("e", [Rate(1, 60.0)], hold=HOLD))
        with limiter.permit("e", [Rate(1, 60.0)], hold=HOLD) as permit:
            assert permit.waited >= HOLD + 60
    assert len(clock.sleeps) <= 70


def test_a_failed_request_gives_its_place_back_like_an_answered_one() -> None:
    clock = FakeClock()
    limiter = RateLimiter(MemoryWindows(), account="a", clock=clock)
    with pytest.raises(ConnectionError), limiter.permit("e", [Rate(1, 1.0)], hold=3_600):
        raise ConnectionError
    with limiter.permit("e", [Rate(1, 1.0)], hold=HOLD) as permit:
        assert permit.waited < 2


def test_a_pause_lasts_a_day_at_most() -> None:
    clock = FakeClock()
    limiter = RateLimiter(MemoryWindows(), account="a", clock=clock)
    limiter.pause("e", 1e9)
    clock.time += 86_400
    with limiter.permit("e", BULK_IMPORT, hold=HOLD) as permit:
        assert permit.waited == 0


def test_endpoints_without_windows_of_their_own_are_not_held_back() -> None:
    clock = FakeClock()
    limiter = RateLimiter(MemoryWindows(), account="a", clock=clock)
    for _ in range(100):
        with limiter.permit("e", [], hold=HOLD):
            pass
    assert clock.sleeps == []


def test_memory_does_not_grow_with_the_number_of_requests() -> None:
    clock, windows = FakeClock(), MemoryWindows()
    limiter = RateLimiter(windows, account="a", share=1.0, clock=clock)
    for _ in range(1_000):
        with limiter.permit("e", BULK_IMPORT, hold=HOLD):
            pass
    assert sum(len(slots.ends) for slots in windows._slots.values()) <= 151


@pytest.mark.parametrize(
    ("ends", "wait"),
    [
        pytest.param([], 0.0, id="nothing sent"),
        pytest.param([100.0], 0.0, id="one place left"),
        pytest.param([100.0, 95.0], 5.0, id="full, the older one runs out first"),
        pytest.param([100.0, 90.0], 0.0, id="the older one has just run out"),
        pytest.param([130.0, 130.0], 10.0, id="both in flight, answered now at the earliest"),
        pytest.param([130.0, 97.0], 7.0, id="one in flight, one answered"),
    ],
)
def test_the_wait_is_the_shortest_that_can_help(ends: list[float], wait: float) -> None:
    assert seconds_until_slot(ends, [Rate(2, 10.0)], now=100.0) == wait


def test_who_comes_later_waits_for_a_slot_that_those_ahead_leave() -> None:
    ends, rates = [99.0, 98.0, 97.0], [Rate(3, 10.0)]
    assert [seconds_until_slot(ends, rates, now=100.0, ahead=ahead) for ahead in range(5)] == [
        7,
        8,
        9,
        17,
        18,
    ]
    assert [seconds_until_slot([], rates, now=100.0, ahead=ahead) for ahead in (2, 3, 6)] == [0, 10, 20]


def test_one_in_flight_may_have_been_counted_before_now_but_one_answered_was_not() -> None:
    assert seconds_until_slot([130.0, 130.0], [Rate(2, 10.0)], now=100.0, lead=3.0) == 7.0
    assert seconds_until_slot([130.0, 130.0], [Rate(2, 10.0)], now=100.0, lead=30.0) > 0
    assert seconds_until_slot([130.0, 99.0], [Rate(2, 10.0)], now=100.0, lead=3.0) == 9.0

"""What every store of rate-limit windows promises, and what the shared ones do among real processes."""

from __future__ import annotations

import itertools
import math
import os
import random
import socket
import socketserver
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import airflow_provider_klaviyo
from airflow_provider_klaviyo.client.clock import Clock, SystemClock
from airflow_provider_klaviyo.client.rate_limit import LATE, MemoryWindows, RateLimiter, WindowStore
from airflow_provider_klaviyo.client.rate_limit_files import FileWindows
from airflow_provider_klaviyo.client.rate_limit_redis import RedisWindows
from airflow_provider_klaviyo.client.rate_limit_slots import Rate
from airflow_provider_klaviyo.client.rate_limit_waits import (
    Caller,
    RateLimitDeadline,
    RateLimitStoreError,
    WaitStopped,
)

pytestmark = pytest.mark.integration

WINDOW = 0.3
"""Seconds; short, since Redis keeps its own time and must be waited for."""

ONE, THREE = (Rate(1, WINDOW),), (Rate(3, WINDOW),)


class FakeClock:
    def __init__(self) -> None:
        self.time = 1_000.0

    def now(self) -> float:
        return 1_700_000_000.0 + self.time

    def monotonic(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds


@dataclass(frozen=True)
class Sharers:
    """Limiters that share their windows, each with a store of its own as another process would have it."""

    store: Callable[[], WindowStore]
    clock: Clock

    def limiter(self, account: str = "account", share: float = 1.0) -> RateLimiter:
        return RateLimiter(self.store(), account=account, share=share, clock=self.clock)

    def send(self, rates: Sequence[Rate] = ONE, *, account: str = "account", endpoint: str = "e") -> float:
        """Send a request that is answered at once, and return what it waited."""
        with self.limiter(account).permit(endpoint, rates, hold=5.0) as permit:
            return permit.waited


@pytest.fixture
def redis_client(redis_url: str) -> Iterator[Any]:
    import redis

    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def prefix(redis_client: Any) -> Iterator[str]:
    """What the keys of this test begin with."""
    prefix = f"klaviyo-tests-{uuid.uuid4().hex}"
    yield prefix
    for key in redis_client.scan_iter(f"{prefix}:*"):
        redis_client.delete(key)


@pytest.fixture(params=["memory", "files", "redis"])
def sharers(request: pytest.FixtureRequest, tmp_path: Path) -> Sharers:
    if request.param == "memory":
        memory = MemoryWindows()
        return Sharers(lambda: memory, FakeClock())
    if request.param == "files":
        return Sharers(lambda: FileWindows(tmp_path), FakeClock())
    client, prefix = request.getfixturevalue("redis_client"), request.getfixturevalue("prefix")
    return Sharers(lambda: RedisWindows(client, prefix), SystemClock())


def test_as_many_as_the_limit_go_at_once_and_the_next_waits_for_a_window(sharers: Sharers) -> None:
    began = sharers.clock.monotonic()
    waits = [sharers.send((Rate(3, 2.0),)) for _ in range(4)]
    assert [wait > 0 for wait in waits] == [False, False, False, True]
    assert sharers.clock.monotonic() - began >= 2.0


def test_the_window_begins_with_the_answer(sharers: Sharers) -> None:
    with sharers.limiter().permit("e", ONE, hold=5.0):
        sharers.clock.sleep(0.1)
        answered = sharers.clock.monotonic()
    sharers.send()
    assert sharers.clock.monotonic() - answered >= WINDOW


def test_the_window_begins_when_the_request_was_counted_where_that_is_known(sharers: Sharers) -> None:
    store, window, counted_ago = sharers.store(), (Rate(1, 60.0),), 20.0
    assert store.acquire("key", 1, window, 90.0, Caller(sharers.clock)) == 0
    began = sharers.clock.monotonic()
    store.release("key", 1, counted_ago, Caller(sharers.clock))
    wait = store.acquire("key", 2, window, 90.0, Caller(sharers.clock))
    took = sharers.clock.monotonic() - began
    assert 60.0 - counted_ago - took <= wait <= 60.0 - counted_ago


@pytest.mark.parametrize("sharers", ["memory", "files"], indirect=True)
def test_a_permit_tells_when_its_request_was_counted(sharers: Sharers) -> None:
    window, clock = (Rate(1, 1.0),), sharers.clock
    with sharers.limiter().permit("e", window, hold=5.0, lead=0.3) as permit:
        clock.sleep(0.5)
        permit.counted_by = clock.monotonic() - 0.3
    assert 0.7 <= sharers.send(window) < 0.71


def test_who_prepares_takes_a_slot_before_it_is_free_and_learns_when_that_is(sharers: Sharers) -> None:
    store, window = sharers.store(), (Rate(1, 60.0),)
    assert store.acquire("key", 1, window, 90.0, Caller(sharers.clock)) == 0
    began = sharers.clock.monotonic()
    store.release("key", 1, 20.0, Caller(sharers.clock))
    assert store.acquire("key", 2, window, 90.0, Caller(sharers.clock, prepares=30.0)) > 30
    early = -store.acquire("key", 2, window, 90.0, Caller(sharers.clock, prepares=50.0))
    took = sharers.clock.monotonic() - began
    assert 40.0 - took <= early <= 40.0
    assert store.acquire("key", 3, window, 90.0, Caller(sharers.clock, prepares=50.0)) > 50


def test_nobody_takes_a_slot_before_a_pause_ends(sharers: Sharers) -> None:
    sharers.limiter().pause("e", 60.0)
    with sharers.limiter().permit("e", ONE, hold=5.0, prepares=90.0) as permit:
        assert permit.not_before - permit.since > 50


def test_no_window_begins_before_the_request_left(sharers: Sharers) -> None:
    clock = sharers.clock
    with sharers.limiter().permit("e", ONE, hold=5.0) as permit:
        given = clock.monotonic()
        permit.counted_by = given - 60.0
    sharers.send()
    assert clock.monotonic() - given >= WINDOW


def test_what_is_in_flight_keeps_its_place_however_early_it_may_have_been_counted(sharers: Sharers) -> None:
    store = sharers.store()
    early = Caller(sharers.clock, lead=60.0)
    assert store.acquire("key", 1, ONE, 3_600.0, early) == 0
    assert 0 < store.acquire("key", 2, ONE, 3_600.0, early) <= 0.1


def test_the_longest_wait_of_all_windows_counts(sharers: Sharers) -> None:
    rates = (Rate(2, 0.1), Rate(3, 1.0))
    began = sharers.clock.monotonic()
    for _ in range(4):
        sharers.send(rates)
    assert sharers.clock.monotonic() - began >= 1.0


def test_another_account_or_endpoint_has_windows_of_its_own(sharers: Sharers) -> None:
    sharers.send()
    assert sharers.send(account="other") == 0
    assert sharers.send(endpoint="other") == 0


def test_a_request_in_flight_keeps_its_place_however_long_it_takes(sharers: Sharers) -> None:
    with sharers.limiter().permit("e", ONE, hold=5.0):
        sharers.clock.sleep(3 * WINDOW)
        with (
            pytest.raises(RateLimitDeadline),
            sharers.limiter().permit("e", ONE, hold=5.0, deadline=sharers.clock.monotonic() + WINDOW / 2),
        ):
            pass


def test_a_waiter_reckons_with_an_answer_any_moment(sharers: Sharers) -> None:
    """Else one request that may take an hour would turn away all who have less time than that."""
    store = sharers.store()
    assert store.acquire("key", 1, ONE, 3_600.0, Caller(sharers.clock)) == 0
    assert 0 < store.acquire("key", 2, ONE, 3_600.0, Caller(sharers.clock)) <= WINDOW


def test_a_holder_that_died_frees_its_place_after_its_hold_and_the_window(sharers: Sharers) -> None:
    with ExitStack() as graves:
        began = sharers.clock.monotonic()
        graves.enter_context(sharers.limiter().permit("e", ONE, hold=0.4))
        sharers.send()
        assert sharers.clock.monotonic() - began >= 0.4 + WINDOW


def test_an_answer_after_the_hold_still_counts(sharers: Sharers) -> None:
    with sharers.limiter().permit("e", ONE, hold=0.1):
        sharers.clock.sleep(0.1 + 2 * WINDOW)
        answered = sharers.clock.monotonic()
    sharers.send()
    assert sharers.clock.monotonic() - answered >= WINDOW


def test_a_pause_holds_for_all_sharers(sharers: Sharers) -> None:
    began = sharers.clock.monotonic()
    sharers.limiter().pause("e", 0.5)
    sharers.send(THREE)
    assert sharers.clock.monotonic() - began >= 0.5


def test_a_shorter_pause_does_not_end_a_longer_one(sharers: Sharers) -> None:
    began = sharers.clock.monotonic()
    sharers.limiter().pause("e", 0.5)
    sharers.limiter().pause("e", 0.0)
    sharers.send(THREE)
    assert sharers.clock.monotonic() - began >= 0.5


def test_a_pause_is_known_to_all_sharers_with_its_reason(
    sharers: Sharers, caplog: pytest.LogCaptureFixture
) -> None:
    told = sharers.limiter().pause("e", 90.0, "HTTP 429, request req-7")
    sharers.limiter().pause("e", 40.0, "HTTP 429, request req-8")
    with (
        pytest.raises(RateLimitDeadline) as caught,
        sharers.limiter().permit("e", ONE, hold=5.0, deadline=sharers.clock.monotonic() + 30.0),
    ):
        pass
    *_, way_out = told.partition("(HTTP 429, request req-7). To go on sooner, ")
    assert way_out
    assert f"(HTTP 429, request req-7). To go on sooner, {way_out}" in str(caught.value)


def test_a_full_window_is_no_pause_for_anybody(sharers: Sharers) -> None:
    sharers.send((Rate(1, 60.0),))
    with (
        pytest.raises(RateLimitDeadline) as caught,
        sharers.limiter().permit("e", (Rate(1, 60.0),), hold=5.0, deadline=sharers.clock.monotonic() + 30.0),
    ):
        pass
    assert caught.value.notice == ""


def test_who_deletes_the_key_that_is_named_ends_the_pause(redis_client: Any, prefix: str) -> None:
    sharers = Sharers(lambda: RedisWindows(redis_client, prefix), SystemClock())
    told = sharers.limiter().pause("e", 90.0)
    assert redis_client.delete(told.partition("delete the key ")[2].partition(" ")[0]) == 1
    assert sharers.send() == 0


def test_a_pause_of_one_endpoint_leaves_others_alone(sharers: Sharers) -> None:
    sharers.limiter().pause("e", 60.0)
    assert sharers.send(endpoint="other") == 0


def test_a_wait_beyond_the_deadline_is_refused_and_takes_nothing(sharers: Sharers) -> None:
    sharers.limiter().pause("e", 0.5)
    for _ in range(3):
        with (
            pytest.raises(RateLimitDeadline),
            sharers.limiter().permit("e", ONE, hold=60.0, deadline=sharers.clock.monotonic() + 0.1),
        ):
            pass
    with sharers.limiter().permit("e", ONE, hold=60.0, deadline=sharers.clock.monotonic() + 30.0):
        pass


def test_a_stopped_wait_takes_nothing(sharers: Sharers) -> None:
    sharers.send()
    with pytest.raises(WaitStopped), sharers.limiter().permit("e", ONE, hold=60.0, stop=lambda: True):
        pass
    with sharers.limiter().permit("e", ONE, hold=60.0, deadline=sharers.clock.monotonic() + 30.0):
        pass


class Line:
    """Who waits for the one slot of a window, which somebody has who was not answered yet."""

    RATES = (Rate(1, 5.0),)

    def __init__(self, store: WindowStore, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._began = clock.monotonic()
        assert self.ask(0) == 0

    def ask(self, name: int, *, patience: float = math.inf, lead: float = 0.0) -> float:
        """Somebody asks for a slot, and tells that it waits since it asked first: a minute after the one before.

        Their ages cross to the store, which reckons from its own time: they must lie further apart than a call takes.
        """
        now, since = self._clock.monotonic(), self._began - 60.0 * (10 - name)
        caller = Caller(self._clock, lead=lead, since=since, until=now + patience)
        return self._store.acquire("key", name, self.RATES, 5.0, caller)

    def leave(self, name: int) -> None:
        """Somebody's request was counted so long ago that its slot is free."""
        self._store.release("key", name, 5.0, Caller(self._clock))


@pytest.fixture
def line(sharers: Sharers) -> Line:
    return Line(sharers.store(), sharers.clock)


among_processes = pytest.mark.parametrize("sharers", ["files", "redis"], indirect=True)


@among_processes
def test_who_came_first_has_the_next_slot(line: Line) -> None:
    assert min(line.ask(1), line.ask(2)) > 0
    line.leave(0)
    assert min(line.ask(3), line.ask(2)) > 0
    assert line.ask(1) == 0


@among_processes
def test_who_does_not_look_again_in_its_time_is_passed_over_and_keeps_its_place(
    sharers: Sharers, line: Line
) -> None:
    assert line.ask(1, lead=60.0) < 0.1 < min(line.ask(2), line.ask(3))
    sharers.clock.sleep(LATE + 0.2)
    line.leave(0)
    assert line.ask(2) == 0
    assert line.ask(1) > 0
    line.leave(2)
    assert line.ask(3) > 0
    assert line.ask(1) == 0


@among_processes
def test_who_has_not_the_time_to_wait_keeps_nobody(line: Line) -> None:
    assert line.ask(1, patience=4.0) > 4
    line.leave(0)
    assert line.ask(2) == 0


def test_sharers_with_lower_limits_and_shorter_windows_make_nobody_forget(sharers: Sharers) -> None:
    began = sharers.clock.monotonic()
    full = (Rate(2, 1.0),)
    sharers.send(full)
    sharers.send(full)
    sharers.clock.sleep(0.2)
    sharers.send((Rate(5, 0.1),))
    sharers.send(full)
    assert sharers.clock.monotonic() - began >= 1.0


# -----------------------------------------------------------------------------------------------------------


def test_redis_that_does_not_answer_lets_nothing_through() -> None:
    redis = pytest.importorskip("redis", reason="the redis package is not installed")
    once = redis.retry.Retry(redis.backoff.NoBackoff(), 0)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    limiter = RateLimiter(RedisWindows(redis.Redis(port=port, retry=once)), account="account")
    with (
        pytest.raises(
            RateLimitStoreError, match=r"(?s)Redis .* cannot be kept.*nothing is sent.*rate_limit_conn_id"
        ),
        limiter.permit("e", ONE, hold=5.0, deadline=SystemClock().monotonic() + 0.5),
    ):
        pass


def test_redis_forgets_what_no_window_needs(redis_client: Any, prefix: str) -> None:
    limiter = RateLimiter(RedisWindows(redis_client, prefix), account="account")
    limiter.pause("e", 0.5)
    with limiter.permit("e", THREE, hold=0.5):
        pass
    keys = list(redis_client.scan_iter(f"{prefix}:*"))
    assert len(keys) == 3
    assert all(0 < redis_client.pttl(key) <= 5_000 for key in keys)


def test_redis_holds_neither_key_nor_account(redis_client: Any, prefix: str) -> None:
    with RateLimiter(RedisWindows(redis_client, prefix), account="pk_0123").permit("e", ONE, hold=5.0):
        pass
    assert not any(b"pk_0123" in key for key in redis_client.scan_iter(f"{prefix}:*"))


def test_redis_whose_clock_was_set_back_moves_what_it_knows_with_it(redis_client: Any, prefix: str) -> None:
    """Told from the other side: what it has seen lies an hour ahead of its clock."""
    sharers = Sharers(lambda: RedisWindows(redis_client, prefix), SystemClock())
    began = time.monotonic()
    sharers.send((Rate(1, 2.0),))
    for key in redis_client.scan_iter(f"{prefix}:*:places"):
        for token in redis_client.zrange(key, 0, -1):
            redis_client.zincrby(key, 3_600, token)
    for key in redis_client.scan_iter(f"{prefix}:*:notes"):
        redis_client.hincrbyfloat(key, "seen", 3_600)
    with sharers.limiter().permit("e", (Rate(1, 2.0),), hold=5.0, deadline=sharers.clock.monotonic() + 60):
        assert time.monotonic() - began >= 2.0


def test_redis_takes_one_place_for_a_request_it_hears_twice(redis_client: Any, prefix: str) -> None:
    """A client that lost the answer to its question asks again."""
    windows, clock = RedisWindows(redis_client, prefix), SystemClock()
    assert [windows.acquire("k", 7, (Rate(1, 60.0),), 5.0, Caller(clock)) for _ in range(2)] == [0, 0]
    assert windows.acquire("k", 8, (Rate(1, 60.0),), 5.0, Caller(clock)) > 0


def test_a_slot_that_redis_was_asked_for_twice_is_used_no_sooner(redis_client: Any, prefix: str) -> None:
    windows, minute, clock = RedisWindows(redis_client, prefix), (Rate(1, 60.0),), SystemClock()
    windows.acquire("k", 7, minute, 5.0, Caller(clock))
    windows.release("k", 7, 20.0, Caller(clock))
    first, second = (windows.acquire("k", 8, minute, 5.0, Caller(clock, prepares=50.0)) for _ in range(2))
    assert second <= first < -30


class Hosts:
    """Limiters of several hosts that share a Redis, which loses what it keeps; each has sent as much as it may."""

    RATES = (Rate(2, 2.0),)

    def __init__(self, client: Any, prefix: str) -> None:
        self.client, self.prefix = client, prefix
        self.first, self.second, self.new = (
            RateLimiter(RedisWindows(client, prefix), account="account", share=1.0) for _ in range(3)
        )
        for limiter in (self.first, self.second):
            self.send(limiter)
        self.sent = time.monotonic()

    def send(self, limiter: RateLimiter) -> None:
        with limiter.permit("e", self.RATES, hold=5.0, deadline=SystemClock().monotonic() + 60):
            pass

    def names(self) -> list[bytes]:
        return sorted(self.client.scan_iter(f"{self.prefix}:*"))


def test_redis_that_lost_what_it_kept_lets_nothing_through_until_that_no_longer_counts(
    redis_client: Any, prefix: str
) -> None:
    hosts = Hosts(redis_client, prefix)
    redis_client.delete(*hosts.names())
    lost = time.monotonic()
    hosts.send(hosts.second)
    assert time.monotonic() - lost >= 2.0


def test_who_comes_first_after_the_loss_and_knows_nothing_of_it_waits_once_another_has_told(
    redis_client: Any, prefix: str
) -> None:
    hosts = Hosts(redis_client, prefix)
    with hosts.first.permit("e", (Rate(3, 2.0),), hold=5.0):
        redis_client.delete(*hosts.names())
        lost = time.monotonic()  # and told when the slot is given back
    hosts.send(hosts.new)
    assert time.monotonic() - lost >= 2.0


def test_redis_that_came_back_with_an_older_copy_has_lost_what_was_newer(
    redis_client: Any, prefix: str
) -> None:
    hosts = Hosts(redis_client, prefix)
    copies = {key: redis_client.dump(key) for key in hosts.names()}
    time.sleep(max(hosts.sent + 2.1 - time.monotonic(), 0.0))
    for _ in range(2):
        hosts.send(hosts.first)
    for key, copy in copies.items():
        redis_client.restore(key, 60_000, copy, replace=True)
    restored = time.monotonic()
    hosts.send(hosts.first)
    assert time.monotonic() - restored >= 2.0


def test_a_loss_is_told_once_for_each_key(redis_client: Any, prefix: str) -> None:
    """Else every process that finds out would make all others wait anew."""
    hosts = Hosts(redis_client, prefix)
    redis_client.delete(*hosts.names())
    hosts.send(hosts.first)
    windows, caller = hosts.second._store, Caller(SystemClock())
    assert isinstance(windows, RedisWindows)
    assert windows.pause_of(hosts.first._key("e"), caller).seconds == 0


def test_what_expired_was_not_lost(redis_client: Any, prefix: str) -> None:
    windows, clock = RedisWindows(redis_client, prefix), SystemClock()
    assert windows.acquire("k", 7, THREE, 0.1, Caller(clock)) == 0
    while list(redis_client.scan_iter(f"{prefix}:*")):
        time.sleep(0.05)
    assert windows.acquire("k", 8, THREE, 0.1, Caller(clock)) == 0


# -----------------------------------------------------------------------------------------------------------


class CountingServer(socketserver.ThreadingTCPServer):
    """Counts requests when it gets round to them, and answers some time later; fixed windows as Klaviyo's."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        self.counted: list[float] = []
        self.alignment = random.random()
        super().__init__(("127.0.0.1", 0), Counter)

    def excess(self, rate: Rate) -> int:
        """Requests beyond the limit, in the server's own windows and in those of any other alignment."""
        windows = [int((moment - self.alignment) // rate.seconds) for moment in self.counted]
        own = sum(max(0, windows.count(window) - rate.limit) for window in set(windows))
        times = sorted(self.counted)
        pairs = zip(times, times[rate.limit :], strict=False)
        return own + sum(later - earlier < rate.seconds for earlier, later in pairs)


class Counter(socketserver.StreamRequestHandler):
    server: CountingServer

    def handle(self) -> None:
        jitter = random.Random()
        for _ in self.rfile:
            time.sleep(jitter.choice([0, jitter.uniform(0, 0.08)]))
            self.server.counted.append(time.monotonic())
            time.sleep(jitter.choice([0, jitter.uniform(0, 0.08)]))
            self.wfile.write(b"ok\n")


SENDER = """
import socket, sys, threading, time
from pathlib import Path
from airflow_provider_klaviyo.client.rate_limit import RateLimiter
from airflow_provider_klaviyo.client.rate_limit_slots import Rate
from airflow_provider_klaviyo.client.rate_limit_files import FileWindows
from airflow_provider_klaviyo.client.rate_limit_redis import RedisWindows

port, seconds, kind, where, *rates = sys.argv[1:]
if kind == "files":
    windows = FileWindows(Path(where))
else:
    import redis
    url, _, prefix = where.partition(" ")
    windows = RedisWindows(redis.Redis.from_url(url), prefix)
limiter = RateLimiter(windows, account="account", share=1.0)
rates = [Rate(int(limit), float(length)) for limit, length in zip(rates[::2], rates[1::2])]

def send(until):
    with socket.create_connection(("127.0.0.1", int(port))) as connection, connection.makefile("rb") as answers:
        while time.monotonic() < until:
            with limiter.permit("e", rates, hold=5):
                connection.sendall(b"request\\n")
                answers.readline()

print("ready", flush=True)
sys.stdin.readline()
threads = [threading.Thread(target=send, args=[time.monotonic() + float(seconds)]) for _ in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(airflow_provider_klaviyo.__file__).parents[1])}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["files", "redis"])
def test_eight_processes_never_exceed_the_windows_of_a_server(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    burst, steady = Rate(6, 0.25), Rate(20, 1.5)
    where = str(tmp_path)
    if kind == "redis":
        where = f"{request.getfixturevalue('redis_url')} {request.getfixturevalue('prefix')}"
    with CountingServer() as server, ExitStack() as stack:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stack.callback(server.shutdown)
        arguments = [server.server_address[1], 5, kind, where, *burst, *steady]
        senders = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", SENDER, *map(str, arguments)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    env=ENVIRONMENT,
                )
            )
            for _ in range(8)
        ]
        for pipe in (sender.stdout for sender in senders):
            assert pipe
            assert pipe.readline() == b"ready\n"
        for pipe in (sender.stdin for sender in senders):
            assert pipe
            pipe.write(b"go\n")
            pipe.flush()
        assert [sender.wait(60) for sender in senders] == [0] * 8
    assert [server.excess(burst), server.excess(steady)] == [0, 0]
    assert len(server.counted) >= 3 * steady.limit  # five seconds hold three windows and a part of a fourth
    assert most_quiet(server.counted) < 2 * steady.seconds


def most_quiet(moments: Sequence[float]) -> float:
    """The longest time without a request: nobody is locked out for good."""
    return max(later - earlier for earlier, later in itertools.pairwise(sorted(moments)))

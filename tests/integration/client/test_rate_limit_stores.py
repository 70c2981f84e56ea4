"""What every store of rate-limit windows promises, and what the shared ones do among real processes."""

from __future__ import annotations

import itertools
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
from airflow_provider_klaviyo.client.rate_limit import MemoryWindows, Rate, RateLimiter, WindowStore
from airflow_provider_klaviyo.client.rate_limit_files import FileWindows
from airflow_provider_klaviyo.client.rate_limit_redis import RedisWindows
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
    assert len(keys) == 2
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
from airflow_provider_klaviyo.client.rate_limit import Rate, RateLimiter
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

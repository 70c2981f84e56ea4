"""Somebody sets the clock by an hour while the client waits: no wait is longer or shorter for that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_klaviyo.client.endpoints import GET_ACCOUNTS, GET_LISTS
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.client.rate_limit import MemoryWindows, RateLimiter
from airflow_provider_klaviyo.client.rate_limit_waits import RateLimitDeadline
from airflow_provider_klaviyo.client.responses import read_accepted
from airflow_provider_klaviyo.exceptions import KlaviyoRateLimitError, KlaviyoTimeout
from tests.clocks import JUMPS, JumpingClock
from tests.unit.client.conftest import MakeWorld, Scripted

FOUND = Scripted(200, b'{"data": [], "links": {}}')
THROTTLED = Scripted(429, b'{"errors": [{"code": "throttled"}]}', {"Retry-After": "50"})

pytestmark = pytest.mark.parametrize("jump", JUMPS)


@pytest.fixture
def clock(jump: float) -> JumpingClock:
    return JumpingClock(jump)


@pytest.fixture
def passed(clock: JumpingClock) -> Callable[[], float]:
    """How much time has really passed."""
    began = clock.monotonic()
    return lambda: clock.monotonic() - began


Passed = Callable[[], float]


def test_a_throttled_request_waits_as_long_as_it_is_asked_to(
    world: MakeWorld, clock: Any, passed: Passed
) -> None:
    world(THROTTLED, FOUND, clock=clock, deadline=600).client.get(GET_LISTS)
    assert 50 <= passed() < 52


def test_a_request_that_fails_for_ever_ends_with_the_time(
    world: MakeWorld, clock: Any, passed: Passed
) -> None:
    with pytest.raises(KlaviyoRateLimitError, match=r"3 tries in 10\d s"):
        world(THROTTLED, clock=clock, deadline=120).client.get(GET_LISTS)
    assert 100 <= passed() <= 120


def test_whoever_repeats_a_request_himself_waits_alike(world: MakeWorld, clock: Any, passed: Passed) -> None:
    client, started = world(THROTTLED, clock=clock, deadline=120).client, clock.monotonic()

    def repeat() -> None:
        for tries in range(1, 10):
            with client.turn(GET_LISTS, hold=1.0) as turn, pytest.raises(KlaviyoRateLimitError) as caught:
                turn.send(b"", read_accepted)
            client.wait_to_repeat(GET_LISTS, caught.value, tries, started)

    with pytest.raises(KlaviyoRateLimitError):
        repeat()
    assert 100 <= passed() <= 120


@pytest.mark.parametrize("wait", [KlaviyoClient.sleep, KlaviyoClient.rest])
def test_a_rest_is_as_long_as_it_should_be(
    world: MakeWorld, clock: Any, passed: Passed, wait: Callable[[KlaviyoClient, float], None]
) -> None:
    wait(world(FOUND, clock=clock, deadline=600).client, 60.0)
    assert passed() == 60


def test_a_rest_ends_with_the_time(world: MakeWorld, clock: Any, passed: Passed) -> None:
    client = world(FOUND, clock=clock, deadline=90).client
    client.rest(60.0)
    client.rest(60.0)
    with pytest.raises(KlaviyoTimeout):
        client.rest(60.0)
    assert passed() == 90


def test_a_full_window_is_waited_for_as_long_as_it_lasts(
    world: MakeWorld, clock: Any, passed: Passed
) -> None:
    client = world(FOUND, clock=clock, deadline=3_000).client
    a_second, a_minute = GET_ACCOUNTS.rates
    most = int(0.9 * a_minute.limit)
    for _ in range(most + 1):
        client.get(GET_ACCOUNTS)
    assert 60 <= passed() < 62 + most / a_second.limit


def test_a_window_that_is_free_too_late_is_not_waited_for(clock: Any) -> None:
    limiter, deadline = RateLimiter(MemoryWindows(), account="a", clock=clock), clock.monotonic() + 130
    limiter.pause("e", 100.0)
    for seconds in (100, 130):
        with limiter.permit("e", (), hold=1.0, deadline=deadline):
            assert clock.monotonic() <= deadline
        limiter.pause("e", seconds - 70.0)
    with pytest.raises(RateLimitDeadline), limiter.permit("e", (), hold=1.0, deadline=deadline):
        pass

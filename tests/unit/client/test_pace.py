"""How many requests are under way: as many as the windows permit while one is answered."""

from __future__ import annotations

import threading
from contextlib import ExitStack

import pytest

from airflow_provider_klaviyo.client.clock import SystemClock
from airflow_provider_klaviyo.client.config import KlaviyoConfig
from airflow_provider_klaviyo.client.endpoints import CREATE_EVENTS, GET_PROFILES, windows
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.client.pace import MOST, Pace, Paces
from airflow_provider_klaviyo.client.rate_limit import MemoryWindows, RateLimiter
from airflow_provider_klaviyo.exceptions import (
    KlaviyoAuthenticationError,
    KlaviyoError,
    KlaviyoRateLimitError,
    KlaviyoRequestError,
    KlaviyoServerError,
)
from tests.unit.client.conftest import FakeClock

LARGE = windows(75, 750)


def answered(pace: Pace, clock: FakeClock, seconds: float, times: int = 1) -> None:
    for _ in range(times):
        with pace.request():
            clock.sleep(seconds)


def failed(pace: Pace, clock: FakeClock, error: KlaviyoError, together: int = 1) -> None:
    def ask() -> None:
        with ExitStack() as under_way:
            for _ in range(together):
                under_way.enter_context(pace.request())
            clock.sleep(0.3)
            raise error

    with pytest.raises(type(error)):
        ask()


@pytest.mark.parametrize(
    ("rates", "share", "latency", "least", "most"),
    [
        pytest.param(LARGE, 1.0, 0.3, 22.5, 32, id="a page each 0.3 s, 75 a second"),
        pytest.param(LARGE, 0.9, 0.6, 40.2, 54, id="slower, with a share"),
        pytest.param(windows(10, 150), 0.9, 0.3, 2.7, 6, id="ten a second"),
        pytest.param(windows(10, 150), 0.9, 1.0, 9, 14, id="ten a second, slow"),
        pytest.param(windows(1, 15), 0.9, 1.0, 1, 4, id="one a second"),
        pytest.param(LARGE, 1.0, 0.0, 1, 4, id="no time at all"),
        pytest.param(LARGE, 1.0, 30.0, MOST, MOST, id="never more than can be held"),
    ],
)
def test_the_width_is_what_the_second_permits_in_the_time_of_an_answer(
    rates: tuple, share: float, latency: float, least: float, most: float
) -> None:
    clock = FakeClock()
    pace = Pace(rates, share, clock)
    answered(pace, clock, latency)
    assert least <= pace.width <= most


def test_a_burst_is_what_the_second_permits_at_once_and_like_the_width_after_failures() -> None:
    clock = FakeClock()
    pace = Pace(windows(10, 150), 0.9, clock)
    assert pace.burst == 1
    answered(pace, clock, 0.1)
    assert pace.width < pace.burst == 9
    for _ in range(20):
        failed(pace, clock, KlaviyoServerError("ill"))
    assert pace.burst == pace.width == 1
    answered(pace, clock, 5.0, 300)
    assert pace.burst == pace.width > 9


def test_it_follows_the_latency_both_ways() -> None:
    clock = FakeClock()
    pace = Pace(LARGE, 1.0, clock)
    answered(pace, clock, 0.1, 50)
    quick = pace.width
    answered(pace, clock, 0.6, 200)
    slow = pace.width
    answered(pace, clock, 0.1, 200)
    assert (quick < 20, slow > 45, pace.width) == (True, True, quick)


def test_a_server_that_our_own_requests_slow_down_gets_no_more_of_them_for_it() -> None:
    """Each request takes as long as there are others beside it: Little's law alone would go up to the most."""
    clock = FakeClock()
    pace = Pace(LARGE, 1.0, clock)
    for _ in range(60):
        answered(pace, clock, 0.02 * pace.width)
    assert pace.width < MOST / 4


@pytest.mark.parametrize("error", [KlaviyoRateLimitError("slow down"), KlaviyoServerError("ill")])
def test_a_failure_halves_it_and_answers_bring_it_back(error: KlaviyoError) -> None:
    clock = FakeClock()
    pace = Pace(LARGE, 1.0, clock)
    answered(pace, clock, 0.3)
    before = pace.width
    failed(pace, clock, error)
    assert before / 2 - 1 <= pace.width <= before / 2
    answered(pace, clock, 0.3, 2 * before)
    assert before / 2 < pace.width < before + 1
    answered(pace, clock, 0.3, 2 * before)
    assert pace.width == before


def test_what_failed_together_halves_it_once_and_what_goes_on_failing_leaves_one() -> None:
    clock = FakeClock()
    pace = Pace(LARGE, 1.0, clock)
    answered(pace, clock, 0.3)
    before = pace.width
    failed(pace, clock, KlaviyoServerError("all of them"), together=5)
    assert pace.width >= before / 2 - 1
    for _ in range(20):
        failed(pace, clock, KlaviyoServerError("still"))
    assert pace.width == 1


def test_one_goes_alone_until_klaviyo_has_taken_the_key() -> None:
    clock = FakeClock()
    pace = Pace(LARGE, 1.0, clock)
    assert pace.width == 1
    failed(pace, clock, KlaviyoAuthenticationError("who?"))
    failed(pace, clock, KlaviyoServerError("ill"))
    assert pace.width == 1
    answered(pace, clock, 0.3)
    assert pace.width > 1


def test_a_refused_record_shows_that_the_key_is_good() -> None:
    clock = FakeClock()
    pace = Pace(LARGE, 1.0, clock)
    failed(pace, clock, KlaviyoRequestError("no such number"))
    assert pace.width > 1


def test_each_endpoint_has_its_own_and_what_a_query_lowers_too() -> None:
    paces = Paces(0.9, FakeClock())
    lowered = GET_PROFILES.asked_with({"additional-fields[profile]": "predictive_analytics"})
    assert len({id(paces.of(each)) for each in (GET_PROFILES, lowered, CREATE_EVENTS)}) == 3
    assert paces.of(GET_PROFILES) is paces.of(GET_PROFILES)


def test_what_begins_anywhere_takes_room_from_all() -> None:
    clock = FakeClock()
    pace = Pace(LARGE, 1.0, clock)
    first, second = object(), object()
    assert pace.has_room
    pace.begin(first)
    assert not pace.has_room
    answered(pace, clock, 0.0)
    pace.begin(second)
    assert not pace.has_room
    for piece in (first, first, second):
        pace.end(piece)
    assert pace.has_room


def test_many_threads_may_ask_a_client_at_once() -> None:
    config = KlaviyoConfig("pk_secret123", base_url="http://127.0.0.1:9")
    client = KlaviyoClient(config, RateLimiter(MemoryWindows(), account="a"), clock=SystemClock())
    together, found = threading.Barrier(8), set[int]()

    def ask() -> None:
        together.wait(5)
        found.add(id(client.pace(GET_PROFILES)))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 1

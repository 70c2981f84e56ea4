"""No window of a second, a minute or a day lets through more than it should."""

from __future__ import annotations

import math
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_klaviyo.emulator import Emulator, ManualClock, Settings
from airflow_provider_klaviyo.emulator.api.operations import L, M
from airflow_provider_klaviyo.emulator.core.windows import Rates, Windows

STRICT = Settings()


def _admitted(windows: Windows, times: int, now: float, settings: Settings = STRICT, *rates: Rates) -> int:
    answers = [windows.admit("read", rates or (M,), now, settings) for _ in range(times)]
    return sum(answer.retry_after is None for answer in answers)


def test_a_second_takes_its_burst_and_no_more() -> None:
    assert _admitted(Windows(), 11, 100.0) == 10


def test_a_minute_takes_its_steady_number_and_no_more() -> None:
    windows, settings = Windows(), Settings(count_refused=False)
    assert sum(_admitted(windows, 10, 120.0 + second, settings) for second in range(60)) == 150
    assert _admitted(windows, 1, 180.0, settings) == 1


def test_refused_requests_use_up_the_minute() -> None:
    windows = Windows()
    assert _admitted(windows, 150, 120.0) == 10
    assert _admitted(windows, 1, 121.0) == 0


def test_a_full_second_asks_for_one_and_a_full_minute_for_its_rest() -> None:
    windows, rates = Windows(), Rates(1, 2)
    assert windows.admit("read", (rates,), 100.0, STRICT).retry_after is None
    assert windows.admit("read", (rates,), 100.2, STRICT).retry_after == 1
    assert windows.admit("read", (rates,), 101.5, STRICT).retry_after == math.ceil(120 - 101.5)


def test_a_day_ends_at_the_same_moment_for_all_its_requests() -> None:
    windows, rates = Windows(), Rates(10, 150, 2)
    day = 86_400
    assert [windows.admit("create", (rates,), day + at, STRICT).retry_after for at in (0, 500, 90)][:2] == [
        None,
        None,
    ]
    assert windows.admit("create", (rates,), 2 * day - 1.5, STRICT).retry_after == 2
    assert windows.admit("create", (rates,), 2 * day, STRICT).retry_after is None


def test_a_shifted_window_turns_at_the_shifted_moment() -> None:
    windows, settings = Windows(), Settings(window_offset=0.4)
    assert [_admitted(windows, 10, now, settings) for now in (100.0, 100.3, 100.4)] == [10, 0, 10]


def test_a_costly_parameter_draws_on_both_limits() -> None:
    windows = Windows()
    assert _admitted(windows, 11, 100.0, STRICT, L, M) == 10
    assert _admitted(windows, 75, 100.0, STRICT, L) == 64  # eleven of 75 are gone


def test_time_can_pass_faster() -> None:
    settings = Settings(time_factor=10)
    windows = Windows()
    assert [_admitted(windows, 10, 100.0 + tenth / 10, settings) for tenth in range(3)] == [10, 10, 10]


def test_switched_off_windows_refuse_nothing_and_still_count() -> None:
    windows, settings = Windows(), Settings(rate_limits="off")
    assert _admitted(windows, 25, 100.0, settings) == 25
    (stats,) = windows.stats()
    assert (stats.requests, stats.exceeded, stats.max_per_window) == (25, 15, {"1": 25, "60": 25})


@given(
    gaps=st.lists(st.sampled_from([0.0, 0.001, 0.09, 0.5, 0.999, 1.0, 7.3, 59.0, 3_600.0]), max_size=120),
    offset=st.floats(0, 60),
    burst=st.integers(1, 4),
    steady=st.integers(1, 12),
    daily=st.one_of(st.none(), st.integers(1, 20)),
    count_refused=st.booleans(),
)
def test_no_sequence_of_requests_passes_a_window(
    gaps: list[float], offset: float, burst: int, steady: int, daily: int | None, count_refused: bool
) -> None:
    windows, rates = Windows(), Rates(burst, steady, daily)
    settings = Settings(window_offset=offset, count_refused=count_refused)
    passed: Counter[tuple[int, int]] = Counter()
    now = 1_000_000.0
    for gap in gaps:
        now += gap
        if windows.admit("read", (rates,), now, settings).retry_after is None:
            ticks = round(now * 1e6) - round(offset * 1e6)
            passed.update((seconds, ticks // (seconds * 1_000_000)) for _, seconds in rates.limits)
    limits = {seconds: limit for limit, seconds in rates.limits}
    assert all(count <= limits[seconds] for (seconds, _), count in passed.items())


@given(
    start=st.floats(0, 1e9),
    offset=st.floats(0, 60),
    steady=st.integers(1, 5),
    factor=st.sampled_from([1.0, 7.0, 60.0]),
)
def test_who_waits_as_told_is_let_in(start: float, offset: float, steady: int, factor: float) -> None:
    windows, rates = Windows(), Rates(2, steady)
    settings = Settings(window_offset=offset, time_factor=factor, count_refused=False)
    now = start
    for _ in range(20):
        wait = windows.admit("read", (rates,), now, settings).retry_after
        if wait is not None:
            now += wait
            assert windows.admit("read", (rates,), now, settings).retry_after is None


def test_klaviyos_headers_come_with_successes_and_other_refusals(caller: Any) -> None:
    response = caller.get("/api/lists")
    assert response.headers["RateLimit-Limit"] == "75, 75;w=1, 750;w=60"
    assert response.headers["RateLimit-Remaining"] == "74"
    assert response.headers["RateLimit-Reset"] == "0"
    assert caller.get("/api/lists/none").headers["RateLimit-Limit"] == "75, 75;w=1, 750;w=60"


def test_the_daily_limit_is_in_the_header(caller: Any) -> None:
    response = caller.post("/api/lists", {"data": {"type": "list", "attributes": {"name": "VIP"}}})
    assert response.headers["RateLimit-Limit"] == "10, 10;w=1, 150;w=60, 150;w=86400"


def test_a_429_tells_how_long_and_nothing_else(caller: Any) -> None:
    caller.get("/api/accounts")
    response = caller.get("/api/accounts")
    assert response.status_code == 429
    assert response.headers["Retry-After"] == "1"
    assert not [name for name in response.headers if name.lower().startswith("ratelimit")]
    error = response.json()["errors"][0]
    assert (error["code"], error["detail"]) == (
        "throttled",
        "Request was throttled. Expected available in 1 second.",
    )


def test_all_keys_of_an_account_share_its_windows(clock: ManualClock, make_caller: Any) -> None:
    with Emulator(keys={"pk_a": ["accounts:read"], "pk_b": ["accounts:read"]}, clock=clock) as emulator:
        statuses = []
        for key in ("pk_a", "pk_b"):
            caller = make_caller(emulator, Authorization=f"Klaviyo-API-Key {key}")
            statuses.append(caller.get("/api/accounts").status_code)
            caller.close()
    assert statuses == [200, 429]


def test_predictive_analytics_lower_the_limit(caller: Any) -> None:
    path = "/api/profiles?additional-fields%5Bprofile%5D=subscriptions,predictive_analytics"
    statuses = [caller.get(path).status_code for _ in range(11)]
    assert statuses == [200] * 10 + [429]
    assert caller.get("/api/profiles").status_code == 200


def test_a_hundred_and_fifty_lists_may_be_made_in_a_day(
    emulator: Emulator, caller: Any, clock: ManualClock
) -> None:
    statuses = []
    for _ in range(152):
        statuses.append(
            caller.post("/api/lists", {"data": {"type": "list", "attributes": {"name": "x"}}}).status_code
        )
        clock.advance(1)
    assert statuses.count(201) == 150
    assert statuses[150:] == [429, 429]


def test_a_refused_request_of_any_kind_counts(caller: Any) -> None:
    for _ in range(10):
        assert caller.bulk_import({"email": "nobody"}).status_code == 400
    assert caller.bulk_import({"email": "ann@mail.com"}).status_code == 429


@pytest.mark.parametrize("mode", ["real", "off"])
def test_the_server_keeps_to_the_mode(emulator: Emulator, caller: Any, mode: str) -> None:
    emulator.set(rate_limits=mode)
    statuses = {caller.get("/api/accounts").status_code for _ in range(3)}
    assert statuses == ({200, 429} if mode == "real" else {200})
    assert emulator.stats()["exceeded"] == 2


def test_callers_at_once_pass_no_window_together(emulator: Emulator, make_caller: Any) -> None:
    def statuses(_: int) -> list[int]:
        caller = make_caller(emulator)
        body = {"data": {"type": "list", "attributes": {"name": "VIP"}}}
        found = [caller.post("/api/lists", body).status_code for _ in range(5)]
        caller.close()
        return found

    with ThreadPoolExecutor(8) as threads:
        found = [status for each in threads.map(statuses, range(8)) for status in each]
    assert (found.count(201), found.count(429)) == (10, 30)

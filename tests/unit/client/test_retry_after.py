"""An answer that asks to wait for a day: whose words these must be, and what people are told of the pause."""

from __future__ import annotations

import json
import logging
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_klaviyo.client.config import KlaviyoConfig
from airflow_provider_klaviyo.client.endpoints import CREATE_LIST, GET_LISTS, Endpoint
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.client.rate_limit import RateLimiter
from airflow_provider_klaviyo.client.rate_limit_files import FileWindows
from airflow_provider_klaviyo.client.retry import wait_before
from airflow_provider_klaviyo.exceptions import ApiError, KlaviyoRateLimitError, KlaviyoTimeout
from tests.clocks import SleepingClock
from tests.unit.client.conftest import MakeWorld, Scripted

DAY = 86_400
BY_KLAVIYO = json.dumps({"errors": [{"code": "throttled", "detail": "Request was throttled."}]}).encode()
BY_A_PROXY = b"<html>Too many requests</html>"
BY_A_GATEWAY = b'{"errors": [{"code": "quota_exceeded"}]}'
FOUND = Scripted(200, b'{"data": [], "links": {}}')


def throttled(body: bytes, seconds: int, status: int = 429) -> Scripted:
    return Scripted(status, body, {"Retry-After": str(seconds), "x-klaviyo-req-id": "req-7"})


@pytest.mark.parametrize(
    ("answer", "endpoint", "waited"),
    [
        (throttled(BY_KLAVIYO, 50), GET_LISTS, 50),
        (throttled(BY_A_PROXY, 50), GET_LISTS, 50),
        (throttled(BY_A_PROXY, DAY), GET_LISTS, 120),
        (throttled(BY_A_GATEWAY, DAY), GET_LISTS, 120),
        (throttled(BY_KLAVIYO, DAY), GET_LISTS, 120),
        (throttled(BY_A_PROXY, DAY, 503), GET_LISTS, 120),
        (throttled(BY_KLAVIYO, DAY, 503), GET_LISTS, 120),
        (throttled(BY_KLAVIYO, 40_000), CREATE_LIST, 40_000),
        (throttled(BY_KLAVIYO, 30 * DAY), CREATE_LIST, DAY),
        (throttled(BY_A_PROXY, 40_000), CREATE_LIST, 120),
    ],
)
def test_beyond_two_minutes_only_klaviyos_own_word_counts_and_no_longer_than_a_window(
    world: MakeWorld, answer: Scripted, endpoint: Endpoint, waited: int
) -> None:
    made = world(answer, FOUND)
    began = made.clock.monotonic()
    if answer.status == 429 or endpoint.is_repeatable:
        made.client.send(endpoint)
    assert waited <= made.clock.monotonic() - began <= waited + 2


def test_a_pause_of_one_process_is_no_longer_than_that_for_others(world: MakeWorld) -> None:
    made = world(throttled(BY_A_PROXY, DAY), deadline=10)
    with pytest.raises(KlaviyoRateLimitError):
        made.client.get(GET_LISTS)
    assert made.client._limiter._store.pause_of(
        made.client._limiter._key(GET_LISTS.name), made.client._limiter._aside()
    ).seconds == pytest.approx(120, abs=1)


class Host:
    """Processes of one host, each with a client of its own."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.clock, self._url = folder, SleepingClock(), url

    def client(self, seconds: float | None = None) -> KlaviyoClient:
        limiter = RateLimiter(FileWindows(self.folder), account="a", clock=self.clock)
        deadline = None if seconds is None else self.clock.monotonic() + seconds
        config = KlaviyoConfig("pk_1", base_url=self._url)
        return KlaviyoClient(config, limiter, clock=self.clock, deadline=deadline)

    def told(self, seconds: float) -> str:
        until = datetime.fromtimestamp(self.clock.now() + seconds, UTC)
        return f"Nobody who shares the rate limits sends get_lists until {until:%Y-%m-%dT%H:%M}"

    @property
    def way_out(self) -> str:
        (file,) = self.folder.iterdir()
        return f"(HTTP 429, request req-7). To go on sooner, delete {file}."


@pytest.fixture
def host(world: MakeWorld, tmp_path: Path) -> Host:
    return Host(tmp_path / "windows", world(throttled(BY_A_PROXY, DAY), FOUND).server.url)


def test_a_long_pause_is_told_with_its_end_its_reason_and_the_way_out(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    host.clock.sleep(3)
    told = host.told(120)
    host.client().get(GET_LISTS)
    assert told in caplog.text
    assert host.way_out in caplog.text
    assert "It asked for 86,400 s, which is no time that Klaviyo asks for." in caplog.text


def test_when_it_passes_the_deadline_the_error_says_so(host: Host) -> None:
    told = host.told(120)
    with pytest.raises(KlaviyoRateLimitError) as caught:
        host.client(60).get(GET_LISTS)
    assert told in str(caught.value)
    assert host.way_out in str(caught.value)
    assert "Gave up after 1 try" in str(caught.value)


def paused(host: Host) -> str:
    """What is told of the pause that an earlier process has left."""
    told = host.told(120)
    with pytest.raises(KlaviyoRateLimitError):
        host.client(60).get(GET_LISTS)
    host.clock.sleep(30)
    return told


def test_a_later_process_that_waits_for_the_pause_says_the_same(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    told = paused(host)
    caplog.clear()
    host.client().get(GET_LISTS)
    assert [record.levelname for record in caplog.records if told in record.getMessage()] == ["WARNING"]
    assert host.way_out in caplog.text


@pytest.mark.parametrize("waits_for_more", [False, True])
def test_a_later_process_without_the_time_for_it_says_the_same(host: Host, waits_for_more: bool) -> None:
    told, client = paused(host), host.client(60)

    def look() -> Any:
        if not waits_for_more:
            return client.get(GET_LISTS)
        with client.waiting_for(lambda: "The time is up while a job has no result yet."):
            return client.get(GET_LISTS)

    with pytest.raises(KlaviyoTimeout) as caught:
        look()
    assert told in str(caught.value)
    assert host.way_out in str(caught.value)
    assert ("while a job has no result yet" in str(caught.value)) is waits_for_more


def test_who_does_what_is_told_goes_on_at_once(host: Host) -> None:
    paused(host)
    (file,) = host.folder.iterdir()
    file.unlink()
    began = host.clock.monotonic()
    host.client(60).get(GET_LISTS)
    assert host.clock.monotonic() == began


def test_a_short_pause_is_nobodys_news(world: MakeWorld, caplog: pytest.LogCaptureFixture) -> None:
    world(throttled(BY_KLAVIYO, 20), FOUND).client.get(GET_LISTS)
    assert "Nobody who shares" not in caplog.text


def test_a_full_window_is_no_pause(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = SleepingClock()
    limiter = RateLimiter(FileWindows(tmp_path / "windows"), account="a", share=1.0, clock=clock)
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            with limiter.permit(
                "e", GET_LISTS.rates[1:] and [GET_LISTS.rates[1]._replace(limit=1)], hold=1.0
            ):
                pass
    assert "the next e follows in 60 s" in caplog.text
    assert "Nobody who shares" not in caplog.text


def test_whatever_stands_in_the_id_of_a_request_can_be_kept() -> None:
    with tempfile.TemporaryDirectory() as folder:
        limiter = RateLimiter(FileWindows(Path(folder) / "w"), account="a", clock=SleepingClock())
        told = limiter.pause("e", 60.0, "HTTP 429, request \x00ü\n" + "x" * 500)
        assert "(HTTP 429, request ???xxx" in told
        assert len(told) < 500


def test_a_wait_is_never_shorter_than_asked_where_it_is_believed() -> None:
    error = KlaviyoRateLimitError("later", status=429, errors=[ApiError(429, "throttled", "", "", "", {})])
    error.retry_after = 90.0
    assert all(90 <= wait_before(GET_LISTS, error, 1) <= 90.5 for _ in range(100))

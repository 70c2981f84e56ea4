"""A list read by a real client over a socket: by several cursors, whatever the answers are like and whoever moves."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from urllib.parse import parse_qs, unquote

import pytest

from airflow_provider_klaviyo.client.config import KlaviyoConfig
from airflow_provider_klaviyo.client.endpoints import GET_LISTS
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.client.list_reader import all_members
from airflow_provider_klaviyo.client.rate_limit import MemoryWindows, RateLimiter
from airflow_provider_klaviyo.emulator import Emulator, Fault
from airflow_provider_klaviyo.exceptions import KlaviyoRequestError, KlaviyoServerError
from tests.clocks import SleepingClock
from tests.integration.conftest import StartEmulator

pytestmark = pytest.mark.integration

START = 1_790_000_000.0
PAGES = "get_profiles_for_list"
Joined = Callable[[int], float]
WAYS: dict[str, Joined] = {
    "all the time": lambda number: START - 1_000 * number - number % 7 / 8,
    "in a few seconds": lambda number: START + number % 100 / 25,
    "in one instant": lambda _: START,
    "imports and others": lambda number: START - (number % 40 * 5_000 if number % 3 else 777.7),
}


@pytest.fixture
def klaviyo(start_emulator: StartEmulator) -> Emulator:
    return start_emulator(rate_limits="off")


@pytest.fixture
def client(klaviyo: Emulator) -> Iterator[KlaviyoClient]:
    clock = SleepingClock()
    config = KlaviyoConfig(klaviyo.api_key, base_url=klaviyo.url, rate_limit_share=1.0)
    limiter = RateLimiter(MemoryWindows(), account="a", clock=clock)
    with KlaviyoClient(config, limiter, clock=clock, deadline=clock.monotonic() + 600) as client:
        yield client


def listed(klaviyo: Emulator, joined: Joined, rows: int = 1_500) -> tuple[str, list[str]]:
    """A list, and the ids of those on it."""
    people = klaviyo.add_profiles([{"email": f"p{number}@shop.io"} for number in range(rows)])
    return klaviyo.add_list("VIPs", people, joined=[joined(number) for number in range(rows)]), people


def read(client: KlaviyoClient, list_id: str) -> Counter[str]:
    return Counter(member.id for page in all_members(client, list_id) for member in page)


@pytest.mark.parametrize("ties", ["turn", "stay"])
@pytest.mark.parametrize("joined", WAYS.values(), ids=WAYS)
def test_everybody_is_read_whenever_they_joined(
    klaviyo: Emulator, client: KlaviyoClient, joined: Joined, ties: str
) -> None:
    klaviyo.set(ties=ties)
    list_id, people = listed(klaviyo, joined)
    assert read(client, list_id).keys() == set(people)


@pytest.mark.parametrize("rows", [0, 1, 99, 100, 101])
def test_a_short_list_takes_one_request_and_one_that_goes_on_takes_few(
    klaviyo: Emulator, client: KlaviyoClient, rows: int
) -> None:
    list_id, people = listed(klaviyo, WAYS["all the time"], rows)
    assert read(client, list_id).keys() == set(people)
    assert len(klaviyo.requests(PAGES)) <= (1 if rows <= 100 else 4)


def test_several_cursors_read_at_once_and_the_first_page_goes_alone(klaviyo: Emulator) -> None:
    list_id, people = listed(klaviyo, WAYS["all the time"])
    klaviyo.inject(Fault("slow", PAGES, count=None, seconds=0.1))
    limiter = RateLimiter(MemoryWindows(), account="a")
    with KlaviyoClient(KlaviyoConfig(klaviyo.api_key, base_url=klaviyo.url), limiter) as client:
        assert read(client, list_id).keys() == set(people)
    asked = klaviyo.requests(PAGES)
    spans = sorted((each.time, each.time + each.seconds) for each in asked)
    assert max(sum(one[0] <= begun < one[1] for one in spans) for begun, _ in spans) > 3
    assert spans[1][0] >= spans[0][1]
    assert len(asked) <= 15 + 15


def test_a_list_of_one_import_is_read_from_both_ends(klaviyo: Emulator, client: KlaviyoClient) -> None:
    list_id, people = listed(klaviyo, WAYS["in one instant"], 5_000)
    assert read(client, list_id).keys() == set(people)
    backwards = [each for each in klaviyo.requests(PAGES) if "sort=-joined" in each.query]
    assert len(backwards) > 15
    assert len(klaviyo.requests(PAGES)) <= 50 + 6


FAULTS = {
    "5xx": Fault("status", PAGES, status=503, skip=3, count=4),
    "5xx after the work": Fault("status_after", PAGES, status=500, skip=2, count=3),
    "reset": Fault("reset_after", PAGES, skip=4, count=3),
    "null": Fault("not_json", PAGES, body="null", skip=3, count=3),
    "no data": Fault("not_json", PAGES, body='{"data": null}', skip=2, count=3),
    "nothing at all": Fault("not_json", PAGES, body="empty", skip=5, count=3),
    "429": Fault("status", PAGES, status=429, retry_after=1, skip=3, count=3),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_an_answer_that_is_none_ends_no_range(klaviyo: Emulator, client: KlaviyoClient, fault: Fault) -> None:
    list_id, people = listed(klaviyo, WAYS["imports and others"])
    klaviyo.inject(fault)
    assert read(client, list_id).keys() == set(people)


def test_an_answer_that_repeats_another_page_ends_no_range(klaviyo: Emulator, client: KlaviyoClient) -> None:
    list_id, people = listed(klaviyo, WAYS["all the time"])
    pages: list[str] = []
    read_page = client._transport.exchange

    def exchange(*asked: object) -> object:  # the fourth answer is the second one's, but for where it leads
        answer = read_page(*asked)  # type: ignore[arg-type]
        pages.append(answer.body.decode())
        if len(pages) == 4:
            repeated = json.loads(pages[1]) | {"links": json.loads(pages[3])["links"]}
            object.__setattr__(answer, "body", json.dumps(repeated).encode())
        return answer

    client._transport.exchange = exchange  # type: ignore[method-assign,assignment]
    seen = read(client, list_id)
    missing = {each["id"] for each in json.loads(pages[3])["data"]}
    assert set(people) - missing <= seen.keys(), "who was on the page that was withheld is not to be known"


def test_an_error_that_stays_ends_the_reading(klaviyo: Emulator, client: KlaviyoClient) -> None:
    list_id, _ = listed(klaviyo, WAYS["all the time"])
    klaviyo.inject(Fault("status", PAGES, status=503, skip=6, count=None))
    with pytest.raises(KlaviyoServerError):
        read(client, list_id)


def test_whoever_leaves_or_joins_meanwhile_loses_nobody_else(
    klaviyo: Emulator, client: KlaviyoClient
) -> None:
    list_id, people = listed(klaviyo, WAYS["imports and others"])
    come = klaviyo.add_profiles([{"email": f"new{number}@shop.io"} for number in range(300)])
    gone = set(people[::5])
    seen: set[str] = set()
    for pages, page in enumerate(all_members(client, list_id)):
        seen |= {member.id for member in page}
        with klaviyo._account.lock:
            account = klaviyo._account
            for member in [*sorted(gone)[pages * 10 : pages * 10 + 10]]:
                account.lists.get(list_id).leave(account.profiles.with_id(member).number)  # type: ignore[union-attr]
            for member in come[pages * 10 : pages * 10 + 10]:
                account.lists.join(list_id, account.profiles.with_id(member), START + pages)  # type: ignore[arg-type]
    assert set(people) - gone <= seen <= {*people, *come}


def refusing(parameter: str) -> Fault:
    error = {
        "id": "1",
        "status": 400,
        "code": "invalid",
        "title": "Invalid input.",
        "detail": f"'joined_group_at' is not a valid {parameter}.",
        "source": {"parameter": parameter},
    }
    return Fault("status", PAGES, status=400, errors=(error,), count=1, skip=0 if parameter == "sort" else 2)


@pytest.mark.parametrize("parameter", ["sort", "filter"])
def test_where_the_filter_is_refused_one_cursor_reads_everybody_and_the_log_says_so_once(
    klaviyo: Emulator, client: KlaviyoClient, caplog: pytest.LogCaptureFixture, parameter: str
) -> None:
    list_id, people = listed(klaviyo, WAYS["all the time"])
    klaviyo.inject(refusing(parameter))
    with caplog.at_level(logging.WARNING):
        assert read(client, list_id).keys() == set(people)
    assert [each.message for each in caplog.records if "one cursor reads the list" in each.message] == [
        "Klaviyo refuses to read a list's members by when they joined: one cursor reads the list, page after page."
    ]
    plain = [each for each in klaviyo.requests(PAGES) if "sort" not in parse_qs(unquote(each.query))]
    assert len(plain) == 15


def test_a_list_that_is_not_there_is_an_error_as_before(
    klaviyo: Emulator, client: KlaviyoClient, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(KlaviyoRequestError, match="does not exist"):
        read(client, "NoList")
    assert "one cursor" not in caplog.text


def test_no_request_leaves_any_more_when_the_reading_is_broken_off(
    klaviyo: Emulator, client: KlaviyoClient
) -> None:
    list_id, _ = listed(klaviyo, WAYS["all the time"])
    pages = all_members(client, list_id)
    for _ in range(4):
        next(pages)
    pages.close()
    asked = len(klaviyo.requests(PAGES))
    assert asked < 15
    client.get(GET_LISTS)
    assert len(klaviyo.requests(PAGES)) == asked

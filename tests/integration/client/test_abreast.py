"""Requests side by side, by a real client against an emulator whose answers take their time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from airflow_provider_klaviyo.client.abreast import abreast
from airflow_provider_klaviyo.client.config import KlaviyoConfig
from airflow_provider_klaviyo.client.endpoints import GET_LISTS, GET_PROFILES
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.client.pace import MOST
from airflow_provider_klaviyo.client.rate_limit import MemoryWindows, RateLimiter
from airflow_provider_klaviyo.emulator import Emulator, Fault
from airflow_provider_klaviyo.exceptions import KlaviyoAuthenticationError, KlaviyoServerError, KlaviyoStopped
from tests.integration.conftest import StartEmulator
from tests.striking import wait_for_workers

pytestmark = pytest.mark.integration

LATENCY = 0.1

Connect = Callable[..., KlaviyoClient]


@pytest.fixture
def klaviyo(start_emulator: StartEmulator) -> Emulator:
    return start_emulator(rate_limits="off")


@pytest.fixture
def connect(klaviyo: Emulator) -> Iterator[Connect]:
    made: list[KlaviyoClient] = []

    def connect(key: str = "", stop: Callable[[], bool] | None = None) -> KlaviyoClient:
        config = KlaviyoConfig(key or klaviyo.api_key, base_url=klaviyo.url)
        made.append(KlaviyoClient(config, RateLimiter(MemoryWindows(), account="a"), stop=stop))
        return made[-1]

    yield connect
    for client in made:
        client.close()


def late(klaviyo: Emulator, seconds: float = LATENCY) -> None:
    klaviyo.inject(Fault("slow", "get_profiles", count=None, seconds=seconds))


def asker(client: KlaviyoClient) -> Callable[[int], int]:
    """Asks Klaviyo something; what was asked comes back."""

    def ask(number: int) -> int:
        client.get(GET_PROFILES, query={"page[size]": "1"})
        return number

    return ask


def fail() -> None:
    msg = "no"
    raise KlaviyoServerError(msg)


def most_at_once(klaviyo: Emulator) -> int:
    """How many requests were under way at one time."""
    asked = [(each.time, each.time + each.seconds) for each in klaviyo.requests()]
    return max(sum(begun <= moment < over for begun, over in asked) for moment, _ in asked)


def test_results_keep_their_order_and_latency_is_waited_for_side_by_side(
    klaviyo: Emulator, connect: Connect
) -> None:
    late(klaviyo)
    client = connect()
    assert list(abreast(client, GET_PROFILES, asker(client), range(40))) == list(range(40))
    first, *others = klaviyo.requests()
    assert all(each.time >= first.time + LATENCY for each in others), "the first goes alone"
    assert most_at_once(klaviyo) > 4


def test_who_was_answered_before_does_not_go_alone_again(klaviyo: Emulator, connect: Connect) -> None:
    late(klaviyo)
    client = connect()
    asker(client)(0)
    assert list(abreast(client, GET_PROFILES, asker(client), range(6))) == list(range(6))
    assert most_at_once(klaviyo) >= 4


def test_arguments_are_taken_as_they_are_needed(klaviyo: Emulator, connect: Connect) -> None:
    client = connect()
    taken: list[int] = []

    def arguments() -> Iterator[int]:
        for number in range(10_000):
            taken.append(number)
            yield number

    with closing(abreast(client, GET_PROFILES, asker(client), arguments())) as results:
        assert [next(results) for _ in range(5)] == list(range(5))
    assert len(taken) <= 2 * MOST + 5
    wait_for_workers()
    asked = len(klaviyo.requests())
    assert asked <= len(taken)


def test_one_slow_answer_does_not_let_results_pile_up(klaviyo: Emulator, connect: Connect) -> None:
    client = connect()
    asker(client)(0)
    may_go_on, begun = threading.Event(), list[int]()

    def work(number: int) -> int:
        begun.append(number)
        if number == 0:
            may_go_on.wait(10)
        return number

    results = abreast(client, GET_PROFILES, work, range(1_000))
    reader = threading.Thread(target=lambda: next(results))
    reader.start()
    while len(begun) < 2 * client.pace(GET_PROFILES).width:
        time.sleep(0.001)
    time.sleep(0.1)
    assert len(begun) <= 2 * client.pace(GET_PROFILES).width
    may_go_on.set()
    reader.join()
    results.close()


def test_a_wrong_key_costs_one_request(klaviyo: Emulator, connect: Connect) -> None:
    client = connect("pk_wrong")
    with pytest.raises(KlaviyoAuthenticationError):
        list(abreast(client, GET_PROFILES, asker(client), range(40)))
    assert len(klaviyo.requests()) == 1


def test_after_a_failure_nothing_begins(klaviyo: Emulator, connect: Connect) -> None:
    late(klaviyo)
    client = connect()
    asker(client)(0)
    begun: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        if number == 7:
            fail()
        return asker(client)(number)

    with pytest.raises(KlaviyoServerError, match="no"):
        list(abreast(client, GET_PROFILES, work, range(1_000)))
    at_the_end = len(begun), len(klaviyo.requests())
    wait_for_workers()
    assert (len(begun), len(klaviyo.requests())) == at_the_end
    assert len(begun) < 40


def test_what_waits_for_the_windows_when_another_fails_does_not_leave(
    klaviyo: Emulator, connect: Connect
) -> None:
    client = connect()
    asker(client)(0)
    full = threading.Event()

    def work(number: int) -> int:
        if number < 2:
            full.wait(10)
            fail()
        return asker(client)(number)

    client._limiter.pause("get_profiles", 600.0)
    threading.Timer(0.2, full.set).start()
    began = time.monotonic()
    with pytest.raises(KlaviyoServerError, match="no"):
        list(abreast(client, GET_PROFILES, work, range(1_000)))
    assert time.monotonic() - began < client.longest_exchange
    assert len(klaviyo.requests()) == 1


def test_a_cancelled_or_stopped_client_ends_it(klaviyo: Emulator, connect: Connect) -> None:
    is_over = threading.Event()
    for client, end in ((connect(stop=is_over.is_set), is_over.set), ((other := connect()), other.cancel)):
        is_over.clear()
        asker(client)(0)
        results = abreast(client, GET_PROFILES, asker(client), range(10_000))
        next(results)
        end()
        with pytest.raises(KlaviyoStopped):
            list(results)


def test_work_may_do_work_side_by_side(klaviyo: Emulator, connect: Connect) -> None:
    client = connect()

    def many(number: int) -> list[int]:
        client.get(GET_LISTS)
        return list(abreast(client, GET_PROFILES, asker(client), range(number, number + 3)))

    late(klaviyo, 0.02)
    found = list(abreast(client, GET_LISTS, many, range(0, 30, 3)))
    assert found == [[number, number + 1, number + 2] for number in range(0, 30, 3)]


def test_nothing_to_do_is_nothing(connect: Connect) -> None:
    client = connect()
    assert list(abreast(client, GET_PROFILES, asker(client), [])) == []


def test_connections_are_opened_once_each(klaviyo: Emulator, connect: Connect) -> None:
    """The sessions are kept, so that a wide pace opens none again and again."""
    late(klaviyo, 0.4)
    client = connect()
    made: list[object] = []
    make = client._transport._sessions._make

    def count() -> object:
        made.append(None)
        return make()

    client._transport._sessions._make = count  # type: ignore[assignment]
    client._limiter = RateLimiter(MemoryWindows(), account="b", share=1.0)
    list(abreast(client, GET_PROFILES, asker(client), range(100)))
    assert len(made) <= MOST < len(klaviyo.requests())

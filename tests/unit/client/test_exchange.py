"""One exchange with a server that is slow: it ends in its time, and nothing of it lives on."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from airflow_provider_klaviyo.client.config import KlaviyoConfig
from airflow_provider_klaviyo.client.endpoints import GET_PROFILES, IMPORT_PROFILES
from airflow_provider_klaviyo.client.http import HttpTransport
from airflow_provider_klaviyo.exceptions import KlaviyoConnectionError, KlaviyoStopped
from tests.hostile import SLOW, Conversation, HostileServer, Manner, after, answering
from tests.unit.client.conftest import MakeWorld, Scripted

BODY = b'{"data":[]}'


class Told:
    """Told to stop, once it is."""

    def __init__(self) -> None:
        self.is_told = threading.Event()

    def __call__(self) -> bool:
        return self.is_told.is_set()


def transport(
    server: HostileServer, *, timeout: float = 30.0, stop: Callable[[], bool] | None = None
) -> HttpTransport:
    return HttpTransport(KlaviyoConfig("pk_x", base_url=server.url, timeout=timeout), stop=stop)


def exchange(made: HttpTransport) -> bytes:
    return made.exchange(GET_PROFILES, GET_PROFILES.path, {}, None).body


def comes_true(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + 10
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


def are_over() -> bool:
    return not any(thread.name == "klaviyo-exchange" for thread in threading.enumerate())


@pytest.fixture(autouse=True)
def _no_thread_lives_on() -> Iterator[None]:
    yield
    assert comes_true(are_over)


@pytest.mark.parametrize("manner", SLOW.values(), ids=SLOW)
def test_an_answer_that_never_ends_is_given_up_and_its_connection_ended(manner: Manner) -> None:
    with HostileServer(manner) as server:
        made = transport(server, timeout=1.0)
        with pytest.raises(KlaviyoConnectionError, match=r"after 1(\.0)? s") as caught:
            exchange(made)
        assert caught.value.sent
        assert comes_true(are_over)
        assert comes_true(lambda: server.is_alone), "the server has not seen the client leave"


@pytest.mark.parametrize("manner", SLOW.values(), ids=SLOW)
def test_an_answer_that_never_ends_ends_soon_when_told_to_stop(
    manner: Manner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_klaviyo.client.http.STOP_GRACE", 0.1)
    stop = Told()

    def stopping(conversation: Conversation) -> None:
        stop.is_told.set()
        manner(conversation)

    with HostileServer(stopping) as server:
        with pytest.raises(KlaviyoStopped, match="told to stop before get_profiles was answered"):
            exchange(transport(server, timeout=3_600, stop=stop))
        assert comes_true(lambda: server.is_alone)


def test_an_answer_that_comes_soon_after_the_stop_is_taken() -> None:
    stop = Told()

    def stopping(conversation: Conversation) -> None:
        stop.is_told.set()
        answering("200 OK", BODY)(conversation)

    with HostileServer(stopping) as server:
        assert exchange(transport(server, stop=stop)) == BODY


def test_a_request_that_is_slow_to_be_taken_is_given_up_too() -> None:
    """Nothing reads it, so it fills the buffers between the two and stays there."""
    over = threading.Event()
    with HostileServer(lambda _: None) as server:
        server._talk = lambda peer: over.wait(10) and peer.close()  # type: ignore[method-assign]
        made = transport(server, timeout=0.3)
        with pytest.raises(KlaviyoConnectionError, match="not complete") as caught:
            made.exchange(IMPORT_PROFILES, IMPORT_PROFILES.path, {}, b" " * 20_000_000)
        assert caught.value.sent
        assert comes_true(are_over)
        over.set()


def test_who_gives_up_takes_nobody_elses_connection() -> None:
    """A slow answer among quick ones, which go on by the connections that they have."""
    slow = after("HTTP/1.1 200 OK", "Content-Length: 1000", drip=b" ")

    def manner(conversation: Conversation) -> None:
        (slow if b"slow" in conversation.request else answering("200 OK", BODY))(conversation)

    with HostileServer(manner) as server, ThreadPoolExecutor(8) as threads:
        made = transport(server, timeout=0.5)
        asked = [threads.submit(made.exchange, GET_PROFILES, "/slow", {}, None)]
        asked += [threads.submit(exchange, made) for _ in range(40)]
        assert all(each.result() == BODY for each in asked[1:])
        assert isinstance(asked[0].exception(), KlaviyoConnectionError)


def test_connections_are_kept_however_many_threads_ask_one_after_the_other(world: MakeWorld) -> None:
    made = world(Scripted())
    transport = made.client._transport
    for _ in range(5):
        assert exchange(transport) == b"{}"
    assert len(transport._sessions._idle) == 1
    assert made.server.connections == 1
    made.client.close()
    assert exchange(transport) == b"{}"
    assert transport._sessions._idle == [], "who was closed keeps nothing open"


def test_a_request_that_is_given_up_before_it_could_connect_never_leaves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Names may be looked up for longer than a request may take, and no timeout ends that."""
    resolve, found = socket.getaddrinfo, threading.Event()

    def slowly(*arguments: object, **named: object) -> object:
        found.wait(10)
        return resolve(*arguments, **named)  # type: ignore[arg-type]

    with HostileServer(answering("200 OK", BODY)) as server:
        monkeypatch.setattr(socket, "getaddrinfo", slowly)
        with pytest.raises(KlaviyoConnectionError, match="Could not connect") as caught:
            exchange(transport(server, timeout=0.2))
        assert not caught.value.sent
        found.set()
        assert comes_true(are_over)
        assert server.requests == []


def test_where_there_is_no_room_for_another_thread_nothing_was_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        msg = "can't start new thread"
        raise RuntimeError(msg)

    made = HttpTransport(KlaviyoConfig("pk_x", base_url="http://127.0.0.1:9"))
    monkeypatch.setattr("_thread.start_new_thread", refuse)
    with pytest.raises(KlaviyoConnectionError, match="can't start new thread") as failure:
        exchange(made)
    assert not failure.value.sent

"""All that the client asks, of a server that answers slowly or badly: it ends in time, with errors of ours or none."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from airflow_provider_klaviyo.client import http, retry
from airflow_provider_klaviyo.client.account import get_account
from airflow_provider_klaviyo.client.bodies import read_body
from airflow_provider_klaviyo.client.config import KlaviyoConfig
from airflow_provider_klaviyo.client.endpoints import (
    CREATE_EVENTS,
    CREATE_LIST,
    ENDPOINTS,
    IMPORT_PROFILE,
    SUBSCRIBE,
    UNSUBSCRIBE,
)
from airflow_provider_klaviyo.client.jobs import find_jobs, get_job, job_errors, start_job
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.client.list_reader import all_members
from airflow_provider_klaviyo.client.lists import (
    add_members,
    count_members,
    creation_body,
    find_list,
    name_of_list,
    refuse_alike,
    remove_members,
)
from airflow_provider_klaviyo.client.members import profiles_now
from airflow_provider_klaviyo.client.people import find_on_list, find_people
from airflow_provider_klaviyo.client.profile_imports import PROFILE_IMPORTS
from airflow_provider_klaviyo.client.rate_limit import MemoryWindows, RateLimiter
from airflow_provider_klaviyo.client.responses import read_accepted, read_document, read_id
from airflow_provider_klaviyo.exceptions import (
    KlaviyoConnectionError,
    KlaviyoError,
    KlaviyoResponseError,
    KlaviyoTimeout,
)
from tests.clocks import SleepingClock
from tests.hostile import SLOW, HostileServer, Manner, answering, raw

pytestmark = pytest.mark.integration

Call = Callable[[KlaviyoClient], Any]
NAMES = ["p1@shop.io", "p2@shop.io"]
CALLS: dict[str, list[Call]] = {
    "get_accounts": [get_account],
    "get_profiles": [
        lambda client: find_people(client, "email", NAMES),
        lambda client: profiles_now(client, ["P1", "P2"]),
    ],
    "create_or_update_profile": [lambda client: client.send(IMPORT_PROFILE, body=b"{}", read=read_document)],
    "bulk_import_profiles": [lambda client: start_job(client, PROFILE_IMPORTS, b"{}")],
    "get_bulk_import_profiles_job": [lambda client: get_job(client, PROFILE_IMPORTS, "j1")],
    "get_bulk_import_profiles_jobs": [lambda client: find_jobs(client, PROFILE_IMPORTS, ["j1", "j2", "j3"])],
    "get_errors_for_bulk_import_profiles_job": [
        lambda client: list(job_errors(client, PROFILE_IMPORTS, "j1"))
    ],
    "bulk_create_events": [lambda client: client.send(CREATE_EVENTS, body=b"{}", read=read_accepted)],
    "get_lists": [lambda client: find_list(client, "VIPs"), lambda client: refuse_alike(client, "VIPs")],
    "create_list": [lambda client: client.send(CREATE_LIST, body=creation_body("VIPs"), read=read_id)],
    "get_list": [lambda client: name_of_list(client, "L1"), lambda client: count_members(client, "L1")],
    "get_profiles_for_list": [
        lambda client: list(all_members(client, "L1")),
        lambda client: find_on_list(client, "L1", "email", NAMES),
    ],
    "add_profiles_to_list": [lambda client: add_members(client, "L1", [b"{}"])],
    "remove_profiles_from_list": [lambda client: remove_members(client, "L1", ["P1"])],
    "bulk_subscribe_profiles": [lambda client: client.send(SUBSCRIBE, body=b"{}", read=read_accepted)],
    "bulk_unsubscribe_profiles": [lambda client: client.send(UNSUBSCRIBE, body=b"{}", read=read_accepted)],
}
EACH = [
    pytest.param(call, id=f"{name} {number}")
    for name, calls in CALLS.items()
    for number, call in enumerate(calls)
]


def test_every_endpoint_is_called() -> None:
    assert CALLS.keys() == {endpoint.name for endpoint in ENDPOINTS}


def outcome(server: HostileServer, call: Call, *, timeout: float = 10.0) -> KlaviyoError | None:
    """The error that a call ends with, if it is one of ours; others are raised."""
    clock = SleepingClock()
    limiter = RateLimiter(MemoryWindows(), account="test", clock=clock)
    config = KlaviyoConfig("pk_x", base_url=server.url, timeout=timeout)
    with KlaviyoClient(config, limiter, clock=clock, deadline=clock.monotonic() + 120) as client:
        try:
            call(client)
        except KlaviyoError as error:
            return error
    return None


@pytest.fixture(autouse=True)
def _no_thread_lives_on() -> Iterator[None]:
    yield
    for thread in threading.enumerate():
        if thread.name == "klaviyo-exchange":
            thread.join(10)
            assert not thread.is_alive()


@pytest.mark.parametrize("manner", SLOW.values(), ids=SLOW)
def test_whatever_is_asked_of_a_server_that_never_ends_its_answer_ends(manner: Manner) -> None:
    calls = [call for calls in CALLS.values() for call in calls]
    with HostileServer(manner) as server, ThreadPoolExecutor(len(calls)) as threads:
        ended = list(threads.map(lambda call: outcome(server, call, timeout=0.2), calls))
    for error in ended:
        assert isinstance(error, KlaviyoConnectionError | KlaviyoTimeout), error
        assert error.endpoint in str(error)


RESOURCE: dict[str, Any] = {"id": "x1", "type": "x", "attributes": {"name": "x", "email": "x@shop.io"}}
DEEP = b"[" * 900 + b"]" * 900
ODD: tuple[object, ...] = (None, True, 0, -1, 1.5, "", "x", [], {}, [None], [[]], ["x"], [7], {"x": {}})


def documents() -> dict[str, bytes]:
    """JSON of every wrong shape: any value where the schema has another one."""
    found: dict[str, object] = {f"the whole is {odd!r}": odd for odd in ODD}
    found |= {f"data is {odd!r}": {"data": odd} for odd in ODD}
    for name in RESOURCE:
        for odd in ODD:
            broken = RESOURCE | {name: odd}
            found |= {f"{name} is {odd!r}": {"data": broken}, f"{name} of one is {odd!r}": {"data": [broken]}}
    for name in (
        "name",
        "email",
        "status",
        "profile_count",
        "subscriptions",
        "detail",
        "source",
        "original_payload",
    ):
        for odd in ODD:
            broken = RESOURCE | {"attributes": RESOURCE["attributes"] | {name: odd}}
            found |= {
                f"its {name} is {odd!r}": {"data": broken},
                f"{name} of its is {odd!r}": {"data": [broken]},
            }
    for odd in (*ODD, "https://[bad", "https://x/?a=1", "?" + "x" * 10_000):
        found[f"links are {odd!r}"[:40]] = {"data": [RESOURCE], "links": odd}
        found[f"next is {odd!r}"[:40]] = {"data": [RESOURCE], "links": {"next": odd}}
    return {name: json.dumps(document).encode() for name, document in found.items()}


BODIES: dict[str, bytes] = {
    "empty": b"",
    "broken letters": b'{"data":[{"id":"\xff"}]}',
    "HTML": b"<html></html>",
    "cut": b'{"data":[{"id":"x"',
    "two": b'{"data":[]}{"data":[]}',
    "deep": b'{"data":' + DEEP + b"}",
    "deep attributes": b'{"data":[{"id":"x1","attributes":{"name":' + DEEP + b',"status":' + DEEP + b"}}]}",
    "deep errors": b'{"errors":[{"detail":' + DEEP + b',"source":{"pointer":' + DEEP + b"}}]}",
    "deeper": b'{"data":' + b"[" * 50_000,
    **documents(),
}
STATUSES = ("202 Accepted", "400 Bad Request", "404 Not Found", "500 Oops")


@pytest.mark.parametrize("call", EACH)
def test_an_answer_of_any_shape_is_read_or_is_an_error_of_ours(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "UNREADABLE_TRIES", 1)
    few = list(BODIES.items())[:12]
    answers = {name: answering("200 OK", body) for name, body in BODIES.items()}
    answers |= {f"{status}: {name}": answering(status, body) for status in STATUSES for name, body in few}
    now: list[Manner] = []
    with HostileServer(lambda conversation: now[-1](conversation)) as server:
        for name, manner in answers.items():
            now.append(manner)
            error = outcome(server, call)
            if isinstance(error, KlaviyoResponseError):
                assert error.endpoint in str(error), name


RAW: dict[str, bytes] = {
    "nothing": b"",
    "no HTTP": b"SSH-2.0-OpenSSH\r\n",
    "a status that is none": b"HTTP/1.1 two-hundred OK\r\n\r\n",
    "a status of HTTP 9": b"HTTP/9.9 200 OK\r\n\r\n",
    "a line without end": b"HTTP/1.1 200 " + b"O" * 100_000,
    "a header without colon": b"HTTP/1.1 200 OK\r\nnothing\r\n\r\n{}",
    "a header without end": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000,
    "many headers": b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 1_000 + b"\r\n{}",
    "a length that is none": b"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\n{}",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 9\r\n\r\n{}",
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -9\r\n\r\n{}",
    "a length that is too long": b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{}",
    "a length that is too short": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{}",
    "a chunk of no size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "a negative chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n",
    "a cut chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n900\r\n{}",
    "an unknown framing": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: x\r\n\r\n{}",
    "an unknown packing": b"HTTP/1.1 200 OK\r\nContent-Encoding: x\r\n\r\n{}",
    "gzip that is none": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n{}",
    "a date that is none": b"HTTP/1.1 503 No\r\nDate: Mon, 01 Jan 2020 00:00:00 -99999999999999999999\r\n\r\n",
    "a wait that is none": b"HTTP/1.1 429 No\r\nRetry-After: Mon, 01 Jan 99999 00:00:00 GMT\r\n\r\n",
    "a redirect": b"HTTP/1.1 302 Found\r\nLocation: http://[bad\r\n\r\n",
    "a continue": b"HTTP/1.1 100 Continue\r\n\r\n",
    "another protocol": b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
}


@pytest.mark.parametrize("said", RAW.values(), ids=RAW)
def test_what_is_hardly_http_is_an_error_of_ours(said: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "UNREADABLE_TRIES", 1)
    with HostileServer(raw(said)) as server:
        for calls in CALLS.values():
            for call in calls:
                outcome(server, call)


def test_a_bomb_is_no_answer_to_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "UNREADABLE_TRIES", 1)
    monkeypatch.setattr(
        http, "read_body", lambda raw, encoding, limit: read_body(raw, encoding, limit // 1_000)
    )
    bomb = answering("200 OK", gzip.compress(b" " * 1_000_000), "Content-Encoding: gzip")
    with HostileServer(bomb) as server:
        for calls in CALLS.values():
            for call in calls:
                error = outcome(server, call)
                assert isinstance(error, KlaviyoResponseError)
                assert "so it was not read to its end" in str(error)

"""What every call has to get right before anything is done for it."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator, Fault, FaultKind, ManualClock, Settings
from airflow_provider_klaviyo.emulator.api.dispatch import OPERATIONS


@pytest.mark.parametrize(
    "authorization",
    [None, "", "pk_emulator", "Bearer pk_emulator", "Klaviyo-API-Key", "Klaviyo-API-Key pk_unknown"],
)
def test_a_call_without_a_known_key_is_refused(caller: Any, authorization: str | None) -> None:
    response = caller.call("GET", "/api/accounts", headers={"Authorization": authorization})
    assert response.status_code == 401
    assert response.json()["errors"][0]["code"] in ("not_authenticated", "authentication_failed")
    assert "RateLimit-Limit" not in response.headers


def test_an_unknown_key_is_a_400_where_the_account_says_so(emulator: Emulator, caller: Any) -> None:
    emulator.set(bad_key_status=400)
    response = caller.call("GET", "/api/accounts", headers={"Authorization": "Klaviyo-API-Key pk_unknown"})
    assert response.status_code == 400
    assert response.json()["errors"][0]["code"] == "authentication_failed"


def test_every_answer_is_dated_by_the_clock_that_the_account_lives_by(
    caller: Any, clock: ManualClock
) -> None:
    for path in ("/api/lists", "/api/nothing"):
        assert parsedate_to_datetime(caller.get(path).headers["Date"]).timestamp() == int(clock.now())
        clock.advance(172_800)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)
def test_a_key_without_a_scope_is_told_which_one(
    operation: Any, emulator: Emulator, caller: Any, clock: ManualClock
) -> None:
    for missing in operation.scopes:
        emulator.set(keys={emulator.api_key: tuple(scope for scope in operation.scopes if scope != missing)})
        path = operation.path.replace("{id}", emulator.account_id).replace("{job_id}", "x")
        response = caller.call(operation.method, path)
        assert response.status_code == 403
        error = response.json()["errors"][0]
        assert error["code"] == "permission_denied"
        assert missing in error["detail"]
        clock.advance(60)


@pytest.mark.parametrize(
    ("revision", "status"),
    [
        (None, 400),
        ("", 400),
        ("15.07.2026", 400),
        ("2026-13-01", 400),
        ("2026-07-15.pre", 400),
        ("2025-04-15", 400),
        ("2099-01-15", 400),
        ("2024-07-15", 410),
        ("2022-10-17", 410),
        ("2026-07-15", 200),
        ("2026-10-15", 200),
    ],
)
def test_a_revision_must_be_given_and_alive(caller: Any, revision: str | None, status: int) -> None:
    headers = {"revision": revision, "X-Klaviyo-Revision-Fall-Forward-Opt-Out": "1"}
    assert caller.call("GET", "/api/lists", headers=headers).status_code == status


@pytest.mark.parametrize("revision", ["2022-10-17", "2025-04-15", "2099-01-15"])
def test_who_does_not_opt_out_falls_forward_in_silence(caller: Any, revision: str) -> None:
    assert caller.call("GET", "/api/lists", headers={"revision": revision}).status_code == 200


@pytest.mark.parametrize(
    "path", ["/", "/api", "/api/nowhere", "/api/profiles/a/b/c", "/api//profiles", "/apiprofiles"]
)
def test_an_unknown_path_is_not_found(caller: Any, path: str) -> None:
    response = caller.get(path)
    assert response.status_code == 404
    assert response.json()["errors"][0]["code"] == "not_found"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/api/profiles", "GET, POST"),
        ("PUT", "/api/profile-import", "POST"),
        ("OPTIONS", "/api/lists", "GET, POST"),
        ("POST", "/api/accounts", "GET"),
    ],
)
def test_a_method_that_a_path_does_not_take_is_refused(
    caller: Any, method: str, path: str, allowed: str
) -> None:
    response = caller.call(method, path)
    assert response.status_code == 405
    assert response.headers["Allow"] == allowed


def test_a_trailing_slash_changes_nothing(caller: Any) -> None:
    assert caller.get("/api/lists/").status_code == 200


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/vnd.api+json", 201),
        ("application/json", 201),
        ("application/json; charset=utf-8", 201),
        ("application/json; charset=latin-1", 415),
        ("text/plain", 415),
        ("", 415),
    ],
)
def test_a_body_must_say_that_it_is_json(caller: Any, content_type: str, status: int) -> None:
    document = caller.profile_body(email="ann@mail.com")
    response = caller.call("POST", "/api/profiles", document, headers={"Content-Type": content_type})
    assert response.status_code == status


def test_a_compressed_body_is_refused(caller: Any) -> None:
    document = caller.profile_body(email="ann@mail.com")
    response = caller.call("POST", "/api/profiles", document, headers={"Content-Encoding": "gzip"})
    assert response.status_code == 415


def _padded(size: int) -> bytes:
    body = json.dumps({"data": {"type": "list", "attributes": {"name": "x"}}}).encode()
    return body + b" " * (size - len(body))


@pytest.mark.parametrize(("size", "status"), [(5_000_000, 201), (5_000_001, 413), (70_000_000, 413)])
def test_a_body_may_have_five_million_bytes(caller: Any, size: int, status: int) -> None:
    headers = {"Content-Type": "application/json", "Connection": "close"}
    try:
        response = caller.call("POST", "/api/lists", data=_padded(size), headers=headers)
    except OSError:  # of 70 MB not even the rest is read
        assert size > 64_000_000
    else:
        assert response.status_code == status


def test_a_body_without_a_length_is_refused(emulator: Emulator) -> None:
    with socket.create_connection(("127.0.0.1", emulator.port), timeout=10) as connection:
        connection.sendall(b"POST /api/lists HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 411 ")


def test_a_body_where_none_belongs_is_refused(caller: Any) -> None:
    assert caller.call("GET", "/api/lists", {"data": []}).status_code == 400


@pytest.mark.parametrize("length", [8_192, 8_193])
def test_a_url_may_have_eight_kilobytes(caller: Any, length: int) -> None:
    start = "filter=equals(name,%22"
    query = start + "x" * (length - len("/api/lists") - len(start) - 4) + "%22)"
    assert caller.get("/api/lists?" + query).status_code == (200 if length == 8_192 else 414)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"data": NaN}',
        b'{"data": {"type": "list", "attributes": {"name": "a", "name": "b"}}}',
        b'{"data": {"type": "list", "attributes": {"name": "a"}}, "data": {}}',
        b'{"data": {"type": "list", "attributes": {"name": "\xff"}}}',
        b'{"data": {"type": "list", "attributes": {"name": "a"}, "more": 1}}',
        b'{"data": {"type": "list", "attributes": {"name": "a"}}, "meta": {}}',
        b'{"data": {"type": "segment", "attributes": {"name": "a"}}}',
        b'{"data": {"type": "list", "attributes": {"name": 1}}}',
        b'{"data": {"type": "list", "attributes": {}}}',
        b'{"data": {"type": "list"}}',
        b'{"data": []}',
        b"[" * 100_000,
    ],
    ids=lambda body: repr(body[:60]),
)
def test_a_body_that_is_not_exactly_what_is_asked_for_is_refused(caller: Any, body: bytes) -> None:
    response = caller.call("POST", "/api/lists", data=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 400, response.text


@pytest.mark.parametrize(
    "query",
    [
        "unknown=1",
        "page[cursor]=%21",
        "page%5Bsize%5D=0",
        "page%5Bsize%5D=11",
        "page%5Bsize%5D=ten",
        "page%5Bsize%5D=-1",
        "sort=members",
        "sort=name&sort=id",
        "fields[list]=colour",
        "include=tags",
        "filter=%zz",
        "filter=%ff",
        "filter=",
        "=1",
    ],
)
def test_a_query_that_is_not_understood_is_refused(caller: Any, query: str) -> None:
    response = caller.get("/api/lists?" + query)
    assert response.status_code == 400
    assert "parameter" in response.json()["errors"][0]["source"]


def test_every_key_of_an_account_has_its_own_scopes(clock: ManualClock, make_caller: Any) -> None:
    keys = {"pk_reader": ["lists:read"], "pk_writer": ["lists:write"]}
    with Emulator(keys=keys, clock=clock) as emulator:
        reader = make_caller(emulator)
        writer = make_caller(emulator, Authorization="Klaviyo-API-Key pk_writer")
        body = {"data": {"type": "list", "attributes": {"name": "VIP"}}}
        assert emulator.api_key == "pk_reader"
        assert [reader.get("/api/lists").status_code, reader.post("/api/lists", body).status_code] == [
            200,
            403,
        ]
        assert [writer.get("/api/lists").status_code, writer.post("/api/lists", body).status_code] == [
            403,
            201,
        ]
        reader.close()
        writer.close()


@pytest.fixture
def two_accounts() -> Iterator[tuple[Emulator, Emulator]]:
    with Emulator(Settings(account_id="AAAAAA")) as first, Emulator(Settings(account_id="BBBBBB")) as second:
        yield first, second


def test_two_emulators_stand_side_by_side(two_accounts: tuple[Emulator, Emulator], make_caller: Any) -> None:
    for emulator in two_accounts:
        caller = make_caller(emulator)
        assert [each["id"] for each in caller.data("/api/accounts")] == [emulator.account_id]
        caller.close()


def test_only_the_keys_own_account_can_be_read(emulator: Emulator, caller: Any, clock: ManualClock) -> None:
    assert caller.get("/api/accounts/NOPE01").status_code == 404
    clock.advance(1)
    assert caller.data(f"/api/accounts/{emulator.account_id}")["id"] == emulator.account_id


def test_a_sparse_fieldset_names_members_of_members(caller: Any) -> None:
    account = caller.data("/api/accounts", **{"fields[account]": "contact_information.organization_name"})[0]
    assert account["attributes"] == {"contact_information": {"organization_name": "Emulated Outfitters"}}


def test_an_escaped_target_and_a_raw_plus_are_told_apart(emulator: Emulator, caller: Any) -> None:
    emulator.add_profiles([{"email": "a+b@mail.com"}])
    assert len(caller.data("/api/profiles?filter=equals(email,%22a%2Bb@mail.com%22)")) == 1
    assert len(caller.data("/api/profiles?filter=equals(email,%22a+b@mail.com%22)")) == 0


def test_head_is_not_a_way_in(emulator: Emulator) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", emulator.port)
    connection.request("HEAD", "/api/lists")
    assert connection.getresponse().status == 401
    connection.close()


def test_one_connection_serves_many_calls(emulator: Emulator) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", emulator.port)
    for _ in range(3):
        connection.request(
            "GET", "/api/lists", headers={"Authorization": f"Klaviyo-API-Key {emulator.api_key}"}
        )
        assert connection.getresponse().read()
        first = connection.sock
        assert first is not None
    connection.close()


def test_the_emulators_own_mistake_is_a_500(
    emulator: Emulator, caller: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(emulator._account, "lists", None)
    assert caller.get("/api/lists").status_code == 500
    assert "Traceback" in capsys.readouterr().err


def test_it_listens_on_ipv6_too(make_caller: Any) -> None:
    try:
        emulator = Emulator(host="::1").start()
    except OSError:
        pytest.skip("this machine has no IPv6")
    caller = make_caller(emulator)
    assert caller.get("/api/lists").status_code == 200
    caller.close()
    emulator.stop()


def test_errors_have_the_members_that_klaviyos_have(emulator: Emulator, caller: Any) -> None:
    emulator.inject(Fault(FaultKind.STATUS, status=500))
    bare = [caller.get("/api/lists"), caller.get("/api/nowhere")]
    bare.append(caller.call("GET", "/api/lists", headers={"Authorization": "Klaviyo-API-Key pk_wrong"}))
    assert [response.status_code for response in bare] == [500, 404, 401]
    for response in bare:
        assert not response.json()["errors"][0].keys() & {"links", "meta"}
    whole = caller.get("/api/lists", filter="nonsense")
    assert whole.json()["errors"][0] | {"links": {}, "meta": {}} == whole.json()["errors"][0]


def test_a_throttled_answer_has_no_content_type(caller: Any) -> None:
    answers = [caller.get("/api/accounts") for _ in range(2)]
    assert answers[1].status_code == 429
    assert "Content-Type" not in answers[1].headers
    assert answers[1].json()["errors"][0]["code"] == "throttled"

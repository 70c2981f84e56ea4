"""Answers that are too large or of another shape than Klaviyo's: errors of ours, that say where and what."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from airflow_provider_klaviyo.client.account import get_account
from airflow_provider_klaviyo.client.bodies import BodyTooLarge, read_body
from airflow_provider_klaviyo.client.endpoints import CREATE_LIST, ENDPOINTS, GET_PROFILES, Endpoint
from airflow_provider_klaviyo.client.jobs import find_jobs, get_job, job_errors, start_job
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.client.lists import count_members, name_of_list
from airflow_provider_klaviyo.client.profile_imports import PROFILE_IMPORTS
from airflow_provider_klaviyo.client.responses import read_id
from airflow_provider_klaviyo.exceptions import KlaviyoRequestError, KlaviyoResponseError
from tests.unit.client.conftest import MakeWorld, Scripted
from tests.unit.client.test_client import job

SMALL = replace(GET_PROFILES, largest_answer=1_000)


def packed(body: bytes) -> Scripted:
    return Scripted(200, gzip.compress(body), {"Content-Encoding": "gzip"})


def of_size(size: int) -> bytes:
    return b'{"data":["' + b" " * (size - 13) + b'"]}'


@pytest.mark.parametrize("make", [lambda body: Scripted(200, body), packed], ids=["plain", "gzip"])
def test_a_body_has_so_many_bytes_at_most(world: MakeWorld, make: Callable[[bytes], Scripted]) -> None:
    just_so = of_size(1_000)
    assert len(just_so) == 1_000
    assert world(make(just_so)).client.get(SMALL)["data"]

    made = world(make(of_size(1_001)), deadline=86_400)
    with pytest.raises(
        KlaviyoResponseError, match=r"get_profiles \(GET /api/profiles\) has more than 1,000 bytes"
    ):
        made.client.get(SMALL)
    assert len(made.server.requests) == 4, "a body that is too large is not asked for without end"


def test_what_is_packed_is_not_unpacked_far_beyond_what_is_allowed() -> None:
    bomb = gzip.compress(bytes(50_000_000))

    class Answer:
        def stream(self, amt: int, decode_content: bool) -> object:
            assert not decode_content
            return iter([bomb])

    tracemalloc.start()
    try:
        with pytest.raises(BodyTooLarge):
            read_body(Answer(), "gzip", 100_000)  # type: ignore[arg-type]
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_a_body_in_several_packages_is_read_whole(world: MakeWorld) -> None:
    whole = of_size(500)
    parts = gzip.compress(whole[:200]) + gzip.compress(whole[200:])
    assert world(Scripted(200, parts, {"Content-Encoding": "GZip"})).client.get(SMALL) == json.loads(whole)


@pytest.mark.parametrize("cut", [1, 8, 15, 16])
def test_zeros_behind_a_package_are_padding(cut: int) -> None:
    packed_and_filled = gzip.compress(b"{}") + bytes(16)

    class Answer:
        def stream(self, amt: int, decode_content: bool) -> Iterator[bytes]:
            return iter([packed_and_filled[:-cut], packed_and_filled[-cut:]])

    assert read_body(Answer(), "gzip", 100) == b"{}"


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (Scripted(200, b"{}", {"Content-Encoding": "br"}), "packed as 'br', which was not asked for"),
        (Scripted(200, b"no gzip", {"Content-Encoding": "gzip"}), "its gzip is broken"),
        (Scripted(200, packed(b"{}").body[:-9], {"Content-Encoding": "gzip"}), "its gzip breaks off"),
    ],
    ids=["another", "broken", "cut"],
)
def test_a_body_that_cannot_be_unpacked_says_why(world: MakeWorld, answer: Scripted, told: str) -> None:
    with pytest.raises(KlaviyoResponseError, match=f"The answer of get_profiles .*cannot be read: .*{told}"):
        world(answer).client.get(GET_PROFILES)


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)
def test_a_refusal_of_every_record_is_read_whole_and_no_more(world: MakeWorld, endpoint: Endpoint) -> None:
    entry = {"detail": "d" * 400, "title": "t" * 100, "source": {"pointer": "/data/attributes/x"}}
    errors = json.dumps({"errors": [entry] * endpoint.max_records}).encode()
    asked = replace(endpoint, is_repeatable=False)
    with pytest.raises(KlaviyoRequestError) as caught:
        world(Scripted(400, errors)).client.send(asked, body=b"{}")
    assert len(caught.value.errors) == endpoint.max_records
    huge = gzip.compress(b" " * (endpoint.largest_refusal + 1), compresslevel=1)
    with pytest.raises(
        KlaviyoResponseError, match=f"{endpoint.name} .*has more than {endpoint.largest_refusal:,}"
    ):
        world(Scripted(400, huge, {"Content-Encoding": "gzip"})).client.send(asked, body=b"{}")


def test_one_broken_letter_hides_no_refusal(world: MakeWorld) -> None:
    said = b'{"errors":[{"detail":"caf\xe9 is no address","source":{"pointer":"/data/1"},"title":7,"code":[[]]}]}'
    with pytest.raises(KlaviyoRequestError, match="caf\ufffd is no address at /data/1") as caught:
        world(Scripted(400, said)).client.get(GET_PROFILES)
    assert [(each.pointer, each.title, each.code) for each in caught.value.errors] == [("/data/1", "7", "")]


def test_of_a_refusal_without_end_so_much_is_said_as_somebody_can_read(world: MakeWorld) -> None:
    """Whole words only: half an address would not be masked."""
    said = "too long. " + "x" * 1_980 + " jane.doe@shop.io and " + "y" * 100_000
    entry = {"detail": said, "source": {"pointer": "/data/1"}}
    with pytest.raises(KlaviyoRequestError, match="too long") as caught:
        world(Scripted(400, json.dumps({"errors": [entry] * 5}).encode())).client.get(GET_PROFILES)
    assert len(str(caught.value)) < 11_000
    assert "jane" not in str(caught.value)
    assert caught.value.errors[0].pointer == "/data/1"


def test_of_an_error_of_a_job_too(world: MakeWorld) -> None:
    odd = {"detail": "taken " * 100_000}
    made = world(answer(data=[{"attributes": odd}], links=None))
    (error,) = job_errors(made.client, PROFILE_IMPORTS, "j1")
    assert len(error.message) < 2_010


def answer(**parts: object) -> Scripted:
    return Scripted(200, json.dumps(parts).encode())


LIST = {"type": "list", "id": "L1", "attributes": {"name": "VIPs", "profile_count": 3}}
Call = Callable[[KlaviyoClient], object]
BROKEN: dict[str, tuple[Call, Scripted, str]] = {
    "another job": (lambda c: get_job(c, PROFILE_IMPORTS, "j1"), answer(data=job("j2")), "about another id"),
    "a job without id": (
        lambda c: get_job(c, PROFILE_IMPORTS, "j1"),
        answer(data=job("j1") | {"id": None}),
        "not shaped",
    ),
    "a started job without id": (
        lambda c: start_job(c, PROFILE_IMPORTS, b"{}"),
        answer(data=job("")),
        "not shaped",
    ),
    "a job of no status": (
        lambda c: get_job(c, PROFILE_IMPORTS, "j1"),
        answer(data=job("j1", ["complete"])),  # type: ignore[arg-type]
        "not shaped",
    ),
    "another list": (lambda c: name_of_list(c, "L2"), answer(data=LIST), "about another id"),
    "a list without id": (
        lambda c: c.send(CREATE_LIST, body=b"{}", read=read_id),
        answer(data={"type": "list"}),
        "names no id",
    ),
    "a list without a count": (
        lambda c: count_members(c, "L1"),
        answer(data=LIST | {"attributes": {"profile_count": "3"}}),
        "does not say how many",
    ),
    "no account": (get_account, answer(data=[]), "names no account"),
    "an account without id": (get_account, answer(data=[{"attributes": {}}]), "not shaped"),
    "nested too deeply": (
        get_account,
        Scripted(200, b'{"data":' + b"[" * 100_000),
        "nested too deeply",
    ),
    "broken letters": (get_account, Scripted(200, b'{"data":"\xff"}'), "(Invalid UTF-8|invalid start byte)"),
    "cut": (get_account, Scripted(200, b'{"data":'), "truncated"),
}


@pytest.mark.parametrize(("call", "broken", "told"), BROKEN.values(), ids=BROKEN)
def test_what_is_wrong_with_an_answer_is_said(
    world: MakeWorld, call: Call, broken: Scripted, told: str
) -> None:
    made = world(broken)
    with pytest.raises(KlaviyoResponseError, match=told) as caught:
        call(made.client)
    assert caught.value.endpoint in str(caught.value)
    assert f"/api/{'accounts' if call is get_account else ''}" in str(caught.value)


def test_a_job_that_the_listing_shows_oddly_is_asked_for_by_its_id(world: MakeWorld) -> None:
    odd = [job("j0", ["queued"]), job("j1") | {"id": ["j1"]}, {"id": {}}, job("j2")]  # type: ignore[arg-type]
    made = world(answer(data=odd, links={}), answer(data=job("j0")), answer(data=job("j1")))
    assert sorted(find_jobs(made.client, PROFILE_IMPORTS, ["j0", "j1", "j2"])) == ["j0", "j1", "j2"]


def test_an_error_of_a_job_says_what_of_it_can_be_read(world: MakeWorld) -> None:
    odd = {"source": "x", "detail": [["deep"]], "title": "taken", "original_payload": [1]}
    made = world(answer(data=[{"attributes": odd}, {"attributes": [1]}, {}], links=None))
    errors = list(job_errors(made.client, PROFILE_IMPORTS, "j1"))
    assert [error.message for error in errors] == ["taken", "no reason given", "no reason given"]


@pytest.mark.parametrize("beyond", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_a_time_that_no_clock_shows_is_none(world: MakeWorld, beyond: str) -> None:
    told = {**job("j1"), "attributes": {"status": "queued", "created_at": beyond}}
    assert get_job(world(answer(data=told)).client, PROFILE_IMPORTS, "j1").created is None

"""Requests, answers, retries and errors, over a real socket."""

from __future__ import annotations

import json
import traceback
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from airflow_provider_klaviyo.client.account import check_account, get_account
from airflow_provider_klaviyo.client.config import KlaviyoConfig
from airflow_provider_klaviyo.client.endpoints import CREATE_LIST, GET_PROFILES
from airflow_provider_klaviyo.client.filters import any_of
from airflow_provider_klaviyo.client.jobs import Job, JobStatus, find_jobs, job_errors, start_job
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.client.profile_imports import PROFILE_IMPORTS, import_body
from airflow_provider_klaviyo.exceptions import (
    KlaviyoAccountError,
    KlaviyoAuthenticationError,
    KlaviyoConfigurationError,
    KlaviyoConnectionError,
    KlaviyoError,
    KlaviyoForbiddenError,
    KlaviyoPermissionError,
    KlaviyoRateLimitError,
    KlaviyoRequestError,
    KlaviyoResponseError,
    KlaviyoRevisionError,
    KlaviyoServerError,
)
from tests.unit.client.conftest import MakeWorld, Scripted

HTML = b"<html><body>Bad gateway</body></html>"


def document(**parts: object) -> bytes:
    return json.dumps(parts).encode()


def error(status: int, code: str, detail: str, pointer: str = "/data", **headers: str) -> Scripted:
    entry = {
        "id": "1",
        "status": status,
        "code": code,
        "title": "No.",
        "detail": detail,
        "source": {"pointer": pointer},
        "links": [],
        "meta": [],
    }
    return Scripted(status, document(errors=[entry]), headers)


def job(job_id: str, status: str = "complete", total: int = 1, failed: int = 0) -> dict[str, object]:
    attributes = {"status": status, "total_count": total, "completed_count": total, "failed_count": failed}
    return {"type": "profile-bulk-import-job", "id": job_id, "attributes": attributes}


STARTED = Scripted(202, document(data=job("j1", "queued")))
FOUND = Scripted(200, document(data=[], links={"next": None}))


def start_import(client: KlaviyoClient, profiles: Sequence[bytes], list_id: str = "") -> Job:
    return start_job(client, PROFILE_IMPORTS, import_body(profiles, list_id))


def test_a_request_carries_key_revision_and_json_api(world: MakeWorld) -> None:
    made = world(STARTED, revision="2026-10-15")
    assert start_import(made.client, [b'{"type":"profile"}'], "L1").id == "j1"
    request = made.server.requests[0]
    assert (request.method, request.path) == ("POST", "/api/profile-bulk-import-jobs")
    assert request.headers["authorization"] == "Klaviyo-API-Key pk_secret123"
    assert request.headers["revision"] == "2026-10-15"
    assert request.headers["x-klaviyo-revision-fall-forward-opt-out"] == "1"
    assert request.headers["content-type"] == request.headers["accept"] == "application/vnd.api+json"
    assert json.loads(request.body) == {
        "data": {
            "type": "profile-bulk-import-job",
            "attributes": {"profiles": {"data": [{"type": "profile"}]}},
            "relationships": {"lists": {"data": [{"type": "list", "id": "L1"}]}},
        }
    }


def test_filters_are_quoted_and_encoded(world: MakeWorld) -> None:
    made = world(FOUND)
    made.client.get(GET_PROFILES, query={"filter": any_of("email", ['a+b@x.com"', "c\\d@x.com"])})
    assert made.server.requests[0].path == (
        "/api/profiles?filter=any%28email%2C%5B%22a%2Bb%40x.com%5C%22%22%2C%22c%5C%5Cd%40x.com%22%5D%29"
    )


def test_pages_are_followed_at_the_connections_own_host(world: MakeWorld) -> None:
    following = "https://a.klaviyo.com/api/profiles/?page%5Bcursor%5D=abc&filter=equals%28email%2C%22a%2Bb%40x.com%22%29"
    first = Scripted(200, document(data=[{"id": "1"}], links={"next": following}))
    made = world(first, FOUND)
    pages = list(made.client.pages(GET_PROFILES))
    assert len(pages) == 2
    assert made.server.requests[1].path == (
        "/api/profiles?page%5Bcursor%5D=abc&filter=equals%28email%2C%22a%2Bb%40x.com%22%29"
    )


@pytest.mark.parametrize(
    "passing",
    [
        error(429, "throttled", "Expected available in 7 seconds.", **{"Retry-After": "7"}),
        error(429, "throttled", "no word when"),
        error(503, "unavailable", "later"),
        Scripted(500, b""),
        Scripted(502, HTML, {"Content-Type": "text/html"}),
        Scripted(504, b""),
        Scripted(520, HTML),
        Scripted(524, HTML),
        Scripted(408, b""),
        Scripted(hang_up=True),
        Scripted(202, HTML, {"Content-Type": "text/html"}),
        Scripted(202, b'{"data": {"id": 1}}'),
        Scripted(202, b'{"data": '),
    ],
    ids=lambda scripted: f"{scripted.status} {scripted.body[:12]!r} {scripted.hang_up}",
)
def test_an_upsert_is_sent_again_until_it_gets_its_answer(world: MakeWorld, passing: Scripted) -> None:
    made = world(passing, passing, STARTED, deadline=600)
    assert start_import(made.client, [b"{}"]).id == "j1"
    assert len({request.body for request in made.server.requests}) == 1
    assert made.client.requests_sent == 3
    assert sum(made.clock.slept) >= 1


def http_date(moment: datetime) -> str:
    return format_datetime(moment, usegmt=True)


@pytest.mark.parametrize("days", [0, 2, -2])
@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_honoured_whatever_this_hosts_clock_says(
    world: MakeWorld, form: str, days: int
) -> None:
    answered = datetime.now(UTC) + timedelta(days=days)
    later = "30" if form == "seconds" else http_date(answered + timedelta(seconds=30))
    made = world(
        error(429, "throttled", "later", **{"Retry-After": later, "Date": http_date(answered)}), STARTED
    )
    start_import(made.client, [b"{}"])
    assert 29 <= sum(made.clock.slept) <= 33


def test_a_date_to_wait_for_is_by_the_clients_clock_where_the_server_tells_no_time(world: MakeWorld) -> None:
    later = http_date(datetime.fromtimestamp(1_000_030.0, UTC))
    made = world(error(429, "throttled", "later", **{"Retry-After": later, "Date": ""}), STARTED)
    assert made.clock.now() == 1_000_000.0
    start_import(made.client, [b"{}"])
    assert 30 <= sum(made.clock.slept) <= 33


def test_the_time_is_klaviyos_as_its_last_success_told_it(world: MakeWorld) -> None:
    told = datetime(2026, 3, 1, 12, tzinfo=UTC)
    made = world(
        Scripted(502, HTML, {"Date": http_date(told + timedelta(days=9))}),
        Scripted(200, document(data={}), {"Date": http_date(told)}),
        Scripted(200, document(data={}), {"Date": "soon"}),
    )
    assert made.client.server_now() == made.clock.now(), "before the first answer it is this host's"
    made.client.get(GET_PROFILES)
    made.clock.sleep(30)
    assert made.client.server_now() == told.timestamp() + 30
    made.client.get(GET_PROFILES)
    assert made.client.server_now() == told.timestamp() + 30, "a date that cannot be read changes nothing"


def test_a_retry_after_of_zero_has_a_floor(world: MakeWorld) -> None:
    made = world(error(429, "throttled", "now", **{"Retry-After": "0"}), STARTED)
    start_import(made.client, [b"{}"])
    assert sum(made.clock.slept) >= 1


def test_throttling_for_ever_ends_at_the_deadline_without_waiting_beyond_it(world: MakeWorld) -> None:
    made = world(error(429, "throttled", "later", **{"Retry-After": "50"}), deadline=120)
    with pytest.raises(KlaviyoRateLimitError, match="Gave up after 3 tries"):
        start_import(made.client, [b"{}"])
    assert sum(made.clock.slept) <= 120


@pytest.mark.parametrize(
    ("answer", "kind", "told"),
    [
        (
            error(401, "authentication_failed", "Incorrect credentials"),
            KlaviyoAuthenticationError,
            "password",
        ),
        (
            error(400, "authentication_failed", "Incorrect credentials"),
            KlaviyoAuthenticationError,
            "password",
        ),
        (Scripted(401, HTML), KlaviyoAuthenticationError, "password"),
        (
            error(403, "permission_denied", "Missing scope"),
            KlaviyoPermissionError,
            "lists:write, profiles:write",
        ),
        (
            error(403, "permission_denied", "You do not have permission to perform this action."),
            KlaviyoPermissionError,
            "needs the scopes",
        ),
        (
            error(403, "permission_denied", "The daily limit of updates is reached."),
            KlaviyoForbiddenError,
            "not about the scopes",
        ),
        (
            error(403, "permission_denied", "This account must have Advanced KDP enabled."),
            KlaviyoForbiddenError,
            "its plan",
        ),
        (
            error(403, "forbidden", "Entitlement to create object type not found."),
            KlaviyoForbiddenError,
            "not about the scopes",
        ),
        (Scripted(403, HTML, {"cf-ray": "8af"}), KlaviyoForbiddenError, "firewall.*"),
        (error(410, "gone", "retired"), KlaviyoRevisionError, "revision"),
        (error(400, "invalid", "Bad input", "/data/x"), KlaviyoRequestError, "Bad input at /data/x"),
        (error(404, "not_found", "No"), KlaviyoRequestError, "404"),
        (error(405, "method_not_allowed", "No"), KlaviyoRequestError, "405"),
        (error(409, "duplicate_profile", "No"), KlaviyoRequestError, "409"),
        (error(415, "unsupported", "No"), KlaviyoRequestError, "415"),
        (Scripted(413, HTML), KlaviyoRequestError, "413"),
        (Scripted(404, HTML), KlaviyoConfigurationError, "host right"),
        (Scripted(301, b"", {"Location": "https://elsewhere"}), KlaviyoConfigurationError, "host right"),
    ],
    ids=lambda value: f"{value.status} {value.body[:5]!r}" if isinstance(value, Scripted) else None,
)
def test_an_answer_that_repeating_cannot_change_is_an_error_at_once(
    world: MakeWorld, answer: Scripted, kind: type[KlaviyoError], told: str
) -> None:
    made = world(answer)
    with pytest.raises(kind, match=told) as caught:
        start_import(made.client, [b"{}"])
    assert type(caught.value) is kind
    assert caught.value.status == answer.status
    assert caught.value.endpoint == "bulk_import_profiles"
    assert len(made.server.requests) == 1


def test_a_host_that_never_speaks_klaviyos_json_is_given_up_soon(world: MakeWorld) -> None:
    made = world(Scripted(202, HTML), deadline=86_400)
    with pytest.raises(KlaviyoResponseError, match=r"host right.*Gave up after 4 tries"):
        start_import(made.client, [b"{}"])


def test_a_host_that_never_answers_is_given_up_soon_but_an_outage_is_waited_out(world: MakeWorld) -> None:
    made = world(FOUND, deadline=86_400)
    made.server.close()
    with pytest.raises(KlaviyoConnectionError, match=r"Could not connect to http://127\.0\.0\.1"):
        made.client.get(GET_PROFILES)
    assert sum(made.clock.slept) < 60

    made = world(FOUND, deadline=3_600)
    made.client.get(GET_PROFILES)
    made.client.close()
    made.server.close()
    with pytest.raises(KlaviyoConnectionError):
        made.client.get(GET_PROFILES)
    assert 3_000 < sum(made.clock.slept) <= 3_600


def test_a_host_that_speaks_plain_http_gets_a_hint(world: MakeWorld) -> None:
    plain = world(STARTED).server.url
    made = world(STARTED, base_url=plain.replace("http://", "https://"))
    with pytest.raises(KlaviyoConnectionError, match=f"write {plain} into the connection's host"):
        start_import(made.client, [b"{}"])


def test_a_body_that_trickles_is_a_timeout(world: MakeWorld) -> None:
    made = world(Scripted(202, b" " * 10_000, trickle=True), deadline=0, timeout=0.3)
    with pytest.raises(KlaviyoConnectionError, match=r"not complete after 0\.3 seconds"):
        start_import(made.client, [b"{}"])


@pytest.mark.parametrize(
    ("doubtful", "requests"),
    [
        (Scripted(500, b""), 1),
        (Scripted(hang_up=True), 1),
        (error(429, "throttled", "later", **{"Retry-After": "1"}), 2),
    ],
    ids=["500", "hung up", "429"],
)
def test_creating_a_list_is_never_repeated_blindly(
    world: MakeWorld, doubtful: Scripted, requests: int
) -> None:
    made = world(doubtful, Scripted(201, document(data={"id": "L1"})), deadline=600)
    try:
        made.client.send(CREATE_LIST, body=b"{}")
    except KlaviyoError as caught:
        assert isinstance(caught, (KlaviyoServerError, KlaviyoConnectionError))  # noqa: PT017 - either way is fine
    assert len(made.server.requests) == requests


def test_no_key_and_no_person_is_in_an_error(world: MakeWorld, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    said = "jane.doe@shop.io and +14155552671 (key pk_secret123) are taken"
    made = world(error(400, "invalid", said), Scripted(hang_up=True), deadline=0)
    query = {"filter": any_of("email", ["jane.doe@shop.io"])}
    told = ""
    for _ in range(2):
        with pytest.raises(KlaviyoError) as caught:
            made.client.get(GET_PROFILES, query=query)
        told += "".join(traceback.format_exception(caught.value)) + repr(made.client.config) + caplog.text
    for secret in ("pk_secret123", "jane", "4155552671"):
        assert secret not in told


def test_a_query_reaches_klaviyo_as_it_is_and_urllib3_never(
    world: MakeWorld, caplog: pytest.LogCaptureFixture
) -> None:
    """urllib3 logs URLs, and spells them anew byte by byte, which takes longer than all else of a look-up."""
    caplog.set_level("DEBUG", "urllib3")
    made = world(Scripted(200, document(data=[])))
    query = {"filter": any_of("email", ["jane+a%2F~b@shop.io", 'j"ü@shop.io']), "page[size]": "100"}
    made.client.get(GET_PROFILES, query=query)
    made.client.get(GET_PROFILES)
    first, second = (urlsplit(each.path) for each in made.server.requests)
    assert parse_qs(first.query, strict_parsing=True) == {name: [value] for name, value in query.items()}
    assert first.query == urlencode(query)
    assert not second.query
    assert '"GET /api/profiles HTTP/1.1" 200' in caplog.text
    assert "filter" not in caplog.text


@pytest.mark.parametrize(
    ("revision", "day", "told"),
    [
        ("2026-07-15", "2026-11-29", ""),
        ("2026-07-15", "2028-01-13", ""),
        ("2026-07-15", "2028-01-14", "retires on 2028-07-15. Upgrade this package"),
        ("2025-01-15.pre", "2026-11-29", "retires on 2027-01-15. Take revision out of the connection"),
        ("2024-10-15", "2026-11-29", "was to be retired on 2026-10-15. Take revision out"),
        ("2099-99-99", "2026-11-29", ""),
    ],
)
def test_half_a_year_before_a_revision_retires_the_user_is_told(revision: str, day: str, told: str) -> None:
    notice = KlaviyoConfig("pk_x", revision=revision).retirement_notice(date.fromisoformat(day))
    assert told in notice
    assert bool(notice) == bool(told)


def test_the_account_is_named_and_another_one_refused(world: MakeWorld, tmp_path: Path) -> None:
    attributes = {"test_account": True, "contact_information": {"organization_name": "Shop"}}
    answer = Scripted(200, document(data=[{"type": "account", "id": "AbC123", "attributes": attributes}]))
    made = world(answer, account_id="AbC123")
    assert str(get_account(made.client)) == "AbC123 (Shop)"
    check_account(made.client, tmp_path)
    check_account(made.client, tmp_path)
    assert len(made.server.requests) == 2
    made.clock.time += 3_600
    check_account(made.client, tmp_path)
    assert len(made.server.requests) == 3, "it is remembered for an hour"

    made = world(answer, account_id="Other1")
    with pytest.raises(KlaviyoAccountError, match=r"AbC123 \(Shop\).*Other1.*Nothing was sent"):
        check_account(made.client, tmp_path)


def test_many_jobs_are_asked_for_together_and_the_rest_by_name(world: MakeWorld) -> None:
    listing = [job(f"j{number}") for number in range(150)]
    first = Scripted(200, document(data=listing[:100], links={"next": "https://k/api/x?page%5Bcursor%5D=2"}))
    second = Scripted(200, document(data=listing[100:], links={"next": None}))
    hidden = Scripted(200, document(data=job("hidden", "processing")))
    made = world(first, second, hidden)
    found = find_jobs(made.client, PROFILE_IMPORTS, [f"j{number}" for number in range(150)] + ["hidden"])
    assert len(found) == 151
    assert found["hidden"].status is JobStatus.PROCESSING
    assert len(made.server.requests) == 3


def test_a_job_that_klaviyo_does_not_know_is_unknown_and_settled(world: MakeWorld) -> None:
    made = world(error(404, "not_found", "No such job"))
    assert find_jobs(made.client, PROFILE_IMPORTS, ["gone"])["gone"].status is JobStatus.UNKNOWN
    assert JobStatus.UNKNOWN.is_terminal


def test_all_pages_of_errors_are_read_however_sparse(world: MakeWorld) -> None:
    page = [
        {"type": "import-error", "id": "1", "attributes": {"detail": "taken", "source": {"pointer": "/x"}}}
    ]
    first = Scripted(200, document(data=page, links={"next": "https://k/api/x?page%5Bcursor%5D=2"}))
    second = Scripted(
        200, document(data=[{"attributes": {"title": "bad", "original_payload": None}}], links=None)
    )
    made = world(first, second)
    errors = list(job_errors(made.client, PROFILE_IMPORTS, "j1"))
    assert [error.message for error in errors] == ["taken", "bad"]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"api_key": ""}, "private API key"),
        ({"api_key": "pk_a b"}, "characters that no key has"),
        ({"base_url": "a.klaviyo.com"}, "must be a URL"),
        ({"base_url": "ftp://a.klaviyo.com"}, "must be a URL"),
        ({"base_url": "https://a.klaviyo.com/?x=1"}, "plain base URL"),
        ({"base_url": "http://[::1"}, "must be a URL"),
        ({"base_url": "https://a.klaviyo.com/api/"}, "without /api"),
        ({"timeout": float("nan")}, "timeout"),
        ({"timeout": float("inf")}, "timeout"),
        ({"revision": "latest"}, "revision"),
        ({"timeout": 0}, "timeout"),
        ({"rate_limit_share": 0}, "rate_limit_share"),
        ({"rate_limit_share": 1.1}, "rate_limit_share"),
    ],
)
def test_settings_that_cannot_work_are_named(world: MakeWorld, changed: dict[str, object], told: str) -> None:
    from airflow_provider_klaviyo.client.config import KlaviyoConfig

    with pytest.raises(KlaviyoConfigurationError, match=told):
        KlaviyoConfig(**({"api_key": "pk_x"} | changed))  # type: ignore[arg-type]


@pytest.mark.parametrize("status", [200, 201, 202])
def test_any_success_that_says_which_job_it_started_is_one(world: MakeWorld, status: int) -> None:
    made = world(Scripted(status, document(data=job("j1", "queued"))))
    assert start_import(made.client, [b"{}"]).id == "j1"


def test_others_jobs_in_the_listing_may_be_of_any_kind(world: MakeWorld) -> None:
    listing = [job("x", "expired"), {"id": "y"}, *(job(f"j{number}") for number in range(3))]
    made = world(Scripted(200, document(data=listing, links={})))
    assert len(find_jobs(made.client, PROFILE_IMPORTS, ["j0", "j1", "j2"])) == 3
    assert len(made.server.requests) == 1

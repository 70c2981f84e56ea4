"""Faults on order strike as ordered."""

from __future__ import annotations

import http.client
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
import requests

from airflow_provider_klaviyo.emulator import Emulator, Fault, FaultKind, ManualClock

JOBS = "/api/profile-bulk-import-jobs"


@pytest.mark.parametrize("retry_after", [3, "0", "soon", None])
def test_a_429_comes_with_the_retry_after_that_was_ordered(
    emulator: Emulator, caller: Any, retry_after: Any
) -> None:
    emulator.inject(Fault(FaultKind.STATUS, status=429, retry_after=retry_after))
    response = caller.get("/api/lists")
    assert response.status_code == 429
    assert response.headers.get("Retry-After") == (None if retry_after is None else str(retry_after))
    assert caller.get("/api/lists").status_code == 200


def test_retry_after_may_be_a_date(emulator: Emulator, caller: Any) -> None:
    emulator.inject(Fault(FaultKind.STATUS, status=429, retry_after=30, retry_as_date=True))
    headers = caller.get("/api/lists").headers
    answered, until = (parsedate_to_datetime(headers[name]) for name in ("Date", "Retry-After"))
    assert (until - answered).total_seconds() == 30


@pytest.mark.parametrize("status", [400, 500, 502, 503, 504, 520, 524])
@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ("json", "application/vnd.api+json"),
        ("html", "text/html; charset=UTF-8"),
        ("empty", None),
        ("oops", "text/html; charset=UTF-8"),
    ],
)
def test_an_error_has_the_body_that_was_ordered(
    emulator: Emulator, caller: Any, status: int, body: str, content_type: str | None
) -> None:
    emulator.inject(Fault(FaultKind.STATUS, status=status, body=body))
    response = caller.get("/api/lists")
    assert (response.status_code, response.headers.get("Content-Type")) == (status, content_type)
    assert bool(response.content) is (body != "empty")


def test_errors_can_be_given_in_full(emulator: Emulator, caller: Any) -> None:
    error = {
        "id": "1",
        "code": "invalid",
        "title": "No.",
        "detail": "Not today.",
        "source": {"pointer": "/data"},
    }
    emulator.inject(Fault(FaultKind.STATUS, status=400, errors=(error,)))
    assert caller.get("/api/lists").json() == {"errors": [error]}


def test_a_reset_before_processing_stores_nothing(
    emulator: Emulator, caller: Any, clock: ManualClock
) -> None:
    emulator.inject(Fault(FaultKind.RESET_BEFORE))
    with pytest.raises(requests.ConnectionError):
        caller.bulk_import({"email": "ann@mail.com"})
    clock.advance(10)
    assert emulator.count() == 0
    assert [entry.status for entry in emulator.requests()] == [0]


def test_a_reset_after_processing_stores_everything(
    emulator: Emulator, caller: Any, clock: ManualClock
) -> None:
    emulator.inject(Fault(FaultKind.RESET_AFTER))
    with pytest.raises(requests.ConnectionError):
        caller.bulk_import({"email": "ann@mail.com"})
    clock.advance(10)
    assert emulator.count() == 1
    assert emulator.stats()["writes"] == {"bulk_import_profiles": {"requests": 1, "records": 1}}


def test_a_slow_answer_outlasts_a_read_timeout_and_is_processed(emulator: Emulator, caller: Any) -> None:
    emulator.inject(Fault(FaultKind.SLOW, seconds=60))
    with pytest.raises(requests.Timeout):
        requests.post(
            emulator.url + "/api/lists",
            json={"data": {"type": "list", "attributes": {"name": "VIP"}}},
            headers={**caller.headers, "Connection": "close"},
            timeout=0.3,
        )
    assert len(caller.data("/api/lists")) == 1


def test_a_trickled_body_never_ends_in_time(emulator: Emulator) -> None:
    emulator.inject(Fault(FaultKind.TRICKLE, seconds=0.05))
    connection = http.client.HTTPConnection("127.0.0.1", emulator.port, timeout=5)
    connection.request("GET", "/api/lists")
    response = connection.getresponse()
    assert response.read(1) == b"{"
    connection.close()


def test_a_success_may_not_be_json(emulator: Emulator, caller: Any, clock: ManualClock) -> None:
    emulator.inject(Fault(FaultKind.NOT_JSON))
    response = caller.bulk_import({"email": "ann@mail.com"})
    assert (response.status_code, response.headers["Content-Type"]) == (202, "text/html")
    clock.advance(10)
    assert emulator.count() == 1


def test_an_answer_can_carry_a_further_header(emulator: Emulator, caller: Any) -> None:
    emulator.inject(Fault(FaultKind.SLOW, headers={"X-Klaviyo-Partial-Failure": "phone_number"}))
    response = caller.post("/api/profiles", caller.profile_body(email="ann@mail.com"))
    assert (response.status_code, response.headers["X-Klaviyo-Partial-Failure"]) == (201, "phone_number")


@pytest.mark.parametrize(
    ("kind", "pointers"),
    [
        (FaultKind.POINTERS_ONE, ["/data/attributes/profiles/data/0/attributes/email"]),
        (FaultKind.POINTERS_NONE, [None]),
    ],
)
def test_one_answer_can_tell_less_than_it_knows(
    emulator: Emulator, caller: Any, kind: FaultKind, pointers: list[str | None]
) -> None:
    emulator.inject(Fault(kind))
    bad = ({"email": "x"}, {"email": "y"})
    assert [pointer for pointer, _ in caller.errors_of(caller.bulk_import(*bad))] == pointers
    assert len(caller.errors_of(caller.bulk_import(*bad))) == 2


def test_records_can_be_refused_that_look_good(emulator: Emulator, caller: Any) -> None:
    emulator.inject(Fault(FaultKind.REFUSE_RECORDS, match="bob", count=None))
    people = ({"email": "ann@mail.com"}, {"email": "bob@mail.com"}, {"external_id": "bobby"})
    pointers = [pointer for pointer, _ in caller.errors_of(caller.bulk_import(*people))]
    assert pointers == [f"/data/attributes/profiles/data/{index}/attributes" for index in (1, 2)]
    assert caller.bulk_import(people[0]).status_code == 202


@pytest.mark.parametrize(
    ("field", "pointer"),
    [("location/city", "location/city"), ("properties/a~1b~0c.d", "properties/a~1b~0c.d"), ("title", None)],
)
def test_a_single_value_can_be_refused_as_long_as_it_is_sent(
    emulator: Emulator, caller: Any, field: str, pointer: str | None
) -> None:
    emulator.inject(Fault(FaultKind.REFUSE_RECORDS, match="bob", field=field, count=None))
    bob = {"email": "bob@mail.com", "location": {"city": "Kiel"}, "properties": {"a/b~c.d": 1}}
    response = caller.bulk_import({"email": "ann@mail.com", "location": {"city": "Kiel"}}, bob)
    if pointer is None:
        assert response.status_code == 202
    else:
        (told,) = caller.errors_of(response)
        assert told[0] == f"/data/attributes/profiles/data/1/attributes/{pointer}"
        assert caller.bulk_import({"email": "bob@mail.com"}).status_code == 202


def _ended(emulator: Emulator, caller: Any, clock: ManualClock, fault: Fault) -> tuple[Any, ...]:
    emulator.inject(fault)
    job_id = caller.bulk_import(*({"external_id": f"c{number}"} for number in range(5))).json()["data"]["id"]
    clock.advance(1_000)
    attributes = caller.data(f"{JOBS}/{job_id}")["attributes"]
    counts = attributes["status"], attributes["completed_count"], attributes["failed_count"]
    return (*counts, emulator.count())


@pytest.mark.parametrize(
    ("fault", "end"),
    [
        (Fault(FaultKind.JOB_STUCK), ("processing", 0, 0, 0)),
        (Fault(FaultKind.JOB_CANCELLED), ("cancelled", 0, 0, 0)),
        (Fault(FaultKind.JOB_CANCELLED, records=2), ("cancelled", 2, 0, 2)),
        (Fault(FaultKind.JOB_FAILS, records=3), ("complete", 2, 3, 2)),
        (Fault(FaultKind.JOB_FAILS, records=3, skip=1), ("complete", 5, 0, 5)),
        (Fault(FaultKind.JOB_FAILS, match="c4"), ("complete", 4, 1, 4)),
    ],
    ids=["stuck", "cancelled", "cancelled half-way", "fails some", "fails a later one", "fails by name"],
)
def test_a_job_ends_as_ordered(
    emulator: Emulator, caller: Any, clock: ManualClock, fault: Fault, end: tuple[Any, ...]
) -> None:
    assert _ended(emulator, caller, clock, fault) == end


def test_a_stuck_job_can_be_cancelled(emulator: Emulator, caller: Any, clock: ManualClock) -> None:
    _ended(emulator, caller, clock, Fault(FaultKind.JOB_STUCK))
    assert emulator.cancel_job(emulator.jobs()[0].id)


def test_a_fault_strikes_its_operation_only_and_as_often_as_ordered(emulator: Emulator, caller: Any) -> None:
    emulator.inject(Fault(FaultKind.STATUS, operation="get_lists", count=2, skip=1, status=503))
    assert caller.get("/api/profiles").status_code == 200
    assert [caller.get("/api/lists").status_code for _ in range(4)] == [200, 503, 503, 200]


def test_faults_of_the_answer_strike_one_after_the_other(emulator: Emulator, caller: Any) -> None:
    for status in (500, 502):
        emulator.inject(Fault(FaultKind.STATUS, status=status))
    assert [caller.get("/api/lists").status_code for _ in range(3)] == [500, 502, 200]


def test_the_same_seed_strikes_the_same_calls(emulator: Emulator, caller: Any) -> None:
    runs = []
    for _ in range(2):
        number = emulator.inject(Fault(FaultKind.STATUS, count=None, probability=0.5, seed=7))
        runs.append([caller.get("/api/lists").status_code for _ in range(20)])
        assert emulator.remove_fault(number)
    assert runs[0] == runs[1]
    assert set(runs[0]) == {200, 500}


def test_a_struck_request_uses_up_its_windows(emulator: Emulator, caller: Any) -> None:
    emulator.inject(Fault(FaultKind.STATUS, operation="get_accounts"))
    assert [caller.get("/api/accounts").status_code for _ in range(2)] == [500, 429]


@pytest.mark.parametrize(
    "order",
    [
        {"kind": "explosion"},
        {"kind": "status", "status": 200},
        {"kind": "slow", "probability": 2},
        {"kind": "slow", "seconds": -1},
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(order: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"explosion|must"):
        Fault(**order)

"""Verdicts from finished jobs."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from airflow_provider_klaviyo.client.jobs import Job, JobStatus, RecordError
from airflow_provider_klaviyo.client.profile_imports import PROFILE_IMPORTS
from airflow_provider_klaviyo.records.record import Record
from airflow_provider_klaviyo.sync.delivery.job_results import index_by_identity
from airflow_provider_klaviyo.sync.delivery.job_results import verdicts_of as job_verdict
from airflow_provider_klaviyo.sync.outcomes import Outcome, Settled

KEPT = [Record(number, (number,), f"p{number}@shop.io", b"") for number in range(1, 6)]
PREFIX = "/data/attributes/profiles/data"


def job(**changed: Any) -> Job:
    facts = {"id": "j1", "status": JobStatus.COMPLETE, "total": 5, "completed": 5, "failed": 0}
    return Job(**(facts | changed))


def verdicts_of(job: Job, records: list[Record], errors: list[RecordError]) -> Settled:
    return job_verdict(PROFILE_IMPORTS, job, records, errors, index_by_identity(records, "email")).settled


def outcomes(settled: Settled) -> Counter[str]:
    counted = Counter(verdict.outcome.value for verdict in settled.verdicts)
    counted["accepted"] = settled.accepted
    return +counted


def by_pointer(place: int) -> RecordError:
    return RecordError(f"{PREFIX}/{place}/attributes/phone_number", "taken by another profile", {})


def by_payload(**payload: object) -> RecordError:
    return RecordError("", "taken by another profile", payload)


@pytest.mark.parametrize("completed", [5, 3], ids=["failed counted as completed", "failed counted apart"])
@pytest.mark.parametrize(
    "errors",
    [
        [by_pointer(0), by_pointer(3)],
        [by_payload(email="P1@shop.io"), by_payload(attributes={"email": "p4@shop.io"})],
        [by_pointer(0), by_pointer(0), by_payload(email="p4@shop.io")],
    ],
    ids=["pointers", "payloads", "several errors of one profile"],
)
def test_errors_reject_their_rows_and_everybody_else_is_accepted(
    completed: int, errors: list[RecordError]
) -> None:
    settled = verdicts_of(job(failed=2, completed=completed), KEPT, errors)
    assert outcomes(settled) == {"accepted": 3, "rejected": 2}
    assert {verdict.number for verdict in settled.verdicts} == {1, 4}
    assert all(
        "taken by another profile" in problem.reason for v in settled.verdicts for problem in v.problems
    )


@pytest.mark.parametrize(
    ("changed", "errors"),
    [
        ({"status": JobStatus.CANCELLED}, []),
        ({"status": JobStatus.UNKNOWN, "total": None, "completed": None, "failed": None}, []),
        ({"total": 4, "completed": 4}, []),
        ({"completed": 4}, []),
        ({"failed": 2, "completed": 3}, [by_payload(email="stranger@shop.io"), by_payload()]),
    ],
    ids=[
        "cancelled",
        "unknown",
        "one is missing",
        "one is not completed",
        "errors that name nobody",
    ],
)
def test_a_job_that_does_not_account_for_everybody_acknowledges_nobody(
    changed: dict[str, Any], errors: list[RecordError]
) -> None:
    settled = verdicts_of(job(**changed), KEPT, errors)
    assert outcomes(settled) == {"pending": 5}
    assert all("j1" in problem.reason for verdict in settled.verdicts for problem in verdict.problems)


@pytest.mark.parametrize("nulls", [{"failed": None}, {"total": None, "completed": None, "failed": None}])
def test_counts_that_klaviyo_leaves_out_contradict_nothing(nulls: dict[str, Any]) -> None:
    assert outcomes(verdicts_of(job(**nulls), KEPT, [])) == {"accepted": 5}
    assert outcomes(verdicts_of(job(**nulls), KEPT, [by_pointer(2)])) == {"accepted": 4, "rejected": 1}


def kept(*identities: str) -> list[Record]:
    return [Record(n, (n,), identity.replace(":", "\0"), b"") for n, identity in enumerate(identities, 1)]


@pytest.mark.parametrize(
    ("identities", "payload", "meant"),
    [
        (["external_id:b@shop.io", "external_id:2"], {"email": "b@shop.io", "external_id": "2"}, 2),
        (["email:a@shop.io", "external_id:a@shop.io"], {"external_id": "a@shop.io"}, 2),
        (["email:a@shop.io", "external_id:x"], {"email": "a@shop.io", "external_id": "x"}, 1),
        (["external_id:abc", "external_id:ABC"], {"external_id": "ABC"}, 2),
        (["klaviyo_id:01X", "email:a@shop.io"], {"data": {"id": "01X", "attributes": {"email": "a@shop.io"}}}, 1),
    ],
)  # fmt: skip
def test_the_field_and_the_value_say_who_is_meant(
    identities: list[str], payload: dict[str, object], meant: int
) -> None:
    refused = job(total=2, completed=1, failed=1)
    settled = verdicts_of(refused, kept(*identities), [by_payload(**payload)])
    assert settled.accepted == 1
    assert [(verdict.number, verdict.outcome) for verdict in settled.verdicts] == [(meant, Outcome.REJECTED)]


@pytest.mark.parametrize(
    ("email", "pending"), [("p5@shop.io", {1, 5}), ("stranger@shop.io", {1})], ids=["another", "stranger"]
)
def test_whom_pointer_and_payload_disagree_about_is_pending_and_nobody_else(
    email: str, pending: set[int]
) -> None:
    payload = {"data": {"attributes": {"email": email}}}
    errors = [RecordError(f"{PREFIX}/0", "taken", payload), by_pointer(2)]
    settled = verdicts_of(job(failed=2), KEPT, errors)
    assert settled.accepted == 4 - len(pending)
    assert {v.number for v in settled.verdicts if v.outcome is Outcome.PENDING} == pending
    assert {v.number for v in settled.verdicts if v.outcome is Outcome.REJECTED} == {3}
    reasons = [v.problems[0].reason for v in settled.verdicts if v.outcome is Outcome.PENDING]
    assert all("points at one profile and repeats another: taken" in reason for reason in reasons)


def test_a_dispute_does_not_hide_that_more_failed_than_are_told_of() -> None:
    crossed = RecordError(f"{PREFIX}/0", "taken", {"email": "p5@shop.io"})
    assert outcomes(verdicts_of(job(failed=3, completed=2), KEPT, [crossed])) == {"pending": 5}


@pytest.mark.parametrize("payload", [{}, {"first_name": "Ada"}, {"external_id": "7"}], ids=repr)
def test_a_payload_that_does_not_tell_whose_it_is_leaves_it_to_the_pointer(
    payload: dict[str, object],
) -> None:
    settled = verdicts_of(job(failed=1), KEPT, [RecordError(f"{PREFIX}/3", "taken", payload)])
    assert [verdict.number for verdict in settled.verdicts] == [4]


def test_errors_count_whatever_the_job_counts() -> None:
    assert outcomes(verdicts_of(job(failed=0), KEPT, [by_pointer(2)])) == {"rejected": 1, "pending": 4}
    assert outcomes(verdicts_of(job(failed=0), KEPT, [by_payload()])) == {"pending": 5}


def test_the_words_of_errors_that_name_nobody_are_told() -> None:
    settled = verdicts_of(job(failed=1), KEPT, [RecordError("", "too old: jane@shop.io", {})])
    assert outcomes(settled) == {"pending": 5}
    assert "too old: ***@***" in settled.verdicts[0].problems[0].reason


def test_whom_a_doubtful_job_names_is_rejected_all_the_same() -> None:
    settled = verdicts_of(job(failed=2, completed=3), KEPT, [by_pointer(2)])
    assert outcomes(settled) == {"rejected": 1, "pending": 4}
    assert [v.number for v in settled.verdicts if v.outcome is Outcome.REJECTED] == [3]


def test_where_everybody_failed_nobody_needs_to_be_named() -> None:
    errors = [by_pointer(2), RecordError("", "too old: jane@shop.io", {})]
    settled = verdicts_of(job(failed=5, completed=0), KEPT, errors)
    assert outcomes(settled) == {"rejected": 5}
    reasons = {verdict.number: verdict.problems[0].reason for verdict in settled.verdicts}
    assert "taken by another profile" in reasons[3]
    assert all("too old: ***@***" in reasons[number] for number in (1, 2, 4, 5))
    assert outcomes(verdicts_of(job(failed=5), KEPT, [])) == {"rejected": 5}
    cancelled = job(failed=5, completed=0, status=JobStatus.CANCELLED)
    assert outcomes(verdicts_of(cancelled, KEPT, [])) == {"pending": 5}

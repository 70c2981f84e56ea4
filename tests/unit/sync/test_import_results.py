"""Verdicts from finished jobs."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from airflow_provider_klaviyo.client.jobs import ImportJob, JobStatus, RecordError
from airflow_provider_klaviyo.sync.import_results import verdicts_of
from airflow_provider_klaviyo.sync.outcomes import Outcome, Settled

KEPT = [(number, f"p{number}@shop.io", (number,)) for number in range(1, 6)]
PREFIX = "/data/attributes/profiles/data"


def job(**changed: Any) -> ImportJob:
    facts = {"id": "j1", "status": JobStatus.COMPLETE, "total": 5, "completed": 5, "failed": 0}
    return ImportJob(**(facts | changed))


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


def test_what_klaviyo_sends_back_is_surer_than_where_it_points() -> None:
    payload = {"data": {"attributes": {"email": "p5@shop.io"}}}
    settled = verdicts_of(job(failed=1), KEPT, [RecordError(f"{PREFIX}/0", "taken", payload)])
    assert [verdict.number for verdict in settled.verdicts] == [5]


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

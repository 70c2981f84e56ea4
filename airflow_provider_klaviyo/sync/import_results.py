"""From a finished import job and its errors to a verdict on every row that was in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from airflow_provider_klaviyo.client.endpoints import IMPORT_PROFILES
from airflow_provider_klaviyo.client.jobs import ImportJob, JobStatus, RecordError
from airflow_provider_klaviyo.records.record import Problem
from airflow_provider_klaviyo.sync.outcomes import Outcome, Settled, Verdict
from airflow_provider_klaviyo.sync.refusals import field_name, place_and_field
from airflow_provider_klaviyo.sync.spool import Kept


def verdicts_of(job: ImportJob, kept: Kept, errors: Iterable[RecordError]) -> Settled:
    """Who was taken and who was not.

    A cancelled job, or one whose counts do not add up, acknowledges nobody: whom its errors name is rejected,
    everybody else is pending.
    """
    problems = _by_place(job, kept, errors)
    doubt = _doubt(job, len(kept), len(problems))
    verdicts = [
        Verdict(kept[place][0], kept[place][2], Outcome.REJECTED, tuple(found))
        for place, found in problems.items()
    ]
    if not doubt:
        return Settled(accepted=len(kept) - len(problems), verdicts=verdicts)
    reason = (Problem("", doubt),)
    verdicts += [
        Verdict(number, row, Outcome.PENDING, reason)
        for place, (number, _, row) in enumerate(kept)
        if place not in problems
    ]
    return Settled(verdicts=verdicts)


def all_pending(kept: Kept, reason: str) -> Settled:
    """No verdict for anybody of a job."""
    problem = (Problem("", reason),)
    return Settled(verdicts=[Verdict(number, row, Outcome.PENDING, problem) for number, _, row in kept])


def _doubt(job: ImportJob, size: int, rejected: int) -> str:
    if job.status is not JobStatus.COMPLETE:
        return f"import job {job.id} is {job.status}, not complete"
    if not job.adds_up_to(size):
        return (
            f"import job {job.id} does not add up: {size} profiles sent, but it counts "
            f"{job.total} in all, {job.completed} completed and {job.failed} failed"
        )
    if rejected != job.failed:
        return f"import job {job.id} does not add up: {job.failed} failed, but its errors name {rejected} of them"
    return ""


def _by_place(job: ImportJob, kept: Kept, errors: Iterable[RecordError]) -> dict[int, list[Problem]]:
    people: dict[str, int] = {}
    problems: dict[int, list[Problem]] = {}
    for error in errors:
        place, field = place_and_field(error.pointer, IMPORT_PROFILES.records)
        if place is None or place >= len(kept):
            people = people or {
                identity.rpartition("\0")[2]: place for place, (_, identity, _) in enumerate(kept)
            }
            place, field = _place_of(error.payload, people), field_name(error.pointer.removeprefix("/data/"))
        if place is not None:
            reason = f"Klaviyo rejected it in import job {job.id}: {error.words}"
            problems.setdefault(place, []).append(Problem(field, reason))
    return problems


def _place_of(payload: Mapping[str, object], people: Mapping[str, int]) -> int | None:
    """Where the person of a payload stands in the job; payloads come as a resource or as its attributes."""
    nested = payload.get("attributes")
    attributes = nested if isinstance(nested, Mapping) else payload
    for name in (
        payload.get("id"),
        *(attributes.get(key) for key in ("email", "phone_number", "external_id")),
    ):
        for spelling in (str(name), str(name).lower()):
            if name and spelling in people:
                return people[spelling]
    return None

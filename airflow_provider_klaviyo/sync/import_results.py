"""From a finished import job and its errors to a verdict on every row that was in it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from airflow_provider_klaviyo.client.endpoints import IMPORT_PROFILES
from airflow_provider_klaviyo.client.jobs import ImportJob, JobStatus, RecordError
from airflow_provider_klaviyo.exceptions import mask
from airflow_provider_klaviyo.records.record import Problem
from airflow_provider_klaviyo.sync.outcomes import Outcome, Settled, Verdict
from airflow_provider_klaviyo.sync.refusals import place_and_field
from airflow_provider_klaviyo.sync.spool import Kept

_PREFIX = IMPORT_PROFILES.records.strip("/").split("/")
_SHOWN = 3


def verdicts_of(job: ImportJob, kept: Kept, errors: Iterable[RecordError]) -> Settled:
    """Who was taken and who was not.

    A cancelled job, or one whose counts do not add up, acknowledges nobody: whom its errors name is rejected,
    everybody else is pending.
    """
    problems, unplaced = _by_place(kept, errors)
    doubt = _doubt(job, len(kept), len(problems), unplaced)
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


def _doubt(job: ImportJob, size: int, rejected: int, unplaced: Collection[str]) -> str:
    """Why the job does not account for everybody; empty when it does."""
    if job.status is not JobStatus.COMPLETE:
        return f"import job {job.id} is {job.status}, not complete"
    if job.adds_up_to(size, rejected) and not unplaced:
        return ""
    told = (
        f"import job {job.id} does not add up: {size} profiles were sent, and it counts {job.total} in all, "
        f"{job.completed} completed and {job.failed} failed, while its errors name {rejected} of them"
    )
    return f"{told}; errors that name nobody: {'; '.join(sorted(unplaced)[:_SHOWN])}" if unplaced else told


def _by_place(kept: Kept, errors: Iterable[RecordError]) -> tuple[dict[int, list[Problem]], set[str]]:
    """What is wrong with whom, and the words of errors that name nobody."""
    people: dict[str, int] = {}
    problems: dict[int, list[Problem]] = {}
    unplaced: set[str] = set()
    for error in errors:
        people = people or {
            identity.rpartition("\0")[2]: place for place, (_, identity, _) in enumerate(kept)
        }
        pointed, field = place_and_field(error.pointer, _PREFIX)
        place = _place_of(error.payload, people)
        if place is None:  # what Klaviyo sends back is surer than where it points
            place = pointed
        if place is None or place >= len(kept):
            unplaced.add(mask(error.words))
        else:
            problems.setdefault(place, []).append(Problem(field, f"Klaviyo rejected it: {error.words}"))
    return problems, unplaced


def _place_of(payload: Mapping[str, object], people: Mapping[str, int]) -> int | None:
    """Where the person of a payload stands in the job; payloads come as a document, a resource or its attributes."""
    for key in ("data", "attributes"):
        nested = payload.get(key)
        inner = nested if isinstance(nested, Mapping) else payload
        payload = {"id": payload.get("id"), **inner}
    for key in ("id", "email", "phone_number", "external_id"):
        for spelling in (str(payload.get(key)), str(payload.get(key)).lower()):
            if payload.get(key) and spelling in people:
                return people[spelling]
    return None

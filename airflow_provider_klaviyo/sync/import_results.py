"""From a finished import job and its errors to a verdict on every row that was in it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from airflow_provider_klaviyo.client.endpoints import IMPORT_PROFILES
from airflow_provider_klaviyo.client.jobs import ImportJob, JobStatus, RecordError, import_errors
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.exceptions import KlaviyoRequestError, mask
from airflow_provider_klaviyo.records.record import Problem
from airflow_provider_klaviyo.sync.outcomes import Outcome, Settled, Verdict
from airflow_provider_klaviyo.sync.refusals import place_and_field
from airflow_provider_klaviyo.sync.spool import Kept

_PREFIX = IMPORT_PROFILES.records.strip("/").split("/")
_SHOWN = 3
_IDENTIFIERS = {
    "id": "klaviyo_id",
    "email": "email",
    "phone_number": "phone_number",
    "external_id": "external_id",
}


PlaceOf = Callable[[str, str], int | None]
"""The place in a job of the person with this identifier (its field and its value), if it is known."""


def verdicts_of(
    job: ImportJob, kept: Kept, errors: Iterable[RecordError], place_of: PlaceOf | None = None
) -> Settled:
    """Who was taken and who was not.

    A cancelled job, or one whose counts do not add up, acknowledges nobody: whom its errors name is rejected,
    everybody else is pending. Where everybody failed, errors need not name anybody.
    """
    problems, unplaced = _by_place(len(kept), errors, place_of or _Places(kept))
    if job.refused_all(len(kept)):
        problems, unplaced = _for_all(len(kept), problems, unplaced), set()
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


def read_verdicts(
    client: KlaviyoClient, job: ImportJob, kept: Kept, place_of: PlaceOf | None = None
) -> Settled:
    """The verdicts of a job, with its errors read where there are any."""
    is_complete = job.status is JobStatus.COMPLETE
    errors = import_errors(client, job.id) if job.failed or (is_complete and job.failed is None) else ()
    try:
        return verdicts_of(job, kept, errors, place_of)
    except KlaviyoRequestError as error:
        return all_pending(kept, f"the errors of import job {job.id} cannot be read: {mask(str(error))}")


def places_of(settled: Settled, kept: Kept) -> tuple[list[int], list[int]]:
    """The places in a job of those who were rejected, and of those who are pending."""
    outcomes = {verdict.number: verdict.outcome for verdict in settled.verdicts}
    places: dict[Outcome, list[int]] = {Outcome.REJECTED: [], Outcome.PENDING: []}
    for place, (number, _, _) in enumerate(kept):
        if number in outcomes:
            places[outcomes[number]].append(place)
    return places[Outcome.REJECTED], places[Outcome.PENDING]


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


def _by_place(
    size: int, errors: Iterable[RecordError], place_of: PlaceOf
) -> tuple[dict[int, list[Problem]], set[str]]:
    """What is wrong with whom, and the words of errors that name nobody."""
    problems: dict[int, list[Problem]] = {}
    unplaced: set[str] = set()
    for error in errors:
        pointed, field = place_and_field(error.pointer, _PREFIX)
        place = _place_of_payload(error.payload, place_of)
        if place is None:  # what Klaviyo sends back is surer than where it points
            place = pointed
        if place is None or place >= size:
            unplaced.add(mask(error.words))
        else:
            problems.setdefault(place, []).append(Problem(field, f"Klaviyo rejected it: {error.words}"))
    return problems, unplaced


def _for_all(
    size: int, problems: Mapping[int, list[Problem]], unplaced: Collection[str]
) -> dict[int, list[Problem]]:
    """A reason for everybody: the own one, or what the errors say that name nobody."""
    words = "; ".join(sorted(unplaced)[:_SHOWN]) or "no reason given"
    return {
        place: problems.get(place) or [Problem("", f"Klaviyo rejected it: {words}")] for place in range(size)
    }


class _Places:
    """Finds people by the identities of their records; prepared when first asked, since most jobs have no errors."""

    def __init__(self, kept: Kept) -> None:
        self._kept = kept
        self._people: dict[str, int] = {}

    def __call__(self, field: str, value: str) -> int | None:  # noqa: ARG002 - an identity may be without its field
        self._people = self._people or {
            identity.rpartition("\0")[2]: place for place, (_, identity, _) in enumerate(self._kept)
        }
        return self._people.get(value)


def _place_of_payload(payload: Mapping[str, object], place_of: PlaceOf) -> int | None:
    """Where the person of a payload stands in the job; payloads come as a document, a resource or its attributes."""
    for key in ("data", "attributes"):
        nested = payload.get(key)
        inner = nested if isinstance(nested, Mapping) else payload
        payload = {"id": payload.get("id"), **inner}
    for key, field in _IDENTIFIERS.items():
        for spelling in (str(payload.get(key)), str(payload.get(key)).lower()):
            place = place_of(field, spelling) if payload.get(key) else None
            if place is not None:
                return place
    return None

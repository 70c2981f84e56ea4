"""From a finished import job and its errors to a verdict on every row that was in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from airflow_provider_klaviyo.client.endpoints import IMPORT_PROFILES
from airflow_provider_klaviyo.client.jobs import ImportJob, JobStatus, RecordError, import_errors
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.exceptions import KlaviyoRequestError, mask
from airflow_provider_klaviyo.identity import Identity, comparable
from airflow_provider_klaviyo.records.record import Problem, Record
from airflow_provider_klaviyo.sync.delivery.pointers import field_name, pointed_at
from airflow_provider_klaviyo.sync.delivery.refusals import Mend, Objection
from airflow_provider_klaviyo.sync.outcomes import Outcome, Settled, Verdict

_PREFIX = IMPORT_PROFILES.records.strip("/").split("/")
_SHOWN = 3
_IDENTIFIERS = {
    "id": "klaviyo_id",
    "email": "email",
    "phone_number": "phone_number",
    "external_id": "external_id",
}

Load = Callable[[], Sequence[Record]]
"""Gives the records of a job, when its errors ask for them: most jobs have none."""

PlaceOf = Callable[[Mapping[str, str]], int | None]
"""The place in a job of the person with these identifiers (field and value); None where these do not tell."""

SOMEBODY_ELSE = -1
"""In place of a place: the person is none of the job's."""


class JobVerdict(NamedTuple):
    """What became of a job's records.

    :param settled: what is told of their rows.
    :param failed: the places of those that were not taken, those that go again included.
    :param pending: the places of those of which that is not known.
    :param again: records that go again, without what Klaviyo had against them.
    """

    settled: Settled
    failed: Sequence[int] = ()
    pending: Sequence[int] = ()
    again: Sequence[Record] = ()


def verdicts_of(
    job: ImportJob,
    records: Sequence[Record],
    errors: Iterable[RecordError],
    place_of: PlaceOf,
    mend: Mend = lambda record, objections: None,  # noqa: ARG005 - as the type says
) -> JobVerdict:
    """Who was taken and who was not.

    A cancelled job, or one whose counts do not add up, acknowledges nobody: whom its errors name is rejected,
    everybody else is pending. So are the two of whom one error names both. Where everybody failed, errors need not
    name anybody.

    :param mend: makes a record that was refused fit to be sent again.
    """
    found = _Found(len(records), errors, place_of)
    if job.refused_all(len(records)):
        found.is_everybody()
    doubt = _doubt(job, len(records), found)
    mended = {place: mend(records[place], objections) for place, objections in found.objections.items()}
    rejected = [
        Verdict(records[place].number, records[place].row, Outcome.REJECTED, _problems(objections))
        for place, objections in found.objections.items()
        if mended[place] is None
    ]
    reasons = (dict.fromkeys(range(len(records)), doubt) if doubt else {}) | found.disputed
    pending = [place for place in reasons if place not in found.objections]
    verdicts = [
        *rejected,
        *_pending([records[place] for place in pending], [reasons[each] for each in pending]),
    ]
    again = [record for record in mended.values() if record is not None]
    accepted = len(records) - len(verdicts) - len(again)
    return JobVerdict(Settled(accepted, verdicts=verdicts), list(found.objections), pending, again)


def read_verdicts(
    client: KlaviyoClient,
    job: ImportJob,
    size: int,
    load: Load,
    place_of: Callable[[], PlaceOf],
    mend: Mend = lambda record, objections: None,  # noqa: ARG005 - as the type says
) -> JobVerdict:
    """The verdicts of a job of so many records. The errors of a complete one are read whatever it counts.

    :param place_of: prepared when there are errors.
    """
    try:
        is_readable = job.failed or job.status is JobStatus.COMPLETE
        errors = list(import_errors(client, job.id)) if is_readable else []
    except KlaviyoRequestError as error:
        reason = f"the errors of import job {job.id} cannot be read: {mask(str(error))}"
        return JobVerdict(all_pending(load(), reason), pending=range(size))
    if not errors and job.is_clean(size):
        return JobVerdict(Settled(accepted=size))
    return verdicts_of(job, load(), errors, place_of(), mend)


def all_pending(records: Sequence[Record], reason: str) -> Settled:
    """No verdict for anybody of a job."""
    return Settled(verdicts=_pending(records, [reason] * len(records)))


def place_by_identity(records: Sequence[Record], identifier: str) -> PlaceOf:
    """Finds people by the field and the value that identify their records.

    Of the fields that identify anybody in the job, the first that a person has is the one: somebody else may have
    the same value in a later one.
    """
    people = {record.named(identifier): place for place, record in enumerate(records)}
    used = {identity.field for identity in people}

    def place_of(identifiers: Mapping[str, str]) -> int | None:
        told = next((name for name in identifiers if name in used), None)
        return people.get(Identity(told, identifiers[told]), SOMEBODY_ELSE) if told else None

    return place_of


def _pending(records: Sequence[Record], reasons: Sequence[str]) -> list[Verdict]:
    return [
        Verdict(record.number, record.row, Outcome.PENDING, (Problem("", reason),))
        for record, reason in zip(records, reasons, strict=True)
    ]


def _problems(objections: Sequence[Objection]) -> tuple[Problem, ...]:
    return tuple(objection.problem for objection in objections)


class _Found:
    """What the errors of a job say of whom: ``objections`` and ``disputed`` by the place in the job.

    ``disputed`` says why it is not known whether somebody was taken; ``unplaced`` are the words of errors that name
    nobody.
    """

    def __init__(self, size: int, errors: Iterable[RecordError], place_of: PlaceOf) -> None:
        self.size = size
        self.objections: dict[int, list[Objection]] = {}
        self.disputed: dict[int, str] = {}
        self.unplaced: set[str] = set()
        for error in errors:
            self._take(error, place_of)

    def is_everybody(self) -> None:
        """Give everybody a reason: the own one, or what the errors say that name nobody."""
        words = "; ".join(sorted(self.unplaced)[:_SHOWN]) or "no reason given"
        for place in range(self.size):
            self.objections.setdefault(place, [Objection((), Problem("", f"Klaviyo rejected it: {words}"))])
        self.unplaced.clear()

    @property
    def counts(self) -> range:
        """How many may have failed."""
        certain = len(self.objections)
        return range(certain, certain + len(self.disputed.keys() - self.objections) + 1)

    def _take(self, error: RecordError, place_of: PlaceOf) -> None:
        pointed, path = pointed_at(error.pointer, _PREFIX)
        repeated = place_of(dict(_identifiers(error.payload)))
        named = {place for place in (pointed, repeated) if place is not None}
        places = [place for place in named if 0 <= place < self.size]
        if not places:
            self.unplaced.add(mask(error.words))
        elif len(named) > 1:
            dispute = f"an import error points at one profile and repeats another: {mask(error.words)}"
            self.disputed.update(dict.fromkeys(places, dispute))
        else:
            problem = Problem(field_name(path), f"Klaviyo rejected it: {error.words}")
            self.objections.setdefault(places[0], []).append(Objection(path, problem))


def _doubt(job: ImportJob, size: int, found: _Found) -> str:
    """Why the job does not account for everybody; empty when it does."""
    if job.status is not JobStatus.COMPLETE:
        return f"import job {job.id} is {job.status}, not complete"
    if not found.unplaced and any(job.adds_up_to(size, failed) for failed in found.counts):
        return ""
    told = (
        f"import job {job.id} does not add up: {size} profiles were sent, and it counts {job.total} in all, "
        f"{job.completed} completed and {job.failed} failed, while its errors name {len(found.objections)} of them"
    )
    unplaced = "; ".join(sorted(found.unplaced)[:_SHOWN])
    return f"{told}; errors that name nobody: {unplaced}" if unplaced else told


def _identifiers(payload: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Whom a payload names, by our fields; payloads come as a document, a resource or its attributes."""
    for key in ("data", "attributes"):
        nested = payload.get(key)
        inner = nested if isinstance(nested, Mapping) else payload
        payload = {"id": payload.get("id"), **inner}
    for key, field in _IDENTIFIERS.items():
        if value := payload.get(key):
            yield field, comparable(field, str(value))

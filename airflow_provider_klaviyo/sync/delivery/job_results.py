"""From a finished job and its errors to a verdict on every row that was in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from airflow_provider_klaviyo.client.jobs import Job, JobKind, JobStatus, RecordError, job_errors
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.exceptions import KlaviyoRequestError
from airflow_provider_klaviyo.identity import Identity
from airflow_provider_klaviyo.masking import mask, mask_quotes
from airflow_provider_klaviyo.records.record import Problem, Record
from airflow_provider_klaviyo.sync.delivery.pointers import field_name, pointed_at
from airflow_provider_klaviyo.sync.delivery.refusals import Mend, Objection
from airflow_provider_klaviyo.sync.outcomes import Outcome, Settled, Verdict, all_pending, pending

_SHOWN = 3

Load = Callable[[], Sequence[Record]]
"""Gives the records of a job, when its errors ask for them: most jobs have none."""

IndexOf = Callable[[Mapping[str, str]], int | None]
"""The index in a job of the person with these identifiers (field and value); None where these do not tell."""

SOMEBODY_ELSE = -1
"""In place of an index: the person is none of the job's."""


class JobVerdict(NamedTuple):
    """What became of a job's records.

    :param settled: what is told of their rows.
    :param failed: the indexes of those that were not taken, those that go again included.
    :param pending: the indexes of those of which that is not known.
    :param again: records that go again, without what Klaviyo had against them.
    """

    settled: Settled
    failed: Sequence[int] = ()
    pending: Sequence[int] = ()
    again: Sequence[Record] = ()


def verdicts_of(
    kind: JobKind,
    job: Job,
    records: Sequence[Record],
    errors: Iterable[RecordError],
    index_of: IndexOf,
    mend: Mend[Record] = lambda record, objections: None,  # noqa: ARG005 - as the type says
) -> JobVerdict:
    """Who was taken and who was not.

    A cancelled job, or one whose counts do not add up, acknowledges nobody: whom its errors name is rejected,
    everybody else is pending. So are the two of whom one error names both. Where everybody failed, errors need not
    name anybody.

    :param records: what the job took, in its order.
    :param mend: makes a record that was refused fit to be sent again.
    """
    found = _Found(kind, len(records), errors, index_of)
    if job.refused_all(len(records)):
        found.is_everybody()
    doubt = _doubt(kind, job, len(records), found)
    mended = {index: mend(records[index], objections) for index, objections in found.objections.items()}
    rejected = [
        Verdict(records[index].number, records[index].row, Outcome.REJECTED, _problems(objections))
        for index, objections in found.objections.items()
        if mended[index] is None
    ]
    reasons = (dict.fromkeys(range(len(records)), doubt) if doubt else {}) | found.disputed
    doubted = [index for index in reasons if index not in found.objections]
    verdicts = [
        *rejected,
        *pending([records[index] for index in doubted], [reasons[each] for each in doubted]),
    ]
    again = [record for record in mended.values() if record is not None]
    accepted = len(records) - len(verdicts) - len(again)
    return JobVerdict(Settled(accepted, verdicts=verdicts), list(found.objections), doubted, again)


def read_verdicts(
    client: KlaviyoClient,
    kind: JobKind,
    job: Job,
    size: int,
    load: Load,
    index_of: Callable[[], IndexOf],
    mend: Mend[Record] = lambda record, objections: None,  # noqa: ARG005 - as the type says
) -> JobVerdict:
    """The verdicts of a job of so many records. The errors of a complete one are read whatever it counts.

    :param load: gives the records, in the job's order.
    :param index_of: prepared when there are errors.
    :param mend: makes a record that was refused fit to be sent again.
    :raises KlaviyoError: when the errors cannot be read now; where Klaviyo refuses to show them, all are pending.
    """
    try:
        is_readable = job.failed or job.status is JobStatus.COMPLETE
        errors = list(job_errors(client, kind, job.id)) if is_readable else []
    except KlaviyoRequestError as error:
        reason = f"the errors of {kind.noun} {job.id} cannot be read: {mask(str(error))}"
        return JobVerdict(all_pending(load(), reason), pending=range(size))
    if not errors and job.is_clean(size):
        return JobVerdict(Settled(accepted=size))
    return verdicts_of(kind, job, load(), errors, index_of(), mend)


def index_by_identity(records: Sequence[Record], identifier: str) -> IndexOf:
    """Finds people by the field and the value that identify their records.

    Of the fields that identify anybody in the job, the first that a person has is the one: somebody else may have
    the same value in a later one. Whom no record is about may be one who was forgotten meanwhile, where there is any.

    :param records: those of a job, in its order; one that was forgotten has no identity.
    :param identifier: the field that an identity without one is a value of.
    """
    people = {record.named(identifier): index for index, record in enumerate(records) if record.identity}
    forgotten = [index for index, record in enumerate(records) if not record.identity]
    stranger = (SOMEBODY_ELSE, *forgotten)[-1] if len(forgotten) < 2 else None
    used = {identity.field for identity in people}

    def index_of(identifiers: Mapping[str, str]) -> int | None:
        field = next((name for name in identifiers if name in used), None)
        return people.get(Identity(field, identifiers[field]), stranger) if field else None

    return index_of


def _problems(objections: Sequence[Objection]) -> tuple[Problem, ...]:
    return tuple(objection.problem for objection in objections)


class _Found:
    """What the errors of a job say of whom: ``objections`` and ``disputed`` by the index in the job.

    ``disputed`` says why it is not known whether somebody was taken; ``unplaced`` are the words of errors that name
    nobody.
    """

    def __init__(self, kind: JobKind, size: int, errors: Iterable[RecordError], index_of: IndexOf) -> None:
        self.size = size
        self._kind = kind
        self._prefix = kind.start.records.strip("/").split("/")
        self.objections: dict[int, list[Objection]] = {}
        self.disputed: dict[int, str] = {}
        self.unplaced: set[str] = set()
        for error in errors:
            self._assign(error, index_of)

    def is_everybody(self) -> None:
        """Give everybody a reason: the own one, or what the errors say that name nobody."""
        message = "; ".join(sorted(self.unplaced)[:_SHOWN]) or "no reason given"
        for index in range(self.size):
            self.objections.setdefault(index, [Objection((), Problem("", f"Klaviyo rejected it: {message}"))])
        self.unplaced.clear()

    @property
    def counts(self) -> range:
        """How many may have failed."""
        certain = len(self.objections)
        return range(certain, certain + len(self.disputed.keys() - self.objections) + 1)

    def _assign(self, error: RecordError, index_of: IndexOf) -> None:
        pointed, path = pointed_at(error.pointer, self._prefix)
        repeated = index_of(self._kind.identifiers(error.payload))
        named = {index for index in (pointed, repeated) if index is not None}
        indexes = [index for index in named if 0 <= index < self.size]
        if not indexes:
            self.unplaced.add(mask_quotes(error.message))
        elif len(named) > 1:
            contradiction = (
                f"an error of the {self._kind.noun} points at one {self._kind.record} and repeats another"
            )
            dispute = f"{contradiction}: {mask_quotes(error.message)}"
            self.disputed.update(dict.fromkeys(indexes, dispute))
        else:
            problem = Problem(field_name(path), f"Klaviyo rejected it: {error.message}", is_klaviyos=True)
            self.objections.setdefault(indexes[0], []).append(Objection(path, problem))


def _doubt(kind: JobKind, job: Job, size: int, found: _Found) -> str:
    """Why the job does not account for everybody; empty when it does."""
    if job.status is not JobStatus.COMPLETE:
        return f"{kind.noun} {job.id} is {job.status}, not complete"
    if not found.unplaced and any(job.adds_up_to(size, failed) for failed in found.counts):
        return ""
    counts = (
        f"{kind.noun} {job.id} does not add up: {kind.records(size)} went in, and it counts {job.total} in all, "
        f"{job.completed} completed and {job.failed} failed, while its errors name {len(found.objections)} of them"
    )
    unplaced = "; ".join(sorted(found.unplaced)[:_SHOWN])
    return f"{counts}; errors that name nobody: {unplaced}" if unplaced else counts

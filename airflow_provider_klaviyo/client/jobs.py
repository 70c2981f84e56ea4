"""Klaviyo's jobs, whatever they do: start one, ask for many, read what they refused.

A request that starts a job is answered before Klaviyo has done anything. What became of its records shows in the job
later, and nowhere else. ``JobKind`` says what differs between kinds; ``job_kinds`` has those that the package knows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from itertools import islice

from airflow_provider_klaviyo.client.endpoints import Endpoint, scopes_of
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.client.responses import (
    Document,
    Response,
    attributes_of,
    read_collection,
    read_resource,
    resources,
    text,
    words,
)
from airflow_provider_klaviyo.exceptions import KlaviyoRequestError
from airflow_provider_klaviyo.wording import counted

_NOT_FOUND = (400, 404)  # Klaviyo answers 400 to an id that is not shaped as it expects
_FEW = 2
"""So many jobs are asked for one by one; more of them by listing, a page of them in a request."""

_SPARE_PAGES = 5
"""Pages read beyond what our own jobs fill: other integrations start jobs too."""


class JobStatus(StrEnum):
    """Klaviyo's states of a job. There is no failed state: what failed is counted in the job.

    Source: ``status`` of every job in Klaviyo's OpenAPI file of revision 2026-07-15.
    """

    QUEUED = "queued"
    PROCESSING = "processing"
    COMPLETE = "complete"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"
    """Ours, for a job that Klaviyo does not know (any more: it forgets jobs after seven days), or whose status is
    a word that we do not know."""

    @property
    def is_terminal(self) -> bool:
        """Whether the job will not change any more."""
        return self not in (JobStatus.QUEUED, JobStatus.PROCESSING)


_WORDS = ("detail", "title", "code")
"""Where an error may say what it is about, the best first."""

_STATUSES = {status.value for status in JobStatus}


@dataclass(frozen=True, slots=True)
class Job:
    """A job as Klaviyo describes it; counts are of records, None where Klaviyo gives none.

    :param completed: how many Klaviyo is done with. Whether that includes the failed ones is not documented.
    :param created: when Klaviyo made it, in seconds since the epoch by its clock; None where it does not say.
    """

    id: str
    status: JobStatus
    total: int | None
    completed: int | None
    failed: int | None
    created: float | None = None

    def is_clean(self, size: int) -> bool:
        """Whether every one of so many records that were sent was taken."""
        return self.status is JobStatus.COMPLETE and self.failed == 0 and self.adds_up_to(size, 0)

    def refused_all(self, size: int) -> bool:
        """Whether not one of so many records that were sent was taken."""
        return self.status is JobStatus.COMPLETE and self.failed == size and self.adds_up_to(size, size)

    def adds_up_to(self, size: int, failed: int) -> bool:
        """Whether the job accounts for every one of so many records that were sent, ``failed`` of which it refused.

        Counts may be null (OpenAPI 2026-07-15), which contradicts nothing. Whether ``completed_count`` includes the
        failed ones is not documented, so both are taken.
        """
        return (
            self.total in (None, size)
            and self.failed in (None, failed)
            and self.completed in (None, size, size - failed)
        )


@dataclass(frozen=True, slots=True)
class RecordError:
    """One entry of a job's errors; ``payload`` is the record as it was sent, if Klaviyo repeats it.

    :param pointer: where in the request the record stands, as Klaviyo writes it; may be empty.
    :param message: what Klaviyo has against it.
    """

    pointer: str
    message: str
    payload: Mapping[str, object]


def read_job(resource: Document) -> Job:
    """A job from the resource that describes it, as most kinds count: ``total_count`` and so on.

    :param resource: with an id and attributes.
    :raises TypeError: when it does not say its status.
    """
    attributes = attributes_of(resource)
    status = attributes.get("status")
    if not isinstance(status, str):
        msg = "a job without a status"
        raise TypeError(msg)
    return Job(
        id=text(resource["id"]),
        status=JobStatus(status) if status in _STATUSES else JobStatus.UNKNOWN,
        total=count(attributes, "total_count"),
        completed=count(attributes, "completed_count"),
        failed=count(attributes, "failed_count"),
        created=moment(attributes, "created_at"),
    )


def read_error(attributes: Document) -> RecordError:
    """An entry of a job's errors from its attributes; what Klaviyo leaves out is empty."""
    source, payload = attributes.get("source"), attributes.get("original_payload")
    return RecordError(
        pointer=text(mapping(source).get("pointer")),
        message=next(filter(None, map(words, map(attributes.get, _WORDS))), "no reason given"),
        payload=mapping(payload),
    )


@dataclass(frozen=True, slots=True)
class Listing:
    """A collection that is read page after page.

    :param query: what asks for it, in the order that is wanted.
    :param page: how many entries a page has at most.
    """

    endpoint: Endpoint
    query: Mapping[str, str]
    page: int


@dataclass(frozen=True, slots=True, eq=False)
class JobKind:
    """What there is to know of a kind of job, to start some, to wait for them and to tell what became of whom.

    :param name: Klaviyo's own word for the resource. It is written down with every open job, so it stays as it is.
    :param noun: what one is called in messages.
    :param record: what one of its records is called in messages.
    :param start: starts a job. Its ``records`` is where in the request the records are: an error points there.
    :param one: reads a job by its id.
    :param newest: lists jobs, the newest first.
    :param errors: lists what a job has refused; None for a kind that does not tell.
    :param body: makes the request from records that are encoded already.
    :param read: makes a job of the resource that describes it.
    :param read_error: makes an error of the attributes of its entry.
    :param identifiers: whom the ``payload`` of an error names, as field and value; the fields as mappings name them.
    :param appears_within: seconds in which a job that Klaviyo does not know may only be too new to be known everywhere.
    :param sensor: the sensor that waits for jobs of this kind, for advice; empty where there is none.
    """

    name: str
    noun: str
    record: str
    start: Endpoint
    one: Endpoint
    newest: Listing
    errors: Listing | None
    body: Callable[[Sequence[bytes]], bytes]
    read: Callable[[Document], Job] = read_job
    read_error: Callable[[Document], RecordError] = read_error
    identifiers: Callable[[Mapping[str, object]], Mapping[str, str]] = lambda payload: {}  # noqa: ARG005 - as the type says
    appears_within: float = 60.0
    sensor: str = ""

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Every endpoint that jobs of this kind take."""
        errors = () if self.errors is None else (self.errors.endpoint,)
        return (self.start, self.one, self.newest.endpoint, *errors)

    @property
    def scopes(self) -> tuple[str, ...]:
        """Every scope that a key needs for jobs of this kind, sorted."""
        return scopes_of(self.endpoints)

    def is_settled(self, job: Job, seconds: float) -> bool:
        """Whether a job will not change any more.

        :param seconds: how long it has been waited for.
        """
        may_yet_appear = job.status is JobStatus.UNKNOWN and seconds < self.appears_within
        return job.status.is_terminal and not may_yet_appear

    def counted(self, jobs: int) -> str:
        """So many jobs, in words."""
        return counted(jobs, self.noun)

    def records(self, number: int) -> str:
        """So many records, in words."""
        return counted(number, self.record)


def start_job(client: KlaviyoClient, kind: JobKind, body: bytes | Callable[[], bytes]) -> Job:
    """Start a job.

    :param body: the request, as ``kind.body`` makes it, or what makes it when its turn has come.
    :raises KlaviyoError: when Klaviyo refuses the request or stays unreachable.
    """
    return client.send(kind.start, body=body, read=lambda *response: _read(kind, *response))


def get_job(client: KlaviyoClient, kind: JobKind, job_id: str) -> Job:
    """One job, of unknown status when Klaviyo has none of that id.

    :raises KlaviyoError: when Klaviyo refuses to tell, or stays unreachable.
    """

    def read(endpoint: Endpoint, response: Response) -> Job:
        return _read(kind, endpoint, response, expected_id=job_id)

    try:
        return client.send(kind.one, resource_id=job_id, read=read)
    except KlaviyoRequestError as error:
        if error.status not in _NOT_FOUND:
            raise
        return Job(job_id, JobStatus.UNKNOWN, None, None, None)


def find_jobs(client: KlaviyoClient, kind: JobKind, ids: Collection[str]) -> dict[str, Job]:
    """Many jobs of a kind, by their ids, in as few requests as possible: the newest are one page of the listing.

    A job that the listing does not show is asked for by its id.

    :raises KlaviyoError: when Klaviyo refuses to tell, or stays unreachable.
    """
    wanted = set(ids)
    found: dict[str, Job] = {}
    if len(wanted) > _FEW:
        pages = len(wanted) // kind.newest.page + 1 + _SPARE_PAGES
        for listed in islice(_listed(client, kind, wanted), pages):
            found.update((job.id, job) for job in listed)
            if len(found) == len(wanted):
                break
    for job_id in sorted(wanted - found.keys()):
        found[job_id] = get_job(client, kind, job_id)
    return found


def job_errors(client: KlaviyoClient, kind: JobKind, job_id: str) -> Iterator[RecordError]:
    """All errors of a job, page after page; none where the kind does not tell.

    :raises KlaviyoError: when Klaviyo refuses to tell, or stays unreachable.
    """
    if kind.errors is None:
        return
    errors = kind.errors
    pages = client.pages(errors.endpoint, resource_id=job_id, query=errors.query, read=read_collection)
    for document in pages:
        for resource in resources(document):
            yield kind.read_error(attributes_of(resource))


def count(attributes: Document, name: str) -> int | None:
    """A count among the attributes of a job; None where Klaviyo gives none."""
    value = attributes.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def moment(attributes: Document, name: str) -> float | None:
    """A time among the attributes of a job, in seconds since the epoch; None where Klaviyo gives none."""
    try:
        return datetime.fromisoformat(str(attributes.get(name))).astimezone(UTC).timestamp()
    except (ValueError, OverflowError):
        return None


def mapping(value: object) -> Document:
    """What should be an object of JSON; empty where it is none."""
    return value if isinstance(value, Mapping) else {}


def _listed(client: KlaviyoClient, kind: JobKind, wanted: Collection[str]) -> Iterator[list[Job]]:
    """The wanted jobs of each page; others', which may be shaped in any way, are not looked at."""
    for document in client.pages(kind.newest.endpoint, query=kind.newest.query, read=read_collection):
        yield [kind.read(resource) for resource in resources(document) if _is_told(resource, wanted)]


def _is_told(resource: Document, wanted: Collection[str]) -> bool:
    """Whether an entry is a wanted job, and says how it stands."""
    job_id, status = resource.get("id"), attributes_of(resource).get("status")
    return isinstance(job_id, str) and job_id in wanted and isinstance(status, str)


def _read(kind: JobKind, endpoint: Endpoint, response: Response, *, expected_id: str = "") -> Job:
    return kind.read(read_resource(endpoint, response, expected_id=expected_id))

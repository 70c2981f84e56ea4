"""Klaviyo's bulk import jobs: start one, ask for many, read what they refused."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice

from airflow_provider_klaviyo.client.answers import Answer, Document, read_document, resources
from airflow_provider_klaviyo.client.endpoints import (
    GET_IMPORT_ERRORS,
    GET_IMPORT_JOB,
    GET_IMPORT_JOBS,
    IMPORT_PROFILES,
    Endpoint,
)
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.exceptions import KlaviyoRequestError

_PAGE = 100
_NOT_FOUND = (400, 404)  # Klaviyo answers 400 to an id that is not shaped as it expects
_FEW = 2
"""So many jobs are asked for one by one; more of them by listing, a hundred in a request."""

_HIDDEN = 60.0
"""Seconds that a job which Klaviyo does not know may only be too new to be known everywhere."""

_SPARE_PAGES = 5
"""Pages read beyond what our own jobs fill: other integrations start jobs too."""


class JobStatus(StrEnum):
    """Klaviyo's states of a job. There is no failed state: what failed is counted in the job."""

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


_STATUSES = {status.value for status in JobStatus}


@dataclass(frozen=True, slots=True)
class ImportJob:
    """A bulk import job as Klaviyo describes it; counts are of profiles, None where Klaviyo gives none."""

    id: str
    status: JobStatus
    total: int | None
    completed: int | None
    failed: int | None

    def is_clean(self, size: int) -> bool:
        """Whether every one of the profiles that were sent was taken."""
        return self.status is JobStatus.COMPLETE and self.failed == 0 and self.adds_up_to(size, 0)

    def is_settled(self, seconds: float) -> bool:
        """Whether the job will not change any more.

        :param seconds: how long it has been waited for.
        """
        may_yet_appear = self.status is JobStatus.UNKNOWN and seconds < _HIDDEN
        return self.status.is_terminal and not may_yet_appear

    def refused_all(self, size: int) -> bool:
        """Whether not one of the profiles that were sent was taken."""
        return self.status is JobStatus.COMPLETE and self.failed == size and self.adds_up_to(size, size)

    def adds_up_to(self, size: int, failed: int) -> bool:
        """Whether the job accounts for every one of the profiles that were sent, ``failed`` of which it refused.

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
    """One entry of a job's import errors; ``payload`` is the profile as it was sent, if Klaviyo repeats it."""

    pointer: str
    words: str
    payload: Mapping[str, object]


def start_import(client: KlaviyoClient, profiles: Sequence[bytes], list_id: str = "") -> ImportJob:
    """Start a job for encoded profiles, and put the people on a list if one is given.

    :raises KlaviyoError: when Klaviyo refuses the request or stays unreachable.
    """
    return client.send(IMPORT_PROFILES, body=import_body(profiles, list_id), read=_read_job)


def import_body(profiles: Sequence[bytes], list_id: str = "") -> bytes:
    """The request that starts a job, from profiles that are encoded already."""
    relation = b""
    if list_id:
        relation = b',"relationships":{"lists":{"data":[{"type":"list","id":"%s"}]}}' % list_id.encode()
    return b"".join(
        (
            b'{"data":{"type":"profile-bulk-import-job","attributes":{"profiles":{"data":[',
            b",".join(profiles),
            b"]}}",
            relation,
            b"}}",
        )
    )


def get_import_job(client: KlaviyoClient, job_id: str) -> ImportJob:
    """One job, of unknown status when Klaviyo has none of that id."""
    try:
        return client.send(GET_IMPORT_JOB, resource_id=job_id, read=_read_job)
    except KlaviyoRequestError as error:
        if error.status not in _NOT_FOUND:
            raise
        return ImportJob(job_id, JobStatus.UNKNOWN, None, None, None)


def find_import_jobs(client: KlaviyoClient, ids: Collection[str]) -> dict[str, ImportJob]:
    """Many jobs in as few requests as possible: the newest hundred are one page of the listing.

    A job that the listing does not show is asked for by its id.
    """
    wanted = set(ids)
    found: dict[str, ImportJob] = {}
    if len(wanted) > _FEW:
        pages = len(wanted) // _PAGE + 1 + _SPARE_PAGES
        for listed in islice(_listed(client, wanted), pages):
            found.update((job.id, job) for job in listed)
            if len(found) == len(wanted):
                break
    for job_id in sorted(wanted - found.keys()):
        found[job_id] = get_import_job(client, job_id)
    return found


def import_errors(client: KlaviyoClient, job_id: str) -> Iterator[RecordError]:
    """All import errors of a job, page after page."""
    for document in client.pages(GET_IMPORT_ERRORS, resource_id=job_id, query={"page[size]": str(_PAGE)}):
        for resource in resources(document):
            yield _import_error(_mapping(resource.get("attributes")))


def _listed(client: KlaviyoClient, wanted: Collection[str]) -> Iterator[list[ImportJob]]:
    """The wanted jobs of each page; others', which may be of any kind, are not looked at."""
    for document in client.pages(GET_IMPORT_JOBS, query={"sort": "-created_at", "page[size]": str(_PAGE)}):
        ours = (resource for resource in resources(document) if resource.get("id") in wanted)
        yield [_job(resource) for resource in ours if "status" in _mapping(resource.get("attributes"))]


def _read_job(endpoint: Endpoint, answer: Answer) -> ImportJob:
    return _job(_mapping(read_document(endpoint, answer)["data"]))


def _job(resource: Document) -> ImportJob:
    attributes = _mapping(resource["attributes"])
    status = attributes["status"]
    return ImportJob(
        id=str(resource["id"]),
        status=JobStatus(status) if status in _STATUSES else JobStatus.UNKNOWN,
        total=_count(attributes, "total_count"),
        completed=_count(attributes, "completed_count"),
        failed=_count(attributes, "failed_count"),
    )


def _import_error(attributes: Document) -> RecordError:
    source, payload = attributes.get("source"), attributes.get("original_payload")
    return RecordError(
        pointer=str(_mapping(source).get("pointer") or ""),
        words=str(
            attributes.get("detail") or attributes.get("title") or attributes.get("code") or "no reason given"
        ),
        payload=_mapping(payload),
    )


def _count(attributes: Document, name: str) -> int | None:
    value = attributes.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _mapping(value: object) -> Document:
    return value if isinstance(value, Mapping) else {}

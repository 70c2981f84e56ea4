"""Bulk import jobs as they live: queued, processing, complete or cancelled, gone after seven days.

Nothing runs in the background: `settle` brings every job to where it should be at a moment, and is called before
anything is read.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from airflow_provider_klaviyo.emulator.account.profile_store import Conflict, Profile, ProfileStore
from airflow_provider_klaviyo.emulator.core.errors import pointer_to
from airflow_provider_klaviyo.emulator.core.faults import Fault, FaultKind
from airflow_provider_klaviyo.emulator.requests.bulk_body import PROFILES
from airflow_provider_klaviyo.emulator.requests.documents import is_there
from airflow_provider_klaviyo.emulator.requests.profile_schema import Change

LIFE_SECONDS = 7 * 86_400
#: Share of a job's time that it waits in the queue.
QUEUED_SHARE = 0.25

Status = Literal["queued", "processing", "complete", "cancelled"]


@dataclass(frozen=True, slots=True)
class ImportProblem:
    """What became of a record that was not imported."""

    index: int
    code: str
    title: str
    detail: str
    pointer: str
    payload: dict[str, Any]


@dataclass(slots=True)
class ImportJob:
    """One bulk import job; `changes` is emptied when it has been worked off."""

    id: str
    created: float
    seconds: float
    total: int
    changes: list[Change]
    list_ids: list[str]
    faults: tuple[Fault, ...] = ()
    status: Status = "queued"
    completed: float | None = None
    number: int = 0
    imported: int = 0
    errors: list[ImportProblem] = field(default_factory=list)
    profiles: array[int] = field(default_factory=lambda: array("L"))

    @property
    def starts(self) -> float:
        """When it leaves the queue."""
        return self.created + self.seconds * QUEUED_SHARE

    @property
    def ends(self) -> float:
        """When it is due to be settled."""
        return self.created + self.seconds

    @property
    def expires(self) -> float:
        """When it can no longer be read."""
        return self.created + LIFE_SECONDS

    @property
    def is_settled(self) -> bool:
        """Whether nothing will change any more."""
        return self.status in ("complete", "cancelled")


class ImportJobs:
    """The jobs of an account, oldest first."""

    def __init__(
        self,
        profiles: ProfileStore,
        *,
        join: Callable[[str, Profile, float], None],
        is_fake: Callable[[Change], bool],
    ) -> None:
        self._profiles = profiles
        self._join = join
        self._is_fake = is_fake
        self._jobs: dict[str, ImportJob] = {}
        self._open: list[ImportJob] = []
        self._numbers = 0

    def add(self, job: ImportJob) -> None:
        """Queue a job."""
        self._numbers += 1
        job.number = self._numbers
        self._jobs[job.id] = job
        self._open.append(job)

    def get(self, job_id: str) -> ImportJob | None:
        """A job that has not expired."""
        return self._jobs.get(job_id)

    def __iter__(self) -> Iterator[ImportJob]:
        return iter(self._jobs.values())

    def __len__(self) -> int:
        return len(self._jobs)

    def settle(self, now: float) -> None:
        """Work off what is due."""
        if self._open:
            for job in self._open:
                self._move(job, now)
            self._open = [job for job in self._open if not job.is_settled]
        while self._jobs and (oldest := next(iter(self._jobs.values()))).expires <= now:
            del self._jobs[oldest.id]

    def cancel(self, job: ImportJob, now: float) -> None:
        """Stop a job that is not settled; what it has not stored is never stored."""
        job.changes = []
        job.status, job.completed = "cancelled", now
        self._open = [each for each in self._open if each is not job]

    def _move(self, job: ImportJob, now: float) -> None:
        kinds = {fault.kind: fault for fault in job.faults}
        if now >= job.starts:
            job.status = "processing"
        if now < job.ends or FaultKind.JOB_STUCK in kinds:
            return
        cut = kinds.get(FaultKind.JOB_CANCELLED)
        self._work_off(job, job.changes if cut is None else job.changes[: cut.records])
        job.changes = []
        job.status, job.completed = ("complete" if cut is None else "cancelled"), job.ends

    def _work_off(self, job: ImportJob, changes: list[Change]) -> None:
        failing = [fault for fault in job.faults if fault.kind is FaultKind.JOB_FAILS]
        touched: set[int] = set()
        for index, change in enumerate(changes):
            struck = next((fault for fault in failing if _strikes(fault, index, change)), None)
            if struck is not None:
                detail = "The profile could not be imported."
                job.errors.append(_error(index, change, "import_failed", detail, struck.field))
                continue
            if self._is_fake(change):
                job.imported += 1
                continue
            try:
                profile = self._import(change, job.ends, touched)
            except Conflict as conflict:
                job.errors.append(_error(index, change, "invalid", conflict.detail, conflict.field))
                continue
            job.imported += 1
            touched.add(profile.number)
            job.profiles.append(profile.number)
            for list_id in job.list_ids:
                self._join(list_id, profile, job.ends)

    def _import(self, change: Change, now: float, touched: set[int]) -> Profile:
        profile = self._profiles.owner(change)
        if profile is None:
            return self._profiles.create(change, now)
        if profile.number in touched:
            # That Klaviyo may drop such a record is known, that it says so is not; an error is the stricter reading.
            detail = "The profile occurs more than once in this job."
            raise Conflict(detail)
        self._profiles.update(profile, change, now)
        return profile


def identifiers_of(change: Change) -> str:
    """A record's identifiers in one text, for faults to be matched with."""
    return f"{change.id} {change.email} {change.phone_number} {change.external_id}"


def _strikes(fault: Fault, index: int, change: Change) -> bool:
    is_meant = fault.fails(index, identifiers_of(change))
    return is_meant and (not fault.field or is_there(change.payload()["attributes"], f"/{fault.field}"))


def _error(index: int, change: Change, code: str, detail: str, field: str = "") -> ImportProblem:
    """An import error; `field` is a pointer from the record's attributes on, or its `id`."""
    pointer = pointer_to(PROFILES, index)
    if field:
        pointer = f"{pointer}/id" if field == "id" else f"{pointer}/attributes/{field}"
    return ImportProblem(index, code, "Invalid input.", detail, pointer, change.payload())

"""Jobs that suppress people or lift that, by address or everybody on a list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["create", "delete"]


@dataclass(slots=True)
class SuppressionJob:
    """One job; its counts are zero until it has been worked off, as recorded from live answers."""

    id: str
    kind: Kind
    created: float
    list_id: str | None
    number: int = 0
    status: Literal["processing", "complete", "cancelled"] = "processing"
    total: int = 0
    completed: int = 0
    skipped: int = 0
    ended: float | None = None


class SuppressionJobs:
    """The jobs of an account, oldest first."""

    def __init__(self) -> None:
        self._jobs: dict[str, SuppressionJob] = {}

    def __len__(self) -> int:
        return len(self._jobs)

    def add(self, job: SuppressionJob) -> None:
        """Keep a new job."""
        job.number = len(self._jobs)
        self._jobs[job.id] = job

    def get(self, kind: Kind, job_id: str) -> SuppressionJob | None:
        """A job of one kind."""
        job = self._jobs.get(job_id)
        return job if job is not None and job.kind == kind else None

    def of(self, kind: Kind) -> list[SuppressionJob]:
        """All jobs of one kind."""
        return [job for job in self._jobs.values() if job.kind == kind]

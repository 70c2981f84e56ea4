"""Waits for bulk import jobs in the triggerer."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_klaviyo.triggers.base import LOOK_SECONDS, LookingTrigger

if TYPE_CHECKING:
    from airflow_provider_klaviyo.hooks.klaviyo import KlaviyoHook


def look_at_jobs(hook: KlaviyoHook, job_ids: Sequence[str], *, seconds: float) -> dict[str, Any]:
    """What became of some jobs, as plain JSON: ``is_settled``, ``open``, ``lost``, ``total`` and ``failed``.

    :param seconds: how long they have been waited for; a job that Klaviyo does not know may be too new at first.
    """
    from airflow_provider_klaviyo.client.jobs import JobStatus, find_import_jobs

    with hook.get_client(deadline=time.time() + LOOK_SECONDS) as client:
        jobs = find_import_jobs(client, job_ids).values() if job_ids else ()
    still_open = [job.id for job in jobs if not job.is_settled(seconds)]
    return {
        "is_settled": not still_open,
        "open": still_open,
        "lost": {
            job.id: job.status.value
            for job in jobs
            if job.is_settled(seconds) and job.status is not JobStatus.COMPLETE
        },
        "total": sum(job.total or 0 for job in jobs),
        "failed": sum(job.failed or 0 for job in jobs),
    }


class KlaviyoImportJobTrigger(LookingTrigger):
    """Fires when all jobs are settled; the event is what ``look_at_jobs`` tells, or ``{"error": …}``.

    :param poll_interval: seconds between two looks.
    :param timeout: seconds after which it fires with what it saw last, counted anew when the triggerer is restarted;
        None leaves that to Airflow.
    """

    def __init__(
        self, job_ids: Sequence[str], klaviyo_conn_id: str, poll_interval: float, timeout: float | None = None
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.job_ids = list(job_ids)
        self.klaviyo_conn_id = klaviyo_conn_id
        self.poll_interval = poll_interval
        self.timeout = timeout
        self._made = time.monotonic()

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """How the triggerer makes this trigger again."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "job_ids": self.job_ids,
                "klaviyo_conn_id": self.klaviyo_conn_id,
                "poll_interval": self.poll_interval,
                "timeout": self.timeout,
            },
        )

    def look(self) -> dict[str, Any]:
        """Look at the jobs."""
        from airflow_provider_klaviyo.hooks.klaviyo import KlaviyoHook

        return look_at_jobs(
            KlaviyoHook(self.klaviyo_conn_id), self.job_ids, seconds=time.monotonic() - self._made
        )

    def seconds_left(self) -> float:
        """Until the timeout, since this trigger was made."""
        return math.inf if self.timeout is None else self._made + self.timeout - time.monotonic()

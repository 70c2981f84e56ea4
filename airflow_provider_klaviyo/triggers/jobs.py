"""Waits for bulk import jobs in the triggerer."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

if TYPE_CHECKING:
    from airflow_provider_klaviyo.hooks.klaviyo import KlaviyoHook


log = logging.getLogger(__name__)

LOOK_SECONDS = 120.0
"""How long one look may take, retries included."""


def look_at_jobs(hook: KlaviyoHook, job_ids: Sequence[str]) -> dict[str, Any]:
    """What became of some jobs, as plain JSON: ``is_settled``, ``open``, ``lost``, ``total`` and ``failed``."""
    from airflow_provider_klaviyo.client.jobs import JobStatus, find_import_jobs

    with hook.get_client(deadline=time.time() + LOOK_SECONDS) as client:
        jobs = find_import_jobs(client, job_ids).values() if job_ids else ()
    still_open = [job.id for job in jobs if not job.status.is_terminal]
    return {
        "is_settled": not still_open,
        "open": still_open,
        "lost": {
            job.id: job.status.value
            for job in jobs
            if job.status.is_terminal and job.status is not JobStatus.COMPLETE
        },
        "total": sum(job.total or 0 for job in jobs),
        "failed": sum(job.failed or 0 for job in jobs),
    }


class KlaviyoImportJobTrigger(BaseTrigger):
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

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until all jobs are settled; every look runs in a thread, so that the event loop stays free."""
        from airflow_provider_klaviyo.exceptions import mask

        ends = None if self.timeout is None else time.monotonic() + self.timeout
        try:
            while True:
                look = await sync_to_async(self._look, thread_sensitive=False)()
                is_over = ends is not None and time.monotonic() >= ends
                if is_over or (look and look["is_settled"]):
                    yield TriggerEvent(look)  # type: ignore[no-untyped-call]
                    return
                await asyncio.sleep(self.poll_interval)
        except Exception as error:
            told = {"error": mask(f"{type(error).__name__}: {error}")}
            yield TriggerEvent(told)  # type: ignore[no-untyped-call]

    def _look(self) -> dict[str, Any] | None:
        from airflow_provider_klaviyo.exceptions import KlaviyoRetryableError
        from airflow_provider_klaviyo.hooks.klaviyo import KlaviyoHook

        try:
            return look_at_jobs(KlaviyoHook(self.klaviyo_conn_id), self.job_ids)
        except KlaviyoRetryableError as error:  # the sensor's own timeout bounds how long an outage may last
            log.warning("The jobs cannot be looked at now: %s", error)
            return None

"""Waits for Klaviyo's jobs in the triggerer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_klaviyo.parameters import not_negative
from airflow_provider_klaviyo.triggers.base import LOOK_SECONDS, LookingTrigger

if TYPE_CHECKING:
    from airflow_provider_klaviyo.hooks.klaviyo import KlaviyoHook


def look_at_jobs(
    hook: KlaviyoHook, job_ids: Sequence[str], *, seconds: float, kind: str = ""
) -> dict[str, Any]:
    """What became of some jobs, as plain JSON.

    :param seconds: how long they have been waited for; a job that Klaviyo does not know may be too new at first.
    :param kind: the name of their kind; empty for profile imports.
    :returns: ``is_settled``; ``open``, the ids of those that are not; ``lost``, the status by id of those that ended
        otherwise than complete; ``total`` and ``failed``, the records of all of them together as Klaviyo counts them.
    :raises KlaviyoError: when Klaviyo cannot be asked, or refuses to tell.
    """
    from airflow_provider_klaviyo.client.job_kinds import job_kind
    from airflow_provider_klaviyo.client.jobs import JobStatus, find_jobs

    known = job_kind(kind)
    with hook.get_client(timeout=LOOK_SECONDS) as client:
        jobs = find_jobs(client, known, job_ids).values() if job_ids else ()
    settled = {job.id for job in jobs if known.is_settled(job, seconds)}
    still_open = [job.id for job in jobs if job.id not in settled]
    return {
        "is_settled": not still_open,
        "open": still_open,
        "lost": {
            job.id: job.status.value
            for job in jobs
            if job.id in settled and job.status is not JobStatus.COMPLETE
        },
        "total": sum(job.total or 0 for job in jobs),
        "failed": sum(job.failed or 0 for job in jobs),
    }


class KlaviyoImportJobTrigger(LookingTrigger):
    """Fires when all jobs are settled; the event is what ``look_at_jobs`` tells, or ``{"error": …}``.

    The name and the arguments are kept with every deferred task, so they stay valid: it waits for jobs of any kind, and
    without a kind for profile imports, which were the only ones once.

    :param job_ids: ids of the jobs, all of one kind.
    :param klaviyo_conn_id: the connection of type ``klaviyo``.
    :param poll_interval: seconds between two looks.
    :param timeout: seconds after which it fires with what it saw last, counted anew when the triggerer is restarted;
        None leaves that to Airflow.
    :param kind: the name of the kind of the jobs; empty for profile imports.
    :param rest: seconds before the first look.
    """

    def __init__(
        self,
        job_ids: Sequence[str],
        klaviyo_conn_id: str,
        poll_interval: float,
        timeout: float | None = None,
        kind: str = "",
        rest: float = 0.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.job_ids = list(job_ids)
        self.klaviyo_conn_id = klaviyo_conn_id
        self.poll_interval = not_negative("poll_interval", poll_interval)
        self.timeout = None if timeout is None else not_negative("timeout", timeout)
        self.kind = kind
        self.rest = not_negative("rest", rest)
        self._made = self.clock.monotonic()

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """How the triggerer makes this trigger again."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "job_ids": self.job_ids,
                "klaviyo_conn_id": self.klaviyo_conn_id,
                "poll_interval": self.poll_interval,
                "timeout": self.timeout,
                "kind": self.kind,
                "rest": self.rest,
            },
        )

    def look(self) -> dict[str, Any]:
        """Look at the jobs."""
        from airflow_provider_klaviyo.hooks.klaviyo import KlaviyoHook

        return look_at_jobs(
            KlaviyoHook(self.klaviyo_conn_id),
            self.job_ids,
            seconds=self.clock.monotonic() - self._made,
            kind=self.kind,
        )

    def told(self, seen: Mapping[str, Any]) -> str:
        """How many of the jobs are open."""
        from airflow_provider_klaviyo.client.job_kinds import job_kind

        jobs = job_kind(self.kind).counted(len(self.job_ids))
        if seen["is_settled"]:
            return f"Klaviyo has settled {jobs}."
        left = f"{len(seen['open']):,} of {jobs} open"
        return f"Waiting for Klaviyo: {left}. The next look is in {self.poll_interval:g} s."

    def seconds_left(self) -> float:
        """Until the timeout, since this trigger was made."""
        return math.inf if self.timeout is None else self._made + self.timeout - self.clock.monotonic()

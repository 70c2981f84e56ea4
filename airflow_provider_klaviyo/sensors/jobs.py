"""Waits for Klaviyo's jobs that a sync did not wait for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_klaviyo._compat import AirflowFailException
from airflow_provider_klaviyo.client.clock import moment_of
from airflow_provider_klaviyo.failures import told_in_a_sentence
from airflow_provider_klaviyo.literals import Reader
from airflow_provider_klaviyo.parameters import names, whole_number
from airflow_provider_klaviyo.sensors.base import KlaviyoSensor, check_event

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_klaviyo.client.jobs import JobKind


class KlaviyoImportJobSensor(KlaviyoSensor):
    """Succeeds when Klaviyo has completed import jobs, and fails when they were cancelled or failed too often.

    :param job_ids: ids of the jobs, such as the ``job_ids`` that a sync with ``wait_for_completion=False`` returns
        (templated).
    :param max_failed: how many profiles of all jobs together may have failed.
    :param klaviyo_conn_id: the connection of type ``klaviyo`` (templated).
    :param deferrable: wait in the triggerer instead of on a worker; None is Airflow's ``default_deferrable``.
    """

    kind: str = ""
    """The name of the kind of the jobs, for sensors of other kinds; empty for profile imports."""

    template_fields: Sequence[str] = ("job_ids", "klaviyo_conn_id")
    readers: ClassVar[Mapping[str, Reader]] = {
        **KlaviyoSensor.readers,
        "job_ids": names,
        "max_failed": whole_number,
    }
    _first_look: float | None = None

    def __init__(self, *, job_ids: str | Sequence[str], max_failed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.job_ids = job_ids
        self.max_failed = max_failed
        self.check_literals()

    def poke(self, context: Context) -> bool:
        """Look at the jobs once."""
        look = self._look_if_possible(context)
        if look is None:
            return False
        if not look["is_settled"]:
            left = len(look["open"])
            is_open = "is still open" if left == 1 else "are still open"
            self.log.info("%s of %s %s.", f"{left:,}", self._job_kind().counted(len(self._ids())), is_open)
            return False
        self._judge(look)
        return True

    @told_in_a_sentence
    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Come back from the triggerer."""
        jobs = f"{self._job_kind().noun}s"
        check_event(event, jobs)
        if not event:
            msg = f"Waiting for {jobs} failed: the trigger sent nothing."
            raise RuntimeError(msg)
        self._judge(event)

    def _defer(self) -> None:
        from airflow_provider_klaviyo.triggers.jobs import KlaviyoImportJobTrigger

        self._max_failed()  # a wrong one is told before the wait, not after it
        trigger = KlaviyoImportJobTrigger(
            job_ids=self._ids(),
            klaviyo_conn_id=self.klaviyo_conn_id,
            poll_interval=self.poke_interval,
            kind=self.kind,
            rest=self.poke_interval,
        )
        self.defer(trigger=trigger, method_name="execute_complete", timeout=timedelta(seconds=self.timeout))

    def _look(self, context: Context) -> dict[str, Any]:
        from airflow_provider_klaviyo.hooks.klaviyo import KlaviyoHook
        from airflow_provider_klaviyo.triggers.jobs import look_at_jobs

        self._max_failed()  # as above
        return look_at_jobs(
            KlaviyoHook(self.klaviyo_conn_id),
            self._ids(),
            seconds=self._seconds_waited(context),
            kind=self.kind,
        )

    def _seconds_waited(self, context: Context) -> float:
        """Since the first look, which was another process's where the sensor is rescheduled."""
        rescheduled = context["ti"].get_first_reschedule_date(context) if self.reschedule else None
        if self._first_look is None:
            now = self.clock.monotonic()
            self._first_look = (
                min(moment_of(self.clock, rescheduled.timestamp()), now) if rescheduled else now
            )
        return self.clock.monotonic() - self._first_look

    def _job_kind(self) -> JobKind:
        from airflow_provider_klaviyo.client.job_kinds import job_kind

        return job_kind(self.kind)

    def _ids(self) -> list[str]:
        return list(self.read("job_ids"))

    def _max_failed(self) -> int:
        return int(self.read("max_failed"))

    def _judge(self, look: dict[str, Any]) -> None:
        kind, jobs = self._job_kind(), len(self._ids())
        if look["lost"]:
            shown = ", ".join(f"{job_id} is {status}" for job_id, status in look["lost"].items())
            msg = f"Not all {kind.noun}s were completed: {shown}. Run the sync again."
            raise AirflowFailException(msg)
        if look["failed"] > self._max_failed():
            msg = (
                f"{look['failed']:,} of {kind.records(look['total'])} failed in {kind.counted(jobs)}, "
                f"and max_failed allows {self._max_failed():,}."
            )
            raise AirflowFailException(msg)
        are = "is" if jobs == 1 else "are"
        self.log.info("%s %s complete: %s.", kind.counted(jobs), are, kind.records(look["total"]))

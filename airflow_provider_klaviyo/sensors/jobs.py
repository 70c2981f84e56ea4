"""Waits for bulk import jobs that a sync did not wait for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator

from airflow_provider_klaviyo._compat import AirflowFailException, default_deferrable

if TYPE_CHECKING:
    from airflow.sdk import Context


class KlaviyoImportJobSensor(BaseSensorOperator):
    """Succeeds when Klaviyo has completed import jobs, and fails when they were cancelled or failed too often.

    :param job_ids: ids of the jobs, such as the ``job_ids`` that a sync with ``wait_for_completion=False`` returns
        (templated).
    :param max_failed: how many profiles of all jobs together may have failed.
    :param klaviyo_conn_id: the connection of type ``klaviyo`` (templated).
    :param deferrable: wait in the triggerer instead of a worker; default is Airflow's ``default_deferrable``.
    """

    template_fields: Sequence[str] = ("job_ids", "klaviyo_conn_id")

    def __init__(
        self,
        *,
        job_ids: str | Sequence[str],
        max_failed: int = 0,
        klaviyo_conn_id: str = "klaviyo_default",
        deferrable: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.job_ids = job_ids
        self.max_failed = max_failed
        self.klaviyo_conn_id = klaviyo_conn_id
        self.deferrable = default_deferrable() if deferrable is None else deferrable

    def execute(self, context: Context) -> Any:  # noqa: RET503 - defer does not come back
        """Wait in the way that was asked for."""
        if not self.deferrable:
            return super().execute(context)
        from airflow_provider_klaviyo.triggers.jobs import KlaviyoImportJobTrigger

        self.defer(
            trigger=KlaviyoImportJobTrigger(
                job_ids=self._ids(), klaviyo_conn_id=self.klaviyo_conn_id, poll_interval=self.poke_interval
            ),
            method_name="execute_complete",
            timeout=timedelta(seconds=self.timeout),
        )

    def poke(self, context: Context) -> bool:  # noqa: ARG002 - Airflow's signature
        """Look at the jobs once."""
        from airflow_provider_klaviyo.exceptions import KlaviyoRetryableError
        from airflow_provider_klaviyo.hooks.klaviyo import KlaviyoHook
        from airflow_provider_klaviyo.triggers.jobs import look_at_jobs

        try:
            look = look_at_jobs(KlaviyoHook(self.klaviyo_conn_id), self._ids())
        except KlaviyoRetryableError as error:  # the sensor's own timeout bounds how long an outage may last
            self.log.warning("The jobs cannot be looked at now: %s", error)
            return False
        if not look["is_settled"]:
            self.log.info("%d of %d import jobs are still open.", len(look["open"]), len(self._ids()))
            return False
        self._judge(look)
        return True

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Come back from the triggerer."""
        if not event or event.get("error"):
            msg = f"Waiting for import jobs failed: {(event or {}).get('error', 'the trigger sent nothing')}"
            raise RuntimeError(msg)
        self._judge(event)

    def _ids(self) -> list[str]:
        from airflow_provider_klaviyo.operators.options import names

        return list(names("job_ids", self.job_ids))

    def _judge(self, look: dict[str, Any]) -> None:
        if look["lost"]:
            told = ", ".join(f"{job_id} is {status}" for job_id, status in look["lost"].items())
            msg = f"Not all import jobs were completed: {told}. Run the sync again."
            raise AirflowFailException(msg)
        if look["failed"] > self.max_failed:
            msg = (
                f"{look['failed']:,} of {look['total']:,} profiles failed in {len(self._ids())} import jobs, "
                f"and max_failed allows {self.max_failed:,}."
            )
            raise AirflowFailException(msg)
        self.log.info("%d import jobs are complete: %s profiles.", len(self._ids()), f"{look['total']:,}")

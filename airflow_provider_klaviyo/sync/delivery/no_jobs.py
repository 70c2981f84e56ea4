"""For deliveries whose requests leave no job behind at Klaviyo's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from airflow_provider_klaviyo.records.record import Record
from airflow_provider_klaviyo.sync.outcomes import HandedOver, OpenJob


class NoJobs:
    """There are none to wait for, and none to hand over to another worker."""

    @property
    def open_jobs(self) -> Sequence[OpenJob]:
        """None."""
        return ()

    def handed_over(self) -> Iterable[tuple[HandedOver, Sequence[Record]]]:
        """Nothing."""
        return ()

    def take_over(self, job: HandedOver, records: Sequence[Record]) -> None:  # noqa: ARG002 - as the others
        """Refuse: the job's rows would never have a verdict.

        :raises TypeError: always.
        """
        msg = f"{type(self).__name__} has no jobs, so it cannot settle job {job.id}."
        raise TypeError(msg)

"""Delivery of profiles by bulk import jobs, and one by one where a standard field is to be cleared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing

from airflow_provider_klaviyo.client.abreast import abreast
from airflow_provider_klaviyo.client.endpoints import IMPORT_PROFILE
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.client.profile_imports import PROFILE_IMPORTS, import_body
from airflow_provider_klaviyo.records.record import Record
from airflow_provider_klaviyo.records.resources import field_at
from airflow_provider_klaviyo.sync.delivery.acknowledgements import Acknowledgements
from airflow_provider_klaviyo.sync.delivery.jobs import JobDelivery
from airflow_provider_klaviyo.sync.delivery.pointers import FieldPath
from airflow_provider_klaviyo.sync.delivery.pool import InFlightBatch, in_parts
from airflow_provider_klaviyo.sync.delivery.refusals import RefusalHandler
from airflow_provider_klaviyo.sync.delivery.single_imports import import_one
from airflow_provider_klaviyo.sync.delivery.spool import Spool
from airflow_provider_klaviyo.sync.outcomes import Settled

_SINGLES = 50
"""So many records that go alone go one after the other, and are in doubt together; after a kill they are sent again."""


class ImportJobDelivery(JobDelivery):
    """Brings profiles into Klaviyo; those that need a request of their own by one, which settles at once.

    :param spool: keeps the records of open jobs.
    :param state: is told before each request, after its answer, and of every verdict.
    :param waits: seconds for which ``finish`` waits until Klaviyo has settled every job.
    :param poll_interval: seconds between two looks at the open jobs; the first looks come sooner.
    :param identifier: what identifies people; known once the query's columns are.
    :param drops_invalid: whether a person goes without a field that Klaviyo refuses.
    :param list_id: a list to put the people on.
    """

    def __init__(
        self,
        client: KlaviyoClient,
        spool: Spool,
        state: Acknowledgements,
        *,
        waits: float,
        poll_interval: float,
        identifier: Callable[[], str],
        drops_invalid: bool,
        list_id: str = "",
    ) -> None:
        super().__init__(
            client,
            PROFILE_IMPORTS,
            spool,
            state,
            waits=waits,
            poll_interval=poll_interval,
            identifier=identifier,
            drops_invalid=drops_invalid,
        )
        self._list_id = list_id
        self._singles = RefusalHandler(IMPORT_PROFILE.records, mend=self._mend, has_history=state.has_history)

    def _deliver(self, batch: Sequence[Record], unsettled: InFlightBatch) -> None:
        if together := [record for record in batch if not record.needs_own_request]:
            super()._deliver(together, unsettled)
        alone = in_parts([record for record in batch if record.needs_own_request], _SINGLES)
        groups = abreast(
            self._client, IMPORT_PROFILE, lambda group: self._import_each(group, unsettled), alone
        )
        with closing(groups):
            for _ in groups:
                pass

    def _body(self, part: Sequence[Record]) -> bytes:
        return import_body([record.body for record in part], self._list_id)

    def _import_each(self, records: Sequence[Record], unsettled: InFlightBatch) -> None:
        ticket = self._state.mark_in_doubt(records)
        with self._refusals_noted(unsettled) as refuse:
            self._singles.deliver_each(
                records, post=lambda part: self._import_one(part[0], unsettled), refuse=refuse
            )
        self._state.settle(ticket)

    def _import_one(self, record: Record, unsettled: InFlightBatch) -> None:
        if left_out := import_one(self._client, record):
            self._remark(record, left_out)
        self._publish(Settled(accepted=1, verdicts=self._warnings([record])), [record], unsettled)

    def _leave_out(self, record: Record, paths: Sequence[FieldPath]) -> bool:
        """Take fields from a person; none of them may be what identifies the person."""
        fields = {field_at(record.body, path) for path in paths}
        if not fields.isdisjoint(("", record.named(self._identifier()).field)):
            return False
        record.leave_out(fields)
        return True

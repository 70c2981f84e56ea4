"""People onto a list: by bulk import jobs that create whom Klaviyo does not know, or directly by Klaviyo's own ids."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from airflow_provider_klaviyo.client.endpoints import ADD_TO_LIST
from airflow_provider_klaviyo.client.jobs import import_body
from airflow_provider_klaviyo.client.lists import add_members, membership_body
from airflow_provider_klaviyo.records.list_member import by_field
from airflow_provider_klaviyo.records.record import Record
from airflow_provider_klaviyo.sync.delivery import Doubt, in_parts
from airflow_provider_klaviyo.sync.import_jobs import ImportJobDelivery
from airflow_provider_klaviyo.sync.outcomes import Settled
from airflow_provider_klaviyo.sync.refusals import ABOUT_RECORDS, RefusalHandler
from airflow_provider_klaviyo.sync.sync_type import Means, SyncType

BY_ID = "klaviyo_id"

ABOUT_MEMBERS = (*ABOUT_RECORDS, 404)
"""What Klaviyo answers when one of many ids is nobody's is not documented."""


class ListAddDelivery(ImportJobDelivery):
    """Brings people onto a list.

    :param identifier: what identifies people; known once the query's columns are.
    """

    def __init__(self, means: Means, sync_type: SyncType, identifier: Callable[[], str]) -> None:
        self._list = sync_type.list_id or ""
        super().__init__(
            means.client,
            means.spool,
            sync_type.acknowledgements(means.ledger),
            waits=means.waits,
            poll_interval=means.poll_interval,
            list_id=self._list,
        )
        self._identifier = identifier
        self._by_id = RefusalHandler(
            ADD_TO_LIST.records, about_records=ABOUT_MEMBERS, has_history=self._state.has_history
        )

    def _deliver(self, batch: Sequence[Record], doubt: Doubt) -> None:
        by_id, others = _sorted_out(batch, self._identifier())
        if others:
            super()._deliver(others, doubt)
        with self._refusals_noted(doubt) as refuse:
            for part in in_parts(by_id, ADD_TO_LIST.max_records):
                self._by_id.deliver(part, lambda some: self._add(some, doubt), refuse)

    def _add(self, part: Sequence[Record], doubt: Doubt) -> None:
        ticket = self._state.send(part)
        add_members(self._client, self._list, [record.body for record in part])
        self._state.settle(ticket)
        self._tell(Settled(accepted=len(part)), part, doubt)


def add_bodies(batch: Sequence[Record], identifier: str, list_id: str) -> list[bytes]:
    """The requests that a batch would take."""
    by_id, others = _sorted_out(batch, identifier)
    imports = [import_body([record.body for record in others], list_id)] if others else []
    parts = in_parts(by_id, ADD_TO_LIST.max_records)
    return [*imports, *(membership_body([record.body for record in part]) for part in parts)]


def _sorted_out(batch: Sequence[Record], identifier: str) -> tuple[Sequence[Record], Sequence[Record]]:
    """Who is known by Klaviyo's id, and who is not."""
    fields = by_field(batch, identifier)
    by_id = fields.pop(BY_ID, [])
    return by_id, [record for records in fields.values() for record in records]

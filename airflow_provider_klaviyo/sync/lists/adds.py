"""People onto a list: by bulk import jobs that create whom Klaviyo does not know, or directly by Klaviyo's own ids."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from airflow_provider_klaviyo.client.endpoints import ADD_TO_LIST
from airflow_provider_klaviyo.client.lists import add_members, membership_body
from airflow_provider_klaviyo.client.profile_imports import import_body
from airflow_provider_klaviyo.client.retry import may_be_done
from airflow_provider_klaviyo.exceptions import KlaviyoError, KlaviyoRequestError
from airflow_provider_klaviyo.records.lists.member import by_field
from airflow_provider_klaviyo.records.record import Problem, Record
from airflow_provider_klaviyo.sync.contracts import SyncContext
from airflow_provider_klaviyo.sync.delivery.acknowledgements import Acknowledgements
from airflow_provider_klaviyo.sync.delivery.import_jobs import ImportJobDelivery
from airflow_provider_klaviyo.sync.delivery.pool import InFlightBatch, in_parts
from airflow_provider_klaviyo.sync.delivery.refusals import RefusalHandler, SplitBatch
from airflow_provider_klaviyo.sync.in_flight.notes import InFlight
from airflow_provider_klaviyo.sync.lists.members import MemberFinder
from airflow_provider_klaviyo.sync.lists.removals import ABOUT_MEMBERS
from airflow_provider_klaviyo.sync.outcomes import Outcome, Settled, Verdict

BY_ID = "klaviyo_id"


class ListAddDelivery(ImportJobDelivery):
    """Brings people onto a list.

    :param identifier: what identifies people; known once the query's columns are.
    :param tracks: whether the state remembers whom this sync has put on the list.
    :param in_flight: whose unsubscription from the list is on its way, where these are not to be put on it again.
    """

    def __init__(
        self,
        context: SyncContext,
        list_id: str,
        state: Acknowledgements,
        identifier: Callable[[], str],
        *,
        tracks: bool,
        in_flight: InFlight | None = None,
    ) -> None:
        self._list = list_id
        super().__init__(
            context.client,
            context.spool,
            state,
            waits=context.waits,
            poll_interval=context.poll_interval,
            identifier=identifier,
            drops_invalid=False,  # nothing but the identifier is sent
            list_id=self._list,
        )
        self._in_flight = in_flight
        self._tracked = context.ledger.people if context.ledger and tracks else None
        self._by_id: RefusalHandler[Record] = RefusalHandler(
            ADD_TO_LIST.records, about_records=ABOUT_MEMBERS, has_history=self._state.has_history
        )

    def _deliver(self, batch: Sequence[Record], unsettled: InFlightBatch) -> None:
        by_id, others = _sorted_out(self._free(batch, unsettled), self._identifier())
        if others:
            super()._deliver(others, unsettled)
        with self._refusals_noted(unsettled) as refuse:
            for part in in_parts(by_id, ADD_TO_LIST.max_records):
                self._by_id.deliver(part, lambda some: self._add(some, unsettled), refuse)

    def _free(self, batch: Sequence[Record], unsettled: InFlightBatch) -> Sequence[Record]:
        """The batch without people that are left for a later run."""
        held = self._in_flight.held([(record.person,) for record in batch]) if self._in_flight else {}
        if not held:
            return batch
        verdicts = [
            Verdict(batch[index].number, batch[index].row, Outcome.PENDING, (Problem("", reason),))
            for index, reason in held.items()
        ]
        self._publish(Settled(verdicts=verdicts), [batch[index] for index in held], unsettled)
        return [record for index, record in enumerate(batch) if index not in held]

    def _start(self, part: Sequence[Record], unsettled: InFlightBatch) -> None:
        with self._untracked_if_refused(part):
            super()._start(part, unsettled)

    def _add(self, part: Sequence[Record], unsettled: InFlightBatch) -> None:
        with self._untracked_if_refused(part):
            ticket = self._state.mark_in_doubt(part)
            try:
                add_members(self._client, self._list, [record.body for record in part])
            except KlaviyoRequestError as error:
                if not error.was_repeated or error.status not in ABOUT_MEMBERS:
                    raise
                left = self._not_on_list(part, error)
            else:
                left = []
            self._settle_members(ticket, part, left, unsettled)

    def _settle_members(
        self, ticket: int, part: Sequence[Record], left: Sequence[Record], unsettled: InFlightBatch
    ) -> None:
        """Note that all but some are on the list, and have those added."""
        numbers = {record.number for record in left}
        self._state.settle(
            ticket, pending=[index for index, record in enumerate(part) if record.number in numbers]
        )
        added = [record for record in part if record.number not in numbers]
        self._publish(Settled(accepted=len(added)), added, unsettled)
        if left:
            raise SplitBatch([left])

    def _not_on_list(self, part: Sequence[Record], error: KlaviyoRequestError) -> list[Record]:
        """The records that are not on the list after a try whose answer was lost.

        :raises KlaviyoRequestError: the refusal, when that is everybody.
        """
        members = MemberFinder(self._client, self._list).find(BY_ID, part).ids
        if not members:
            raise error
        return [record for record in part if record.number not in members]

    @contextmanager
    def _untracked_if_refused(self, part: Sequence[Record]) -> Iterator[None]:
        """Where a request certainly did nothing, stop tracking the people that only this request was to add."""
        strangers = self._strangers(part)
        try:
            yield
        except KlaviyoError as error:
            if strangers and not may_be_done(error):
                self._state.refuse(strangers)
            raise

    def _strangers(self, part: Sequence[Record]) -> list[Record]:
        if self._tracked is None:
            return []
        tracked = self._tracked.identities([record.person for record in part])
        return [record for record in part if record.person not in tracked]


def add_bodies(batch: Sequence[Record], identifier: str, list_id: str) -> list[bytes]:
    """The requests that a batch would take."""
    by_id, others = _sorted_out(batch, identifier)
    imports = [import_body([record.body for record in others], list_id)] if others else []
    parts = in_parts(by_id, ADD_TO_LIST.max_records)
    return [*imports, *(membership_body([record.body for record in part]) for part in parts)]


def _sorted_out(batch: Sequence[Record], identifier: str) -> tuple[Sequence[Record], Sequence[Record]]:
    """The records that are known by Klaviyo's id, and the others."""
    fields = by_field(batch, identifier)
    by_id = fields.pop(BY_ID, [])
    return by_id, [record for records in fields.values() for record in records]

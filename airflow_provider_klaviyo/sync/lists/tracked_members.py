"""The members of a tracked mirror: whom this sync once put on the list, as its state knows them."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_provider_klaviyo.records.lists.member import ListMemberMapper
from airflow_provider_klaviyo.records.record import Record
from airflow_provider_klaviyo.state.ledger import Ledger
from airflow_provider_klaviyo.sync.contracts import SyncContext
from airflow_provider_klaviyo.sync.in_flight.notes import InFlight
from airflow_provider_klaviyo.sync.lists.leavers import LeaverFinder
from airflow_provider_klaviyo.sync.lists.leaving import Leaving
from airflow_provider_klaviyo.sync.lists.members import Find
from airflow_provider_klaviyo.sync.lists.mirror_changes import MirrorChanges
from airflow_provider_klaviyo.sync.lists.profile_ids import learn_ids, tracked_records


class TrackedMembers:
    """See ``mirror.Members``."""

    def __init__(self, context: SyncContext, ledger: Ledger, *, full_refresh: bool) -> None:
        self.people = ledger.people.count()
        self.changes = MirrorChanges(ledger, full_refresh=full_refresh)
        self._context = context
        self._ledger = ledger

    def read_by(self, mapper: ListMemberMapper) -> None:
        """Rows that are rejected are known by their keys."""

    def in_flight(self, list_id: str) -> InFlight | None:  # noqa: ARG002 - as the other
        """None: people that are being unsubscribed may be added, since this sync removes only people that it added."""
        return None

    def leaving(self, identifier: str) -> Leaving:  # noqa: ARG002 - the state knows
        """The tracked people that no row of this run names."""
        leaving = Leaving([], {}, self.people)
        for absent in self._ledger.people.absent():
            leaving.add(absent)
        return leaving

    def without_those_found_otherwise(self, leaving: Leaving, gone: list[int], list_id: str) -> list[int]:  # noqa: ARG002
        """All of them: whether a row names somebody in another way is found out when they are looked for."""
        return gone

    def finder(self, leaving: Leaving, gone: Sequence[int], list_id: str) -> Find:
        """Looks for people by the identifier that the state knows them by."""
        persons = {leaving.persons[index] for index in gone}
        finder = LeaverFinder(self._context.client, list_id, self._ledger.people, persons)
        return lambda batch: finder.find(finder.field, batch)

    def second_finder(self, list_id: str) -> Find | None:  # noqa: ARG002 - as the other
        """The first one serves."""
        return None

    def records(self, leaving: Leaving, indexes: Sequence[int]) -> list[Record]:
        """The people that leave, by the identifiers that the state keeps."""
        return tracked_records(self._ledger, {index: leaving.persons[index] for index in indexes})

    def learn(self, list_id: str) -> None:
        """Read Klaviyo's ids of some of those who have none yet."""
        learn_ids(self._context.client, list_id, self._ledger)

    def close(self) -> None:
        """Nothing is open."""

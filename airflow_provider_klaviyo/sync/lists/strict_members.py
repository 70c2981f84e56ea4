"""The members of a strict mirror: everybody who is on the list, whoever put them there, as the list shows them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Self

from airflow_provider_klaviyo.client.members import profiles_now
from airflow_provider_klaviyo.identity import Identity
from airflow_provider_klaviyo.records.lists.member import ListMember, ListMemberMapper
from airflow_provider_klaviyo.records.record import Record, Row
from airflow_provider_klaviyo.state.keys import person_hash
from airflow_provider_klaviyo.state.ledger import Ledger
from airflow_provider_klaviyo.state.rows import Sent
from airflow_provider_klaviyo.sync.changes import Keyed, Unsent, fingerprints_of
from airflow_provider_klaviyo.sync.contracts import SyncContext
from airflow_provider_klaviyo.sync.in_flight.notes import InFlight
from airflow_provider_klaviyo.sync.lists.leaving import Leaving
from airflow_provider_klaviyo.sync.lists.members import (
    CHANGED,
    Find,
    Looked,
    MemberFinder,
    Reason,
    person_shown,
)
from airflow_provider_klaviyo.sync.lists.mirror_changes import MirrorChanges
from airflow_provider_klaviyo.sync.lists.real_members import RealMembers
from airflow_provider_klaviyo.sync.outcomes import Outcome
from airflow_provider_klaviyo.wording import counted

log = logging.getLogger(__name__)


class StrictChanges(MirrorChanges):
    """Tells which people are to be added: those that are not on the list."""

    def __init__(self, ledger: Ledger, members: RealMembers, *, full_refresh: bool) -> None:
        super().__init__(ledger, full_refresh=full_refresh)
        self._members = members
        self._on_list: set[str] = set()
        self.identifier_columns: Mapping[str, int] = {}

    def describe(self, key_columns: Sequence[int], identifier: str) -> None:
        """Remember where the key is, and what identifies people."""
        super().describe(key_columns, identifier)
        self._members.identify_by(identifier)

    def keyed(self, rows: Sequence[Row], first: int, records: list[Record]) -> Keyed:
        """Sort out rows without a primary key, or with that of an earlier row: these name people, too."""
        self._on_list = self._members.name([record.identity for record in records])
        if len(records) < len(rows):
            good = {record.number - first for record in records}
            self._spare([row for index, row in enumerate(rows) if index not in good])
        keyed = super().keyed(rows, first, records)
        if len(keyed.records) < len(records):
            numbers = {record.number for record in keyed.records}
            self._ledger.people.name(
                [self._person(record) for record in records if record.number not in numbers]
            )
        return keyed

    def _spare(self, rows: Sequence[Row]) -> None:
        """Spare the people that rows name by any identifier although the rows cannot be sent.

        A row with a bad address and a good phone number names the member with that number, who stays.
        """
        for field, column in self.identifier_columns.items():
            values = [str(row[column]).strip() for row in rows if row[column] is not None]
            if values:
                self._members.spare(field, values)

    def unsent(self, records: list[Record]) -> Unsent:
        """The records of people that are not on the list."""
        members: list[Record] = []
        others: list[Record] = []
        for record, fingerprint in zip(records, fingerprints_of(records), strict=True):
            record.fingerprint = fingerprint
            (members if record.identity in self._on_list else others).append(record)
        self._ledger.move(
            [Sent(each.key, each.fingerprint, self._person(each)) for each in members], is_acknowledged=True
        )
        self._identify(others)
        return Unsent(others)


class StrictMembers:
    """See ``mirror.Members``. ``read`` reads the list; a worker that resumes a run needs no list."""

    def __init__(self, context: SyncContext, ledger: Ledger, *, full_refresh: bool, since: int = 0) -> None:
        self._context = context
        self._ledger = ledger
        self._since = since
        self._members = RealMembers(context.scratch)
        self._in_flight: InFlight | None = None
        self.people = 0
        self.changes = StrictChanges(ledger, self._members, full_refresh=full_refresh)

    @classmethod
    def read(cls, context: SyncContext, ledger: Ledger, *, full_refresh: bool) -> Self:
        """Read who is on the list, before anybody is added."""
        members = cls(context, ledger, full_refresh=full_refresh, since=ledger.people.newest())
        try:
            members.read_list(context.target.list_id)
        except BaseException:
            members.close()
            raise
        return members

    def read_list(self, list_id: str | None) -> None:
        """Read everybody on a list; one that is not there yet is empty."""
        if list_id:
            self._members.read(self._context.client, list_id)
        self.people = self._members.count()
        log.info("The list has %s.", counted(self.people, "member"))

    def read_by(self, mapper: ListMemberMapper) -> None:
        """Rows that the mapper rejects are known by all their identifiers."""
        self.changes.identifier_columns = mapper.identifier_columns

    def in_flight(self, list_id: str) -> InFlight:
        """The notes of unsubscriptions under way: people that are being unsubscribed are not put on the list again."""
        self._in_flight = InFlight.on(list_id, self._context)
        return self._in_flight

    def leaving(self, identifier: str) -> Leaving:
        """The members that no row names, without those that the state knows by a row that was rejected in this run.

        Row 7 named ``a@shop.io`` yesterday and has a value today that is no address: ``a@`` stays.
        """
        leaving = Leaving([], {}, self.people, since=self._since, field=identifier)
        self._look_again()
        leaving.unreadable = self._members.count_unknown()
        for part in self._members.unnamed():
            persons = {member: person_hash(Identity(identifier, value)) for member, value in part}
            absent = {each.person: each for each in self._ledger.people.unnamed(list(persons.values()))}
            for member, person in persons.items():
                if person in absent:
                    leaving.add([absent[person]])
                    leaving.ids.append(member)
        return leaving

    def _look_again(self) -> None:
        """Look up members whose identifier the list does not show: their profile may show it."""
        for part in self._members.unread():
            log.debug("%s members do not show what people are matched by: looking them up.", f"{len(part):,}")
            self._members.show(list(profiles_now(self._context.client, part).values()))

    def without_those_found_otherwise(self, leaving: Leaving, gone: list[int], list_id: str) -> list[int]:
        """Without members that a row names by another identifier than the one that their profile shows.

        The list shows ``new@shop.io``, the query names the same person ``old@shop.io``, and Klaviyo finds the profile
        by both. The query's ``old@`` was not among the members, so it was sent. When a member is to leave, Klaviyo is
        asked for the profiles of all that were sent.
        """
        if leaving.field == "klaviyo_id":
            return gone
        finder = MemberFinder(self._context.client, list_id)
        indexes = {leaving.ids[index]: index for index in gone}
        for identities in self._ledger.people.sent_since(leaving.since):
            values = [Identity.of(identity).value for identity in identities]
            for member in finder.members(leaving.field, values):
                indexes.pop(member, None)
        return list(indexes.values())

    def finder(self, leaving: Leaving, gone: Sequence[int], list_id: str) -> Find:  # noqa: ARG002 - they are known
        """Looks whether the profiles still show the identifier that no row names."""

        def find(batch: Sequence[Record]) -> Looked:
            ids = {record.number: leaving.ids[record.number] for record in batch}
            if leaving.field == "klaviyo_id":
                return Looked({number: [profile] for number, profile in ids.items()})
            now = profiles_now(self._context.client, list(ids.values()))
            there = [record for record in batch if ids[record.number] in now]
            same = {
                record.number
                for record in there
                if person_shown(now[ids[record.number]], leaving.field) == record.person
            }
            changed = {record.number for record in there} - same
            return Looked(
                {number: [ids[number]] for number in same},
                {number: Reason(Outcome.SKIPPED, CHANGED) for number in changed},
            )

        return find

    def second_finder(self, list_id: str) -> Find:
        """Looks on the list itself for the ids."""
        finder = MemberFinder(self._context.client, list_id)
        return lambda batch: finder.find("klaviyo_id", batch)

    def records(self, leaving: Leaving, indexes: Sequence[int]) -> list[Record]:
        """The members that leave, by Klaviyo's ids."""
        return [
            ListMember(
                number=index, row=(), identity=leaving.ids[index], body=b"", person=leaving.persons[index]
            )
            for index in indexes
        ]

    def learn(self, list_id: str) -> None:
        """Nothing: the list itself tells who is on it."""

    def close(self) -> None:
        """Forget the members."""
        self._members.close()
        if self._in_flight:
            self._in_flight.close()

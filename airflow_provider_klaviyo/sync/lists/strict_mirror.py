"""The strict mirror: the list holds exactly the people of the query, whoever put them there; it reads the members."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from airflow_provider_klaviyo.client.lists import profiles_now
from airflow_provider_klaviyo.identity import Identity
from airflow_provider_klaviyo.records.lists.member import ListMember, ListMemberMapper
from airflow_provider_klaviyo.records.record import Record, Row
from airflow_provider_klaviyo.state.keys import person_hash
from airflow_provider_klaviyo.state.ledger import Ledger
from airflow_provider_klaviyo.state.rows import Sent
from airflow_provider_klaviyo.state.tracked import Absent
from airflow_provider_klaviyo.sync.changes import Changes, Keyed, Unsent, fingerprints_of
from airflow_provider_klaviyo.sync.contracts import Means
from airflow_provider_klaviyo.sync.engine import Delivery
from airflow_provider_klaviyo.sync.in_flight.notes import InFlight
from airflow_provider_klaviyo.sync.lists.adds import ListAddDelivery
from airflow_provider_klaviyo.sync.lists.members import CHANGED, Find, Looked, MemberFinder, Reason
from airflow_provider_klaviyo.sync.lists.mirror import Leaving, MirrorChanges, MirrorList, person_shown
from airflow_provider_klaviyo.sync.lists.real_members import RealMembers
from airflow_provider_klaviyo.sync.outcomes import Outcome

log = logging.getLogger(__name__)


class StrictChanges(MirrorChanges):
    """Tells who is to be added: who is not on the list."""

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
            self._spare([row for place, row in enumerate(rows) if place not in good])
        keyed = super().keyed(rows, first, records)
        if len(keyed.records) < len(records):
            numbers = {record.number for record in keyed.records}
            self._ledger.people.name(
                [self._person(record) for record in records if record.number not in numbers]
            )
        return keyed

    def _spare(self, rows: Sequence[Row]) -> None:
        """Rows that cannot be sent are present all the same: whoever they name by any identifier stays."""
        for field, column in self.identifier_columns.items():
            values = [str(row[column]).strip() for row in rows if row[column] is not None]
            if values:
                self._members.spare(field, values)

    def unsent(self, records: list[Record]) -> Unsent:
        """Those who are not on the list."""
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


class StrictMirrorList(MirrorList):
    """Adds who is not on the list, and in the end removes every member whom the query does not name."""

    _members: RealMembers | None = None
    _changes: StrictChanges | None = None
    _in_flight: InFlight | None = None
    _since = 0

    def begin(self, means: Means) -> None:
        """Read who is on the list."""
        super().begin(means)
        self._since = means.ledger.people.newest() if means.ledger else 0
        self._members = members = RealMembers(means.scratch)
        if self._list_id:
            members.read(means.client, self._list_id)
        self._people = members.count()
        log.info("%s people are on the list.", f"{self._people:,}")

    def changes(self, ledger: Ledger | None, *, is_preview: bool) -> Changes:
        """What tells who is to be added."""
        if ledger is None or self._members is None:
            return super().changes(ledger, is_preview=is_preview)
        self._changes = StrictChanges(ledger, self._members, full_refresh=self.rules.full_refresh)
        return self._changes

    def mapper(self, columns: Sequence[str]) -> ListMemberMapper:
        """The mapper; rows that it rejects are known by all their identifiers."""
        mapper = super().mapper(columns)
        if self._changes:
            self._changes.identifier_columns = mapper.identifier_columns
        return mapper

    def delivery(self, means: Means) -> Delivery:
        """How batches reach Klaviyo; who is being unsubscribed from the list is not put on it again."""
        self._in_flight = InFlight.on(self._list_id or "", means)
        return ListAddDelivery(means, self, lambda: self._identifier, self._in_flight)

    def _leaving(self, means: Means) -> Leaving:
        """The members whom no row names, but for those whom the state knows by a row of this run that was rejected."""
        leaving = Leaving([], {}, self._people, since=self._since, field=self._identifier)
        if self._members is None:
            return leaving
        self._look_again(means, self._members)
        leaving.unreadable = self._members.count_unknown()
        for part in self._members.unnamed():
            persons = {member: person_hash(Identity(self._identifier, value)) for member, value in part}
            absent = self._absent(means, list(persons.values()))
            for member, person in persons.items():
                if person in absent:
                    leaving.take([absent[person]])
                    leaving.ids.append(member)
        return leaving

    def _look_again(self, means: Means, members: RealMembers) -> None:
        """Look up who does not show on the list what rows name people by: the profile itself may."""
        for part in members.unread():
            log.info("%s members do not show what people are matched by: looking them up.", f"{len(part):,}")
            members.show(list(profiles_now(means.client, part).values()))

    def _absent(self, means: Means, persons: Sequence[int]) -> dict[int, Absent]:
        if means.ledger is None:
            return {person: Absent(person) for person in persons}
        return {absent.person: absent for absent in means.ledger.people.unnamed(persons)}

    def _unknown_otherwise(self, means: Means, leaving: Leaving, gone: list[int]) -> list[int]:
        """Those whom nobody finds who was not among the members: a profile may show another identifier than rows name.

        Whoever was sent was not among them, so Klaviyo is asked for these, and only when somebody is to leave.
        """
        if means.ledger is None or leaving.field == "klaviyo_id":
            return gone
        finder = MemberFinder(means.client, self._list_id or "")
        places = {leaving.ids[place]: place for place in gone}
        for identities in means.ledger.people.sent_since(leaving.since):
            values = [Identity.of(identity).value for identity in identities]
            for member in finder.members(leaving.field, values):
                places.pop(member, None)
        return list(places.values())

    def close(self) -> None:
        """Forget the members."""
        if self._members:
            self._members.close()
        if self._in_flight:
            self._in_flight.close()

    def _finder(self, means: Means, leaving: Leaving, gone: Sequence[int]) -> Find:  # noqa: ARG002 - they are known
        """Looks whether the profiles still are who was to leave."""

        def find(batch: Sequence[Record]) -> Looked:
            ids = {record.number: leaving.ids[record.number] for record in batch}
            if leaving.field == "klaviyo_id":
                return Looked({number: [profile] for number, profile in ids.items()})
            now = profiles_now(means.client, list(ids.values()))
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

    def _second_finder(self, means: Means) -> Find:
        finder = MemberFinder(means.client, self._list_id or "")
        return lambda batch: finder.find("klaviyo_id", batch)

    def _records(self, leaving: Leaving, places: Sequence[int], means: Means) -> list[Record]:  # noqa: ARG002
        return [
            ListMember(
                number=place, row=(), identity=leaving.ids[place], body=b"", person=leaving.persons[place]
            )
            for place in places
        ]

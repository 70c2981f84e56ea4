"""The strict mirror: the list holds exactly the people of the query, whoever put them there; it reads the members."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.client.lists import Member, all_members
from airflow_provider_klaviyo.records.list_member import ListMember, ListMemberMapper
from airflow_provider_klaviyo.records.record import Record, Row
from airflow_provider_klaviyo.state.keys import person_hash
from airflow_provider_klaviyo.state.ledger import Ledger, Sent
from airflow_provider_klaviyo.state.tracked import Absent
from airflow_provider_klaviyo.sync.changes import Changes, Keyed, Unsent, fingerprints_of
from airflow_provider_klaviyo.sync.engine import Delivery
from airflow_provider_klaviyo.sync.in_flight import InFlight
from airflow_provider_klaviyo.sync.list_adds import ListAddDelivery
from airflow_provider_klaviyo.sync.list_members import Find, Looked, MemberFinder
from airflow_provider_klaviyo.sync.list_mirror import Leaving, MirrorChanges, MirrorList
from airflow_provider_klaviyo.sync.sync_type import Means

log = logging.getLogger(__name__)

_CACHE_KIB = 16_384
_PART = 10_000
_SAY_EVERY = 50_000
_TELLING_DIGITS = 6
"""The fewest digits that a phone number is told by where its spelling is not known; shorter ones end too many."""

_COLUMNS = {
    "klaviyo_id": "id",
    "email": "email",
    "phone_number": "phone_number",
    "external_id": "external_id",
}


class RealMembers:
    """Who is on the list now, on disk: a million of them cost no more memory than a thousand."""

    def __init__(self, folder: Path) -> None:
        self._database = sqlite3.connect(
            folder / "members.sqlite", isolation_level=None, check_same_thread=False
        )
        for setting in ("journal_mode=OFF", "synchronous=OFF", f"cache_size=-{_CACHE_KIB}"):
            self._database.execute(f"PRAGMA {setting}")
        self._database.execute(
            "CREATE TABLE members (id TEXT PRIMARY KEY, email TEXT, phone_number TEXT, external_id TEXT, "
            "is_named INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID"
        )
        self._database.execute("BEGIN")
        self._column = ""

    def read(self, client: KlaviyoClient, list_id: str) -> None:
        """Read everybody who is on a list."""
        count = 0
        for page in all_members(client, list_id):
            self.add(page)
            count += len(page)
            if count % _SAY_EVERY < len(page):
                log.info("%s members of the list read.", f"{count:,}")

    def add(self, members: Sequence[Member]) -> None:
        """Take a page of members; addresses compare in lower case, as Klaviyo compares them."""
        self._database.executemany(
            "INSERT OR IGNORE INTO members (id, email, phone_number, external_id) VALUES (?, ?, ?, ?)",
            ((each.id, each.email and each.email.lower(), *each[2:]) for each in members),
        )

    def count(self) -> int:
        """How many there are."""
        return int(self._database.execute("SELECT COUNT(*) FROM members").fetchone()[0])

    def identify_by(self, identifier: str) -> None:
        """Say what people are matched by, once it is known."""
        self._column = _COLUMNS[identifier]
        if self._column != "id":
            self._database.execute(f"CREATE INDEX by_identifier ON members ({self._column})")

    def name(self, values: Sequence[str]) -> set[str]:
        """Note that the query names these; returns those that are members."""
        packed = msgspec.json.encode(values).decode()
        where = f"WHERE {self._column} IN (SELECT value FROM json_each(?))"  # noqa: S608 - the column is ours
        found = self._database.execute(f"SELECT {self._column} FROM members {where}", (packed,))  # noqa: S608
        named = {value for (value,) in found}
        self._database.execute(f"UPDATE members SET is_named = 1 {where}", (packed,))  # noqa: S608
        return named

    def spare(self, field: str, values: Sequence[str]) -> None:
        """Note that rows which cannot be sent name these, in whatever spelling: none of them is to leave."""
        if field == "phone_number":
            self._spare_numbers(values)
            return
        column = _COLUMNS[field]
        if column != "id":
            self._database.execute(f"CREATE INDEX IF NOT EXISTS by_{column} ON members ({column})")
        spellings = {spelling for value in values for spelling in (value, value.lower())}
        self._database.execute(
            f"UPDATE members SET is_named = 1 WHERE {column} IN (SELECT value FROM json_each(?))",  # noqa: S608 - as above
            (msgspec.json.encode(sorted(spellings)).decode(),),
        )

    def _spare_numbers(self, values: Sequence[str]) -> None:
        """Spare numbers that end with the digits given: a national number lacks the country, and may begin with 0."""
        digits = {"".join(filter(str.isdigit, value.replace("(0)", ""))).lstrip("0") for value in values}
        endings = sorted(each for each in digits if len(each) >= _TELLING_DIGITS)
        ending = f"substr(%s, -{_TELLING_DIGITS})"
        self._database.execute(
            f"CREATE INDEX IF NOT EXISTS by_last_digits ON members ({ending % 'phone_number'})"
        )
        found = (
            "SELECT m.id FROM json_each(?) e CROSS JOIN members m "  # noqa: S608 - ours
            f"ON {ending % 'm.phone_number'} = {ending % 'e.value'} WHERE m.phone_number LIKE '%' || e.value"
        )
        packed = msgspec.json.encode(endings).decode()
        self._database.execute(f"UPDATE members SET is_named = 1 WHERE id IN ({found})", (packed,))  # noqa: S608

    def unnamed(self) -> Iterator[list[tuple[str, str | None]]]:
        """The members whom the query did not name, some thousand at a time: their ids, and what they are matched by."""
        last = ""
        query = (
            f"SELECT id, {self._column} FROM members WHERE is_named = 0 AND id > ? ORDER BY id LIMIT {_PART}"  # noqa: S608
        )
        while part := self._database.execute(query, (last,)).fetchall():
            yield part
            last = part[-1][0]

    def close(self) -> None:
        """Forget everyone."""
        self._database.close()


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
        return super().keyed(rows, first, records)

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
        leaving = Leaving([], {}, self._people, since=self._since)
        for part in self._members.unnamed() if self._members else ():
            persons = {
                member: person_hash(f"{self._identifier}\0{value}") if value else person_hash(f"id\0{member}")
                for member, value in part
            }
            absent = self._absent(means, list(persons.values()))
            for member, person in persons.items():
                if person in absent:
                    leaving.take([absent[person]])
                    leaving.ids.append(member)
        return leaving

    def _absent(self, means: Means, persons: Sequence[int]) -> dict[int, Absent]:
        if means.ledger is None:
            return {person: Absent(person) for person in persons}
        return {absent.person: absent for absent in means.ledger.people.unnamed(persons)}

    def _unknown_otherwise(self, means: Means, leaving: Leaving, gone: list[int]) -> list[int]:
        """Those whom nobody finds who was not among the members: a profile may show another address than a row names.

        Whoever was sent was not among them, so the list is asked for these, and only when somebody is to leave.
        """
        people = means.ledger.people if means.ledger else None
        if people is None or people.known_by() != "email":
            return gone
        finder = MemberFinder(means.client, self._list_id or "")
        places = {leaving.ids[place]: place for place in gone}
        for identities in people.sent_since(leaving.since):
            addresses = [identity.partition("\0")[2] for identity in identities]
            for member in finder.members("email", addresses):
                places.pop(member, None)
        return list(places.values())

    def close(self) -> None:
        """Forget the members."""
        if self._members:
            self._members.close()
        if self._in_flight:
            self._in_flight.close()

    def _finder(self, means: Means, leaving: Leaving, gone: Sequence[int]) -> Find:  # noqa: ARG002 - they are known
        return lambda batch: Looked({record.number: [leaving.ids[record.number]] for record in batch})

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

"""Who is on a list now, and whom of them the rows of a query name."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import msgspec

from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.client.list_reader import all_members
from airflow_provider_klaviyo.client.members import Member
from airflow_provider_klaviyo.records.contacts.kept import as_kept
from airflow_provider_klaviyo.state.statements import insert_texts

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
    """Members on disk: a million of them cost no more memory than a thousand."""

    def __init__(self, folder: Path) -> None:
        self._database = sqlite3.connect(
            folder / "members.sqlite", isolation_level=None, check_same_thread=False
        )
        for setting in ("journal_mode=OFF", "synchronous=OFF", f"cache_size=-{_CACHE_KIB}"):
            self._database.execute(f"PRAGMA {setting}")
        for table in (
            "members (id TEXT PRIMARY KEY, email TEXT, phone_number TEXT, external_id TEXT, "
            "is_named INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID",
            "spared (field TEXT, value TEXT, PRIMARY KEY (field, value)) WITHOUT ROWID",
        ):
            self._database.execute(f"CREATE TABLE {table}")
        self._database.execute("BEGIN")
        self._column = ""

    # --- who is there -----------------------------------------------------------------------------------------

    def read(self, client: KlaviyoClient, list_id: str) -> None:
        """Read all members of a list."""
        count = 0
        with closing(all_members(client, list_id)) as pages:
            for page in pages:
                self.add(page)
                count += len(page)
                if count % _SAY_EVERY < len(page):
                    log.info("%s members of the list read.", f"{count:,}")

    def add(self, members: Sequence[Member]) -> None:
        """Add members. One that is read twice has changed meanwhile: what either reading shows of it is kept."""
        ids, emails, numbers, own_ids = zip(*members, strict=True) if members else ((), (), (), ())
        kept = zip(ids, as_kept("email", emails), as_kept("phone_number", numbers), own_ids, strict=True)
        insert_texts(
            self._database,
            "INSERT INTO members (id, email, phone_number, external_id) VALUES {rows} ON CONFLICT DO UPDATE SET "
            "email = COALESCE(excluded.email, email), external_id = COALESCE(excluded.external_id, external_id), "
            "phone_number = COALESCE(excluded.phone_number, phone_number)",
            list(kept),
        )

    def count(self) -> int:
        """How many there are."""
        return int(self._database.execute("SELECT COUNT(*) FROM members").fetchone()[0])

    def identify_by(self, identifier: str) -> None:
        """Say what people are matched by, once it is known."""
        self._column = _COLUMNS[identifier]
        if self._column != "id":
            self._database.execute(f"CREATE INDEX by_identifier ON members ({self._column})")

    # --- whom rows name ---------------------------------------------------------------------------------------

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
        self._database.executemany(
            "INSERT OR IGNORE INTO spared VALUES (?, ?)", [(field, each) for each in values]
        )
        self._spare(field, values)

    def _spare(self, field: str, values: Sequence[str]) -> None:
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

    # --- who is left ------------------------------------------------------------------------------------------

    def unread(self) -> Iterator[list[str]]:
        """The ids of unnamed members that do not show what rows name people by, some thousand at a time.

        That is what people are matched by, and whatever else rows have that cannot be sent.
        """
        columns = {self._column, *(_COLUMNS[field] for field, _ in self._spared())}
        lacking = " OR ".join(f"{column} IS NULL" for column in sorted(columns))
        yield from ([member for member, _ in part] for part in self._unnamed(f"({lacking})"))

    def count_unknown(self) -> int:
        """How many members do not show what people are matched by, and are named by nothing else."""
        return sum(map(len, self._unnamed(f"{self._column} IS NULL")))

    def show(self, members: Sequence[Member]) -> None:
        """Take what was found out of members that did not show it; rows that cannot be sent may name them by it."""
        self.add(members)
        for field, values in self._spared():
            self._spare(field, values)

    def _spared(self) -> list[tuple[str, list[str]]]:
        query = "SELECT field, json_group_array(value) FROM spared GROUP BY field"
        return [
            (field, msgspec.json.decode(values, type=list[str]))
            for field, values in self._database.execute(query)
        ]

    def unnamed(self) -> Iterator[list[tuple[str, str]]]:
        """The members that the query did not name, some thousand at a time: id and matched identifier."""
        return self._unnamed(f"{self._column} IS NOT NULL")

    def _unnamed(self, condition: str) -> Iterator[list[tuple[str, str]]]:
        last = ""
        query = (
            f"SELECT id, {self._column} FROM members WHERE is_named = 0 AND {condition} AND id > ? "  # noqa: S608
            f"ORDER BY id LIMIT {_PART}"
        )
        while part := self._database.execute(query, (last,)).fetchall():
            yield part
            last = part[-1][0]

    def close(self) -> None:
        """Forget everyone."""
        self._database.close()

"""Which rows of a run are to be sent: all of them, or those that Klaviyo has not acknowledged as they are."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

from airflow_provider_klaviyo.identity import in_full
from airflow_provider_klaviyo.records.record import Flawed, Problem, Record, Row
from airflow_provider_klaviyo.records.values.key_text import keyless_in
from airflow_provider_klaviyo.state.encounters import Met
from airflow_provider_klaviyo.state.keys import fingerprints, key_hashes, person_hash, person_hashes
from airflow_provider_klaviyo.state.ledger import Ledger
from airflow_provider_klaviyo.sync.owners import KeptOwners, NoOwners, Owners

_NULL_KEY = (
    Problem(
        "primary_key", "the primary key is NULL, so the row cannot be told from others: give every row a key"
    ),
)
_RECORDED_FOR_ANOTHER = (
    "already_recorded: Klaviyo has recorded this event for another person, whom the row named then, and an event "
    "cannot be moved; to record it for the person whom the row names now, give the row a primary key (and unique_id) "
    "of its own"
)
_RECORDED = (
    Problem(
        "primary_key",
        "already_recorded: Klaviyo has recorded this event, and an event cannot be changed; "
        "give what is new a primary key of its own",
    ),
)
_SAME_KEY = (
    Problem("primary_key", "another row of this run has the same primary key, and the first one counts"),
)


class Keyed(NamedTuple):
    """Records whose primary key is there and new in this run, and the others."""

    records: list[Record]
    rejected: Sequence[Flawed] = ()
    skipped: Sequence[Flawed] = ()


class Unsent(NamedTuple):
    """Records to send, and those that are not sent for a reason; all others are unchanged.

    ``taken`` are the numbers of those among these that an earlier try of this run has brought to Klaviyo.
    """

    records: list[Record]
    skipped: Sequence[Flawed] = ()
    taken: Collection[int] = ()


class Changes(Protocol):
    """Decides by primary key; asked in this order for every chunk of rows.

    ``compares`` says whether rows are compared with a state, for which records tell what they mean.
    """

    compares: bool

    def describe(self, key_columns: Sequence[int], identifier: str) -> None:
        """Say which columns are the primary key, and what identifies people, once the columns are known."""

    def keyed(self, rows: Sequence[Row], first: int, records: list[Record]) -> Keyed:
        """Sort out rows without a primary key, or with that of an earlier row.

        :param rows: the whole chunk; a rejected row is present, too.
        :param first: the number of its first row.
        :param records: those of the chunk that can be sent.
        """

    def overruled(self, records: Sequence[Record]) -> None:
        """Rows that are not sent because another row of this run speaks for the same person."""

    def persons(self, records: Sequence[Record]) -> list[int]:
        """Hashes of the people that records are about."""

    @property
    def owners(self) -> Owners:
        """Whom earlier runs left shared identifiers to."""

    def unsent(self, records: list[Record]) -> Unsent:
        """Those that Klaviyo has not acknowledged as they are."""


class SendAll:
    """Without state every row is sent."""

    compares = False
    owners: Owners = NoOwners()

    def describe(self, key_columns: Sequence[int], identifier: str) -> None:
        """Nothing to prepare."""

    def keyed(self, rows: Sequence[Row], first: int, records: list[Record]) -> Keyed:  # noqa: ARG002 - as the other
        """Keys only name rows."""
        return Keyed(records)

    def overruled(self, records: Sequence[Record]) -> None:
        """Nothing is kept of them."""

    def persons(self, records: Sequence[Record]) -> list[int]:
        """By hashes of this process."""
        return [hash(record.identity) for record in records]

    def unsent(self, records: list[Record]) -> Unsent:
        """All of them."""
        return Unsent(records)


class OnlyChanges:
    """Compares every row with the state.

    :param is_preview: leave the state as it is.
    :param is_recorded_once: skip a changed row whose key was acknowledged, since Klaviyo would ignore it.
    """

    compares = True

    def __init__(self, ledger: Ledger, *, is_preview: bool = False, is_recorded_once: bool = False) -> None:
        self._ledger = ledger
        self._is_preview = is_preview
        self._is_recorded_once = is_recorded_once
        self.owners: Owners = KeptOwners(ledger, may_release=not is_recorded_once)
        self._key_columns: Sequence[int] = ()
        self._identifier = ""
        self._met = Met([], {}, set())

    def describe(self, key_columns: Sequence[int], identifier: str) -> None:
        """Remember where the key is, and what identifies people."""
        self._key_columns = key_columns
        self._identifier = identifier

    def keyed(self, rows: Sequence[Row], first: int, records: list[Record]) -> Keyed:
        """Sort out NULL and repeated keys, and give the others their hash."""
        keys, unkeyed = _keys(rows, self._key_columns)
        present = [key for key in keys if key is not None]
        self._met = self._ledger.meet(present)
        is_first = iter(self._met.is_first)
        news = [key is not None and next(is_first) for key in keys]
        if len(present) == len(keys) and all(news):
            for record in records:
                record.key = keys[record.number - first]  # type: ignore[assignment]  # none is None
            return Keyed(records)
        good, rejected, skipped = [], [], []
        for record in records:
            key = keys[record.number - first]
            if key is None:
                problems = unkeyed.get(record.number - first, _NULL_KEY)
                rejected.append(Flawed(record.number, record.row, problems))
            elif not news[record.number - first]:
                skipped.append(Flawed(record.number, record.row, _SAME_KEY))
            else:
                record.key = key
                good.append(record)
        return Keyed(good, rejected, skipped)

    def overruled(self, records: Sequence[Record]) -> None:
        """End their acknowledgement: Klaviyo has what the other row says."""
        if not self._is_preview:
            self._ledger.invalidate([record.key for record in records])

    def persons(self, records: Sequence[Record]) -> list[int]:
        """By hashes that stay the same for ever."""
        self._identify(records)
        return [record.person for record in records]

    def unsent(self, records: list[Record]) -> Unsent:
        """New and changed rows, and those without a verdict or with a bad one."""
        acknowledged, in_doubt = self._met.acknowledged, self._met.in_doubt
        changed = []
        for record, fingerprint in zip(records, fingerprints_of(records), strict=True):
            if acknowledged.get(record.key) != fingerprint:
                record.fingerprint, record.meaning = fingerprint, b""
                changed.append(record)
        changed = self._without_hashed_before(changed)
        skipped = self._recorded(records, {record.number for record in changed})
        reported = {flaw.number for flaw in skipped}
        unsent = [record for record in changed if record.number not in reported]
        for record in unsent:
            record.was_in_doubt = record.key in in_doubt
        self._identify(unsent)
        return Unsent(unsent, skipped, self._taken(records, {each.number for each in unsent} | reported))

    def _taken(self, records: Sequence[Record], others: Collection[int]) -> Collection[int]:
        unchanged = {record.key: record.number for record in records if record.number not in others}
        return [unchanged[key] for key in self._ledger.taken_by_earlier_tries(list(unchanged))]

    def _without_hashed_before(self, changed: list[Record]) -> list[Record]:
        """Without rows of which a state of format 1 has the hash of every byte: these are noted with the new one."""
        acknowledged = self._met.acknowledged
        known = [record for record in changed if record.key in acknowledged]
        hashes = fingerprints([record.fingerprinted for record in known])
        same = {
            record.key: record.fingerprint
            for record, fingerprint in zip(known, hashes, strict=True)
            if acknowledged[record.key] == fingerprint
        }
        if not same:
            return changed
        self._ledger.rehash(same)
        return [record for record in changed if record.key not in same]

    def _recorded(self, records: Sequence[Record], changed: Collection[int]) -> list[Flawed]:
        """What Klaviyo has recorded otherwise than the row says now, and would ignore."""
        if not self._is_recorded_once:
            return []
        persons = self._met.persons
        recorded = [record for record in records if record.key in persons]
        self._identify(recorded)
        flaws = []
        for record in recorded:
            if not _is_about(record, persons[record.key]):
                problems = (Problem(self._identifier, _RECORDED_FOR_ANOTHER),)
                flaws.append(Flawed(record.number, record.row, problems))
            elif record.number in changed:
                flaws.append(Flawed(record.number, record.row, _RECORDED))
        return flaws

    def _identify(self, records: Sequence[Record]) -> None:
        """Write out who a record is about, as the state knows people: the identifier's name and its value."""
        records = [record for record in records if not record.person]
        texts = in_full([record.identity for record in records], self._identifier)
        for record, text, person in zip(records, texts, person_hashes(texts), strict=True):
            record.identity = text
            record.person = person


def fingerprints_of(records: Sequence[Record]) -> list[int]:
    """The hashes of what records mean."""
    return fingerprints([record.meaning or record.fingerprinted for record in records])


def _is_about(record: Record, person: int) -> bool:
    """Whether a row is about somebody, be it by another identifier than the one that it is matched by now."""
    return record.person == person or person in map(person_hash, record.identities)


def _keys(
    rows: Sequence[Row], columns: Sequence[int]
) -> tuple[list[int | None], dict[int, tuple[Problem, ...]]]:
    """The hashes of the rows' keys, None where there is no key, and why there is none unless it is NULL."""
    unkeyed: dict[int, tuple[Problem, ...]] = {}
    for column in columns:
        reasons = keyless_in([row[column] for row in rows])
        unkeyed |= {index: (Problem("primary_key", reason),) for index, reason in reasons.items()}
    keys = [tuple([row[column] for column in columns]) for row in rows]
    for index in unkeyed:
        keys[index] = (None,)
    return key_hashes(keys), unkeyed

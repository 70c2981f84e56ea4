"""What the rows of a run say together of people's consent: one no keeps a channel out, whichever row says it.

A person may be met by several identifiers. Rows that share one are about the same person, and so are rows that are
held together by a third. Words are noted on disk, as hashes, under the identifiers that a row gives.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from airflow_provider_klaviyo.identity import Identity
from airflow_provider_klaviyo.records.record import Flawed, Mapped, Problem, Record, Row, all_of
from airflow_provider_klaviyo.records.subscriptions.consent_word import Word, spoken_of
from airflow_provider_klaviyo.records.subscriptions.mapper import SubscriptionMapper
from airflow_provider_klaviyo.records.subscriptions.record import SubscriptionRecord
from airflow_provider_klaviyo.sync.scratch.chunk_file import ChunkFile
from airflow_provider_klaviyo.sync.scratch.first_notes import FirstNotes

Against = Mapping[str, int]
"""Channels that must not be sent, each with the number of the row that says no."""


class Hear(Protocol):
    """Takes note of what a chunk of rows says; returns what is left of it to be sent."""

    def __call__(self, mapped: Mapped, words: Sequence[Word]) -> Mapped: ...


class HeardMapper:
    """Has every row heard, be it sent or not."""

    def __init__(self, mapper: SubscriptionMapper, hear: Hear) -> None:
        self._mapper = mapper
        self._hear = hear
        self.identifier = mapper.identifier
        self.key_columns = mapper.key_columns
        self.fields = mapper.fields

    def keep_meanings(self) -> None:
        """Have records tell what they mean, for a state to compare."""
        self._mapper.keep_meanings()

    def map(self, rows: Sequence[Row], first: int) -> Mapped:
        """Map rows, without what was said against by rows before them."""
        return self._hear(*self._mapper.heard(rows, first))


class _Statement(NamedTuple):
    """A row's word on one channel; what was said under any of the keys ``met`` is said of all that are its ``own``.

    ``word`` is the row's number for a yes, the same below zero for a no, and 0 for the yes of a row that is not sent.
    """

    number: int
    channel: str
    word: int
    met: list[int]
    own: list[int]


class Objections:
    """Every no of a run, to be asked once the last row was read."""

    def __init__(self, folder: Path) -> None:
        self._notes = FirstNotes(folder / "objections.sqlite")
        self._links: ChunkFile[list[_Statement]] = ChunkFile(folder / "links", list[_Statement])

    def hear(self, mapped: Mapped, words: Sequence[Word]) -> Mapped:
        """Note who says no, and which names go together; every record is left as it is."""
        notes: dict[int, int] = {}
        links = []
        for statement in _statements(words):
            if statement.word < 0:
                for key in statement.own:
                    notes.setdefault(key, statement.number)
            elif len(statement.met) > 1:
                links.append(statement)
        self._notes.note(notes)
        if links:
            self._links.add(links)
        return mapped

    def spread(self) -> None:
        """Let every no count under all names of its person, as far as rows hold them together."""
        known = 0
        while known < self._notes.count:
            known = self._notes.count
            for links in self._links:
                self._spread_among(links)

    def _spread_among(self, links: Sequence[_Statement]) -> None:
        found = self._notes.find(key for link in links for key in link.met)
        for link in links:
            if row := min((found[key] for key in link.met if key in found), default=0):
                for key in link.own:
                    found.setdefault(key, row)
        self._notes.note(found)

    def judge(self, records: Sequence[Record]) -> Mapped:
        """The records without the channels that a row says no to."""
        people = all_of(SubscriptionRecord, records)
        keys = {
            (record.number, channel): _keys(channel, spoken_of(record.names))
            for record in people
            for channel in record.channels
        }
        found = self._notes.find(key for each in keys.values() for key in each)
        against: dict[int, dict[str, int]] = {}
        for (number, channel), each in keys.items():
            if row := min((found[key] for key in each if key in found), default=0):
                against.setdefault(number, {})[channel] = row
        return without(people, against)

    def close(self) -> None:
        """Forget everything."""
        self._notes.close()
        self._links.close()


class FirstWords:
    """The first word on each person and channel, which later rows do not change."""

    def __init__(self, folder: Path) -> None:
        self._notes = FirstNotes(folder / "words.sqlite")

    def hear(self, mapped: Mapped, words: Sequence[Word]) -> Mapped:
        """The records without the channels whose first word is an earlier row's no."""
        statements = _statements(words)
        found = self._notes.find(key for each in statements for key in each.met)
        against: dict[int, dict[str, int]] = {}
        for each in statements:
            said = max((number for key in each.met if (number := found.get(key, 0)) < 0), default=0)
            if said:
                against.setdefault(each.number, {})[each.channel] = -said
            if word := said or each.word:
                for key in each.own:
                    found.setdefault(key, word)
        self._notes.note(found)
        left = without(all_of(SubscriptionRecord, mapped.records), against)
        return mapped._replace(records=left.records, skipped=[*mapped.skipped, *left.skipped])

    def close(self) -> None:
        """Forget everything."""
        self._notes.close()


def without(records: Iterable[SubscriptionRecord], against: Mapping[int, Against]) -> Mapped:
    """The records without channels that must not be sent; those that have no other are skipped.

    :param against: by the record's number.
    """
    left: list[Record] = []
    skipped = []
    for record in records:
        problems = {
            channel: _no_consent(channel, row)
            for channel, row in against.get(record.number, {}).items()
            if channel in record.channels
        }
        if len(problems) == len(record.channels):
            skipped.append(Flawed(record.number, record.row, tuple(problems.values())))
        else:
            left.append(record.without(problems) if problems else record)
    return Mapped(left, [], [], skipped)


def _no_consent(channel: str, row: int) -> Problem:
    return Problem(
        f"consent.{channel}",
        f"no_consent: row {row} of this run says no for this channel (false, NULL or unreadable)",
    )


def _statements(words: Iterable[Word]) -> list[_Statement]:
    """What is said, one channel at a time."""
    statements = []
    for word in words:
        said = [(channel, word.number if word.is_sent else 0) for channel in word.yes]
        said += [(channel, -word.number) for channel in word.no]
        statements += [
            _Statement(
                word.number,
                channel,
                number,
                _keys(channel, spoken_of(word.names)),
                _keys(channel, word.own(channel)),
            )
            for channel, number in said
        ]
    return statements


def _keys(channel: str, names: Iterable[Identity]) -> list[int]:
    return [hash((channel, name)) for name in names]

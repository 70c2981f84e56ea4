"""Identifiers beside the one that people are matched by: each is one person's, and is sent for nobody else.

What Klaviyo does with two people who have one phone number is not known for sure. It may make one profile of them,
and that cannot be undone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from airflow_provider_klaviyo.records.record import Flawed, Problem, Record
from airflow_provider_klaviyo.sync.claims import Claims
from airflow_provider_klaviyo.sync.owners import Owners, Values

SHARED = (
    "another person, of this run or of an earlier one, has the same and keeps it; the row is sent without it, since "
    "two people who share it could become one profile"
)


class Sorted(NamedTuple):
    """What became of a chunk: ``namesakes`` are matched by what is another person's further identifier."""

    namesakes: Sequence[Record] = ()
    warned: Sequence[Flawed] = ()


class _Changes(Protocol):
    @property
    def owners(self) -> Owners: ...
    def persons(self, records: Sequence[Record]) -> list[int]: ...


class FurtherIdentifiers:
    """Leaves each of them to the first person of the run who has it, or to whom an earlier run has left it."""

    def __init__(self, claims: Claims, changes: _Changes) -> None:
        self._claims = claims
        self._changes = changes
        self._given_up: Mapping[int, Sequence[int]] = {}

    def sort_out(self, records: Sequence[Record], columns: Mapping[str, Values], first: int) -> Sorted:
        """Have records leave out what is somebody else's.

        :param columns: the further identifiers of the whole chunk, by field.
        :param first: the number of the chunk's first row.
        """
        self._given_up = {}
        if not columns or not records:
            return Sorted()
        persons = self._changes.persons(records)
        values = {field: _of(records, column, first) for field, column in columns.items()}
        left_out: dict[int, list[str]] = {}
        namesakes: set[int] = set()
        for field, of_field in values.items():
            for index in self._others(field, of_field, persons):
                fields = [field]
                if records[index].named("").field == field:
                    namesakes.add(index)  # so it could bring others of its identifiers to that person
                    fields = [name for name in values if name != field and values[name][index] is not None]
                for name in fields:
                    values[name][index] = None
                    left_out.setdefault(index, []).append(name)
        given_up = self._changes.owners.given_up(persons, values)
        self._given_up = {records[index].number: hashes for index, hashes in given_up.items()}
        return Sorted([records[index] for index in sorted(namesakes)], _without(records, left_out))

    def acknowledge(self, records: Sequence[Record]) -> None:
        """Klaviyo has these rows as they would be sent."""
        if self._given_up:
            hashes = [value for record in records for value in self._given_up.get(record.number, ())]
            if hashes:
                self._changes.owners.release(hashes)

    def _others(self, field: str, values: Values, persons: Sequence[int]) -> list[int]:
        """The indexes of values that are another person's."""
        owners = self._changes.owners.find(field, values)
        claimed = self._claimed(field, values, persons, owners)
        if claimed:
            self._changes.owners.note(field, {str(values[index]): owner for index, owner in claimed.items()})
        return [*(index for index, owner in owners.items() if owner != persons[index]), *claimed]

    def _claimed(
        self, field: str, values: Values, persons: Sequence[int], owners: Collection[int]
    ) -> Mapping[int, int]:
        """The indexes of values that another person of this run has, and who; all others are this person's now."""
        if not owners and None not in values:
            return self._claims.claim(_hashes(field, values), persons)
        indexes = [index for index, value in enumerate(values) if value is not None and index not in owners]
        present = _hashes(field, [values[index] for index in indexes])
        claimed = self._claims.claim(present, [persons[index] for index in indexes])
        return {indexes[number]: owner for number, owner in claimed.items()}


def _hashes(field: str, values: Values) -> list[int]:
    """Other ones for each field: a number may be somebody else's ``external_id``. This runs for every row."""
    return list(map(hash(field).__xor__, map(hash, values)))


def _of(records: Sequence[Record], column: Values, first: int) -> list[str | None]:
    """The values of records that are left of a chunk."""
    if len(records) == len(column):
        return list(column)
    return [column[record.number - first] for record in records]


def _without(records: Sequence[Record], left_out: Mapping[int, Sequence[str]]) -> list[Flawed]:
    flaws = []
    for index, fields in left_out.items():
        record = records[index]
        record.leave_out(fields)
        flaws.append(Flawed(record.number, record.row, tuple(Problem(field, SHARED) for field in fields)))
    return flaws


def together(warned: Sequence[Flawed], more: Sequence[Flawed]) -> Sequence[Flawed]:
    """One warning for each row, in the order of the rows."""
    if not more:
        return warned
    by_row = {flaw.number: flaw for flaw in warned}
    for flaw in more:
        known = by_row.get(flaw.number)
        by_row[flaw.number] = flaw._replace(problems=(*known.problems, *flaw.problems)) if known else flaw
    return [by_row[number] for number in sorted(by_row)]

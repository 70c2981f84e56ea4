"""Rows to members of a list: of every row only what identifies the person is read and sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from airflow_provider_klaviyo.identity import Identity
from airflow_provider_klaviyo.records.lists.mapping import LIST_FIELDS, refuse_other_fields
from airflow_provider_klaviyo.records.mapping import (
    IDENTIFIERS,
    Columns,
    bind,
    choose_identifier,
    find_known,
)
from airflow_provider_klaviyo.records.profiles.mapper import ProfileMapper, ProfileOptions
from airflow_provider_klaviyo.records.profiles.mapping import PHONE_REGION
from airflow_provider_klaviyo.records.record import Flawed, Mapped, Problem, Record, Row

_EMPTY = "empty, and nothing else that is mapped names this person"


class ListMember(Record, gc=False):
    """A member; ``spelling`` is the address as the row has it, where that is another than Klaviyo is known to keep."""

    spelling: str = ""


class ListMemberMapper(ProfileMapper):
    """Maps the column that identifies people and leaves all others alone.

    :param columns: those of the query's result.
    :param mapping: ``{Klaviyo field: column}``; None finds the identifiers by the columns' names.
    :param falls_back: whether a row without the identifier may be known by another one that is mapped, where
        ``match_by`` chose none.
    :raises MappingError: when nothing identifies a person, or a field is mapped that no member has.
    """

    def __init__(
        self,
        columns: Sequence[str],
        mapping: Mapping[str, str] | None,
        options: ProfileOptions,
        *,
        falls_back: bool = False,
    ) -> None:
        fields = _fields(columns, mapping)
        named = [name for name in IDENTIFIERS if name in fields]
        identifier = choose_identifier(named, options.match_by)
        used = {identifier, *([PHONE_REGION] if identifier == "phone_number" else [])}
        self._column = fields[identifier]
        self.identifier_columns = {name: fields[name] for name in named}
        kept = {name: index for name, index in fields.items() if name in used}
        super().__init__(kept, replace(options, match_by=identifier, clear_nulls=False))
        others = named[1:] if falls_back and options.match_by is None else []
        self._others = [
            ListMemberMapper(columns, mapping, replace(options, match_by=name)) for name in others
        ]
        read = {*kept.values(), *(index for other in self._others for index in other._fields.values())}
        self.left_alone = [name for index, name in enumerate(columns) if index not in read]

    @property
    def fields(self) -> Mapping[str, int]:
        """The column of each field, those of other identifiers included."""
        fields = dict(super().fields)
        for other in self._others:
            fields |= other.fields
        return fields

    def keep_meanings(self) -> None:
        """Nothing to do: an identifier has one spelling, and nothing else is sent of a member."""

    def map(self, rows: Sequence[Row], first: int) -> Mapped:
        """Map rows.

        :param rows: a chunk, at least one.
        :param first: the number of its first row in the query's result, from 1.
        """
        mapped = super().map(rows, first)
        if self.identifier == "klaviyo_id":
            for record in mapped.records:
                record.body = b'{"type":"profile","id":"%s"}' % record.identity.encode()
        mapped = Mapped(self._members(mapped.records), mapped.rejected, mapped.warned)
        for other in self._others:
            if mapped.rejected:
                mapped = self._known_by_another(mapped, other)
        return mapped

    def _known_by_another(self, mapped: Mapped, other: ListMemberMapper) -> Mapped:
        """Take in the rejected rows that another identifier names; an invalid value is a warning then."""
        rejected = [flaw for flaw in mapped.rejected if self._may_fall_back(flaw)]
        found = other.map([flaw.row for flaw in rejected], 0) if rejected else Mapped([], [], [])
        records = []
        warned = []
        for record in found.records:
            flaw = rejected[record.number]
            record.number = flaw.number
            record.identity = Identity(other.identifier, record.identity).text
            records.append(record)
            if invalid := _invalid(flaw):
                warned.append(flaw._replace(problems=invalid))
        known = {record.number for record in records}
        more = {rejected[flaw.number].number: _invalid(flaw) for flaw in found.rejected}
        return Mapped(
            sorted([*mapped.records, *records], key=lambda record: record.number),
            [
                flaw._replace(problems=(*flaw.problems, *more.get(flaw.number, ())))
                for flaw in mapped.rejected
                if flaw.number not in known
            ],
            [*mapped.warned, *warned],
        )

    def _may_fall_back(self, flaw: Flawed) -> bool:
        """With ``on_invalid="reject"`` an invalid value rejects its row, whatever else is mapped."""
        return self._options.drop_invalid or not _invalid(flaw)

    def _members(self, records: Sequence[Record]) -> list[Record]:
        if self.identifier != "email":
            return list(records)
        return [
            record
            if record.row[self._column] == record.identity
            else ListMember(
                number=record.number,
                row=record.row,
                identity=record.identity,
                body=record.body,
                spelling=str(record.row[self._column]).strip(),
            )
            for record in records
        ]

    def _missing(self) -> str:
        return _EMPTY


def _invalid(flaw: Flawed) -> tuple[Problem, ...]:
    """What is wrong with a row beside identifiers that are not there."""
    return tuple(problem for problem in flaw.problems if problem.reason != _EMPTY)


def by_field(records: Sequence[Record], identifier: str) -> dict[str, list[Record]]:
    """Records by what identifies them.

    :param records: in the order that each group keeps.
    :param identifier: the sync's own, which most of them are known by.
    :returns: the records of each field that identifies any.
    """
    fields: dict[str, list[Record]] = {}
    for record in records:
        fields.setdefault(record.named(identifier).field, []).append(record)
    return fields


def _fields(columns: Sequence[str], mapping: Mapping[str, str] | None) -> dict[str, int]:
    if mapping is None:
        return find_known(Columns(columns), LIST_FIELDS)
    refuse_other_fields(mapping)
    return bind(Columns(columns), mapping, LIST_FIELDS)

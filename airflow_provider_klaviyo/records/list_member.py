"""Rows to members of a list: of every row only what identifies the person is read and sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from airflow_provider_klaviyo.records.mapping import (
    IDENTIFIERS,
    Columns,
    MappingError,
    bind,
    choose_identifier,
    find_all,
)
from airflow_provider_klaviyo.records.profile import FIELDS, PHONE_REGION, ProfileMapper, ProfileOptions
from airflow_provider_klaviyo.records.record import Mapped, Record, Row

LIST_FIELDS = (*IDENTIFIERS, PHONE_REGION)
"""What a mapping of a list sync may name."""


class ListMember(Record, gc=False):
    """A member; ``spelling`` is the address as the row has it, where that is another than Klaviyo is known to keep."""

    spelling: str = ""


class ListMemberMapper(ProfileMapper):
    """Maps the column that identifies people and leaves all others alone.

    :param columns: those of the query's result.
    :param mapping: ``{Klaviyo field: column}``; None finds the identifiers by the columns' names.
    :raises MappingError: when nothing identifies a person, or a field is mapped that no member has.
    """

    def __init__(
        self, columns: Sequence[str], mapping: Mapping[str, str] | None, options: ProfileOptions
    ) -> None:
        fields = _fields(columns, mapping)
        identifier = choose_identifier([name for name in fields if name != PHONE_REGION], options.match_by)
        used = {identifier, *([PHONE_REGION] if identifier == "phone_number" else [])}
        self._column = fields[identifier]
        kept = {name: place for name, place in fields.items() if name in used}
        self.left_alone = [name for place, name in enumerate(columns) if place not in kept.values()]
        super().__init__(kept, replace(options, match_by=identifier, clear_nulls=False))

    def map(self, rows: Sequence[Row], first: int) -> Mapped:
        """Map rows, the first of which is number ``first`` of the result."""
        mapped = super().map(rows, first)
        if self.identifier == "klaviyo_id":
            for record in mapped.records:
                record.body = b'{"type":"profile","id":"%s"}' % record.identity.encode()
        return Mapped(self._members(mapped.records), mapped.rejected, mapped.warned)

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
        return f"{self.identifier} is empty, and this sync knows people by nothing else"


def _fields(columns: Sequence[str], mapping: Mapping[str, str] | None) -> dict[str, int]:
    if mapping is None:
        named = {name.casefold() for name in columns}
        found = [name for name in LIST_FIELDS if name in named]
        return dict(zip(found, find_all(Columns(columns), found, "By name"), strict=True))
    other = [name for name in mapping if name not in LIST_FIELDS]
    if known := [name for name in other if name in FIELDS or name.startswith("properties.")]:
        msg = (
            f"A list holds people, not their fields: mapping names {', '.join(known)}. Map only what identifies "
            f"people ({', '.join(IDENTIFIERS)}), and send fields with KlaviyoSyncProfilesOperator."
        )
        raise MappingError(msg)
    return bind(Columns(columns), mapping, LIST_FIELDS)

"""Rows to Klaviyo profiles, column by column.

The hot path of a profiles sync. A chunk of rows is turned into columns, and each step (text, phone numbers,
addresses, JSON) runs over a whole column at once; objects are built and encoded by msgspec in C. Work per row in
Python is what costs, so nothing here loops over rows unless a column has NULLs or problems.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, tzinfo

from airflow_provider_klaviyo.identity import Identity
from airflow_provider_klaviyo.records.contacts.phone import PhoneNumbers
from airflow_provider_klaviyo.records.mapping import IDENTIFIERS, PROPERTIES, MappingError, choose_identifier
from airflow_provider_klaviyo.records.profiles.bodies import ProfileBodies
from airflow_provider_klaviyo.records.profiles.fields import Reader, Values, reader
from airflow_provider_klaviyo.records.profiles.mapping import PHONE_REGION, cleared_by
from airflow_provider_klaviyo.records.record import Flawed, Mapped, Problem, Record, Row
from airflow_provider_klaviyo.records.values.canonical import canonical


@dataclass(frozen=True, slots=True)
class ProfileOptions:
    """How rows become profiles; the names are those of the operator's parameters."""

    max_bytes: int
    match_by: str | None = None
    phone_region: str | None = None
    timezone: tzinfo = UTC
    drop_invalid: bool = True
    clear_nulls: bool | Sequence[str] = False


@dataclass(slots=True)
class _Chunk:
    """The columns of some rows, and what was found wrong with them so far."""

    columns: list[Sequence[object]]
    size: int
    problems: dict[int, list[Problem]] = field(default_factory=dict)
    meanings: Sequence[bytes] = ()

    def read(self, name: str, index: int, reader: Reader) -> Values:
        return self.note(name, *reader(self.columns[index]))

    def note(self, name: str, values: Values, reasons: Mapping[int, str]) -> Values:
        for index, reason in reasons.items():
            self.problems.setdefault(index, []).append(Problem(name, reason))
        return values


class ProfileMapper:
    """Compiled once per run from the bound fields; maps chunk after chunk.

    :param fields: the column of each Klaviyo field, as ``bind`` gives it.
    :param json_fields: those whose text is JSON.
    :raises MappingError: when nothing identifies a person, or an option does not fit the fields.
    """

    def __init__(
        self, fields: Mapping[str, int], options: ProfileOptions, json_fields: Collection[str] = ()
    ) -> None:
        self.identifier = choose_identifier(fields, options.match_by)
        self._fields = dict(fields)
        self._options = options
        self._phones = _phone_numbers(options.phone_region)
        self._fallbacks = [] if options.match_by else [name for name in IDENTIFIERS if name in fields]
        self._further = [name for name in IDENTIFIERS if name in fields and name != self.identifier]
        self._readers = {name: reader(name, options.timezone, is_json=name in json_fields) for name in fields}
        self._bodies = ProfileBodies(self._fields)
        self._meanings: ProfileBodies | None = None
        cleared = cleared_by(fields, options.clear_nulls)
        self._cleared_properties = [name for name in cleared if name.startswith(PROPERTIES)]
        self.cleared_fields = [name for name in cleared if not name.startswith(PROPERTIES)]

    @property
    def key_columns(self) -> Sequence[int]:
        """The column that names a row where no primary key is given: the identifier's."""
        return (self._fields[self.identifier],)

    @property
    def fields(self) -> Mapping[str, int]:
        """The column of each field."""
        return self._fields

    @property
    def field_names(self) -> list[str]:
        """Klaviyo's own fields that are sent."""
        return [name for name in self._fields if not name.startswith(PROPERTIES) and name != PHONE_REGION]

    @property
    def property_names(self) -> list[str]:
        """The custom properties that are sent."""
        return [name.removeprefix(PROPERTIES) for name in self._fields if name.startswith(PROPERTIES)]

    def keep_meanings(self) -> None:
        """Have records tell what they mean, for a state to compare: that takes another encoding of each."""
        self._meanings = ProfileBodies(sorted(self._fields))

    def map(self, rows: Sequence[Row], first: int) -> Mapped:
        """Map rows.

        :param rows: a chunk, at least one.
        :param first: the number of its first row in the query's result, from 1.
        """
        chunk = _Chunk(list(zip(*rows, strict=True)), len(rows))
        values = self._read(chunk)
        identities = self._identities(chunk, values)
        unset = self._nulls_by_row(chunk, self._cleared_properties)
        nulls = self._nulls_by_row(chunk, self.cleared_fields)
        bodies = self._bodies.encode(values, chunk.size, unset=unset, nulls=nulls)
        if self._meanings:
            chunk.meanings = self._meanings.encode(
                self._spelled(chunk, values), chunk.size, unset=_in_order(unset), nulls=_in_order(nulls)
            )
        mapped = self._sort_out(chunk, rows, first, identities, bodies, nulls)
        return mapped._replace(identifiers={name: values[name] for name in self._further})

    def _read(self, chunk: _Chunk) -> dict[str, Values]:
        """The values of every mapped field, in Klaviyo's form; None where there is none or it is invalid."""
        values = {
            name: self._read_field(chunk, name)
            for name in self._fields
            if name not in ("phone_number", PHONE_REGION)
        }
        if "phone_number" in self._fields:
            values["phone_number"] = self._read_phones(chunk)
        return values

    def _read_phones(self, chunk: _Chunk) -> Values:
        numbers = self._read_field(chunk, "phone_number")
        regions = self._read_field(chunk, PHONE_REGION) if PHONE_REGION in self._fields else None
        return chunk.note("phone_number", *self._phones.check(numbers, regions))

    def _read_field(self, chunk: _Chunk, name: str) -> Values:
        return chunk.read(name, self._fields[name], self._readers[name])

    def _spelled(self, chunk: _Chunk, values: Mapping[str, Values]) -> dict[str, Values]:
        """The values in the one spelling of what they mean."""
        return {
            name: canonical(of_field, chunk.columns[self._fields[name]], self._options.timezone)
            for name, of_field in values.items()
        }

    def _identities(self, chunk: _Chunk, values: Mapping[str, Values]) -> list[str | None]:
        identities = list(values[self.identifier])
        if None not in identities:
            return identities
        for index in [index for index, identity in enumerate(identities) if identity is None]:
            identities[index] = next(
                (
                    Identity(name, values[name][index]).text
                    for name in self._fallbacks
                    if values[name][index] is not None
                ),
                None,
            )
            if identities[index] is None and not self._has_reason(chunk, index):
                chunk.problems.setdefault(index, []).append(Problem(self.identifier, self._missing()))
        return identities

    def _has_reason(self, chunk: _Chunk, index: int) -> bool:
        return any(
            problem.field in (self.identifier, *self._fallbacks) for problem in chunk.problems.get(index, ())
        )

    def _missing(self) -> str:
        if len(self._fallbacks) > 1:
            return f"nothing identifies this person: {', '.join(self._fallbacks)} are all empty"
        if self._options.match_by:
            return f"{self.identifier} is empty, and match_by names it as what identifies a person"
        return f"{self.identifier} is empty, and nothing else is mapped that identifies a person"

    def _nulls_by_row(self, chunk: _Chunk, names: Sequence[str]) -> dict[int, list[str]]:
        """Which of these fields are NULL."""
        nulls: dict[int, list[str]] = {}
        for name in names:
            for index in _indexes_of_none(chunk.columns[self._fields[name]]):
                nulls.setdefault(index, []).append(name)
        return nulls

    def _sort_out(
        self,
        chunk: _Chunk,
        rows: Sequence[Row],
        first: int,
        identities: Sequence[str | None],
        bodies: Sequence[bytes],
        nulls: Mapping[int, Sequence[str]],
    ) -> Mapped:
        for index in _too_large(bodies, self._options.max_bytes):
            chunk.problems.setdefault(index, []).append(_size_problem(bodies[index], self._options.max_bytes))
        names = [identity or "" for identity in identities]
        records = list(map(Record, range(first, first + chunk.size), rows, names, bodies))
        for index in nulls:
            records[index].needs_own_request = True
        for record, meaning in zip(records, chunk.meanings, strict=False):
            record.meaning = meaning
        if not chunk.problems:
            return Mapped(records, [], [])
        flawed = {
            index: Flawed(first + index, rows[index], tuple(problems))
            for index, problems in sorted(chunk.problems.items())
        }
        rejected = {index for index in flawed if self._is_rejected(chunk, identities, bodies, index)}
        return Mapped(
            [record for index, record in enumerate(records) if index not in rejected],
            [flaw for index, flaw in flawed.items() if index in rejected],
            [flaw for index, flaw in flawed.items() if index not in rejected],
        )

    def _is_rejected(
        self, chunk: _Chunk, identities: Sequence[str | None], bodies: Sequence[bytes], index: int
    ) -> bool:
        if not self._options.drop_invalid:
            return index in chunk.problems
        return identities[index] is None or len(bodies[index]) > self._options.max_bytes


def _phone_numbers(region: str | None) -> PhoneNumbers:
    try:
        return PhoneNumbers(region)
    except ValueError as error:
        msg = f"phone_region: {error}"
        raise MappingError(msg) from error


def _in_order(names: Mapping[int, Sequence[str]]) -> dict[int, list[str]]:
    return {index: sorted(some) for index, some in names.items()}


def _indexes_of_none(column: Sequence[object]) -> list[int]:
    return [index for index, value in enumerate(column) if value is None] if None in column else []


def _too_large(bodies: Sequence[bytes], limit: int) -> list[int]:
    if max(map(len, bodies)) <= limit:
        return []
    return [index for index, body in enumerate(bodies) if len(body) > limit]


def _size_problem(body: bytes, limit: int) -> Problem:
    return Problem(
        "profile", f"{len(body):,} bytes as JSON, but Klaviyo takes at most {limit:,} a profile: send less"
    )

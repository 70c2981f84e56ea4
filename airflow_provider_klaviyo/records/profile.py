"""Rows to Klaviyo profiles, column by column.

The hot path of a profiles sync. A chunk of rows is turned into columns, and each step (text, phone numbers,
addresses, JSON) runs over a whole column at once; objects are built and encoded by msgspec in C. Work per row in
Python is what costs, so nothing here loops over rows unless a column has NULLs or problems.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from decimal import Decimal
from itertools import repeat
from typing import Any

import msgspec

from airflow_provider_klaviyo.records.email import check_emails
from airflow_provider_klaviyo.records.mapping import IDENTIFIERS, PROPERTIES, MappingError, choose_identifier
from airflow_provider_klaviyo.records.phone import PhoneNumbers
from airflow_provider_klaviyo.records.record import Flawed, Mapped, Problem, Record, Row
from airflow_provider_klaviyo.records.values import to_json_values, to_numbers_or_strings, to_strings

TEXTS = ("first_name", "last_name", "organization", "title", "locale", "image", "_kx")
LOCATION = "location."
LOCATION_TEXTS = ("address1", "address2", "city", "country", "region", "zip", "timezone", "ip")
LOCATION_COORDINATES = ("latitude", "longitude")
PHONE_REGION = "phone_region"

CLEARABLE = (
    *TEXTS[:-1],
    *(LOCATION + name for name in (*LOCATION_TEXTS, *LOCATION_COORDINATES)),
)
"""Standard fields that a NULL may clear; identifiers never are."""

FIELDS = (
    *IDENTIFIERS,
    *TEXTS,
    *(LOCATION + name for name in (*LOCATION_TEXTS, *LOCATION_COORDINATES)),
    PHONE_REGION,
)
"""What a profiles mapping knows besides ``properties.<name>`` (schema of ``bulk_import_profiles``)."""

Values = list[Any]
Reader = Callable[[Sequence[object]], tuple[Values, dict[int, str]]]

_LOCALE = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z]{4})?([-_]([A-Za-z]{2}|\d{3}))?")
_KLAVIYO_ID = re.compile(r"[0-9A-Za-z]+")

_encode = msgspec.json.Encoder(decimal_format="number").encode


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

    def read(self, name: str, index: int, reader: Reader) -> Values:
        return self.note(name, *reader(self.columns[index]))

    def note(self, name: str, values: Values, reasons: Mapping[int, str]) -> Values:
        for place, reason in reasons.items():
            self.problems.setdefault(place, []).append(Problem(name, reason))
        return values


class ProfileMapper:
    """Compiled once per run from the bound fields; maps chunk after chunk.

    :param fields: the column of each Klaviyo field, as ``bind`` gives it.
    :raises MappingError: when nothing identifies a person, or an option does not fit the fields.
    """

    def __init__(self, fields: Mapping[str, int], options: ProfileOptions) -> None:
        self.identifier = choose_identifier(fields, options.match_by)
        self._fields = dict(fields)
        self._options = options
        self._phones = _phone_numbers(options.phone_region)
        self._fallbacks = [] if options.match_by else [name for name in IDENTIFIERS if name in fields]
        self._texts = [name for name in TEXTS if name in fields]
        self._location = [name for name in fields if name.startswith(LOCATION)]
        self._properties = [name for name in fields if name.startswith(PROPERTIES)]
        self._location_type = _struct("Location", [name.removeprefix(LOCATION) for name in self._location])
        self._properties_type = _struct(
            "Properties", [name.removeprefix(PROPERTIES) for name in self._properties]
        )
        self._attribute_names = [
            *(name for name in IDENTIFIERS[1:] if name in fields),
            *self._texts,
            *(["location"] if self._location else []),
            *(["properties"] if self._properties else []),
        ]
        self._attributes_type = _struct("Attributes", self._attribute_names)
        cleared = _cleared(fields, options.clear_nulls)
        self._cleared_properties = [name for name in cleared if name.startswith(PROPERTIES)]
        self.cleared_fields = [name for name in cleared if not name.startswith(PROPERTIES)]

    @property
    def key_columns(self) -> Sequence[int]:
        """The column that names a row where no primary key is given: the identifier's."""
        return (self._fields[self.identifier],)

    @property
    def property_names(self) -> list[str]:
        """The custom properties that are sent."""
        return [name.removeprefix(PROPERTIES) for name in self._properties]

    def map(self, rows: Sequence[Row], first: int) -> Mapped:
        """Map rows, the first of which is number ``first`` of the result."""
        chunk = _Chunk(list(zip(*rows, strict=True)), len(rows))
        values = self._read(chunk)
        identities = self._identities(chunk, values)
        nulls = self._rows_to_clear(chunk)
        bodies = self._bodies(chunk, values, nulls)
        return self._sort_out(chunk, rows, first, identities, bodies, nulls)

    def _read(self, chunk: _Chunk) -> dict[str, Values]:
        """The values of every mapped field, in Klaviyo's form; None where there is none or it is invalid."""
        values = {
            name: chunk.read(name, self._fields[name], self._reader(name))
            for name in self._fields
            if name not in ("phone_number", PHONE_REGION)
        }
        if "phone_number" in self._fields:
            values["phone_number"] = self._read_phones(chunk)
        return values

    def _reader(self, name: str) -> Reader:
        zone = self._options.timezone
        if name.startswith(PROPERTIES):
            return lambda column: to_json_values(column, timezone=zone)
        if name.removeprefix(LOCATION) in LOCATION_COORDINATES:
            return lambda column: to_numbers_or_strings(column, timezone=zone)
        if name == "email":
            return lambda column: _after(to_strings(column, timezone=zone), check_emails)
        if name in ("klaviyo_id", "external_id"):
            check = _check_klaviyo_ids if name == "klaviyo_id" else _check_external_ids
            return lambda column: _after(to_strings(column, timezone=zone), check)
        if name == "locale":
            return lambda column: _after(to_strings(column, timezone=zone), _check_locales)
        return lambda column: to_strings(column, timezone=zone)

    def _read_phones(self, chunk: _Chunk) -> Values:
        zone = self._options.timezone
        numbers = chunk.read(
            "phone_number", self._fields["phone_number"], lambda c: to_strings(c, timezone=zone)
        )
        regions = None
        if PHONE_REGION in self._fields:
            regions = chunk.read(
                PHONE_REGION, self._fields[PHONE_REGION], lambda c: to_strings(c, timezone=zone)
            )
        return chunk.note("phone_number", *self._phones.check(numbers, regions))

    def _identities(self, chunk: _Chunk, values: Mapping[str, Values]) -> list[str | None]:
        identities = list(values[self.identifier])
        if None not in identities:
            return identities
        for place in [place for place, identity in enumerate(identities) if identity is None]:
            identities[place] = next(
                (
                    f"{name}\0{values[name][place]}"
                    for name in self._fallbacks
                    if values[name][place] is not None
                ),
                None,
            )
            if identities[place] is None and not self._has_reason(chunk, place):
                chunk.problems.setdefault(place, []).append(Problem(self.identifier, self._missing()))
        return identities

    def _has_reason(self, chunk: _Chunk, place: int) -> bool:
        return any(
            problem.field in (self.identifier, *self._fallbacks) for problem in chunk.problems.get(place, ())
        )

    def _missing(self) -> str:
        if len(self._fallbacks) > 1:
            return f"nothing identifies this person: {', '.join(self._fallbacks)} are all empty"
        return f"{self.identifier} is empty, and nothing else identifies this person"

    def _rows_to_clear(self, chunk: _Chunk) -> dict[int, list[str]]:
        """The standard fields to clear, by row; such a row takes a request of its own."""
        nulls: dict[int, list[str]] = {}
        for name in self.cleared_fields:
            column = chunk.columns[self._fields[name]]
            for place in _places_of_none(column):
                nulls.setdefault(place, []).append(name)
        return nulls

    def _bodies(
        self, chunk: _Chunk, values: Mapping[str, Values], nulls: Mapping[int, Sequence[str]]
    ) -> list[bytes]:
        parts = dict(values)
        if self._location:
            parts["location"] = _objects(self._location_type, [values[name] for name in self._location])
        if self._properties:
            parts["properties"] = _objects(self._properties_type, [values[name] for name in self._properties])
        attributes = _made(self._attributes_type, [parts[name] for name in self._attribute_names], chunk.size)
        ids = values.get("klaviyo_id") or repeat(None)
        bodies = list(map(_encode, map(_Profile, attributes, ids, self._metas(chunk) or repeat(None))))
        for place, names in nulls.items():
            bodies[place] = _with_nulls(bodies[place], names)
        return bodies

    def _metas(self, chunk: _Chunk) -> list[dict[str, object] | None] | None:
        """Instructions to unset the custom properties that are NULL: bulk imports ignore nulls."""
        unset: dict[int, list[str]] = {}
        for name in self._cleared_properties:
            for place in _places_of_none(chunk.columns[self._fields[name]]):
                unset.setdefault(place, []).append(name.removeprefix(PROPERTIES))
        if not unset:
            return None
        return [
            {"patch_properties": {"unset": unset[place]}} if place in unset else None
            for place in range(chunk.size)
        ]

    def _sort_out(
        self,
        chunk: _Chunk,
        rows: Sequence[Row],
        first: int,
        identities: Sequence[str | None],
        bodies: Sequence[bytes],
        nulls: Mapping[int, Sequence[str]],
    ) -> Mapped:
        for place in _too_large(bodies, self._options.max_bytes):
            chunk.problems.setdefault(place, []).append(_size_problem(bodies[place], self._options.max_bytes))
        names = [identity or "" for identity in identities]
        records = list(map(Record, range(first, first + chunk.size), rows, names, bodies))
        if nulls:
            for place in nulls:
                records[place].alone = True
        if not chunk.problems:
            return Mapped(records, [], [])
        flawed = {
            place: Flawed(first + place, rows[place], tuple(problems))
            for place, problems in sorted(chunk.problems.items())
        }
        rejected = {place for place in flawed if self._is_rejected(chunk, identities, bodies, place)}
        return Mapped(
            [record for place, record in enumerate(records) if place not in rejected],
            [flaw for place, flaw in flawed.items() if place in rejected],
            [flaw for place, flaw in flawed.items() if place not in rejected],
        )

    def _is_rejected(
        self, chunk: _Chunk, identities: Sequence[str | None], bodies: Sequence[bytes], place: int
    ) -> bool:
        if not self._options.drop_invalid:
            return place in chunk.problems
        return identities[place] is None or len(bodies[place]) > self._options.max_bytes


class _Profile(msgspec.Struct, tag_field="type", tag="profile", omit_defaults=True, gc=False):
    attributes: object
    id: str | None = None
    meta: dict[str, object] | None = None


def _struct(name: str, keys: Sequence[str]) -> type[msgspec.Struct]:
    """A type whose instances encode to an object of these keys, leaving out the Nones."""
    places = [f"f{place}" for place in range(len(keys))]
    return msgspec.defstruct(
        name,
        [(place, object, None) for place in places],
        omit_defaults=True,
        gc=False,
        rename=dict(zip(places, keys, strict=True)),
    )


def _made(kind: type[msgspec.Struct], columns: Sequence[Values], size: int) -> Iterable[msgspec.Struct]:
    return map(kind, *columns) if columns else (kind() for _ in range(size))


def _objects(kind: type[msgspec.Struct], columns: Sequence[Values]) -> Values:
    """One object a row; None where all its values are, so that an empty object is never sent."""
    objects: Values = list(map(kind, *columns))
    if None in columns[0]:
        nothing = kind()
        return [None if made == nothing else made for made in objects]
    return objects


def _after(
    read: tuple[Values, dict[int, str]], check: Callable[[Values], tuple[Values, dict[int, str]]]
) -> tuple[Values, dict[int, str]]:
    values, reasons = read
    checked, more = check(values)
    return checked, {**more, **reasons}


def _check_klaviyo_ids(values: Values) -> tuple[Values, dict[int, str]]:
    checked, _ = _check_external_ids(values)
    reason = "not a Klaviyo profile id (letters and digits only); an id of your own belongs into external_id"
    reasons = {
        place: reason for place, value in enumerate(checked) if value and not _KLAVIYO_ID.fullmatch(value)
    }
    for place in reasons:
        checked[place] = None
    return checked, reasons


def _check_external_ids(values: Values) -> tuple[Values, dict[int, str]]:
    """Blank ones name nobody; padding, as of a CHAR column, is not part of an id."""
    return [value and (value.strip() or None) for value in values], {}


def _check_locales(values: Values) -> tuple[Values, dict[int, str]]:
    """BCP 47, such as ``en-US``; databases often hold ``en_US``."""
    reason = "not a locale like en-US (language, then region)"
    bad = {place: reason for place, value in enumerate(values) if value and not _LOCALE.fullmatch(value)}
    checked = [value.replace("_", "-") if value else None for value in values]
    for place in bad:
        checked[place] = None
    return checked, bad


def _phone_numbers(region: str | None) -> PhoneNumbers:
    try:
        return PhoneNumbers(region)
    except ValueError as error:
        msg = f"phone_region: {error}"
        raise MappingError(msg) from error


def _cleared(fields: Mapping[str, int], clear_nulls: bool | Sequence[str]) -> list[str]:  # noqa: FBT001 - the parameter
    clearable = [name for name in fields if name in CLEARABLE or name.startswith(PROPERTIES)]
    if isinstance(clear_nulls, bool):
        return clearable if clear_nulls else []
    unknown = [name for name in clear_nulls if name not in clearable]
    if unknown:
        msg = (
            f"clear_nulls names {', '.join(unknown)}, which no column feeds or which is an identifier. "
            f"It can clear {', '.join(clearable) or 'nothing of this mapping'}."
        )
        raise MappingError(msg)
    return list(clear_nulls)


def _places_of_none(column: Sequence[object]) -> list[int]:
    return [place for place, value in enumerate(column) if value is None] if None in column else []


def _with_nulls(body: bytes, names: Collection[str]) -> bytes:
    """The record with explicit nulls, which is how a single upsert clears standard fields."""
    document = msgspec.json.Decoder(float_hook=Decimal).decode(body)
    attributes = document["attributes"]
    for name in names:
        parent, _, key = name.rpartition(".")
        (attributes.setdefault(parent, {}) if parent else attributes)[key] = None
    return _encode(document)


def _too_large(bodies: Sequence[bytes], limit: int) -> list[int]:
    if max(map(len, bodies)) <= limit:
        return []
    return [place for place, body in enumerate(bodies) if len(body) > limit]


def _size_problem(body: bytes, limit: int) -> Problem:
    return Problem(
        "profile", f"{len(body):,} bytes as JSON, but Klaviyo takes at most {limit:,} a profile: send less"
    )

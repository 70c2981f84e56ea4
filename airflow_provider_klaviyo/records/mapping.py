"""Which column feeds which Klaviyo field, decided once per run from the query's columns."""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Collection, Mapping, Sequence

from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError

log = logging.getLogger(__name__)

PROPERTIES = "properties."
"""Prefix of custom fields in a mapping."""

IDENTIFIERS = ("klaviyo_id", "email", "phone_number", "external_id")
"""What can name a person, the most telling first; Klaviyo's own id is never a plain ``id`` column."""

JSON_TEXT = "::json"
"""Behind a column in a mapping: its text is JSON, for databases that keep lists and objects as text."""

HEADINGS = {
    "email address": "email",
    "phone number": "phone_number",
    "external id": "external_id",
    "klaviyo id": "klaviyo_id",
    "first name": "first_name",
    "last name": "last_name",
    "address 1": "location.address1",
    "address 2": "location.address2",
    "state / region": "location.region",
    "zip code": "location.zip",
    "ip address": "location.ip",
}
"""Headings of Klaviyo's own CSV files that no field has as its name, in lower case. Those of one word, such as City,
are names that custom properties have, too."""

# What databases call a column that the query does not name: PostgreSQL, Trino, Hive and Spark, BigQuery, Calcite, and
# SQL Server's tools (its drivers leave it empty). Others repeat the expression, which is a name like any other.
_NAMELESS = re.compile(r"\s*|\?column\?|_col\d+|_c\d+|f\d+_|EXPR\$\d+|\(no column name\)", re.IGNORECASE)


class MappingError(KlaviyoConfigurationError):
    """The mapping does not fit the query or Klaviyo's fields; the message names every problem."""


class Columns:
    """The columns of a result, found without regard to case, an exact match first."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._exact = {name: index for index, name in enumerate(names)}
        self._folded: dict[str, list[int]] = {}
        for index, name in enumerate(names):
            self._folded.setdefault(name.casefold(), []).append(index)

    def find(self, name: str) -> int:
        """The index of a column.

        :param name: an exact one counts first, then one in other letter case.
        :raises LookupError: with a sentence that says why there is none.
        """
        if name in self._exact:
            return self._exact[name]
        indexes = self._folded.get(name.casefold(), [])
        if len(indexes) == 1:
            return indexes[0]
        if indexes:
            msg = f"column {name!r} could be any of {', '.join(repr(self.names[index]) for index in indexes)}"
            raise LookupError(msg)
        raise LookupError(self._missing(name))

    def _missing(self, name: str) -> str:
        near = difflib.get_close_matches(name.casefold(), self._folded, n=1)
        hint = f"; did you mean {self.names[self._folded[near[0]][0]]!r}?" if near else "."
        return f"there is no column {name!r}{hint} The columns are {', '.join(self.names)}"


def bind(
    columns: Columns,
    mapping: Mapping[str, str] | None,
    known: Collection[str],
    *,
    permitted: Collection[str] = (),
) -> dict[str, int]:
    """The column of each Klaviyo field.

    :param columns: of the query.
    :param mapping: ``{Klaviyo field: column}``; None maps by column name, unknown names to custom properties.
    :param known: the fields of the sync type besides ``properties.<name>``.
    :param permitted: fields that may begin with ``$`` although Klaviyo reserves such names.
    :returns: the index of the column of each field.
    :raises MappingError: naming every unknown field and column at once.
    """
    bound = _by_name(columns, known) if mapping is None else _explicit(columns, mapping, known)
    _refuse_reserved(bound, permitted)
    return bound


def check_fields(
    mapping: Mapping[str, str], known: Collection[str], *, permitted: Collection[str] = ()
) -> None:
    """Check of a mapping what does not depend on the query: the fields.

    :param known: the fields of the sync type besides ``properties.<name>``.
    :param permitted: as ``bind`` takes them.
    :raises MappingError: naming every field that there is not.
    """
    _raise_if_any([_unknown_field(field, known) for field in mapping if not _is_field(field, known)])
    _refuse_reserved(mapping, permitted)


def check_only(mapping: Mapping[str, str], known: Collection[str], elsewhere: str) -> None:
    """The same for a sync type without custom fields.

    :param elsewhere: what to say to somebody who maps another field.
    :raises MappingError: naming every field that is none of this sync type.
    """
    others = [name for name in mapping if name not in known]
    if others:
        msg = f"The mapping names {', '.join(others)}. {elsewhere}"
        raise MappingError(msg)


def refuse_nameless(columns: Columns) -> None:
    """For mappings by name, where a name that the database made up would become a property's.

    :param columns: of the query.
    :raises MappingError: for such a column.
    """
    for index, name in enumerate(columns.names, 1):
        if _NAMELESS.fullmatch(name.removeprefix(PROPERTIES)):
            msg = (
                f"Column {index} of the query has no name ({name!r}), so it cannot become a property: "
                "give it one (AS …)."
            )
            raise MappingError(msg)


def bind_only(
    columns: Columns, mapping: Mapping[str, str] | None, known: Collection[str], elsewhere: str
) -> dict[str, int]:
    """The column of each field, for a sync type without custom fields: it leaves other columns alone.

    :param columns: of the query.
    :param mapping: ``{Klaviyo field: column}``; None finds fields by the columns' names.
    :param known: the fields of the sync type.
    :param elsewhere: what to say to somebody who maps another field.
    :returns: the index of the column of each field.
    :raises MappingError: naming every field that is none of this sync type, and every unknown column.
    """
    if mapping is None:
        return find_known(columns, known)
    check_only(mapping, known, elsewhere)
    return _explicit(columns, mapping, known)


def find_known(columns: Columns, known: Collection[str]) -> dict[str, int]:
    """The column of each field that one is named after; other columns are left alone.

    :param columns: of the query.
    :param known: the fields of the sync type.
    :returns: the index of the column of each field that was found.
    :raises MappingError: when a field's name could be any of several columns.
    """
    named = {name.casefold() for name in columns.names}
    found = [name for name in known if name in named]
    bound = dict(zip(found, find_all(columns, found, "By name"), strict=True))
    for column, field in _by_heading(columns, set(known) - set(bound)).items():
        bound[field] = columns.find(column)
    return bound


def json_fields(columns: Columns, mapping: Mapping[str, str] | None) -> frozenset[str]:
    """The fields whose column the mapping declares to hold JSON as text.

    :param columns: of the query; one whose own name ends in ``::json`` declares nothing.
    :param mapping: ``{Klaviyo field: column}``, or None.
    """
    return frozenset(field for field, column in (mapping or {}).items() if _is_json(columns, column))


def find_all(columns: Columns, names: Sequence[str], purpose: str) -> tuple[int, ...]:
    """The indexes of several columns, such as those of ``primary_key``.

    :param columns: of the query.
    :param names: of the columns that are looked for.
    :param purpose: what they are for, to be told.
    :raises MappingError: naming what is missing and what it is for.
    """
    try:
        return tuple(columns.find(name) for name in names)
    except LookupError as error:
        msg = f"{purpose}: {error.args[0]}."
        raise MappingError(msg) from error


def choose_identifier(
    fields: Collection[str], match_by: str | None, among: Sequence[str] = IDENTIFIERS
) -> str:
    """The field that identifies a person in this sync.

    :param fields: those that are mapped.
    :param match_by: the operator's parameter; None takes the first of ``among`` that is mapped.
    :param among: the identifiers that Klaviyo takes in this sync.
    :raises MappingError: when none is mapped, or ``match_by`` is not.
    """
    check_match_by(match_by, among)
    if match_by is not None and match_by not in fields:
        msg = f"match_by={match_by!r}, but nothing is mapped to {match_by}. Map a column to it or choose another."
        raise MappingError(msg)
    mapped = [field for field in among if field in fields]
    if not mapped:
        msg = (
            f"Nothing identifies a person: map a column to {', '.join(among[:-1])} or {among[-1]} "
            f"(mapped now: {', '.join(fields) or 'nothing'})."
        )
        raise MappingError(msg)
    return match_by or mapped[0]


def check_match_by(match_by: str | None, among: Sequence[str] = IDENTIFIERS) -> None:
    """Check that ``match_by`` is an identifier.

    :param among: the identifiers that Klaviyo takes in this sync.
    :raises MappingError: when it is none of them.
    """
    if match_by is not None and match_by not in among:
        msg = f"match_by must be one of {', '.join(among)}, not {match_by!r}."
        raise MappingError(msg)


def _explicit(columns: Columns, mapping: Mapping[str, str], known: Collection[str]) -> dict[str, int]:
    bound: dict[str, int] = {}
    problems: list[str] = []
    for field, column in mapping.items():
        if not _is_field(field, known):
            problems.append(_unknown_field(field, known))
            continue
        is_json = _is_json(columns, column)
        if is_json and not field.startswith(PROPERTIES):
            problems.append(f"{field}: only {PROPERTIES}<name> takes JSON, so leave {JSON_TEXT} out")
            continue
        try:
            bound[field] = columns.find(column.removesuffix(JSON_TEXT) if is_json else column)
        except LookupError as error:
            problems.append(f"{field}: {error.args[0]}")
    _raise_if_any(problems)
    return bound


def _raise_if_any(problems: Sequence[str]) -> None:
    if problems:
        msg = f"The mapping does not fit: {'; '.join(problems)}."
        raise MappingError(msg)


def _refuse_reserved(fields: Collection[str], permitted: Collection[str]) -> None:
    reserved = [name for name in fields if name.startswith(f"{PROPERTIES}$") and name not in permitted]
    if reserved:
        msg = (
            f"{_listed(reserved)}: property names that begin with $ are reserved by Klaviyo. "
            "Give the column another name (AS …), or name the columns to send in mapping."
        )
        raise MappingError(msg)


def _by_name(columns: Columns, known: Collection[str]) -> dict[str, int]:
    refuse_nameless(columns)
    bound: dict[str, int] = {}
    exact = {name for name in columns.names if name in known}
    by_folded = {name.casefold(): name for name in known}
    named = {by_folded[name.casefold()] for name in columns.names if name.casefold() in by_folded}
    headings = _by_heading(columns, set(known) - named)
    for index, column in enumerate(columns.names):
        field = column if column in known else by_folded.get(column.casefold(), headings.get(column))
        if field is None:
            name = column.removeprefix(PROPERTIES) or column
            field = PROPERTIES + name
        elif column not in known and field in exact:
            field = PROPERTIES + column  # the exact match took the field
        if field in bound:
            first = columns.names[bound[field]]
            msg = f"Columns {first!r} and {column!r} both mean {field}: name the columns to send in mapping."
            raise MappingError(msg)
        bound[field] = index
    return bound


def _is_json(columns: Columns, column: str) -> bool:
    return column.endswith(JSON_TEXT) and column not in columns.names


def _by_heading(columns: Columns, fields: Collection[str]) -> dict[str, str]:
    """The field that each heading of Klaviyo's CSV files means, among fields that no column is named after."""
    found = {name: HEADINGS.get(name.casefold(), "") for name in columns.names}
    read = {name: field for name, field in found.items() if field in fields}
    if read:
        shown = ", ".join(f"{name!r} as {field}" for name, field in read.items())
        log.info("Headings of Klaviyo's CSV are read as its fields: %s.", shown)
    return read


def _is_field(field: str, known: Collection[str]) -> bool:
    return field in known or (field.startswith(PROPERTIES) and len(field) > len(PROPERTIES))


def _unknown_field(field: str, known: Collection[str]) -> str:
    hint = f"a custom field is written 'properties.{field}'"
    if field == "id":
        hint = "Klaviyo's own profile id is written klaviyo_id, an id of yours external_id"
    elif near := difflib.get_close_matches(field, known, n=1):
        hint = f"did you mean {near[0]!r}? {hint[0].upper()}{hint[1:]}"
    return f"Klaviyo has no field {field!r} here ({hint})"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(repr(name.removeprefix(PROPERTIES)) for name in names)

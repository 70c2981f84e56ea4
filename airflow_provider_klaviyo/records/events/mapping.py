"""Which column feeds which field of an event: the person's fields are told from the event's own."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from airflow_provider_klaviyo.records.mapping import (
    HEADINGS,
    IDENTIFIERS,
    PROPERTIES,
    Columns,
    MappingError,
    check_fields,
    check_match_by,
    choose_identifier,
    refuse_nameless,
)
from airflow_provider_klaviyo.records.profiles.mapping import FIELDS as PROFILE_FIELDS
from airflow_provider_klaviyo.records.profiles.mapping import PHONE_REGION

PROFILE = "profile."
"""Prefix of the person's fields in a mapping; identifiers may do without."""

_PERSONS_PROPERTIES = PROFILE + PROPERTIES

EVENT_FIELDS = ("metric", "time", "value", "value_currency", "unique_id")
FIELDS = (*EVENT_FIELDS, *(PROFILE + name for name in PROFILE_FIELDS))
"""What an events mapping knows besides ``properties.<name>`` (schema of ``bulk_create_events``)."""

_SPELLINGS = {"time": ("time", "timestamp")}
_OF_THE_PERSON = (*IDENTIFIERS, PHONE_REGION)

METRIC_LIMIT = 128
"""A metric's name has fewer characters (description of ``bulk_create_events``)."""

PERMITTED = (f"{PROPERTIES}$extra",)
"""Klaviyo's own property of an event, which may begin with ``$``."""

_MISSING_KEY = (
    "Events need an id, so that none is counted twice: map a column to unique_id, or name the primary_key, from which "
    "the id is derived."
)
_MISSING_METRIC = "Nothing names the metric: set metric, or map a column to it."
_TWO_METRICS = "metric is set, and a column is mapped to it as well: keep one of them."


def check_mapping(mapping: Mapping[str, str] | None = None, match_by: str | None = None) -> None:
    """Check what does not depend on the query.

    :raises MappingError: for a field that no event has, or when nothing that is mapped identifies a person.
    """
    if mapping is None:
        check_match_by(match_by)
        return
    about_person, about_event = split(mapping)
    check_fields(about_event, EVENT_FIELDS, permitted=PERMITTED)
    check_fields(about_person, PROFILE_FIELDS)
    choose_identifier(about_person, match_by)


def check_metric(mapping: Collection[str] | None, metric: str | None) -> None:
    """Check that one thing names the metric.

    :param mapping: the fields that are mapped; None where the columns decide.
    :raises MappingError: when nothing does, or both.
    """
    if mapping is None:
        return
    if "metric" in mapping and metric is not None:
        raise MappingError(_TWO_METRICS)
    if "metric" not in mapping and metric is None:
        raise MappingError(_MISSING_METRIC)


def check_key(mapping: Collection[str] | None, primary_key: Collection[object]) -> None:
    """Check that every event will have an id.

    :param mapping: the fields that are mapped; None where the columns decide.
    :raises MappingError: when it will not.
    """
    if mapping is not None and "unique_id" not in mapping and not primary_key:
        raise MappingError(_MISSING_KEY)


def split(mapping: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """What is said of the person, without its prefix, and what of the event.

    :param mapping: ``{field: column}``, as the operator takes it.
    :raises MappingError: when a field of the person is mapped with and without the prefix.
    """
    about_person: dict[str, str] = {}
    about_event: dict[str, str] = {}
    for field, column in mapping.items():
        if not field.startswith(PROFILE) and field not in _OF_THE_PERSON:
            about_event[field] = column
            continue
        name = field.removeprefix(PROFILE)
        if name in about_person:
            msg = f"{name} and {PROFILE}{name} are both mapped, and are one field: keep one of them."
            raise MappingError(msg)
        about_person[name] = column
    return about_person, about_event


def by_name(columns: Columns, *, has_metric: bool) -> dict[str, str]:
    """A mapping of every column, by its name: Klaviyo's own fields, and properties of the event.

    :param columns: of the query.
    :param has_metric: whether the metric is known already, so that a column of that name is a property.
    :raises MappingError: when two columns mean one field, or one has no name.
    """
    refuse_nameless(columns)
    known = [name for name in FIELDS if name != "metric" or not has_metric]
    mapping: dict[str, str] = {}
    for field in known:
        for spelling in _spellings(field):
            if field not in mapping and (column := _column_of(columns, spelling)) is not None:
                mapping[field] = column
    taken = set(mapping.values())
    for column in columns.names:
        if column in taken:
            continue
        name = _property_of(column)
        if name in mapping:
            raise MappingError(_both_mean(name, [mapping[name], column]))
        mapping[name] = column
    return mapping


def _property_of(column: str) -> str:
    """The event's property that a column is, or the person's where its name says so."""
    is_persons = column.casefold().startswith(_PERSONS_PROPERTIES)
    if is_persons and (name := column[len(_PERSONS_PROPERTIES) :]):
        return _PERSONS_PROPERTIES + name
    return PROPERTIES + column.removeprefix(PROPERTIES)


def _spellings(field: str) -> Sequence[str]:
    name = field.removeprefix(PROFILE)
    if name not in _OF_THE_PERSON or name == field:
        return _SPELLINGS.get(field, (field,))
    return (field, name, *(heading for heading, meant in HEADINGS.items() if meant == name))


def _column_of(columns: Columns, name: str) -> str | None:
    """The column of this name: an exact match, else in any letter case.

    :raises MappingError: when several columns have the name.
    """
    exact = [column for column in columns.names if column == name]
    found = exact or [column for column in columns.names if column.casefold() == name]
    if len(found) > 1:
        raise MappingError(_both_mean(name, found))
    return found[0] if found else None


def _both_mean(field: str, columns: Sequence[str]) -> str:
    shown = " and ".join(map(repr, columns))
    return f"Columns {shown} both mean {field}: name the columns to send in mapping."

"""Rows to Klaviyo events: the person by the profile's rules, and what happened, column by column."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from airflow_provider_klaviyo.records.events.bodies import EventBodies, EventRecord
from airflow_provider_klaviyo.records.events.fields import (
    MAX_PROPERTIES,
    NOTHING_TO_CHECK,
    properties_beyond_limits,
    read_currencies,
    read_ids,
    read_metrics,
    read_values,
)
from airflow_provider_klaviyo.records.events.ids import DerivedIds
from airflow_provider_klaviyo.records.events.mapping import (
    EVENT_FIELDS,
    PERMITTED,
    PROFILE,
    by_name,
    check_key,
    check_metric,
    split,
)
from airflow_provider_klaviyo.records.mapping import (
    PROPERTIES,
    Columns,
    bind,
    find_all,
    json_fields,
)
from airflow_provider_klaviyo.records.profiles.fields import Values, reader
from airflow_provider_klaviyo.records.profiles.mapper import ProfileMapper, ProfileOptions
from airflow_provider_klaviyo.records.profiles.mapping import FIELDS as PROFILE_FIELDS
from airflow_provider_klaviyo.records.record import Flawed, Mapped, Problem, Record, Row
from airflow_provider_klaviyo.records.values.canonical import canonical
from airflow_provider_klaviyo.records.values.key_text import keyless_in
from airflow_provider_klaviyo.records.values.times import EventTimes, iso

NEVER_DROPPED = ("metric", "time", "unique_id")
"""A bad one of these rejects the row: without it the event would be another one."""

_NULL_KEY = (
    "the primary key is NULL, so the event has no id of its own: give every row a key, or map unique_id"
)


@dataclass(frozen=True, slots=True)
class EventOptions:
    """How rows become events; most names are those of the operator's parameters.

    :param profile: how the person is read; ``profile.max_bytes`` bounds the person inside an event.
    :param is_backfill: forces the flag; None sets it for events that are older than ``flow_window``.
    :param flow_window: how old an event may be, at ``now``, and still start flows.
    :param max_bytes: of one event with its person.
    """

    profile: ProfileOptions
    now: dt.datetime
    max_bytes: int
    metric: str | None = None
    primary_key: Sequence[str] = ()
    is_backfill: bool | None = None
    flow_window: dt.timedelta = dt.timedelta(days=3)


@dataclass(slots=True)
class _Chunk:
    """Some rows, what is wrong with them so far, and which of them cannot be sent."""

    rows: Sequence[Row]
    columns: list[Sequence[object]]
    problems: dict[int, list[Problem]]
    lost: set[int]
    meanings: Sequence[bytes] = ()

    def note(self, field: str, reasons: Mapping[int, str], *, is_fatal: bool = False) -> None:
        for index, reason in reasons.items():
            self.problems.setdefault(index, []).append(Problem(field, reason))
        if is_fatal:
            self.lost.update(reasons)


class EventMapper:
    """Compiled once per run; maps chunk after chunk.

    :param columns: of the query.
    :param mapping: ``{Klaviyo field: column}``; None maps by column name.
    :raises MappingError: when mapping, columns and options do not fit.
    """

    def __init__(self, columns: Columns, mapping: Mapping[str, str] | None, options: EventOptions) -> None:
        if mapping is None:
            mapping = by_name(columns, has_metric=options.metric is not None)
        about_person, about_event = split(mapping)
        self._fields = bind(columns, about_event, EVENT_FIELDS, permitted=PERMITTED)
        self._profiles = ProfileMapper(
            bind(columns, about_person, PROFILE_FIELDS), options.profile, json_fields(columns, about_person)
        )
        parsed = json_fields(columns, about_event)
        self._options = options
        self._key = find_all(columns, options.primary_key, "primary_key")
        self._ids = DerivedIds([columns.names[index] for index in self._key])
        self._times = EventTimes(options.profile.timezone, options.now)
        self._newest_backfill = options.now - options.flow_window
        self._properties = [name for name in self._fields if name.startswith(PROPERTIES)]
        self._property_readers = {
            name: reader(name, options.profile.timezone, is_json=name in parsed) for name in self._properties
        }
        self._bodies = _event_bodies(self._properties)
        self._meanings: EventBodies | None = None
        check_metric(self._fields, options.metric)
        check_key(self._fields, options.primary_key)

    @property
    def identifier(self) -> str:
        """The field that identifies a person."""
        return self._profiles.identifier

    @property
    def time_columns(self) -> Sequence[int]:
        """The column of the events' time."""
        return (self._fields["time"],) if "time" in self._fields else ()

    @property
    def key_columns(self) -> Sequence[int]:
        """The column that names a row where no primary key is given."""
        return (self._fields["unique_id"],) if "unique_id" in self._fields else self._profiles.key_columns

    @property
    def fields(self) -> Mapping[str, int]:
        """The column of each field; those of the person with their prefix."""
        return {PROFILE + name: index for name, index in self._profiles.fields.items()} | self._fields

    @property
    def event_fields(self) -> list[str]:
        """Which of Klaviyo's own fields of an event are sent."""
        return [name for name in self._fields if not name.startswith(PROPERTIES)]

    @property
    def profile_fields(self) -> list[str]:
        """Which fields of the person are sent."""
        return self._profiles.field_names

    @property
    def property_names(self) -> list[str]:
        """The properties that are sent."""
        return [name.removeprefix(PROPERTIES) for name in self._properties]

    def keep_meanings(self) -> None:
        """Have records tell what they mean, for a state to compare: that takes another encoding of each."""
        self._meanings = _event_bodies(sorted(self._properties))

    def map(self, rows: Sequence[Row], first: int) -> Mapped:
        """Map rows.

        :param rows: a chunk, at least one.
        :param first: the number of its first row in the query's result, from 1.
        """
        people = self._profiles.map(rows, first)
        chunk = _Chunk(
            rows,
            list(zip(*rows, strict=True)),
            {flaw.number - first: list(flaw.problems) for flaw in (*people.rejected, *people.warned)},
            {flaw.number - first for flaw in people.rejected},
        )
        times = self._read_times(chunk)
        metrics = self._read_metrics(chunk)
        ids = self._read_ids(chunk, metrics)
        bodies = self._encode(chunk, times, metrics, ids)
        records = [
            EventRecord(
                person.number,
                person.row,
                person.identity,
                bodies[person.number - first],
                profile=person.body,
                metric=metrics[person.number - first],
                unique_id=ids[person.number - first],
                is_backfill=self._is_backfill(times[person.number - first]),
                is_derived="unique_id" not in self._fields,
                meaning=chunk.meanings[person.number - first] if chunk.meanings else b"",
            )
            for person in people.records
            if person.number - first not in chunk.lost
        ]
        return self._sort_out(chunk, first, records)._replace(identifiers=people.identifiers)

    def _read_times(self, chunk: _Chunk) -> list[dt.datetime | None]:
        if "time" not in self._fields:
            return [None] * len(chunk.rows)
        times, reasons = self._times.read(chunk.columns[self._fields["time"]])
        chunk.note("time", reasons, is_fatal=True)
        return times

    def _read_metrics(self, chunk: _Chunk) -> Values:
        if self._options.metric is not None:
            return [self._options.metric] * len(chunk.rows)
        return self._read(chunk, "metric", read_metrics)

    def _read_ids(self, chunk: _Chunk, metrics: Values) -> Values:
        if "unique_id" in self._fields:
            return self._read(chunk, "unique_id", read_ids)
        keys = list(zip(*(chunk.columns[index] for index in self._key), strict=True))
        keyless: dict[int, str] = {}
        for column in self._key:
            keyless |= keyless_in(chunk.columns[column])
        for index in keyless:
            keys[index] = (None,)
        keyless = {index: keyless.get(index, _NULL_KEY) for index, key in enumerate(keys) if None in key}
        chunk.note("primary_key", keyless, is_fatal=True)
        of = self._ids.of
        return [
            None if metric is None or index in keyless else of(metric, key)
            for index, (metric, key) in enumerate(zip(metrics, keys, strict=True))
        ]

    def _read(self, chunk: _Chunk, name: str, read: Callable[..., tuple[Values, dict[int, str]]]) -> Values:
        values, reasons = read(chunk.columns[self._fields[name]], self._options.profile.timezone)
        chunk.note(name, reasons, is_fatal=name in NEVER_DROPPED)
        return values

    def _encode(
        self, chunk: _Chunk, times: Sequence[dt.datetime | None], metrics: Values, ids: Values
    ) -> list[bytes]:
        size = len(chunk.rows)
        fields: dict[str, Values] = {"metric": metrics, "unique_id": ids, "time": list(map(iso, times))}
        for name, read in (("value", read_values), ("value_currency", read_currencies)):
            fields[name] = self._read(chunk, name, read) if name in self._fields else [None] * size
        properties = [self._read_property(chunk, name) for name in self._properties]
        bodies = self._bodies.encode(fields, properties, size)
        for index, body in enumerate(bodies):
            if len(body) > NOTHING_TO_CHECK:
                self._check_limits(chunk, index, bodies, fields, properties)
        if len(properties) > MAX_PROPERTIES:
            self._check_count(chunk, properties)
        if self._meanings:
            timezone = self._options.profile.timezone
            fields["time"] = canonical(fields["time"], times, timezone)
            fields["value"] = canonical(fields["value"], fields["value"], timezone)
            chunk.meanings = self._meanings.encode(fields, self._spelled(chunk, properties), size)
        return bodies

    def _spelled(self, chunk: _Chunk, properties: Sequence[Values]) -> list[Values]:
        """The properties in the one spelling of what they mean, and in the order of their names."""
        named = dict(zip(self._properties, properties, strict=True))
        return [
            canonical(named[name], chunk.columns[self._fields[name]], self._options.profile.timezone)
            for name in sorted(named)
        ]

    def _read_property(self, chunk: _Chunk, name: str) -> Values:
        values, reasons = self._property_readers[name](chunk.columns[self._fields[name]])
        chunk.note(name, reasons)
        return values

    def _check_limits(
        self,
        chunk: _Chunk,
        index: int,
        bodies: list[bytes],
        fields: Mapping[str, Values],
        properties: Sequence[Values],
    ) -> None:
        """Leave out properties that Klaviyo would refuse the event for, and reject an event that is too large."""
        beyond = dict(
            properties_beyond_limits(msgspec.json.decode(bodies[index])["attributes"]["properties"])
        )
        if beyond:
            for name, values in zip(self._properties, properties, strict=True):
                if reason := beyond.get(name.removeprefix(PROPERTIES)):
                    chunk.note(name, {index: reason})
                    values[index] = None
            one = {name: [values[index]] for name, values in fields.items()}
            bodies[index] = self._bodies.encode(one, [[values[index]] for values in properties], 1)[0]
        longest = self._options.max_bytes - self._options.profile.max_bytes
        if len(bodies[index]) > longest:
            reason = (
                f"{len(bodies[index]):,} bytes as JSON, but Klaviyo takes {longest:,} an event: send less"
            )
            chunk.note("event", {index: reason}, is_fatal=True)

    def _check_count(self, chunk: _Chunk, properties: Sequence[Values]) -> None:
        counts = [sum(value is not None for value in row) for row in zip(*properties, strict=True)]
        over = {
            index: f"{count:,} properties, but Klaviyo takes {MAX_PROPERTIES} an event: send fewer"
            for index, count in enumerate(counts)
            if count > MAX_PROPERTIES
        }
        chunk.note("event", over, is_fatal=True)

    def _is_backfill(self, time: dt.datetime | None) -> bool:
        if self._options.is_backfill is not None:
            return self._options.is_backfill
        return time is not None and time < self._newest_backfill

    def _sort_out(self, chunk: _Chunk, first: int, records: Sequence[Record]) -> Mapped:
        if not chunk.problems:
            return Mapped(list(records), [], [])
        lost = chunk.lost if self._options.profile.drop_invalid else set(chunk.problems)
        flawed = {
            index: Flawed(first + index, chunk.rows[index], tuple(problems))
            for index, problems in sorted(chunk.problems.items())
        }
        return Mapped(
            [record for record in records if record.number - first not in lost],
            [flaw for index, flaw in flawed.items() if index in lost],
            [flaw for index, flaw in flawed.items() if index not in lost],
        )


def _event_bodies(properties: Sequence[str]) -> EventBodies:
    return EventBodies([name.removeprefix(PROPERTIES) for name in properties])

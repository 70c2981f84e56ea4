"""Events as the JSON that is sent: each encoded once, and grouped by person in a request."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Any

import msgspec

from airflow_provider_klaviyo.identity import Identity
from airflow_provider_klaviyo.records.mapping import IDENTIFIERS
from airflow_provider_klaviyo.records.profiles.fields import Values
from airflow_provider_klaviyo.records.record import Record
from airflow_provider_klaviyo.records.resources import without
from airflow_provider_klaviyo.records.values.json_objects import object_maker

_encode = msgspec.json.Encoder(decimal_format="number").encode
_BACKFILL = b',"backfill":true'
_GROUP = (
    b'{"type":"event-bulk-create","attributes":{',
    b'"profile":{"data":',
    b'},"events":{"data":[',
    b"]}}}",
)
_GROUP_BYTES = len(b"".join(_GROUP)) + 2 * len(_BACKFILL)


class EventRecord(Record):
    """An event: ``body`` is what happened, ``profile`` the person it happened to."""

    profile: bytes = b""
    metric: str = ""
    unique_id: str = ""
    is_backfill: bool = False
    is_derived: bool = False

    @property
    def dedup_key(self) -> Hashable:
        """Klaviyo knows an event by these; a derived id is one of its row, whoever the person is."""
        person = "" if self.is_derived else self.identity
        return (self.metric, self.unique_id, person)

    @property
    def size(self) -> int:
        """Bytes in a request, if the event has a group of its own."""
        return len(self.body) + len(self.profile) + _GROUP_BYTES

    @property
    def fingerprinted(self) -> bytes:
        """What happened. The person's fields may change later, and the backfill flag does as the event grows old."""
        return self.body

    @property
    def identities(self) -> list[Identity]:
        """Whom the row may be about, by every identifier that is sent."""
        profile = msgspec.json.decode(self.profile)
        named = {"klaviyo_id": profile.get("id"), **profile["attributes"]}
        return [Identity(name, named[name]) for name in IDENTIFIERS if named.get(name)]

    def leave_out(self, fields: Collection[str]) -> None:
        """Send the person without these fields; what happened stays as it is.

        :param fields: named as in a mapping of profiles.
        """
        self.profile = without(self.profile, fields)

    def leave_out_of_event(self, fields: Collection[str]) -> None:
        """Send what happened without these fields; without some it would be another event.

        :param fields: named as in a mapping, such as ``value`` or ``properties.Size``.
        """
        self.body = without(self.body, fields, required=("properties",))


class _Event(msgspec.Struct, tag_field="type", tag="event", gc=False):
    attributes: object


class _EventAttributes(msgspec.Struct, omit_defaults=True, gc=False):
    properties: object
    metric: object
    time: str | None = None
    value: object = None
    value_currency: str | None = None
    unique_id: str | None = None


class EventBodies:
    """Compiled once per run from the names of the properties."""

    def __init__(self, names: Sequence[str]) -> None:
        self._make_properties = object_maker(names)

    def encode(self, fields: Mapping[str, Values], properties: Sequence[Values], size: int) -> list[bytes]:
        """One event a row; a value that is None is left out.

        :param fields: the values of ``metric``, ``time``, ``value``, ``value_currency`` and ``unique_id``.
        :param properties: the values of each property, in the order of the names.
        :param size: how many rows there are; each column has as many values.
        :returns: the JSON of each event.
        """
        make = self._make_properties
        made: Any = map(make, *properties) if properties else [make()] * size
        metrics = {name: _metric(name) for name in set(fields["metric"])}
        columns = (fields[name] for name in ("time", "value", "value_currency", "unique_id"))
        attributes = map(_EventAttributes, made, map(metrics.get, fields["metric"]), *columns)
        return list(map(_encode, map(_Event, attributes)))


def _metric(name: str | None) -> msgspec.Raw:
    return msgspec.Raw(_encode({"data": {"type": "metric", "attributes": {"name": name}}}))


def group_body(profile: bytes, events: Sequence[EventRecord]) -> bytes:
    """One entry of a bulk request: a person and what happened to that person, all of it history or none.

    The flag stands at the group and at each event, since Klaviyo takes it at both and does not say which counts
    (schema of ``bulk_create_events``).

    :param profile: the person, as the JSON of a profile.
    :param events: at least one, all of this person and with the same flag.
    :returns: the entry's JSON.
    """
    head, person, middle, tail = _GROUP
    is_backfill = events[0].is_backfill
    bodies = (
        [event.body[:-2] + _BACKFILL + b"}}" for event in events] if is_backfill else [e.body for e in events]
    )
    flag = _BACKFILL[1:] + b"," if is_backfill else b""
    return b"".join((head, flag, person, profile, middle, b",".join(bodies), tail))

"""Encoded resources that are changed afterwards: that is rare, so they are decoded for it and encoded anew."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from decimal import Decimal

import msgspec

_OBJECTS = ("location", "properties")
"""Attributes that are made of fields of their own."""

_decode = msgspec.json.Decoder(float_hook=Decimal).decode
_encode = msgspec.json.Encoder(decimal_format="number").encode


def with_nulls(profile: bytes, fields: Collection[str]) -> bytes:
    """The profile with explicit nulls, which is how a single upsert clears standard fields.

    :param profile: the JSON of a profile.
    :param fields: named as in a mapping, such as ``first_name`` or ``location.city``.
    """
    document = _decode(profile)
    for field in fields:
        parent, _, key = field.rpartition(".")
        attributes = document["attributes"]
        (attributes.setdefault(parent, {}) if parent else attributes)[key] = None
    return _encode(document)


def without(resource: bytes, fields: Collection[str], required: Collection[str] = ()) -> bytes:
    """The resource without some fields; an object that is empty then goes, too.

    :param resource: the JSON of a profile or an event.
    :param fields: named as in a mapping; those that the resource has not change nothing.
    :param required: objects that stay when they are empty.
    """
    document = _decode(resource)
    for field in fields:
        if field == "klaviyo_id":
            document.pop("id", None)
            continue
        parent, _, key = field.partition(".")
        attributes = document["attributes"]
        if not key:
            attributes.pop(parent, None)
        elif parent in attributes:
            attributes[parent].pop(key, None)
            if not attributes[parent] and parent not in required:
                del attributes[parent]
    return _encode(document)


def field_at(resource: bytes, path: Sequence[str]) -> str:
    """The field that the steps of a pointer lead to, named as in a mapping; empty where the resource has none there.

    What is deeper inside a property is part of its value.

    :param resource: the JSON of a profile or an event.
    :param path: the steps from the resource, without ``attributes``.
    """
    document = _decode(resource)
    if tuple(path) == ("id",):
        return "klaviyo_id" if "id" in document else ""
    name, inside = _member(document["attributes"], path)
    if not inside or name not in _OBJECTS:
        return name
    key, _ = _member(document["attributes"][name], inside)
    return f"{name}.{key}" if key else ""


def _member(members: object, path: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The member that steps lead to, and the steps inside it: a name may hold what stands between steps."""
    steps = list(path)
    while steps and isinstance(members, dict):
        for count in range(1, len(steps) + 1):
            for between in "/.":
                name, rest = between.join(steps[:count]), steps[count:]
                if name in members and (not rest or isinstance(members[name], dict | list)):
                    return name, rest
        first, dot, rest_of_it = steps[0].partition(".")
        steps = [first, rest_of_it, *steps[1:]] if dot else []
    return "", ()

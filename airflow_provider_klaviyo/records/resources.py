"""Encoded profiles that are changed afterwards: that is rare, so they are decoded for it and encoded anew."""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal

import msgspec

_decode = msgspec.json.Decoder(float_hook=Decimal).decode
_encode = msgspec.json.Encoder(decimal_format="number").encode


def with_nulls(profile: bytes, fields: Collection[str]) -> bytes:
    """The profile with explicit nulls, which is how a single upsert clears standard fields."""
    document = _decode(profile)
    for field in fields:
        parent, _, key = field.rpartition(".")
        attributes = document["attributes"]
        (attributes.setdefault(parent, {}) if parent else attributes)[key] = None
    return _encode(document)


def without(profile: bytes, fields: Collection[str]) -> bytes:
    """The profile without some fields, named as in a mapping; an object that is empty then goes, too."""
    document = _decode(profile)
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
            if not attributes[parent]:
                del attributes[parent]
    return _encode(document)

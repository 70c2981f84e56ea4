"""Hashes that stay the same for ever: of primary keys, of people, and of what is sent means.

They are 64 bits of BLAKE2b as signed integers, which SQLite keeps in eight bytes. Among ten million keys the chance
that any two share one is about 3 in a million; the second is then reported as a duplicate, never lost in silence.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from hashlib import blake2b

from airflow_provider_klaviyo.identity import Identity, texts_of
from airflow_provider_klaviyo.records.values.key_text import key_text

_BYTES = 8


def key_hashes(keys: Sequence[tuple[object, ...]]) -> list[int | None]:
    """The hashes of primary keys; None where a part is NULL.

    The same key has the same hash from any driver: 7, ``Decimal("7")`` and "7" are one, as the command line needs it.
    """
    if not any(None in key for key in keys):
        return list(_hashes([_encoded(key_text(key)) for key in keys]))
    return [None if None in key else _hashes([_encoded(key_text(key))])[0] for key in keys]


def person_hash(identity: Identity) -> int:
    """The hash of a person."""
    return person_hashes([identity.text])[0]


def person_hashes(texts: Sequence[str]) -> list[int]:
    """The hashes of many people, by the whole texts of their identities."""
    return list(_hashes([text.encode("utf-8", "surrogatepass") for text in texts]))


def asked_hashes(addresses: Sequence[tuple[str, str]]) -> list[int]:
    """The hashes of channels and addresses on them, under which it is remembered that somebody was asked there."""
    return person_hashes(texts_of([("asked", text) for text in texts_of(addresses)]))


def fingerprints(meanings: Sequence[bytes]) -> list[int]:
    """The hashes of what records mean (in states of format 1: of what was sent); what differs in a byte is a change."""
    return list(_hashes(meanings))


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _hashes(texts: Sequence[bytes]) -> tuple[int, ...]:
    digests = b"".join([blake2b(text, digest_size=_BYTES).digest() for text in texts])
    return struct.unpack(f"<{len(texts)}q", digests)

"""Hashes that stay the same for ever: of primary keys, of people, and of what is sent.

They are 64 bits of BLAKE2b as signed integers, which SQLite keeps in eight bytes. Among ten million keys the chance
that any two share one is about 3 in a million; the second is then reported as a duplicate, never lost in silence.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from airflow_provider_klaviyo.records.key_text import key_text

_BYTES = 8


def key_hashes(keys: Sequence[tuple[object, ...]]) -> list[int | None]:
    """The hashes of primary keys; None where a part is NULL.

    The same key has the same hash from any driver: 7, ``Decimal("7")`` and "7" are one, as the command line needs it.
    """
    return [None if None in key else _hash(key_text(key)) for key in keys]


def person_hash(identity: str) -> int:
    """The hash of a person, written ``field NUL value``, the value as Klaviyo keeps it."""
    return _hash(identity)


def person_hashes(identities: Sequence[str]) -> list[int]:
    """The hashes of many people."""
    return [_hash(identity) for identity in identities]


def fingerprints(bodies: Sequence[bytes]) -> list[int]:
    """The hashes of records as they are sent: what differs in any byte is a change."""
    return [
        int.from_bytes(blake2b(body, digest_size=_BYTES).digest(), "little", signed=True) for body in bodies
    ]


def _hash(text: str) -> int:
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_BYTES).digest()
    return int.from_bytes(digest, "little", signed=True)

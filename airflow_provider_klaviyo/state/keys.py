"""Hashes that stay the same for ever: of primary keys, of people, and of what is sent.

They are 64 bits of BLAKE2b as signed integers, which SQLite keeps in eight bytes. Among ten million keys the chance
that any two share one is about 3 in a million; the second is then reported as a duplicate, never lost in silence.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import blake2b

_BYTES = 8


def key_hashes(keys: Sequence[tuple[object, ...]]) -> list[int | None]:
    """The hashes of primary keys; None where a part is NULL.

    The same key has the same hash from any driver: 7, ``Decimal("7")`` and "7" are one, as the command line needs it.
    """
    return [None if None in key else _hash(_key_text(key)) for key in keys]


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


def _key_text(key: tuple[object, ...]) -> str:
    if len(key) == 1:
        return _text(key[0])
    parts = [_text(part) for part in key]
    return "".join(f"{len(part)}:{part}" for part in parts)  # ("a", "bc") is not ("ab", "c")


def _text(value: object) -> str:
    kind = type(value)
    if kind is str:
        return value  # type: ignore[return-value]
    if kind is int:
        return str(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).hex()
    if isinstance(value, datetime) and value.tzinfo:
        return value.astimezone(UTC).isoformat()
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)

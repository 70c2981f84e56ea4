"""Rows and hashes as bytes: the payloads of entries, and the files of what is in doubt."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

import msgspec

from airflow_provider_klaviyo.state.rows import Sent


def pack_rows(rows: Sequence[Sent]) -> bytes:
    """Rows column by column: keys, fingerprints and persons, and identities only where a row has one."""
    return msgspec.msgpack.encode(
        (
            pack_hashes([row.key for row in rows]),
            pack_hashes([row.fingerprint for row in rows]),
            pack_hashes([row.person for row in rows]),
            [row.identity for row in rows] if any(row.identity for row in rows) else None,
        )
    )


def unpack_rows(payload: bytes) -> list[Sent]:
    """The rows that ``pack_rows`` was given, in their order.

    :raises msgspec.DecodeError: when it was given none of it.
    """
    keys, fingerprints, persons, identities = msgspec.msgpack.decode(
        payload, type=tuple[bytes, bytes, bytes, list[str | None] | None]
    )
    unpacked = unpack_hashes(keys)
    named: Iterable[str | None] = identities or [None] * len(unpacked)
    return list(map(Sent, unpacked, unpack_hashes(fingerprints), unpack_hashes(persons), named))


def pack_hashes(hashes: Sequence[int]) -> bytes:
    """Hashes of 64 bits, eight bytes each."""
    return struct.pack(f"<{len(hashes)}q", *hashes)


def unpack_hashes(packed: bytes) -> list[int]:
    """The hashes that ``pack_hashes`` was given, in their order."""
    return list(struct.unpack(f"<{len(packed) // 8}q", packed))

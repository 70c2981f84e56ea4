"""Rows that wait for Klaviyo's verdict, on disk: hundreds of jobs may be open at once."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from airflow_provider_klaviyo.records.record import Record, Row

Kept = list[tuple[int, str, Row]]
"""What a verdict needs to be told of: number, identity and row of each record."""

_PACKED, _PICKLED = b"m", b"p"
_pack = msgspec.msgpack.Encoder(enc_hook=str).encode
_unpack = msgspec.msgpack.Decoder(Kept).decode


class Spool:
    """Keeps the records of requests until their verdict is known; one file each, in a private folder."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def keep(self, records: Sequence[Record]) -> Path:
        """Write down the records; the path is the ticket to get them back."""
        return self.keep_rows([(record.number, record.identity, record.row) for record in records])

    def keep_rows(self, kept: Kept) -> Path:
        """Write down what is needed of records."""
        with tempfile.NamedTemporaryFile(dir=self._directory, prefix="batch-", delete=False) as file:
            file.write(_dump(kept))
            return Path(file.name)

    def load(self, ticket: Path) -> Kept:
        """The records of a ticket, in their order."""
        content = memoryview(ticket.read_bytes())
        kind, body = content[:1], content[1:]
        if kind == _PACKED:
            return _unpack(body)
        kept: Kept = pickle.loads(body)  # noqa: S301 - written by this very process
        return kept

    def drop(self, ticket: Path) -> None:
        """Forget the records of a ticket."""
        ticket.unlink(missing_ok=True)


def _dump(kept: Kept) -> bytes:
    """Twenty times as fast as ``pickle``; what JSON knows as text comes back as text, as the rejects file wants it."""
    try:
        return _PACKED + _pack(kept)
    except (ValueError, TypeError, OverflowError):  # half characters, huge integers
        return _PICKLED + pickle.dumps(kept, protocol=pickle.HIGHEST_PROTOCOL)

"""Rows that wait for Klaviyo's verdict, on disk: hundreds of jobs may be open at once."""

from __future__ import annotations

import marshal
import pickle
import tempfile
from collections.abc import Sequence
from pathlib import Path

from airflow_provider_klaviyo.records.record import Record, Row

Kept = list[tuple[int, str, Row]]
"""What a verdict needs to be told of: number, identity and row of each record."""


class Spool:
    """Keeps the records of requests until their verdict is known; one file each, in a private folder."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def keep(self, records: Sequence[Record]) -> Path:
        """Write down the records; the path is the ticket to get them back."""
        kept: Kept = [(record.number, record.identity, record.row) for record in records]
        with tempfile.NamedTemporaryFile(dir=self._directory, prefix="batch-", delete=False) as file:
            file.write(_dump(kept))
            return Path(file.name)

    def load(self, ticket: Path) -> Kept:
        """The records of a ticket, in their order."""
        content = ticket.read_bytes()
        kind, body = content[:1], content[1:]
        kept: Kept = marshal.loads(body) if kind == b"m" else pickle.loads(body)  # noqa: S301, S302 - written above
        return kept

    def drop(self, ticket: Path) -> None:
        """Forget the records of a ticket."""
        ticket.unlink(missing_ok=True)


def _dump(kept: Kept) -> bytes:
    """Plain values by ``marshal``, which is three times as fast; rows with dates, decimals and such by ``pickle``."""
    try:
        return b"m" + marshal.dumps(kept)
    except ValueError:
        return b"p" + pickle.dumps(kept, protocol=pickle.HIGHEST_PROTOCOL)

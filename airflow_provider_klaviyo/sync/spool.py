"""Rows that wait for Klaviyo's verdict, on disk: hundreds of jobs may be open at once."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from airflow_provider_klaviyo.records.record import Record, Row
from airflow_provider_klaviyo.sync.packing import Packing

Kept = list[tuple[int, str, Row]]
"""What a verdict needs to be told of: number, identity and row of each record. The identity is ``field NUL value``."""

_packing: Packing[Kept] = Packing(Kept)


class Spool:
    """Keeps the records of requests until their verdict is known; one file each, in a private folder."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def keep(self, records: Sequence[Record], identifier: str) -> Path:
        """Write down the records; the path is the ticket to get them back.

        :param identifier: the field whose value an identity is that does not name its field.
        """
        prefix = f"{identifier}\0"
        return self.keep_rows(
            [
                (each.number, each.identity if "\0" in each.identity else prefix + each.identity, each.row)
                for each in records
            ]
        )

    def keep_rows(self, kept: Kept) -> Path:
        """Write down what is needed of records."""
        with tempfile.NamedTemporaryFile(dir=self._directory, prefix="batch-", delete=False) as file:
            file.write(_packing.dump(kept))
            return Path(file.name)

    def load(self, ticket: Path) -> Kept:
        """The records of a ticket, in their order."""
        return _packing.load(ticket.read_bytes())

    def drop(self, ticket: Path) -> None:
        """Forget the records of a ticket."""
        ticket.unlink(missing_ok=True)

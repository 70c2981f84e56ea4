"""Records that wait for Klaviyo's verdict, on disk: hundreds of jobs may be open at once."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from airflow_provider_klaviyo.records.record import Record
from airflow_provider_klaviyo.sync.scratch.packing import Packing

_packing: Packing[Sequence[Record]] = Packing(list[Record])


class Spool:
    """Keeps the records of requests until their verdict is known; one file each.

    :param directory: a private folder that is there, and gone after the run.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def keep(self, records: Sequence[Record]) -> Path:
        """Write down the records; the path is the ticket to get them back.

        :raises OSError: when there is no room for them.
        """
        with tempfile.NamedTemporaryFile(dir=self._directory, prefix="batch-", delete=False) as file:
            file.write(_packing.dump(records))
            return Path(file.name)

    def load(self, ticket: Path) -> Sequence[Record]:
        """The records of a ticket, in their order.

        :raises FileNotFoundError: when they were dropped.
        """
        return _packing.load(ticket.read_bytes())

    def drop(self, ticket: Path) -> None:
        """Forget the records of a ticket."""
        ticket.unlink(missing_ok=True)

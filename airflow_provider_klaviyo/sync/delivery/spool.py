"""Records that wait for Klaviyo's verdict, on disk: hundreds of jobs may be open at once."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from airflow_provider_klaviyo.records.record import Record
from airflow_provider_klaviyo.sync.scratch.packing import Packing

_PART = 500
"""Records that are packed at a time: those of a full job would take as much memory as the request has."""

_LENGTH = 8

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
            for start in range(0, len(records), _PART):
                content = _packing.dump(records[start : start + _PART])
                file.write(len(content).to_bytes(_LENGTH))
                file.write(content)
            return Path(file.name)

    def load(self, ticket: Path) -> Sequence[Record]:
        """The records of a ticket, in their order.

        :raises FileNotFoundError: when they were dropped.
        """
        with ticket.open("rb") as file:
            return [record for part in _parts(file) for record in part]

    def drop(self, ticket: Path) -> None:
        """Forget the records of a ticket."""
        ticket.unlink(missing_ok=True)


def _parts(file: BinaryIO) -> Iterator[Sequence[Record]]:
    while length := file.read(_LENGTH):
        yield _packing.load(file.read(int.from_bytes(length)))

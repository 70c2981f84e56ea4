"""Rows that were sent and have no verdict, by the ticket that stands for them: on disk, for hundreds of jobs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from airflow_provider_klaviyo.state.packing import pack_rows, unpack_rows
from airflow_provider_klaviyo.state.rows import NOBODY, Sent


class Doubts:
    """A file for the rows of each ticket.

    :param folder: a private one of this run.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, ticket: int, rows: Sequence[Sent]) -> None:
        """Put rows in doubt.

        :param ticket: the number of the entry that did so.
        :param rows: in the order of their request, which verdicts refer to.
        """
        self._file(ticket).write_bytes(pack_rows(rows))

    def has(self, ticket: int) -> bool:
        """Whether the rows of a ticket are in doubt still."""
        return self._file(ticket).exists()

    def rows_of(self, ticket: int) -> list[Sent]:
        """The rows of a ticket, in their order.

        :raises FileNotFoundError: when they have had their verdict, or there never was such a ticket.
        """
        return unpack_rows(self._file(ticket).read_bytes())

    def clear(self, ticket: int) -> list[Sent]:
        """Take the rows of a ticket out, since they have their verdict.

        :returns: the rows, in their order.
        :raises FileNotFoundError: when they have had it before.
        """
        rows = self.rows_of(ticket)
        self._file(ticket).unlink()
        return rows

    def forget(self, ticket: int, keys: Collection[int]) -> None:
        """Keep nothing of some rows of a ticket; the places of the others stay."""
        self.keep(ticket, [NOBODY if row.key in keys else row for row in self.rows_of(ticket)])

    def _file(self, ticket: int) -> Path:
        return self._folder / f"doubt-{ticket}"

"""What a delivery tells of the records that it sends, so that a later run knows what Klaviyo has acknowledged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from airflow_provider_klaviyo.records.record import Record
from airflow_provider_klaviyo.state.ledger import Ledger
from airflow_provider_klaviyo.state.rows import Sent


class Acknowledgements(Protocol):
    """Where a delivery notes what it does, before and after each request."""

    def mark_in_doubt(self, records: Sequence[Record]) -> int:
        """Before a request leaves: its records are in doubt from now on. The ticket stands for them."""

    def start(self, ticket: int, job_id: str, kind: str) -> None:
        """The job that took the records of a ticket.

        :param kind: the name of its kind.
        """

    def settle(self, ticket: int, failed: Sequence[int] = (), pending: Sequence[int] = ()) -> None:
        """The verdict: all records of a ticket were taken, but those at the indexes given."""

    def refuse(self, records: Sequence[Record]) -> None:
        """Klaviyo refused these."""

    def has_history(self) -> bool:
        """Whether Klaviyo has taken anything of this sync before."""


class NoState:
    """Notes nothing: a sync that keeps no state sends its query again."""

    def mark_in_doubt(self, records: Sequence[Record]) -> int:  # noqa: ARG002 - as the other
        """Nothing to note."""
        return 0

    def start(self, ticket: int, job_id: str, kind: str) -> None:
        """Nothing to note."""

    def settle(self, ticket: int, failed: Sequence[int] = (), pending: Sequence[int] = ()) -> None:
        """Nothing to note."""

    def refuse(self, records: Sequence[Record]) -> None:
        """Nothing to note."""

    def has_history(self) -> bool:
        """Nothing is known."""
        return False


class KeptState:
    """Notes everything in the sync's state.

    :param with_identity: keep the identifier itself, for a sync that must be able to remove people later.
    :param overrules: whether what is sent of a person overwrites what other rows had said of that person.
    """

    def __init__(self, ledger: Ledger, *, with_identity: bool = False, overrules: bool = True) -> None:
        self._ledger = ledger
        self._with_identity = with_identity
        self._overrules = overrules

    def mark_in_doubt(self, records: Sequence[Record]) -> int:
        """Note the rows as in doubt."""
        identified = self._with_identity
        return self._ledger.mark_in_doubt(
            [
                Sent(each.key, each.fingerprint, each.person, each.identity if identified else None)
                for each in records
            ],
            overrules=self._overrules,
        )

    def start(self, ticket: int, job_id: str, kind: str) -> None:
        """Note the job."""
        self._ledger.start(ticket, job_id, kind)

    def settle(self, ticket: int, failed: Sequence[int] = (), pending: Sequence[int] = ()) -> None:
        """Note the verdict."""
        self._ledger.settle(ticket, failed, pending)

    def refuse(self, records: Sequence[Record]) -> None:
        """Note who is to be tried again."""
        self._ledger.fail([record.key for record in records])

    def has_history(self) -> bool:
        """Whether the state holds anybody whom Klaviyo has taken."""
        return self._ledger.has_acknowledged()

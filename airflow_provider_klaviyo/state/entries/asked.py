"""What happens to people who are asked for their consent, or to be unsubscribed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from airflow_provider_klaviyo.state.entries.entry import Entry, OfHashes, Written
from airflow_provider_klaviyo.state.packing import pack_hashes, unpack_hashes
from airflow_provider_klaviyo.state.replica import Replica
from airflow_provider_klaviyo.state.rows import Status


class Asking(Entry, frozen=True, tag="asking"):
    """A request that asks these people is about to leave; the entry's number is their ticket.

    :param at: when, in seconds since the epoch by Klaviyo's clock.
    :param people: whose the addresses are, by address, both as hashes.
    """

    at: int
    people: Mapping[int, int]

    def written(self) -> Written:
        facts = {"at": self.at, "people": len(self.people)}
        return Written(self.kind, facts, pack_hashes([*self.people, *self.people.values()]))

    @classmethod
    def read(cls, written: Written) -> Self:
        hashes = unpack_hashes(written.payload)
        half = len(hashes) // 2
        return cls(written.facts["at"], dict(zip(hashes[:half], hashes[half:], strict=True)))

    def apply(self, replica: Replica) -> None:
        replica.table.asked.ask(self.people, self.at, replica.serial)


class Answered(Entry, frozen=True, tag="answered"):
    """Klaviyo has taken the request of a ticket, or certainly has not."""

    ticket: int
    is_taken: bool

    def apply(self, replica: Replica) -> None:
        status = Status.ACKNOWLEDGED if self.is_taken else Status.FAILED
        replica.table.asked.settle(self.ticket, status, replica.serial)


class Concluded(OfHashes, frozen=True, tag="concluded"):
    """The outcome of asking at these addresses has shown."""

    counted = "addresses"

    def apply(self, replica: Replica) -> None:
        replica.table.asked.release(self.hashes, replica.serial)

"""What is remembered of people's consent: who was asked, where and when, and which rows are as they should be.

A person is remembered by the address or number that was asked, not by the row: a row whose address changes is about
somebody else, and an address that comes back under another row is still the one that was asked.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from airflow_provider_klaviyo.identity import texts_of
from airflow_provider_klaviyo.records.record import Record, all_of
from airflow_provider_klaviyo.records.subscriptions.consent import CHANNELS
from airflow_provider_klaviyo.records.subscriptions.record import Address, SubscriptionRecord
from airflow_provider_klaviyo.state.keys import asked_hashes, person_hashes
from airflow_provider_klaviyo.state.ledger import Ledger
from airflow_provider_klaviyo.state.rows import Sent, Status
from airflow_provider_klaviyo.sync.subscriptions.joint_notes import JointNotes


class Asked(NamedTuple):
    """That an address was asked at, by Klaviyo's clock; ``is_answered``: Klaviyo took the request, else in doubt."""

    at: float
    is_answered: bool


class AskedPeople:
    """Notes in the state who is asked, before each request and after its answer.

    :param now: seconds since the epoch, the same for all hosts.
    :param remembers: whether addresses are remembered: where being asked twice does harm. Then the outcome
        acknowledges rows, otherwise Klaviyo's taking their request does.
    :param keeps_rows: whether rows are acknowledged at all (``only_changes``).
    :param is_outcome_awaited: whether people stay in doubt until ``forget`` says that the outcome has shown, whatever
        Klaviyo answers: those of several requests may then share an entry, of which no answer is noted.
    """

    def __init__(
        self,
        ledger: Ledger | None,
        *,
        now: Callable[[], float],
        remembers: bool,
        keeps_rows: bool,
        is_outcome_awaited: bool = False,
    ) -> None:
        self._ledger = ledger
        self._now = now
        self._remembers = remembers
        self._keeps_rows = keeps_rows
        self._rows_with_request = keeps_rows and not remembers
        self._sizes: dict[int, int] = {}
        self._parts: dict[int, list[SubscriptionRecord]] = {}
        self._lock = threading.Lock()
        self._joint = JointNotes(self._write) if ledger and is_outcome_awaited else None
        self._joined: dict[int, Sequence[int]] = {}
        self._tickets = itertools.count(1)

    def asked_at(self, addresses: Sequence[Address]) -> Mapping[Address, Asked]:
        """Which of the addresses were asked, or may have been, and not refused by Klaviyo."""
        if not self._ledger or not self._remembers:
            return {}
        keys = dict(zip(asked_hashes(addresses), addresses, strict=True))
        known = self._ledger.asked.look_up(list(keys))
        return {
            keys[key]: Asked(found.at, found.status is not Status.IN_DOUBT)
            for key, found in known.items()
            if found.status is not Status.FAILED
        }

    def mark_in_doubt(self, records: Sequence[Record]) -> int:
        """Before a request leaves: whom it asks is in doubt from now on. The ticket stands for them."""
        people = all_of(SubscriptionRecord, records)
        if self._remembers:
            return self._ask([address for record in people for address in record.addresses])
        return self._note(_noted([row for _, row in _undivided(people)])) if self._rows_with_request else 0

    def start(self, ticket: int, job_id: str, kind: str) -> None:
        """Klaviyo has no jobs for this."""

    def settle(self, ticket: int, failed: Sequence[int] = (), pending: Sequence[int] = ()) -> None:
        """What rows of a ticket ask for is so in Klaviyo."""
        if self._ledger and self._sizes.pop(ticket, 0):
            self._ledger.settle(ticket, failed, pending)

    def accepted(self, ticket: int, people: Sequence[SubscriptionRecord], in_part: Sequence[int]) -> None:
        """Klaviyo took the request of a ticket; people at the indexes ``in_part`` not whole: these are tried again."""
        if self._joint:
            self.keep_in_doubt(ticket)
        elif self._remembers:
            self._answer(ticket, is_taken=True)
        elif self._rows_with_request:
            rows = enumerate(_undivided(people))
            self.settle(ticket, [number for number, (index, _) in rows if index in in_part])
            whole = [record for index, record in enumerate(people) if index not in in_part]
            self._acknowledge(self._completed(whole))

    def keep_in_doubt(self, ticket: int) -> None:
        """Klaviyo has, or may have, taken the request of a ticket: ``forget`` tells when its outcome has shown."""
        self._joined.pop(ticket, None)

    def withdraw(self, ticket: int) -> None:
        """Klaviyo certainly did not take the request of a ticket."""
        if self._remembers:
            self._answer(ticket, is_taken=False)
        else:
            self.settle(ticket, range(self._sizes.get(ticket, 0)))

    def refuse(self, records: Sequence[Record]) -> None:
        """Klaviyo refused these: their rows are tried again. Their addresses were withdrawn with the request."""
        if self._ledger and self._keeps_rows:
            self._ledger.fail([row.key for record in records for row in record.originals])

    def has_history(self) -> bool:
        """Whether Klaviyo has taken anybody of this sync before."""
        ledger = self._ledger
        return ledger is not None and (
            ledger.has_acknowledged() or any(run.get("accepted") for run in ledger.runs)
        )

    def acknowledge(self, records: Sequence[Record]) -> None:
        """What these rows ask for is so in Klaviyo."""
        people = all_of(SubscriptionRecord, records)
        self._acknowledge([*(row for _, row in _undivided(people)), *self._completed(people)])

    def _acknowledge(self, rows: Sequence[SubscriptionRecord]) -> None:
        if self._keeps_rows and rows:
            self.settle(self._note(_noted(rows)))

    def _completed(self, people: Sequence[SubscriptionRecord]) -> list[SubscriptionRecord]:
        """The rows of which these are the last parts; the part that was not whole, if any, stands for the row."""
        completed = []
        with self._lock:
            for part in (row for record in people for row in record.rows_as_sent if row.shares > 1):
                parts = self._parts.setdefault(part.number, [])
                parts.append(part)
                if len(parts) == part.shares:
                    completed.append(min(parts, key=lambda each: each.fingerprint != 0))
                    del self._parts[part.number]
        return completed

    def forget(self, addresses: Sequence[Address]) -> None:
        """The outcome of asking at these has shown: asking again is asking anew."""
        if self._ledger and self._remembers and addresses:
            self._ledger.conclude(asked_hashes(addresses))

    def _ask(self, addresses: Sequence[Address]) -> int:
        if not self._ledger or not addresses:
            return 0
        asked = dict(zip(asked_hashes(addresses), _people(addresses), strict=True))
        if self._joint:
            self._joint.add(asked)
            ticket = next(self._tickets)
            self._joined[ticket] = list(asked)
            return ticket
        ticket = self._write(asked)
        self._sizes[ticket] = len(asked)
        return ticket

    def _write(self, asked: Mapping[int, int]) -> int:
        return self._ledger.ask(asked, at=int(self._now())) if self._ledger else 0

    def _answer(self, ticket: int, *, is_taken: bool) -> None:
        if self._ledger and ticket in self._joined:
            self._ledger.conclude(self._joined.pop(ticket))
        elif self._ledger and self._sizes.pop(ticket, 0):
            self._ledger.answer(ticket, is_taken=is_taken)

    def _note(self, noted: Sequence[Sent]) -> int:
        if not self._ledger or not noted:
            return 0
        ticket = self._ledger.mark_in_doubt(noted, overrules=False)
        self._sizes[ticket] = len(noted)
        return ticket


def _undivided(people: Sequence[SubscriptionRecord]) -> list[tuple[int, SubscriptionRecord]]:
    """The rows that people stand for as a whole, each with the index of its person."""
    return [
        (index, row) for index, record in enumerate(people) for row in record.rows_as_sent if row.shares == 1
    ]


def _noted(rows: Sequence[SubscriptionRecord]) -> list[Sent]:
    return [Sent(row.key, row.fingerprint, row.person) for row in rows]


def _people(addresses: Sequence[Address]) -> list[int]:
    """As the state knows people, so that who is to be forgotten is found."""
    return person_hashes(
        texts_of([(CHANNELS.get(channel, "klaviyo_id"), value) for channel, value in addresses])
    )

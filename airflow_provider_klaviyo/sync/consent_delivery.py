"""Requests that change people's consent: checked right before they leave, noted before, and never asked for twice."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

from airflow_provider_klaviyo.client.endpoints import Endpoint
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.client.retry import was_not_processed
from airflow_provider_klaviyo.exceptions import KlaviyoError, KlaviyoRetryableError, KlaviyoTimeout
from airflow_provider_klaviyo.records.consent import CHANNELS
from airflow_provider_klaviyo.records.record import Problem, Record
from airflow_provider_klaviyo.records.subscription import SubscriptionRecord
from airflow_provider_klaviyo.sync.asked import AskedPeople
from airflow_provider_klaviyo.sync.delivery import Doubt, PooledDelivery
from airflow_provider_klaviyo.sync.outcomes import Outcome, Settled, Verdict
from airflow_provider_klaviyo.sync.people import SeenPeople
from airflow_provider_klaviyo.sync.refusals import RefusalHandler

Post = Callable[[Sequence[Record]], str]
"""Brings people to Klaviyo in one request, or shows it in a preview; returns a field that Klaviyo left out, if any."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What every delivery of consent is made of.

    :param state: remembers who is asked.
    :param post: sends one request.
    :param endpoint: what the request goes to.
    :param seen: the addresses and numbers of this run, of which none is sent twice.
    """

    client: KlaviyoClient
    state: AskedPeople
    post: Post
    endpoint: Endpoint
    seen: SeenPeople


class ConsentDelivery(PooledDelivery):
    """Sends people past a check, in batches; subclasses say what the check is."""

    outcome_shows = False
    """Whether Klaviyo shows later what became of a request whose answer was lost."""

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts.client, parts.state)
        self._asked = parts.state
        self._post = parts.post
        self._refusals = RefusalHandler(parts.endpoint.records, has_history=parts.state.has_history)
        self._endpoint = parts.endpoint
        self._seen = parts.seen
        self._remarks: dict[int, tuple[Problem, ...]] = {}
        self._lock = threading.Lock()
        self.sent = 0

    def send(self, batch: Sequence[Record]) -> None:
        """Hand over a batch, without channels whose address another row of this run has taken.

        Two people of a query may share a number: nobody gets two messages for that.
        """
        people = cast("Sequence[SubscriptionRecord]", batch)
        addresses = [(record, address) for record in people for address in record.addresses]
        places = self._seen.add([f"{address.channel}\0{address.value}" for _, address in addresses])
        repeated = {(addresses[place][0].number, addresses[place][1].channel) for place in places}
        if not repeated:
            super().send(batch)
            return
        self._handed_over.add(batch[0].number)
        if kept := [each for record in people if (each := self._without_repeated(record, repeated))]:
            super().send(kept)

    def close(self) -> None:
        """Give the threads back, and forget everyone."""
        super().close()
        self._seen.close()

    # --- for subclasses ---------------------------------------------------------------------------------------

    def _check(self, people: Sequence[SubscriptionRecord], doubt: Doubt) -> Sequence[SubscriptionRecord]:
        """Who may be sent at this moment; everybody else is told of."""
        raise NotImplementedError

    def _put_off(self, people: Sequence[SubscriptionRecord], doubt: Doubt, error: KlaviyoError) -> None:
        """Wait for the outcome of a request whose answer was lost."""
        raise NotImplementedError

    def _narrow(
        self, record: SubscriptionRecord, channels: Sequence[str], reasons: Sequence[Problem]
    ) -> SubscriptionRecord:
        """A person with fewer channels; the reasons are told when the rest was taken."""
        if reasons:
            self._remarks[record.number] = (*self._remarks.get(record.number, ()), *reasons)
        return record if len(channels) == len(record.channels) else record.narrowed(channels)

    def _verdict(
        self, record: SubscriptionRecord, outcome: Outcome, problems: Sequence[Problem], doubt: Doubt | None
    ) -> None:
        told = (*self._remarks.pop(record.number, ()), *problems)
        self._tell(
            Settled(verdicts=[Verdict(record.number, record.row, outcome, tuple(told))]), [record], doubt
        )

    def _accept(self, people: Sequence[SubscriptionRecord], doubt: Doubt | None) -> None:
        warnings = [
            Verdict(record.number, record.row, Outcome.WARNING, remarks)
            for record in people
            if (remarks := self._remarks.pop(record.number, ()))
        ]
        self._tell(Settled(accepted=len(people), verdicts=warnings), people, doubt)

    # --- the way of a batch -----------------------------------------------------------------------------------

    def _deliver(self, batch: Sequence[Record], doubt: Doubt) -> None:
        with self._refusals_noted(doubt) as refuse:
            self._refusals.deliver(
                batch,
                post=lambda part: self._send(cast("Sequence[SubscriptionRecord]", part), doubt),
                refuse=refuse,
                check=lambda part: self._check(cast("Sequence[SubscriptionRecord]", part), doubt),
            )

    def _send(self, people: Sequence[SubscriptionRecord], doubt: Doubt) -> None:
        """Send a request until it has an answer; before it is repeated, everybody is checked anew."""
        started, tries = self._client.clock.now(), 0
        while people:
            tries += 1
            ticket = self._asked.send(people)
            try:
                left_out = self._post(people)
            except KlaviyoError as error:
                if not is_doubtful(error):
                    self._asked.withdraw(ticket)
                elif self.outcome_shows:
                    self._put_off(people, doubt, error)
                    return
                self._client.wait_to_repeat(self._endpoint, error, tries, started)
                people = self._check(people, doubt)
            else:
                self._take(people, ticket, left_out, doubt)
                return

    def _take(self, people: Sequence[SubscriptionRecord], ticket: int, left_out: str, doubt: Doubt) -> None:
        self._asked.settle(ticket)
        with self._lock:
            self.sent += len(people)
        for record in people:
            if left_out in record.identifiers:
                self._narrow(record, record.channels, [_left_out(left_out, len(people))])
        self._accept(people, doubt)

    def _without_repeated(
        self, record: SubscriptionRecord, repeated: set[tuple[int, str]]
    ) -> SubscriptionRecord | None:
        lost = [channel for channel in record.channels if (record.number, channel) in repeated]
        if not lost:
            return record
        problems = [
            Problem(
                CHANNELS[channel],
                f"another row of this run has the same {CHANNELS[channel]}, and the first one counts",
            )
            for channel in lost
        ]
        kept = [channel for channel in record.channels if channel not in lost]
        if kept:
            return self._narrow(record, kept, problems)
        self._verdict(record, Outcome.SKIPPED, problems, None)
        return None


class UncheckedDelivery(ConsentDelivery):
    """For a call that does the same to everybody, however often it is sent."""

    def _check(self, people: Sequence[SubscriptionRecord], doubt: Doubt) -> Sequence[SubscriptionRecord]:  # noqa: ARG002
        """Everybody."""
        return people


def _left_out(field: str, people: int) -> Problem:
    whose = "" if people == 1 else ", or of others in the same request: it does not say whose"
    return Problem(field, f"Klaviyo took the person without this field, so nothing may come of it{whose}")


def is_doubtful(error: KlaviyoError) -> bool:
    """Whether Klaviyo may have done what was asked although it did not say so."""
    return (
        isinstance(error, KlaviyoRetryableError)
        and not isinstance(error, KlaviyoTimeout)
        and not was_not_processed(error)
    )

"""Requests that change people's consent: checked right before they leave, noted before, and never asked for twice."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from typing import NamedTuple

from airflow_provider_klaviyo.client.endpoints import Endpoint
from airflow_provider_klaviyo.client.filters import MAX_VALUES
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.client.retry import may_be_done
from airflow_provider_klaviyo.exceptions import (
    KlaviyoError,
    KlaviyoRequestError,
    KlaviyoRetryableError,
)
from airflow_provider_klaviyo.records.record import Problem, Record, all_of
from airflow_provider_klaviyo.records.subscriptions.consent import CHANNELS
from airflow_provider_klaviyo.records.subscriptions.record import SubscriptionRecord
from airflow_provider_klaviyo.sync.delivery.pool import InFlightBatch, PooledDelivery, in_parts
from airflow_provider_klaviyo.sync.delivery.refusals import (
    BatchRejected,
    Objection,
    RefusalHandler,
    SplitBatch,
)
from airflow_provider_klaviyo.sync.outcomes import Outcome, Settled
from airflow_provider_klaviyo.sync.seen import SeenPeople
from airflow_provider_klaviyo.sync.subscriptions.asked import AskedPeople
from airflow_provider_klaviyo.sync.subscriptions.looks import CHECKED_FOR
from airflow_provider_klaviyo.sync.subscriptions.one_at_first import OneAtFirst
from airflow_provider_klaviyo.sync.subscriptions.remarks import Remarks, channel_of, settled

log = logging.getLogger(__name__)


class Post(NamedTuple):
    """A turn to send people.

    :param send: brings them to Klaviyo in one request, or shows it in a preview; returns a field that Klaviyo left out.
    :param wait: until the request may leave.
    """

    send: Callable[[Sequence[Record]], str]
    wait: Callable[[], None] = lambda: None


class Checked(NamedTuple):
    """Who may be sent, who is left to be checked, and when the check began, by the clock that never jumps."""

    free: Sequence[SubscriptionRecord]
    left: Sequence[SubscriptionRecord]
    began: float


@dataclass(frozen=True, slots=True)
class Parts:
    """What every delivery of consent is made of.

    :param state: remembers who is asked.
    :param turn: waits until a request may be sent that is prepared for so many seconds, and gives what sends it.
    :param endpoint: what the request goes to.
    :param seen: the addresses and numbers of this run, of which none is sent twice.
    :param drops_invalid: whether a person goes without a channel that Klaviyo refuses.
    """

    client: KlaviyoClient
    state: AskedPeople
    turn: Callable[[float], AbstractContextManager[Post]]
    endpoint: Endpoint
    seen: SeenPeople
    drops_invalid: bool


class ConsentDelivery(PooledDelivery[SubscriptionRecord]):
    """Sends people past a check, in batches; subclasses say what the check is."""

    outcome_shows = False
    """Whether Klaviyo shows later what became of a request whose answer was lost."""

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts.client, parts.state)
        self._asked = parts.state
        self._turn = parts.turn
        self._refusals = RefusalHandler(
            parts.endpoint.records, mend=self._mend, has_history=parts.state.has_history
        )
        self._endpoint = self._paced_by = parts.endpoint
        self._seen = parts.seen
        self._drops_invalid = parts.drops_invalid
        self._remarks = Remarks()
        self._lock = threading.Lock()
        self._alone = OneAtFirst(parts.client, parts.endpoint)
        self._is_slow = False
        self.sent = 0

    def send(self, batch: Sequence[Record]) -> None:
        """Hand over a batch; blocks while enough requests are in flight.

        :raises KlaviyoError: when an earlier batch met an error that ends the run; this batch is then in doubt too.
        """
        super().send(all_of(SubscriptionRecord, batch))

    def abandon(self, reason: str) -> Iterator[Settled]:
        """What became of the records so far, and all others as pending; each row once, in however many parts."""
        pending: set[int] = set()
        for told in super().abandon(reason):
            news = []
            for each in told.verdicts:
                if each.number not in pending:
                    news.append(each)
                if each.outcome is Outcome.PENDING:
                    pending.add(each.number)
            yield told if len(news) == len(told.verdicts) else replace(told, verdicts=news)
        rest = [row for row in self._remarks.abandon(Problem("", reason)) if row.number not in pending]
        yield settled(rest)

    def close(self) -> None:
        """Give the threads back, and forget everyone."""
        super().close()
        self._seen.close()

    @property
    def _width(self) -> int:
        """Twice as many batches as requests, or as looks at first: while one is sent another is looked at."""
        if self._client.pace(self._paced_by).is_proven:
            return 2 * super()._width
        return max(super()._width, 2 * self._looks_at_once)

    @property
    def _looks_at_once(self) -> int:
        """How many requests of looks there is a use for; 0 where nobody is looked at."""
        return 0

    # --- for subclasses ---------------------------------------------------------------------------------------

    @property
    def _look_takes(self) -> float:
        """Seconds that a look takes, as far as that is known."""
        return 0.0

    def _room(self, people: Sequence[SubscriptionRecord]) -> AbstractContextManager[None]:  # noqa: ARG002
        """Entered before the turn is waited for, and left after the look: nobody holds a turn who cannot look yet."""
        return nullcontext()

    def _look(self, people: Sequence[SubscriptionRecord], unsettled: InFlightBatch) -> Checked:
        """Who may be sent at this moment; everybody else is told of, or left to be looked at later."""
        raise NotImplementedError

    def _mend(self, record: SubscriptionRecord, objections: Sequence[Objection]) -> SubscriptionRecord | None:
        """What is left of a person without what Klaviyo refuses; None where that is nothing."""
        return self._without_channels(record, [objection.problem for objection in objections])

    def _announced(
        self,
        people: Sequence[SubscriptionRecord],
        unsettled: InFlightBatch,  # noqa: ARG002 - for those who leave some out
    ) -> tuple[Sequence[SubscriptionRecord], int]:
        """Note who is about to be sent; returns who may be after all, and what stands for them."""
        return people, self._asked.mark_in_doubt(people) if people else 0

    def _not_sent(self, ticket: int) -> None:
        """Klaviyo certainly did nothing for those of a ticket."""
        self._asked.withdraw(ticket)

    def _taken(
        self,
        people: Sequence[SubscriptionRecord],
        ticket: int,
        in_part: Sequence[int],
        unsettled: InFlightBatch,
    ) -> None:
        """Klaviyo took the request; people at the indexes ``in_part`` not whole."""
        self._asked.accepted(ticket, people, in_part)
        self._accept(people, unsettled)

    def _put_off(
        self, people: Sequence[SubscriptionRecord], unsettled: InFlightBatch, error: KlaviyoError
    ) -> None:
        """Wait for the outcome of a request whose answer was lost."""
        raise NotImplementedError

    def _narrow(
        self,
        record: SubscriptionRecord,
        channels: Sequence[str],
        reasons: Sequence[Problem],
        outcome: Outcome = Outcome.SKIPPED,
    ) -> SubscriptionRecord:
        """A person with fewer channels; the reasons are told when the rest was taken.

        :param outcome: what becomes of a row that asked for nothing else.
        """
        self._remarks.add(record, reasons, outcome)
        return record if len(channels) == len(record.channels) else record.narrowed(channels)

    def _verdict(
        self,
        record: SubscriptionRecord,
        outcome: Outcome,
        problems: Sequence[Problem],
        unsettled: InFlightBatch | None,
    ) -> None:
        verdicts = self._remarks.verdicts(record, outcome, tuple(problems))
        self._publish(settled(verdicts), [record], unsettled)

    def _accept(self, people: Sequence[SubscriptionRecord], unsettled: InFlightBatch | None) -> None:
        self._publish(self._remarks.accepted(people), people, unsettled)

    def _wanted(
        self, batch: Sequence[SubscriptionRecord], unsettled: InFlightBatch
    ) -> Sequence[SubscriptionRecord]:
        """The batch without channels whose address another row of this run has taken.

        Two people of a query may share a number: nobody gets two messages for that.
        """
        if not (repeated := self._repeated(batch)):
            return batch
        wanted = [self._without_repeated(record, repeated, unsettled) for record in batch]
        return [record for record in wanted if record]

    def _publish_refused(
        self, record: SubscriptionRecord, problem: Problem, unsettled: InFlightBatch
    ) -> None:
        self._verdict(record, Outcome.REJECTED, [problem], unsettled)

    def _repeated(self, people: Sequence[SubscriptionRecord]) -> set[tuple[int, str]]:
        """The numbers of those whose address on a channel another one of this run has, with that channel."""
        addresses = [(record, address) for record in people for address in record.addresses]
        indexes = self._seen.add([address for _, address in addresses])
        return {(addresses[index][0].number, addresses[index][1].channel) for index in indexes}

    # --- the way of a batch -----------------------------------------------------------------------------------

    def _deliver(self, batch: Sequence[SubscriptionRecord], unsettled: InFlightBatch) -> None:
        with self._refusals_noted(unsettled) as refuse:
            self._refusals.deliver(batch, post=lambda part: self._send(part, unsettled), refuse=refuse)

    def _send(self, people: Sequence[SubscriptionRecord], unsettled: InFlightBatch) -> bool:
        """Send those for whom there was time to be checked.

        :raises SplitBatch: when others are left.
        :raises BatchRejected: when Klaviyo refuses whom the check has left.
        """
        left: list[SubscriptionRecord] = []
        try:
            was_sent = self._request(people, unsettled, left)
        except (SplitBatch, BatchRejected) as stopped:
            stopped.parts = [*stopped.parts, left] if left else stopped.parts
            raise
        if left:
            raise SplitBatch([left], was_taken=was_sent)
        return was_sent

    def _request(
        self, people: Sequence[SubscriptionRecord], unsettled: InFlightBatch, left: list[SubscriptionRecord]
    ) -> bool:
        """Send a request until it has an answer; False when nobody may be sent.

        Everybody is checked right before each try: when its turn has come, and nothing is waited for any more.

        :param left: takes those for whose check there was no time.
        :raises SplitBatch: when the check is too old by now to count.
        :raises BatchRejected: when Klaviyo refuses whom the check has left.
        """
        started, tries = self._client.clock.monotonic(), 0
        while True:
            tries += 1
            with ExitStack() as turn:
                with self._room(people):
                    post = turn.enter_context(self._turn(self._look_takes))
                    checked = self._look(people, unsettled)
                left += checked.left
                alone = turn.enter_context(self._alone.entered())
                post.wait()
                people, ticket = self._announced_in_time(checked, unsettled)
                if not people:
                    return False
                try:
                    left_out = post.send(people)
                except KlaviyoError as error:
                    failure = alone.failure = error
                else:
                    self._accept_request(people, ticket, left_out, unsettled)
                    return True
            if not may_be_done(failure):
                self._not_sent(ticket)
            elif self.outcome_shows:
                self._put_off(people, unsettled, failure)
                if isinstance(failure, KlaviyoRetryableError):
                    return True
            if isinstance(failure, KlaviyoRequestError):
                raise BatchRejected(people, failure)
            self._client.wait_to_repeat(self._endpoint, failure, tries, started)

    def _announced_in_time(
        self, checked: Checked, unsettled: InFlightBatch
    ) -> tuple[Sequence[SubscriptionRecord], int]:
        """Note who is about to be sent, as ``_announced`` does, as long as the check counts.

        :raises SplitBatch: when it does not any more, be it for the time that the note took.
        """
        self._hold_to_time(checked.free, checked.began)
        people, ticket = self._announced(checked.free, unsettled)
        try:
            self._hold_to_time(people, checked.began)
        except BaseException:
            self._not_sent(ticket)
            raise
        return people, ticket

    def _hold_to_time(self, people: Sequence[SubscriptionRecord], began: float) -> None:
        age = self._client.clock.monotonic() - began
        if not people or age <= CHECKED_FOR:
            return
        msg = f"Looking at {len(people):,} people took {age:.0f} s, and counts for {CHECKED_FOR:.0f} s"
        level, self._is_slow = logging.DEBUG if self._is_slow else logging.WARNING, True
        log.log(
            level,
            "%s: they are looked at again. Klaviyo or [klaviyo] storage_path answers slowly, or the account's rate "
            "limits are used up.",
            msg,
        )
        raise SplitBatch(in_parts(people, max(MAX_VALUES, len(people) // 2 + 1)))

    def _accept_request(
        self, people: Sequence[SubscriptionRecord], ticket: int, left_out: str, unsettled: InFlightBatch
    ) -> None:
        without = [index for index, record in enumerate(people) if left_out in record.identifiers]
        with self._lock:
            self.sent += len(people)
        for index in without:
            record = people[index]
            self._narrow(record, record.channels, [_left_out(left_out, len(people))], Outcome.WARNING)
        self._taken(people, ticket, without, unsettled)

    def _without_channels(
        self, person: SubscriptionRecord, problems: Sequence[Problem]
    ) -> SubscriptionRecord | None:
        """A person whose number Klaviyo refuses, or what goes with it, can still get e-mail, and the other way."""
        lost = {channel_of(problem.field) for problem in problems}
        kept = [channel for channel in person.channels if channel not in lost]
        is_needed = any(channel is None or CHANNELS[channel] in person.needed for channel in lost)
        if is_needed or not kept or not lost.issubset(person.channels) or not self._drops_invalid:
            return None
        return self._narrow(person, kept, problems, Outcome.REJECTED)

    def _without_repeated(
        self, record: SubscriptionRecord, repeated: set[tuple[int, str]], unsettled: InFlightBatch
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
        self._verdict(record, Outcome.SKIPPED, problems, unsettled)
        return None


class UncheckedDelivery(ConsentDelivery):
    """For a call that does the same to everybody, however often it is sent."""

    def _look(
        self,
        people: Sequence[SubscriptionRecord],
        unsettled: InFlightBatch,  # noqa: ARG002 - nobody is spared
    ) -> Checked:
        """Everybody."""
        return Checked(people, (), self._client.clock.monotonic())


def _left_out(field: str, people: int) -> Problem:
    whose = "" if people == 1 else ", or of others in the same request: it does not say whose"
    return Problem(field, f"Klaviyo took the person without this field, so nothing may come of it{whose}")

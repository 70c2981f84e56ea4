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
from airflow_provider_klaviyo.records.subscriptions.record import DATE_OF_BIRTH, SubscriptionRecord
from airflow_provider_klaviyo.sync.delivery.pool import InFlightBatch, PooledDelivery, in_parts
from airflow_provider_klaviyo.sync.delivery.refusals import (
    BatchRejected,
    Objection,
    RefusalHandler,
    SplitBatch,
)
from airflow_provider_klaviyo.sync.outcomes import Outcome, Settled, Verdict
from airflow_provider_klaviyo.sync.seen import SeenPeople
from airflow_provider_klaviyo.sync.subscriptions.asked import AskedPeople
from airflow_provider_klaviyo.sync.subscriptions.looks import CHECKED_FOR
from airflow_provider_klaviyo.sync.subscriptions.shared_rows import RowVerdict, SharedRows

log = logging.getLogger(__name__)

Post = Callable[[Sequence[Record]], str]
"""Brings people to Klaviyo in one request, or shows it in a preview; returns a field that Klaviyo left out, if any."""

_LEFT_OUT = (Outcome.SKIPPED, Outcome.REJECTED)


class Checked(NamedTuple):
    """Who may be sent, who is left to be checked, and when the check began, by the clock that never jumps."""

    free: Sequence[SubscriptionRecord]
    left: Sequence[SubscriptionRecord]
    began: float


@dataclass(frozen=True, slots=True)
class Parts:
    """What every delivery of consent is made of.

    :param state: remembers who is asked.
    :param turn: waits until a request may be sent, and gives what sends it.
    :param endpoint: what the request goes to.
    :param seen: the addresses and numbers of this run, of which none is sent twice.
    :param drops_invalid: whether a person goes without a channel that Klaviyo refuses.
    """

    client: KlaviyoClient
    state: AskedPeople
    turn: Callable[[], AbstractContextManager[Post]]
    endpoint: Endpoint
    seen: SeenPeople
    drops_invalid: bool


class ConsentDelivery(PooledDelivery[SubscriptionRecord]):
    """Sends people past a check, in batches; subclasses say what the check is."""

    one_look: AbstractContextManager[object] = nullcontext()
    """Held while people are checked: where that is many requests side by side, one batch is checked at a time."""

    outcome_shows = False
    """Whether Klaviyo shows later what became of a request whose answer was lost."""

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts.client, parts.state)
        self._asked = parts.state
        self._turn = parts.turn
        self._refusals = RefusalHandler(
            parts.endpoint.records, mend=self._mend, has_history=parts.state.has_history
        )
        self._endpoint = parts.endpoint
        self._seen = parts.seen
        self._drops_invalid = parts.drops_invalid
        self._remarks: dict[int, tuple[_Remark, ...]] = {}
        self._shared = SharedRows()
        self._lock = threading.Lock()
        self.sent = 0

    def send(self, batch: Sequence[Record]) -> None:
        """Hand over a batch; blocks while enough requests are in flight.

        :raises KlaviyoError: when an earlier batch met an error that ends the run; this batch is then in doubt too.
        """
        super().send(all_of(SubscriptionRecord, batch))

    def abandon(self, reason: str) -> Iterator[Settled]:
        """What became of the records so far, and all others as pending; each row once, in however many parts."""
        pending: set[int] = set()
        for settled in super().abandon(reason):
            news = []
            for each in settled.verdicts:
                if each.number not in pending:
                    news.append(each)
                if each.outcome is Outcome.PENDING:
                    pending.add(each.number)
            yield settled if len(news) == len(settled.verdicts) else replace(settled, verdicts=news)
        rest = [row for row in self._shared.abandon(Problem("", reason)) if row.number not in pending]
        yield _settled(rest)

    def close(self) -> None:
        """Give the threads back, and forget everyone."""
        super().close()
        self._seen.close()

    # --- for subclasses ---------------------------------------------------------------------------------------

    def _check(
        self, people: Sequence[SubscriptionRecord], unsettled: InFlightBatch
    ) -> Sequence[SubscriptionRecord]:
        """Who may be sent at this moment; everybody else is told of."""
        raise NotImplementedError

    def _look(self, people: Sequence[SubscriptionRecord], unsettled: InFlightBatch) -> Checked:
        """The check, with the moment at which it began; it may leave people to be checked later."""
        began = self._client.clock.monotonic()
        return Checked(self._check(people, unsettled), (), began)

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
        if reasons:
            remarks = [_Remark(problem, outcome) for problem in reasons]
            self._remarks[record.number] = (*self._remarks.get(record.number, ()), *remarks)
        return record if len(channels) == len(record.channels) else record.narrowed(channels)

    def _verdict(
        self,
        record: SubscriptionRecord,
        outcome: Outcome,
        problems: Sequence[Problem],
        unsettled: InFlightBatch | None,
    ) -> None:
        verdicts = self._row_verdicts(record, outcome, tuple(problems))
        self._publish(_settled(verdicts), [record], unsettled)

    def _accept(self, people: Sequence[SubscriptionRecord], unsettled: InFlightBatch | None) -> None:
        verdicts = [row for record in people for row in self._row_verdicts(record, Outcome.ACCEPTED)]
        self._publish(_settled(verdicts), people, unsettled)

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

    def _row_verdicts(
        self, record: SubscriptionRecord, outcome: Outcome, problems: tuple[Problem, ...] = ()
    ) -> list[RowVerdict]:
        """What became of the rows that a record stands for, as far as all is known of them."""
        remarks = self._remarks.pop(record.number, ())
        verdicts = []
        for row in record.originals:
            own = [each for each in remarks if row is record or _is_about(each.problem, row)]
            about = problems if row is record else _about(row, problems)
            verdict = _lost(row, own) or outcome
            reasons = (*row.remarks, *(each.problem for each in own), *(about if verdict is outcome else ()))
            verdicts.append(self._shared.add(row, verdict, reasons))
        return [each for each in verdicts if each]

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
        :raises SplitBatch: when the check took so long that it no longer counts.
        :raises BatchRejected: when Klaviyo refuses whom the check has left.
        """
        started, tries = self._client.clock.monotonic(), 0
        while True:
            tries += 1
            with ExitStack() as turn:
                with self.one_look:
                    post = turn.enter_context(self._turn())
                    people = self._checked(people, unsettled, left)
                people, ticket = self._announced(people, unsettled)
                if not people:
                    return False
                try:
                    left_out = post(people)
                except KlaviyoError as error:
                    failure = error
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

    def _checked(
        self, people: Sequence[SubscriptionRecord], unsettled: InFlightBatch, left: list[SubscriptionRecord]
    ) -> Sequence[SubscriptionRecord]:
        checked = self._look(people, unsettled)
        left += checked.left
        free, age = checked.free, self._client.clock.monotonic() - checked.began
        if not free or age <= CHECKED_FOR:
            return free
        log.warning(
            "Looking at %s people took %.0f s, and counts for %.0f s: they are looked at again. Klaviyo answers "
            "slowly, or the account's rate limits are used up.",
            f"{len(free):,}",
            age,
            CHECKED_FOR,
        )
        raise SplitBatch(in_parts(free, max(MAX_VALUES, len(free) // 2 + 1)))

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
        lost = {_channel_of(problem.field) for problem in problems}
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

    def _check(
        self,
        people: Sequence[SubscriptionRecord],
        unsettled: InFlightBatch,  # noqa: ARG002 - nobody is spared
    ) -> Sequence[SubscriptionRecord]:
        """Everybody."""
        return people


class _Remark(NamedTuple):
    """Why a channel was left out, and what becomes of a row that asked for nothing else."""

    problem: Problem
    outcome: Outcome


def _is_about(problem: Problem, row: SubscriptionRecord) -> bool:
    """Whether a row of several that were brought together asked for the channel that a problem is about."""
    return _channel_of(problem.field) in (None, *row.channels)


def _about(row: SubscriptionRecord, problems: tuple[Problem, ...]) -> tuple[Problem, ...]:
    """The problems that are a row's; all where none is of its channels."""
    return tuple(each for each in problems if _is_about(each, row)) or problems


def _lost(row: SubscriptionRecord, remarks: Sequence[_Remark]) -> Outcome | None:
    """What becomes of a row all of whose channels were left out; None when something of it was sent."""
    lost = {_channel_of(each.problem.field): each.outcome for each in remarks if each.outcome in _LEFT_OUT}
    if not set(row.channels) <= lost.keys():
        return None
    return Outcome.REJECTED if Outcome.REJECTED in lost.values() else Outcome.SKIPPED


def _settled(verdicts: Sequence[RowVerdict]) -> Settled:
    """What became of rows, for the report."""
    accepted = [row for row in verdicts if row.outcome is Outcome.ACCEPTED]
    others = [row for row in verdicts if row.outcome is not Outcome.ACCEPTED]
    warnings = [
        Verdict(row.number, row.row, Outcome.WARNING, row.problems) for row in accepted if row.problems
    ]
    return Settled(accepted=len(accepted), verdicts=[*warnings, *(Verdict(*row) for row in others)])


def _channel_of(field: str) -> str | None:
    """The channel that a field of the request is about."""
    if field == DATE_OF_BIRTH:
        return "sms"
    for channel, identifier in CHANNELS.items():
        if field == identifier or field.startswith(f"subscriptions.{channel}"):
            return channel
    return None


def _left_out(field: str, people: int) -> Problem:
    whose = "" if people == 1 else ", or of others in the same request: it does not say whose"
    return Problem(field, f"Klaviyo took the person without this field, so nothing may come of it{whose}")

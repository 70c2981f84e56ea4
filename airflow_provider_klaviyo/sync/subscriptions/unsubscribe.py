"""Unsubscribing from a list: members only, and never a second time before the list shows what became of the first.

Klaviyo unsubscribes people who are not on the list from everything, takes those it has unsubscribed off the list, and
works a request off some time after its answer. So whoever was sent once may look like a member and be none a moment
later: whether they may be sent is for the state to say, and for the notes of other syncs, not for the list alone.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager

from airflow_provider_klaviyo.client.filters import MAX_VALUES
from airflow_provider_klaviyo.exceptions import KlaviyoError
from airflow_provider_klaviyo.records.record import Problem, Record, all_of
from airflow_provider_klaviyo.records.subscriptions.consent import CHANNELS
from airflow_provider_klaviyo.records.subscriptions.record import PROFILE, Address, SubscriptionRecord
from airflow_provider_klaviyo.sync.delivery.pool import InFlightBatch
from airflow_provider_klaviyo.sync.delivery.refusals import SplitBatch
from airflow_provider_klaviyo.sync.in_flight.notes import (
    OUTSTANDING,
    QUICK,
    UNSUBSCRIPTION,
    Claim,
    InFlight,
    everyone,
)
from airflow_provider_klaviyo.sync.outcomes import Outcome, Settled
from airflow_provider_klaviyo.sync.subscriptions.asked import Asked
from airflow_provider_klaviyo.sync.subscriptions.delivery import Checked, ConsentDelivery, Parts
from airflow_provider_klaviyo.sync.subscriptions.roster import Place, Roster

log = logging.getLogger(__name__)

PATIENCE = 900.0
"""Seconds to look for the outcome of requests; Klaviyo was seen to take one to three minutes."""

_MAX_WAITING = 20_000
"""People whose outcome is waited for before more are sent: they are in memory."""

_FIRST_POLL = 0.5

_BITS = len(CHANNELS)
"""Of a record's claim to a member, behind its number: one for each channel that it is about."""

_SAME_PERSON = Problem(
    "", "another row of this run names the same member of the list, and the first one counts"
)
_TOO_LATE = Problem(
    "",
    "not sent: other rows of this run name the same member of the list, which showed only after they were sent, and "
    "Klaviyo would unsubscribe whoever has left the list from everything",
)

_LEFT_BEFORE = (
    "not_on_list: not sent, since the person has left the list by another identifier, and Klaviyo would unsubscribe "
    "whoever is not on it from everything"
)


class UnsubscribeDelivery(ConsentDelivery):
    """Unsubscribes members of a list from it.

    ``not_awaited`` is how many Klaviyo was asked for and whose outcome was not waited for.

    :param in_flight: what this sync and others have on its way.
    :param patience: seconds to look for outcomes; 0 waits for those in doubt only as long as one look takes, and takes
        Klaviyo's word for the others.
    :param poll_interval: seconds between two looks at who has left.
    :param look_seconds: what a look before sending may take.
    """

    outcome_shows = True

    def __init__(
        self,
        parts: Parts,
        list_id: str,
        in_flight: InFlight,
        *,
        patience: float,
        poll_interval: float,
        look_seconds: float,
    ) -> None:
        super().__init__(parts)
        self.not_awaited = 0
        self._roster = Roster(parts.client, list_id)
        self._looks = self._roster.looks(most=parts.endpoint.max_records, seconds=look_seconds)
        self._in_flight = in_flight
        self._notes: dict[int, str] = {}
        self._known: dict[int, Sequence[tuple[str, str]]] = {}
        self._patience = patience
        self._poll_interval = poll_interval
        self._unsent: dict[int, Sequence[str]] = {}
        self._waiting = InFlightBatch()
        self._unsettled[id(self._waiting)] = self._waiting

    def send(self, batch: Sequence[Record]) -> None:
        """Hand over a batch; blocks while the outcome is open for too many."""
        super().send(batch)
        if len(self._waiting.records) > _MAX_WAITING:
            self._wait(_MAX_WAITING // 2)

    def finish(self) -> Iterator[Settled]:
        """Every verdict that is still to come; who is in doubt has none when the list does not show it in time."""
        yield from super().finish()
        self._wait(0)
        yield from self.settled()
        self._in_flight.tidy()

    def close(self) -> None:
        """Give back what was taken."""
        super().close()
        self._looks.close()
        self._in_flight.close()

    @property
    def _looks_at_once(self) -> int:
        return self._looks.width

    @property
    def _look_takes(self) -> float:
        return self._looks.takes

    def _room(self, people: Sequence[SubscriptionRecord]) -> AbstractContextManager[None]:
        return self._looks.room(len(people))

    def _look(self, people: Sequence[SubscriptionRecord], unsettled: InFlightBatch) -> Checked:
        """Members who were not sent before, narrowed to the channels whose address is the member's."""
        seen = self._looks.at(people)
        return Checked(self._free(seen.shown, unsettled), seen.left, seen.began)

    def _free(self, places: Sequence[Place], unsettled: InFlightBatch) -> list[SubscriptionRecord]:
        asked = self._asked.asked_at([address for place in places for address in place.record.addresses])
        since = self._client.server_now() - OUTSTANDING
        self._note_gone(place.person for place in places if not place.is_on_list)
        free = []
        for _, record, channels, _, known in places:
            before = {each: asked[each] for each in record.addresses if each in asked} if asked else {}
            sent = {address.channel for address, told in before.items() if told.at > since}
            if sent & {*channels, PROFILE}:
                self._unsent[record.number] = [channel for channel in record.channels if channel not in sent]
                self._wait_for([record], unsettled)
            elif not channels:
                self._publish_absent(record, before, unsettled)
            elif (claimed := self._claimed(record, channels)) is None:
                free.append(self._narrow(record, channels, _not_on_list(record, channels)))
                self._known[record.number] = known
            else:
                self._verdict_on_second(record, channels, claimed, unsettled)
        return free

    def _note_gone(self, people: Iterable[SubscriptionRecord]) -> None:
        """Nobody has to wait any longer for those who are not on the list."""
        named = everyone(record.identifiers.items() for record in people)
        self._in_flight.clear(digest for who in named for digest in who)

    def _announced(
        self, people: Sequence[SubscriptionRecord], unsettled: InFlightBatch
    ) -> tuple[Sequence[SubscriptionRecord], int]:
        """Without those whom another sync unsubscribes from the list, or takes off it: these are for a later run."""
        if not people:
            return (), 0
        ticket = self._asked.mark_in_doubt(people)
        claim = self._claim(people, ticket)
        if claim.held:
            self._asked.withdraw(ticket)
            for index, reason in claim.held.items():
                record = people[index]
                self._verdict(
                    record, Outcome.PENDING, [Problem(CHANNELS[record.channels[0]], reason)], unsettled
                )
            people = [record for index, record in enumerate(people) if index not in claim.held]
            ticket = self._asked.mark_in_doubt(people) if people else 0
        if claim.note:
            self._notes[ticket] = claim.note
        return people, ticket

    def _claim(self, people: Sequence[SubscriptionRecord], ticket: int) -> Claim:
        """Ask for leave to send people.

        :raises SplitBatch: when that took so long that the list is to be looked at again.
        """
        known = everyone(
            [(*self._known.pop(record.number), *record.identifiers.items()) for record in people]
        )
        clock = self._client.clock
        began = clock.monotonic()
        try:
            claim = self._in_flight.claim(UNSUBSCRIPTION, known)
        except BaseException:
            self._asked.withdraw(ticket)
            raise
        if claim.note and clock.monotonic() - began > QUICK:
            self._asked.withdraw(ticket)
            self._in_flight.withdraw(claim.note)
            raise SplitBatch([people])
        return claim

    def _not_sent(self, ticket: int) -> None:
        """Klaviyo certainly did nothing for those of a ticket."""
        super()._not_sent(ticket)
        if note := self._notes.pop(ticket, None):
            self._in_flight.withdraw(note)

    def _taken(
        self,
        people: Sequence[SubscriptionRecord],
        ticket: int,
        in_part: Sequence[int],
        unsettled: InFlightBatch,
    ) -> None:
        """Wait for what the list shows: until then people are in doubt, whatever Klaviyo has answered."""
        if note := self._notes.pop(ticket, None):
            self._in_flight.keep(note)
        if self._patience:
            self._asked.keep_in_doubt(ticket)
            self._wait_for(people, unsettled)
            return
        super()._taken(people, ticket, in_part, unsettled)
        with self._lock:
            self.not_awaited += len(people)

    def _claimed(self, record: SubscriptionRecord, channels: Sequence[str]) -> frozenset[str] | None:
        """The channels on which another record of this run is about the same member; None when there is none."""
        member, claim = hash(record.identifiers["klaviyo_id"]), record.number << _BITS | _bits_of(channels)
        with self._lock:
            holder = self._seen.claims.claim([member], [claim]).get(0, claim)
        if holder >> _BITS == record.number:
            return None
        return frozenset(channel for channel in CHANNELS if holder & _bits_of([channel]))

    def _verdict_on_second(
        self,
        record: SubscriptionRecord,
        channels: Sequence[str],
        claimed: frozenset[str],
        unsettled: InFlightBatch,
    ) -> None:
        """Who asks for nothing new is a duplicate; for anything else the member cannot be sent a second time."""
        if claimed.issuperset(channels):
            self._verdict(record, Outcome.SKIPPED, [_SAME_PERSON], unsettled)
        else:
            self._verdict(record, Outcome.PENDING, [_TOO_LATE], unsettled)

    def _repeated(self, people: Sequence[SubscriptionRecord]) -> set[tuple[int, str]]:  # noqa: ARG002
        """Nobody: it is the member that must not be sent twice, and an address may be another row's in vain."""
        return set()

    def _put_off(
        self, people: Sequence[SubscriptionRecord], unsettled: InFlightBatch, error: KlaviyoError
    ) -> None:
        """Never send it again: the list will show who was unsubscribed."""
        log.warning(
            "Whether Klaviyo unsubscribes %s people is not known, so the list is looked at: %s",
            f"{len(people):,}",
            error,
        )
        self._wait_for(people, unsettled)

    def _wait_for(self, people: Sequence[SubscriptionRecord], unsettled: InFlightBatch) -> None:
        with self._lock:
            self._waiting.records.update({record.number: record for record in people})
        unsettled.remove(people)

    def _publish_absent(
        self, record: SubscriptionRecord, before: Mapping[Address, Asked], unsettled: InFlightBatch
    ) -> None:
        """Who left since being sent without a clear answer counts as accepted now; after a clear one it was then.

        However long ago that was: it is the list that shows the outcome.

        :param before: when the person's addresses were asked at, those that were.
        """
        asked = {address.channel for address in before}
        sent = [channel for channel in record.channels if channel in asked]
        if before:
            self._conclude([record], [record.asking(sent)])
        if all(told.is_answered for told in before.values()):
            self._verdict(record, Outcome.SKIPPED, _not_on_list(record, ()), unsettled)
        else:
            self._accept([self._narrow(record, sent, _left_before(record, sent))], unsettled)

    def _conclude(self, left: Sequence[SubscriptionRecord], taken: Sequence[SubscriptionRecord]) -> None:
        """Note that people have left the list, and what of them was sent.

        In this order: after a kill in between, who is neither in doubt nor acknowledged would count as never sent.
        """
        self._asked.acknowledge(taken)
        self._asked.forget([address for record in left for address in record.addresses])

    # --- outcomes in doubt ------------------------------------------------------------------------------------

    def _in_doubt(self) -> list[SubscriptionRecord]:
        with self._lock:
            waiting = list(self._waiting.records.values())
        return all_of(SubscriptionRecord, waiting)

    def _wait(self, most: int) -> None:
        """Look at the list until at most so many are in doubt; when time is up nobody is any longer.

        As long as it shows nothing of a few from all requests, the others are not looked for.
        """
        clock, pause = self._client.clock, _FIRST_POLL
        until = clock.monotonic() + min(self._patience, self._client.seconds_left - self._poll_interval)
        while waiting := self._in_doubt():
            is_last = clock.monotonic() + pause > until
            step = math.ceil(len(waiting) / MAX_VALUES)
            has_begun = self._accept_who_left(waiting[::step])
            if has_begun or is_last:
                self._accept_who_left([each for index, each in enumerate(waiting) if index % step])
            if len(self._waiting.records) <= most:
                return
            if is_last:
                break
            if pause == _FIRST_POLL:
                log.info(
                    "%s people are on the list still, which Klaviyo takes minutes for: waiting.",
                    f"{len(self._waiting.records):,}",
                )
            self._client.sleep(pause)
            pause = min(pause * 2, self._poll_interval)
        for record in self._in_doubt():
            self._verdict(record, Outcome.PENDING, [_no_outcome(record)], self._waiting)

    def _accept_who_left(self, waiting: Sequence[SubscriptionRecord]) -> bool:
        """Look for some people on the list; whether any has left it."""
        members = self._roster.look_up(waiting)
        left = [record for record in waiting if not members.placed(record)[1]]
        taken = [sent for record in left if (sent := self._as_sent(record))]
        self._conclude(left, taken)
        self._accept(taken, self._waiting)
        self._note_gone(record for record in left if not members.have(record))
        return bool(left)

    def _as_sent(self, record: SubscriptionRecord) -> SubscriptionRecord | None:
        """The person with the channels that were in a request, if any: one may have left by another identifier."""
        unsent = self._unsent.pop(record.number, ())
        if not unsent:
            return record
        sent = [channel for channel in record.channels if channel not in unsent]
        problems = _left_before(record, sent)
        if not sent:
            self._verdict(record, Outcome.SKIPPED, problems, self._waiting)
            return None
        self._narrow(record, record.channels, problems)
        return record.asking(sent)


def _bits_of(channels: Collection[str]) -> int:
    return sum(1 << bit for bit, channel in enumerate(CHANNELS) if channel in channels)


def _left_before(record: SubscriptionRecord, sent: Collection[str]) -> list[Problem]:
    return [Problem(CHANNELS[channel], _LEFT_BEFORE) for channel in record.channels if channel not in sent]


def _not_on_list(record: SubscriptionRecord, channels: Sequence[str]) -> list[Problem]:
    return [
        Problem(
            CHANNELS[channel],
            "not_on_list: nobody on the list has it, and Klaviyo would unsubscribe this person from everything",
        )
        for channel in record.channels
        if channel not in channels
    ]


def _no_outcome(record: SubscriptionRecord) -> Problem:
    return Problem(
        CHANNELS[record.channels[0]],
        "asked to be unsubscribed, and the list does not show the outcome yet: a later run looks again, and nobody is "
        f"sent again within {OUTSTANDING / 3_600:.0f} hours",
    )

"""Unsubscribing from a list: members only, and never a second time before the list shows what became of the first.

Klaviyo unsubscribes people who are not on the list from everything, takes those it has unsubscribed off the list, and
works a request off some time after its answer. So whoever was sent once may look like a member and be none a moment
later: whether they may be sent is for the state to say, not for the list alone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence

from airflow_provider_klaviyo.client.people import find_on_list
from airflow_provider_klaviyo.exceptions import KlaviyoError
from airflow_provider_klaviyo.records.consent import CHANNELS
from airflow_provider_klaviyo.records.record import Problem
from airflow_provider_klaviyo.records.subscription import PROFILE, Address, SubscriptionRecord
from airflow_provider_klaviyo.sync.asked import Asked
from airflow_provider_klaviyo.sync.consent_delivery import ConsentDelivery, Parts
from airflow_provider_klaviyo.sync.delivery import Doubt
from airflow_provider_klaviyo.sync.outcomes import Outcome, Settled

log = logging.getLogger(__name__)

OUTSTANDING = 86_400.0
"""Seconds after which a request that showed no outcome will show none: who is still on the list may be sent again."""

PATIENCE = 300.0
"""Seconds to look for the outcome of requests in doubt; Klaviyo was seen to take one to three minutes."""

_FIRST_POLL = 0.5

_SAME_PERSON = Problem(
    "", "another row of this run names the same member of the list, and the first one counts"
)

_LEFT_BEFORE = (
    "not_on_list: not sent, since the person has left the list by another identifier, and Klaviyo would unsubscribe "
    "whoever is not on it from everything"
)

Members = Mapping[str, Mapping[str, frozenset[str]]]
"""The ids of members by identifier and its value."""


class UnsubscribeDelivery(ConsentDelivery):
    """Unsubscribes members of a list from it.

    :param patience: seconds that ``finish`` may look for outcomes in doubt.
    :param poll_interval: seconds between two looks.
    """

    outcome_shows = True

    def __init__(self, parts: Parts, list_id: str, *, patience: float, poll_interval: float) -> None:
        super().__init__(parts)
        self._list_id = list_id
        self._patience = patience
        self._poll_interval = poll_interval
        self._claims: dict[int, int] = {}
        self._unsent: dict[int, Sequence[str]] = {}
        self._waiting = Doubt()
        self._doubts[id(self._waiting)] = self._waiting

    def finish(self) -> Iterator[Settled]:
        """Every verdict that is still to come; who is in doubt has none when the list does not show it in time."""
        yield from super().finish()
        yield from self._wait()
        for record in self._in_doubt():
            self._verdict(record, Outcome.PENDING, [_no_outcome(record)], self._waiting)
        yield from self.settled()

    def _check(self, people: Sequence[SubscriptionRecord], doubt: Doubt) -> Sequence[SubscriptionRecord]:
        """Members who were not sent before, narrowed to the channels whose address is the member's."""
        members = self._members(people)
        placed = [_placed(record, members) for record in people]
        asked = self._recently_asked([record for record, _ in placed])
        free = []
        for record, channels in placed:
            before = [address for address in record.addresses if address in asked]
            sent = {address.channel for address in before}
            if sent & {*channels, PROFILE}:
                self._unsent[record.number] = [channel for channel in record.channels if channel not in sent]
                self._wait_for([record], doubt)
            elif not channels:
                self._tell_of_absent(record, [asked[address] for address in before], doubt)
            elif self._is_first(record):
                free.append(self._narrow(record, channels, _not_on_list(record, channels)))
            else:
                self._verdict(record, Outcome.SKIPPED, [_SAME_PERSON], doubt)
        return free

    def _is_first(self, record: SubscriptionRecord) -> bool:
        """Whether no other row of this run is about the same member, by whatever identifier."""
        with self._lock:
            owner = self._claims.setdefault(hash(record.identifiers["klaviyo_id"]), record.number)
        return owner == record.number

    def _put_off(self, people: Sequence[SubscriptionRecord], doubt: Doubt, error: KlaviyoError) -> None:
        """Never send it again: the list will show who was unsubscribed."""
        log.warning(
            "Whether Klaviyo unsubscribes %s people is not known, so the list is looked at: %s",
            f"{len(people):,}",
            error,
        )
        self._wait_for(people, doubt)

    def _wait_for(self, people: Sequence[SubscriptionRecord], doubt: Doubt) -> None:
        self._waiting.records.update({record.number: record for record in people})
        doubt.settle(people)

    def _tell_of_absent(self, record: SubscriptionRecord, before: Sequence[Asked], doubt: Doubt) -> None:
        """Who left since being sent without a clear answer counts as accepted now; after a clear one it was then."""
        if before:
            self._asked.forget(record.addresses)
            self._asked.acknowledge([record])
        if any(not asked.is_answered for asked in before):
            self._accept([record], doubt)
        else:
            self._verdict(record, Outcome.SKIPPED, _not_on_list(record, ()), doubt)

    def _recently_asked(self, people: Sequence[SubscriptionRecord]) -> dict[Address, Asked]:
        now = self._client.server_now()
        asked = self._asked.asked_at([address for record in people for address in record.addresses])
        return {address: known for address, known in asked.items() if now - known.at < OUTSTANDING}

    # --- outcomes in doubt ------------------------------------------------------------------------------------

    def _in_doubt(self) -> list[SubscriptionRecord]:
        return [record for record in self._waiting.records.values() if isinstance(record, SubscriptionRecord)]

    def _wait(self) -> Iterator[Settled]:
        """Look at the list until everybody in doubt has left it, or time is up."""
        clock, pause = self._client.clock, _FIRST_POLL
        until = min(
            clock.now() + self._patience, (self._client.deadline or float("inf")) - self._poll_interval
        )
        while self._waiting.records:
            self._accept_who_left()
            yield from self.settled()
            if not self._waiting.records or clock.now() + pause > until:
                return
            self._client.sleep(pause)
            pause = min(pause * 2, self._poll_interval)

    def _accept_who_left(self) -> None:
        waiting = self._in_doubt()
        members = self._members(waiting)
        left = [record for record in waiting if not _placed(record, members)[1]]
        self._asked.forget([address for record in left for address in record.addresses])
        taken = [record for record in left if not self._was_never_sent(record)]
        self._asked.acknowledge(taken)
        self._accept(taken, self._waiting)

    def _was_never_sent(self, record: SubscriptionRecord) -> bool:
        """Tell which channels were in no request, since the person left by another identifier; True when all."""
        unsent = self._unsent.pop(record.number, ())
        problems = [Problem(CHANNELS[channel], _LEFT_BEFORE) for channel in unsent]
        if len(unsent) == len(record.channels):
            self._verdict(record, Outcome.SKIPPED, problems, self._waiting)
            return True
        self._narrow(record, record.channels, problems)
        return False

    # --- the list ---------------------------------------------------------------------------------------------

    def _members(self, people: Sequence[SubscriptionRecord]) -> Members:
        return {
            field: {
                value: frozenset(str(profile["id"]) for profile in profiles)
                for value, profiles in find_on_list(
                    self._client, self._list_id, field, _values(people, field)
                ).items()
            }
            for field in CHANNELS.values()
        }


def _values(people: Iterable[SubscriptionRecord], field: str) -> list[str]:
    return list(dict.fromkeys(value for record in people for value in record.lookups(field)))


def _placed(record: SubscriptionRecord, members: Members) -> tuple[SubscriptionRecord, list[str]]:
    """The person as the member that the identifier names, and the channels whose address is this member's.

    Another member's address, or nobody's, might be unsubscribed from everything.
    """
    person = _found(record, record.matched_by, members)
    on_list = {channel: person & _found(record, CHANNELS[channel], members) for channel in record.channels}
    profile_id = min(frozenset[str]().union(*on_list.values()), default="")
    channels = [channel for channel, found in on_list.items() if profile_id in found]
    return (record.known_as(profile_id) if channels else record), channels


def _found(record: SubscriptionRecord, field: str, members: Members) -> frozenset[str]:
    values = (value.lower() if field == "email" else value for value in record.lookups(field))
    return frozenset[str]().union(*(members[field].get(value, frozenset()) for value in values))


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

"""Subscribing: only people whom nothing stands against, and nobody is asked for a confirmation twice."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime

from airflow_provider_klaviyo.records.record import Problem
from airflow_provider_klaviyo.records.subscriptions.consent import CHANNELS
from airflow_provider_klaviyo.records.subscriptions.record import Address, SubscriptionRecord
from airflow_provider_klaviyo.sync.delivery.pool import InFlightBatch
from airflow_provider_klaviyo.sync.delivery.refusals import Objection, joined
from airflow_provider_klaviyo.sync.outcomes import Outcome, Settled
from airflow_provider_klaviyo.sync.subscriptions.asked import Asked
from airflow_provider_klaviyo.sync.subscriptions.delivery import Checked, ConsentDelivery, Parts
from airflow_provider_klaviyo.sync.subscriptions.disputes import Dispute
from airflow_provider_klaviyo.sync.subscriptions.guard import Guard
from airflow_provider_klaviyo.sync.subscriptions.standing import Finding, Findings, Judged, Standing

log = logging.getLogger(__name__)

_OUTCOMES = {
    Standing.UNREADABLE: Outcome.PENDING,
    Standing.UNKNOWN: Outcome.REJECTED,
    Standing.OPTED_OUT: Outcome.SKIPPED,
    Standing.NEW_WORD: Outcome.SKIPPED,
    Standing.ASKED: Outcome.SKIPPED,
}
"""What a finding makes of a person who has no free channel."""

_SETTLED_BY_ASKING = (Standing.FREE, Standing.NEW_WORD)
"""Of these it is enough to know that a confirmation was asked for, whatever Klaviyo calls who has not answered yet."""

_HOLDS_BACK = (Standing.UNREADABLE, Standing.UNKNOWN)
"""One of these on any channel keeps the whole person back."""


class SubscribeDelivery(ConsentDelivery):
    """Subscribes people batch by batch.

    :param ask_again_after: seconds after which somebody who was asked may be asked again; None is never.
    """

    def __init__(self, parts: Parts, guard: Guard, ask_again_after: float | None) -> None:
        super().__init__(parts)
        self._guard = guard
        self._ask_again_after = ask_again_after
        self._new_reasons: set[str] = set()
        self._disputes: dict[int, Dispute] = {}
        self.perhaps_asked = 0

    def close(self) -> None:
        """Give the threads back, and forget everyone."""
        super().close()
        self._guard.close()

    @property
    def _looks_at_once(self) -> int:
        return self._guard.looks_at_once

    @property
    def _look_takes(self) -> float:
        return self._guard.takes

    def _room(self, people: Sequence[SubscriptionRecord]) -> AbstractContextManager[None]:
        return self._guard.room(people)

    def _look(self, people: Sequence[SubscriptionRecord], unsettled: InFlightBatch) -> Checked:
        """Those with a channel that is free, narrowed to it, of as many people as there is time to look at."""
        seen = self._guard.look(people)
        return Checked(self._free(seen.shown, unsettled), seen.left, seen.began)

    def _free(self, seen: Sequence[Judged], unsettled: InFlightBatch) -> list[SubscriptionRecord]:
        asked = self._asked.asked_at([address for judged in seen for address in judged.record.addresses])
        done: list[SubscriptionRecord] = []
        free: list[SubscriptionRecord] = []
        for judged in seen:
            record, findings = judged.record, self._with_asked(judged, asked)
            self._warn_of_new_reasons(findings)
            channels = [channel for channel in record.channels if findings[channel].standing is Standing.FREE]
            if channels and not any(finding.standing in _HOLDS_BACK for finding in findings.values()):
                free += self._undisputed(self._narrow(record, channels, _problems(findings)), unsettled)
            elif all(finding.standing is Standing.DONE for finding in findings.values()):
                done.append(record)
            else:
                self._verdict(record, _outcome(findings), _problems(findings), unsettled)
        self._asked.acknowledge(done)
        if done:
            self._publish(Settled(unchanged=len(done)), done, unsettled)
        return free

    def _mend(self, record: SubscriptionRecord, objections: Sequence[Objection]) -> SubscriptionRecord | None:
        """Also a person whose moment of consent Klaviyo refuses for one that it knows: they are looked at again."""
        if dispute := Dispute.over(record, joined(objections)):
            self._disputes[record.number] = dispute
            return record
        return super()._mend(record, objections)

    def _undisputed(self, record: SubscriptionRecord, unsettled: InFlightBatch) -> list[SubscriptionRecord]:
        """The person, without what Klaviyo has refused where a new look has changed nothing about it."""
        dispute = self._disputes.get(record.number)
        if dispute is None or dispute.body != record.body:
            return [record]
        problems = [
            Problem(CHANNELS[channel], dispute.reason, is_klaviyos=True) for channel in dispute.channels
        ]
        if kept := [channel for channel in record.channels if channel not in dispute.channels]:
            return [self._narrow(record, kept, problems)]
        self._verdict(record, dispute.outcome, problems, unsettled)
        return []

    def _with_asked(self, judged: Judged, asked: Mapping[Address, Asked]) -> Findings:
        """What was found, with the addresses that a confirmation was asked of."""
        findings = dict(judged.findings)
        for address in judged.record.addresses:
            known = asked.get(address)
            is_open = findings[address.channel].standing in _SETTLED_BY_ASKING
            if known and is_open and not self._is_over(known):
                findings[address.channel] = Finding(Standing.ASKED, _asked(known))
                self.perhaps_asked += not known.is_answered
        return findings

    def _warn_of_new_reasons(self, findings: Findings) -> None:
        """Say it once of each, since nobody expects them."""
        reasons = {finding.reason for finding in findings.values() if finding.standing is Standing.NEW_WORD}
        for reason in reasons - self._new_reasons:
            self._new_reasons.add(reason)
            log.warning(
                "%s. People are skipped for it: does a newer version of this package know it?", reason
            )

    def _is_over(self, asked: Asked) -> bool:
        return (
            self._ask_again_after is not None
            and self._client.server_now() - asked.at >= self._ask_again_after
        )


def _outcome(findings: Findings) -> Outcome:
    standings = {finding.standing for finding in findings.values()}
    return next(outcome for standing, outcome in _OUTCOMES.items() if standing in standings)


def _problems(findings: Findings) -> list[Problem]:
    return [
        Problem(CHANNELS[channel], finding.reason) for channel, finding in findings.items() if finding.reason
    ]


def _asked(asked: Asked) -> str:
    day = datetime.fromtimestamp(asked.at, UTC).date()
    how = "a confirmation was asked for" if asked.is_answered else "a confirmation may have been asked for"
    return f"already_asked: {how} on {day}, and ask_again_after has not passed"

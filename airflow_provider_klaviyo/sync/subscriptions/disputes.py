"""Refused dates of consent: Klaviyo knows another date of somebody's consent than the one that was sent.

History that tells of a later moment than the one since which somebody is subscribed, or of an earlier one than that of
an unsubscription, is refused (seen on real accounts, autumn 2026). The guard sends what fits what Klaviyo shows; so a
refusal means that consent has changed since that look, or is not shown yet, as new history is for up to 20 minutes.
"""

from __future__ import annotations

import re
from typing import NamedTuple, Self

from airflow_provider_klaviyo.records.record import Problem
from airflow_provider_klaviyo.records.subscriptions.mapping import CONSENTED_AT
from airflow_provider_klaviyo.records.subscriptions.record import SubscriptionRecord
from airflow_provider_klaviyo.sync.outcomes import Outcome

_CONFLICTS = re.compile(r"subscri\w*+(?!\.)", re.IGNORECASE)  # words, no path of fields
_WITHDRAWN = re.compile("unsubscri", re.IGNORECASE)


class Dispute(NamedTuple):
    """What Klaviyo refused of a person, whose consent has to be looked at again.

    :param body: the person as it was sent: so it is not to be sent again.
    :param message: Klaviyo's.
    """

    body: bytes
    channels: tuple[str, ...]
    message: str

    @classmethod
    def over(cls, record: SubscriptionRecord, problem: Problem) -> Self | None:
        """From a refusal; None when it is about anything else than a date that conflicts with Klaviyo's own."""
        is_date = record.is_historical and CONSENTED_AT in problem.field
        if not is_date or not _CONFLICTS.search(problem.reason):
            return None
        named = tuple(channel for channel in record.channels if f"subscriptions.{channel}" in problem.field)
        return cls(record.body, named or record.channels, problem.reason)

    @property
    def outcome(self) -> Outcome:
        """What becomes of the person when a new look shows nothing new."""
        return Outcome.SKIPPED if _WITHDRAWN.search(self.message) else Outcome.PENDING

    @property
    def reason(self) -> str:
        """Why the channels are not sent."""
        if self.outcome is Outcome.SKIPPED:
            return f"opted_out: {self.message}"
        return f"not sent, since Klaviyo does not show the consent that it knows of: {self.message}"

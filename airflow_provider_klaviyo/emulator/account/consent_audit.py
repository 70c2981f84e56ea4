"""What was done to people's consent that a careful client would not have done, and whom confirmation was asked of."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from airflow_provider_klaviyo.emulator.core.channels import MARKETING

#: Incidents that are kept in full; all of them are counted.
KEPT = 10_000


class IncidentKind(StrEnum):
    """What happened to somebody."""

    RESUBSCRIBED = "resubscribed"
    """Subscribed by a request, though opted out of the channel or suppressed (for any reason)."""
    RESUBSCRIBED_ON_LIST = "resubscribed_on_list"
    """Subscribed to a list by a request, though suppressed for that list."""
    ASKED = "asked"
    """Asked for confirmation, though opted out of the channel, suppressed, or suppressed for the list."""
    UNSUBSCRIBED_GLOBALLY = "unsubscribed_globally"
    """Unsubscribed from everything by a call that named a list, since not on that list."""
    TURNED_TOO_OFTEN = "turned_too_often"
    """A subscription that was ignored, the third turn within half an hour."""
    NEVER_STORED = "never_stored"
    """A subscription of somebody new, without a list and without history: nothing comes of it."""


@dataclass(frozen=True, slots=True)
class Incident:
    """One person on one channel; `person` is the address or the number."""

    kind: IncidentKind
    person: str
    channel: str
    list_id: str | None
    time: float


@dataclass(slots=True)
class Question:
    """Whether somebody wants a subscription: who, on what channel, for which list, and how often asked.

    `channels` are what a confirmation subscribes to; None once it was given.
    """

    person: str
    channel: str
    list_id: str | None
    messages: int = 0
    channels: tuple[str, ...] | None = None
    source: str | None = None
    profile: int | None = None


@dataclass(slots=True)
class ConsentAudit:
    """Counts, the last incidents, and the questions that were asked."""

    incidents: deque[Incident] = field(default_factory=lambda: deque(maxlen=KEPT))
    questions: dict[tuple[str, str, str | None], Question] = field(default_factory=dict)
    _counts: Counter[tuple[IncidentKind, str]] = field(default_factory=Counter)

    def note(self, kind: IncidentKind, person: str, channel: str, list_id: str | None, time: float) -> None:
        """Count an incident."""
        self._counts[kind, channel] += 1
        self.incidents.append(Incident(kind, person, channel, list_id, time))

    def question(self, person: str, channel: str, list_id: str | None) -> Question:
        """The question to somebody, asked before or new."""
        key = (person, channel, list_id)
        if key not in self.questions:
            self.questions[key] = Question(person, channel, list_id)
        return self.questions[key]

    def counts(self, kind: IncidentKind) -> dict[str, int]:
        """How often something happened, by channel."""
        return {channel: self._counts[kind, channel] for channel in MARKETING}

    def stats(self) -> Mapping[str, Any]:
        """All counts, and how many confirmation messages went to how many people."""
        messages: Counter[str] = Counter()
        for question in self.questions.values():
            messages[question.person] += question.messages
        return {
            **{str(kind): self.counts(kind) for kind in IncidentKind},
            "confirmation_messages": {
                "sent": messages.total(),
                "people": len(messages),
                "most_to_one": max(messages.values(), default=0),
            },
        }

"""What is asked of people's consent, and what it takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from airflow_provider_klaviyo.client.endpoints import (
    SUBSCRIBE,
    SUBSCRIBE_ONCE,
    UNSUBSCRIBE,
    UNSUBSCRIBE_GLOBALLY,
    Endpoint,
)
from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError
from airflow_provider_klaviyo.records.subscriptions import record as subscription
from airflow_provider_klaviyo.records.subscriptions.consent import CHANNELS
from airflow_provider_klaviyo.records.subscriptions.mapper import FIELDS
from airflow_provider_klaviyo.sync.subscriptions.standing import Resubscribe

_LIST_OR_ELSE = {
    "subscribe": (
        "subscribe needs list_name or list_id, or historical_import=True, or globally=True for the account's default: "
        "without a list Klaviyo stores nobody whom it does not know yet."
    ),
    "unsubscribe": (
        "unsubscribe needs list_name or list_id; to unsubscribe people from everything, say globally=True."
    ),
}

OUT, FIRST = "out", "first"
CONFLICTS = (OUT, FIRST)
"""What becomes of a channel of a person whose rows disagree: it is kept out, or the first row decides."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What is asked of people's consent; the names are those of the operator's parameters.

    :raises KlaviyoConfigurationError: for terms that contradict each other; the message names them.
    """

    mode: str
    channels: Sequence[str]
    list_name: str | None = None
    list_id: str | None = None
    historical_import: bool = False
    custom_source: str | None = None
    resubscribe: Resubscribe = Resubscribe.NEVER
    ask_again_after: float | None = None
    conflicts: str = OUT
    globally: bool = False

    def __post_init__(self) -> None:
        if problem := self._problem():
            raise KlaviyoConfigurationError(problem)

    @property
    def names_list(self) -> bool:
        """Whether it is about one list."""
        return bool(self.list_name or self.list_id)

    @property
    def subscribes(self) -> bool:
        """Whether people are subscribed; else they are unsubscribed."""
        return self.mode == subscription.SUBSCRIBE

    def endpoint(self, *, asks: bool = False) -> Endpoint:
        """The endpoint that it takes.

        :param asks: whether people are asked for a confirmation: nobody is asked twice.
        """
        if self.subscribes:
            return SUBSCRIBE_ONCE if asks else SUBSCRIBE
        return UNSUBSCRIBE if self.names_list else UNSUBSCRIBE_GLOBALLY

    def _problem(self) -> str | None:
        if self.mode not in FIELDS:
            return f"mode must be 'subscribe' or 'unsubscribe', not {self.mode!r}."
        if not self.channels:
            return "channels is empty: name email, sms or both."
        if unknown := [channel for channel in self.channels if channel not in CHANNELS]:
            return f"channels knows {' and '.join(CHANNELS)}, not {', '.join(map(repr, unknown))}."
        if len(set(self.channels)) < len(self.channels):
            return f"channels names one channel twice: {', '.join(self.channels)}."
        if self.list_name and self.list_id:
            return "Give list_name or list_id, not both."
        if self.names_list and self.globally:
            return "globally=True is for syncs without a list: leave it out, or leave the list out."
        if not self.names_list and not self.globally and not (self.subscribes and self.historical_import):
            return _LIST_OR_ELSE[self.mode]
        return None if self.subscribes else self._problem_of_unsubscribing()

    def _problem_of_unsubscribing(self) -> str | None:
        given = {
            "historical_import": self.historical_import,
            "custom_source": self.custom_source,
            "resubscribe": self.resubscribe is not Resubscribe.NEVER,
            "ask_again_after": self.ask_again_after is not None,
            "conflicts": self.conflicts != OUT,
        }
        if names := [name for name, value in given.items() if value]:
            return f"{', '.join(names)}: for mode='subscribe' only. Leave it out to unsubscribe."
        return None

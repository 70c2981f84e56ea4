"""What is asked of people's consent, and what it takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from inspect import signature

from airflow_provider_klaviyo.client.endpoints import (
    SUBSCRIBE,
    SUBSCRIBE_ONCE,
    UNSUBSCRIBE,
    UNSUBSCRIBE_GLOBALLY,
    Endpoint,
)
from airflow_provider_klaviyo.records.subscriptions.mapping import SUBSCRIBE as SUBSCRIBING
from airflow_provider_klaviyo.sync.subscriptions.agreement import OUT, RULES, Resubscribe


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
        for rule in RULES:
            rule(**{name: getattr(self, name) for name in signature(rule).parameters})

    @property
    def names_list(self) -> bool:
        """Whether it is about one list."""
        return bool(self.list_name or self.list_id)

    @property
    def subscribes(self) -> bool:
        """Whether people are subscribed; else they are unsubscribed."""
        return self.mode == SUBSCRIBING

    def endpoint(self, *, asks: bool = False) -> Endpoint:
        """The endpoint that it takes.

        :param asks: whether people are asked for a confirmation: nobody is asked twice.
        """
        if self.subscribes:
            return SUBSCRIBE_ONCE if asks else SUBSCRIBE
        return UNSUBSCRIBE if self.names_list else UNSUBSCRIBE_GLOBALLY

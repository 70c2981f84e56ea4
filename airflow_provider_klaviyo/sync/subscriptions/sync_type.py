"""The subscriptions sync: who consents, and who no longer does."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from airflow_provider_klaviyo.client.endpoints import (
    GET_LIST,
    GET_LIST_PROFILES,
    GET_LISTS,
    GET_PROFILES,
    MAX_REQUEST_BYTES,
    SUBSCRIBE,
    UNSUBSCRIBE,
)
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.client.lists import find_list_as_shown, list_as_shown
from airflow_provider_klaviyo.client.responses import Document, attributes_of
from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError
from airflow_provider_klaviyo.records.subscriptions.mapper import SubscriptionOptions
from airflow_provider_klaviyo.sync.batching import MARGIN, BatchLimits
from airflow_provider_klaviyo.sync.contracts import Description, SyncContext, Target
from airflow_provider_klaviyo.sync.subscriptions.agreement import Resubscribe
from airflow_provider_klaviyo.sync.subscriptions.looks import CHECKED_FOR
from airflow_provider_klaviyo.sync.subscriptions.session import ConsentTarget, SubscriptionsSession
from airflow_provider_klaviyo.sync.subscriptions.terms import Terms
from airflow_provider_klaviyo.sync.subscriptions.unsubscribe import PATIENCE

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SubscriptionsSync(Description):
    """Changes people's consent.

    :param mapping: ``{Klaviyo field: column}``; None maps by column name.
    :param only_changes: whether rows are compared with what was acknowledged.
    :param waits: whether the run waits for outcomes in doubt.
    :param patience: seconds that it does.
    :param look_seconds: what a look at people's consent may take; it counts for ``CHECKED_FOR`` in any case.
    """

    terms: Terms
    mapping: Mapping[str, str] | None
    options: SubscriptionOptions
    only_changes: bool
    waits: bool
    patience: float = PATIENCE
    look_seconds: float = CHECKED_FOR

    name: ClassVar = "subscriptions"
    endpoints: ClassVar = (GET_LISTS, GET_LIST, GET_LIST_PROFILES, GET_PROFILES, SUBSCRIBE, UNSUBSCRIBE)

    @property
    def mode(self) -> str:
        """``subscribe`` or ``unsubscribe``."""
        return self.terms.mode

    @property
    def limits(self) -> BatchLimits:
        """Those of the one request that the terms take."""
        return BatchLimits(self.terms.endpoint().max_records, int(MAX_REQUEST_BYTES * (1 - MARGIN)))

    @property
    def keeps_state(self) -> bool:
        """Whether nobody may be asked, or unsubscribed from a list, twice."""
        return self.terms.subscribes or self.terms.names_list

    @property
    def may_change(self) -> Sequence[str]:
        """Who was asked, and where, is remembered by address."""
        return ("channels", "key columns")

    @property
    def blank_extras(self) -> Mapping[str, int]:
        """Nobody, by what the mode can do."""
        names = ("subscribed", "confirmation_requested") if self.terms.subscribes else ("unsubscribed",)
        return dict.fromkeys(names, 0)

    def find_target(self, client: KlaviyoClient) -> ConsentTarget:
        """Find the list, and how people join it.

        :raises KlaviyoConfigurationError: when there is no such list, or several.
        """
        terms = self.terms
        asks, list_id = terms.subscribes and not terms.historical_import, None
        if terms.names_list:
            found = (
                _list_of(client, terms.list_id)
                if terms.list_id
                else _list_named(client, terms.list_name or "")
            )
            list_id = str(found["id"])
            asks = asks and attributes_of(found).get("opt_in_process") != "single_opt_in"
        _announce_terms(terms, list_id, asks=asks)
        return ConsentTarget(self.target_of(list_id).facts, list_id, asks)

    def target_of(self, list_id: str | None) -> Target:
        """The list and the channels."""
        return Target({"list": list_id or "", "channels": ", ".join(sorted(self.terms.channels))}, list_id)

    def open(self, context: SyncContext) -> SubscriptionsSession:
        """Begin a run."""
        return SubscriptionsSession(
            self,
            context,
            self.terms,
            self.mapping,
            self.options,
            only_changes=self.only_changes,
            patience=self.patience if self.waits else 0.0,
            look_seconds=self.look_seconds,
        )


def _list_named(client: KlaviyoClient, name: str) -> Document:
    found = find_list_as_shown(client, name)
    if found is None:
        msg = (
            f"Klaviyo has no list named {name!r}, and this sync creates none. Nothing was sent: check the spelling, or "
            "create the list with KlaviyoCreateListOperator."
        )
        raise KlaviyoConfigurationError(msg)
    return found


def _list_of(client: KlaviyoClient, list_id: str) -> Document:
    found = list_as_shown(client, list_id)
    if found is None:
        msg = f"Klaviyo has no list with the id {list_id}. Nothing was sent: check list_id, or use list_name."
        raise KlaviyoConfigurationError(msg)
    return found


def _announce_terms(terms: Terms, list_id: str | None, *, asks: bool) -> None:
    where = f"list {list_id}" if list_id else "no list"
    log.info("%s: %s, channels %s.", terms.mode.capitalize(), where, ", ".join(terms.channels))
    if asks:
        log.info(
            "People are asked for a confirmation, once each%s. Whoever was asked is not subscribed before giving it.",
            "" if list_id else ", if that is the account's default, which cannot be read",
        )
    if terms.resubscribe is Resubscribe.ALWAYS:
        log.warning("resubscribe=True: people who have opted out are subscribed again.")
    if not terms.subscribes and list_id:
        log.info(
            "Whether Klaviyo's account-wide setting turns leaving a list into unsubscribing from everything cannot be "
            "read: look it up in Klaviyo's settings."
        )
    if not terms.subscribes and not list_id:
        log.warning("globally=True: people are unsubscribed from everything on the channels named.")

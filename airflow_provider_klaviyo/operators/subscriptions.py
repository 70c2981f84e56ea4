"""Changes people's consent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_klaviyo.links.klaviyo import KlaviyoListLink
from airflow_provider_klaviyo.operators.base import KlaviyoSyncOperator
from airflow_provider_klaviyo.parameters import (
    choice,
    exact_text_if_given,
    flag,
    names,
    not_negative,
    text,
    text_if_given,
)

if TYPE_CHECKING:
    from airflow_provider_klaviyo.sync.contracts import SyncType
    from airflow_provider_klaviyo.sync.options import SyncOptions


class KlaviyoSyncSubscriptionsOperator(KlaviyoSyncOperator):
    """Subscribes people to e-mail and SMS, or unsubscribes them; nobody who has opted out is opted back in.

    Fields in ``mapping``: identifiers, ``consent.email`` and ``consent.sms`` (booleans that narrow ``channels`` for a
    row: false and NULL send nothing), ``consented_at``, ``age_gated_date_of_birth``, ``phone_region``. Other columns
    are left alone.

    Besides the parameters of ``KlaviyoSyncOperator``:

    :param mode: ``subscribe`` or ``unsubscribe`` (templated).
    :param channels: ``email``, ``sms`` or both (templated).
    :param list_name: a list that exists, by its name (templated).
    :param list_id: the same by its id (templated).
    :param historical_import: consent was given earlier, at ``consented_at``: nobody is asked for a confirmation.
    :param custom_source: what Klaviyo shows as the source of the consent (templated).
    :param resubscribe: what becomes of people who have opted out. False leaves them alone; ``"newer_consent"``
        subscribes those whose ``consented_at`` is later than their opting out; True subscribes everybody (templated).
    :param ask_again_after: seconds after which somebody who was asked for a confirmation is asked again; None never.
    :param conflicts: what becomes of a channel where rows of one person disagree. ``"out"`` keeps it out if any row
        says no, and sends nobody before every row is read; ``"first"`` trusts the query's order: the first row that
        speaks of the channel decides (templated).
    :param globally: without a list: unsubscribe people from everything, or subscribe them by the account's default.

    .. seealso:: Klaviyo's guide: https://developers.klaviyo.com/en/docs/collect_email_and_sms_consent_via_api
    """

    template_fields: Sequence[str] = (
        *KlaviyoSyncOperator.template_fields,
        "mode",
        "channels",
        "list_name",
        "list_id",
        "custom_source",
        "resubscribe",
        "conflicts",
    )
    operator_extra_links = (KlaviyoListLink(),)

    def __init__(
        self,
        *,
        mode: str,
        channels: str | Sequence[str] = ("email",),
        list_name: str | None = None,
        list_id: str | None = None,
        historical_import: bool = False,
        custom_source: str | None = None,
        resubscribe: bool | str = False,
        ask_again_after: float | None = None,
        conflicts: str = "out",
        globally: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.mode = mode
        self.channels = channels
        self.list_name = list_name
        self.list_id = list_id
        self.historical_import = historical_import
        self.custom_source = custom_source
        self.resubscribe = resubscribe
        self.ask_again_after = ask_again_after
        self.conflicts = conflicts
        self.globally = globally

    def sync_type(self, options: SyncOptions) -> SyncType:
        """The subscriptions sync with this operator's terms."""
        from airflow_provider_klaviyo.records.subscriptions.mapper import SubscriptionOptions
        from airflow_provider_klaviyo.sync.subscriptions.standing import Resubscribe
        from airflow_provider_klaviyo.sync.subscriptions.sync_type import SubscriptionsSync
        from airflow_provider_klaviyo.sync.subscriptions.terms import CONFLICTS, Terms

        terms = Terms(
            mode=text("mode", self.mode) or "",
            channels=names("channels", self.channels),
            list_name=exact_text_if_given("list_name", self.list_name),
            list_id=text_if_given("list_id", self.list_id),
            historical_import=flag("historical_import", self.historical_import),
            custom_source=text_if_given("custom_source", self.custom_source),
            resubscribe=Resubscribe.of(self.resubscribe),
            ask_again_after=(
                None
                if self.ask_again_after is None
                else not_negative("ask_again_after", self.ask_again_after)
            ),
            conflicts=choice("conflicts", self.conflicts, CONFLICTS),
            globally=flag("globally", self.globally),
        )
        return SubscriptionsSync(
            terms,
            options.mapping,
            SubscriptionOptions(
                mode=terms.mode,
                channels=terms.channels,
                match_by=options.match_by,
                phone_region=options.phone_region,
                timezone=options.timezone,
                drop_invalid=options.drops_invalid,
                is_historical=terms.historical_import,
            ),
            only_changes=options.only_changes,
            waits=options.waits,
        )

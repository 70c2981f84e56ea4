"""Changes people's consent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_klaviyo.links.klaviyo import KlaviyoListLink
from airflow_provider_klaviyo.literals import Reader, Rule
from airflow_provider_klaviyo.operators.base import KlaviyoSyncOperator
from airflow_provider_klaviyo.parameters import (
    exact_text_if_given,
    flag,
    names,
    not_negative,
    one_of,
    or_none,
    text,
    text_if_given,
)
from airflow_provider_klaviyo.records.subscriptions.mapping import check_channels, check_mapping
from airflow_provider_klaviyo.sync.subscriptions.agreement import CONFLICTS, RULES, Resubscribe

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
    readers: ClassVar[Mapping[str, Reader]] = {
        **KlaviyoSyncOperator.readers,
        "mode": lambda name, value: text(name, value) or "",
        "channels": names,
        "list_name": exact_text_if_given,
        "list_id": text_if_given,
        "historical_import": flag,
        "custom_source": text_if_given,
        "resubscribe": lambda _, value: Resubscribe.of(value),
        "ask_again_after": or_none(not_negative),
        "conflicts": one_of(*CONFLICTS),
        "globally": flag,
    }
    rules: ClassVar[Sequence[Rule]] = (*KlaviyoSyncOperator.rules, *RULES)
    early_rules: ClassVar[Sequence[Rule]] = (check_mapping, check_channels)
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
        self._run_alone_with_state(mode=mode, globally=globally)
        self.check_literals()

    @classmethod
    def keeps_state(cls, arguments: Mapping[str, Any]) -> bool:
        """See ``KlaviyoSyncOperator``; only unsubscribing without a list can be done twice."""
        asks_once = arguments.get("mode") != "unsubscribe" or not arguments.get("globally")
        return asks_once or super().keeps_state(arguments)

    def sync_type(self, options: SyncOptions) -> SyncType:
        """The subscriptions sync with this operator's terms."""
        from airflow_provider_klaviyo.records.subscriptions.mapper import SubscriptionOptions
        from airflow_provider_klaviyo.sync.subscriptions.sync_type import SubscriptionsSync
        from airflow_provider_klaviyo.sync.subscriptions.terms import Terms

        terms = Terms(**{each.name: self.read(each.name) for each in fields(Terms)})
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

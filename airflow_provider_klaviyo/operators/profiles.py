"""Upserts people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_klaviyo.literals import Reader, Rule
from airflow_provider_klaviyo.operators.base import KlaviyoSyncOperator
from airflow_provider_klaviyo.parameters import flag_or_names
from airflow_provider_klaviyo.records.profiles.mapping import check_cleared, check_mapping

if TYPE_CHECKING:
    from airflow_provider_klaviyo.sync.contracts import SyncType
    from airflow_provider_klaviyo.sync.options import SyncOptions


class KlaviyoSyncProfilesOperator(KlaviyoSyncOperator):
    """Creates and updates Klaviyo profiles from the rows of a query; changes nobody's consent.

    Besides the parameters of ``KlaviyoSyncOperator``:

    :param clear_nulls: what a NULL does. False leaves the field in Klaviyo as it is; True clears it; a list of
        Klaviyo fields clears those (templated). Identifiers are never cleared. Custom properties are cleared at no
        cost; a row with a NULL in a standard field takes a request of its own (750 a minute).

    .. seealso:: Klaviyo's guide: https://developers.klaviyo.com/en/docs/use_klaviyos_bulk_profile_import_api
    """

    template_fields: Sequence[str] = (*KlaviyoSyncOperator.template_fields, "clear_nulls")

    readers: ClassVar[Mapping[str, Reader]] = {**KlaviyoSyncOperator.readers, "clear_nulls": flag_or_names}
    early_rules: ClassVar[Sequence[Rule]] = (check_mapping, check_cleared)

    def __init__(self, *, clear_nulls: bool | str | Sequence[str] = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.clear_nulls = clear_nulls
        self.check_literals()

    def sync_type(self, options: SyncOptions) -> SyncType:
        """The profiles sync with this operator's mapping."""
        from airflow_provider_klaviyo.client.endpoints import MAX_PROFILE_BYTES
        from airflow_provider_klaviyo.records.profiles.mapper import ProfileOptions
        from airflow_provider_klaviyo.sync.profiles.sync_type import ProfilesSync

        return ProfilesSync(
            mapping=options.mapping,
            options=ProfileOptions(
                max_bytes=MAX_PROFILE_BYTES,
                match_by=options.match_by,
                phone_region=options.phone_region,
                timezone=options.timezone,
                drop_invalid=options.drops_invalid,
                clear_nulls=self.read("clear_nulls"),
            ),
        )

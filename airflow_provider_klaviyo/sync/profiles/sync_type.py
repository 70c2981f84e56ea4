"""The profiles sync: upserts by bulk import jobs, and by single upserts where a standard field is to be cleared."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from airflow_provider_klaviyo.client.endpoints import IMPORT_PROFILE, IMPORT_PROFILES, MAX_REQUEST_BYTES
from airflow_provider_klaviyo.client.profile_imports import PROFILE_IMPORTS, import_body
from airflow_provider_klaviyo.records.mapping import Columns, bind, json_fields
from airflow_provider_klaviyo.records.profiles.mapper import ProfileMapper, ProfileOptions
from airflow_provider_klaviyo.records.profiles.mapping import FIELDS
from airflow_provider_klaviyo.records.record import Record
from airflow_provider_klaviyo.sync.batching import MARGIN, BatchLimits
from airflow_provider_klaviyo.sync.contracts import Description, Session, SyncContext
from airflow_provider_klaviyo.sync.delivery.import_jobs import ImportJobDelivery
from airflow_provider_klaviyo.sync.delivery.preview import PathOf, PreviewDelivery
from airflow_provider_klaviyo.sync.delivery.single_imports import single_body

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ProfilesSync(Description):
    """Upserts people.

    :param mapping: ``{Klaviyo field: column}``; None maps by column name.
    """

    mapping: Mapping[str, str] | None
    options: ProfileOptions

    name: ClassVar = "profiles"
    mode: ClassVar = "upsert"
    limits: ClassVar = BatchLimits(IMPORT_PROFILES.max_records, int(MAX_REQUEST_BYTES * (1 - MARGIN)))
    endpoints: ClassVar = (*PROFILE_IMPORTS.endpoints, IMPORT_PROFILE)

    def open(self, context: SyncContext) -> ProfilesSession:
        """Begin a run."""
        return ProfilesSession(self, context)


class ProfilesSession(Session):
    """A profiles sync during one run."""

    def __init__(self, sync_type: ProfilesSync, context: SyncContext) -> None:
        super().__init__(sync_type, context)
        self._mapping = sync_type.mapping
        self._options = sync_type.options
        self._identifier = ""

    def mapper(self, columns: Sequence[str]) -> ProfileMapper:
        """The mapper for the columns of a result.

        :raises MappingError: when mapping and columns do not fit.
        """
        found = Columns(columns)
        fields = bind(found, self._mapping, FIELDS)
        mapper = ProfileMapper(fields, self._options, json_fields(found, self._mapping))
        self._identifier = mapper.identifier
        _announce(mapper)
        return mapper

    def delivery(self) -> ImportJobDelivery:
        """How batches reach Klaviyo."""
        context = self._context
        return ImportJobDelivery(
            context.client,
            context.spool,
            self.acknowledgements(),
            waits=context.waits,
            poll_interval=context.poll_interval,
            identifier=lambda: self._identifier,
            drops_invalid=self._options.drop_invalid,
        )

    def preview(self, path_of: PathOf) -> PreviewDelivery:
        """How a preview shows what would be sent."""
        return PreviewDelivery(path_of, _bodies)


def _bodies(batch: Sequence[Record]) -> list[bytes]:
    together = [record.body for record in batch if not record.needs_own_request]
    alone = [single_body(record.body) for record in batch if record.needs_own_request]
    return [import_body(together), *alone] if together else alone


def _announce(mapper: ProfileMapper) -> None:
    properties = mapper.property_names
    log.info(
        "People are matched by %s. Fields sent: %s. Custom properties sent: %s.",
        mapper.identifier,
        ", ".join(mapper.field_names),
        ", ".join(properties) or "none",
    )
    if mapper.cleared_fields:
        per_minute = next(rate.limit for rate in IMPORT_PROFILE.rates if rate.seconds == 60)
        log.warning(
            "clear_nulls: every row with a NULL in one of these fields takes a request of its own, at most %d a "
            "minute: %s. Limit clear_nulls to custom properties, which cost nothing extra, if that is too slow.",
            per_minute,
            ", ".join(mapper.cleared_fields),
        )

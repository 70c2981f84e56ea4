"""The events sync: what happened to people, by bulk requests, each event once."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from airflow_provider_klaviyo.client.endpoints import CREATE_EVENTS, MAX_REQUEST_BYTES
from airflow_provider_klaviyo.records.events.bodies import EventRecord
from airflow_provider_klaviyo.records.events.mapper import EventMapper, EventOptions
from airflow_provider_klaviyo.records.mapping import Columns
from airflow_provider_klaviyo.records.record import Record
from airflow_provider_klaviyo.sync.batching import MARGIN, BatchLimits
from airflow_provider_klaviyo.sync.contracts import Means, SyncType
from airflow_provider_klaviyo.sync.delivery.preview import PathOf, PreviewDelivery
from airflow_provider_klaviyo.sync.events.delivery import EventDelivery, events_body

log = logging.getLogger(__name__)

MAX_BYTES = int(MAX_REQUEST_BYTES * (1 - MARGIN))


class EventPreview(PreviewDelivery):
    """Counts the events that would be sent."""

    kinds = (0, 0)

    def send(self, batch: Sequence[Record]) -> None:
        """Count a batch by whether its events would start flows."""
        backfill = sum(isinstance(event, EventRecord) and event.is_backfill for event in batch)
        self.kinds = (self.kinds[0] + len(batch) - backfill, self.kinds[1] + backfill)
        super().send(batch)


class EventsSync(SyncType):
    """What is particular to events.

    :param mapping: ``{Klaviyo field: column}``; None maps by column name.
    """

    name = "events"
    mode = "add"
    limits = BatchLimits(CREATE_EVENTS.max_records, MAX_BYTES)
    duplicate = (
        "another row of this run is the same event (metric, unique_id and person), and the first one counts"
    )
    is_recorded_once = True

    def __init__(self, mapping: Mapping[str, str] | None, options: EventOptions) -> None:
        self._mapping = mapping
        self._options = options
        self._identifier = ""
        self._delivery: EventDelivery | EventPreview | None = None

    @property
    def target(self) -> Mapping[str, str]:
        """The metric, where all events have one: another metric's events are others."""
        return {"metric": self._options.metric or "from a column"}

    def mapper(self, columns: Sequence[str]) -> EventMapper:
        """The mapper for the columns of a result.

        :raises MappingError: when mapping and columns do not fit.
        """
        mapper = EventMapper(Columns(columns), self._mapping, self._options)
        self._identifier = mapper.identifier
        log.info(
            "People are matched by %s. Event fields sent: %s. Event properties sent: %s. Fields of the person: %s.",
            mapper.identifier,
            ", ".join(mapper.event_fields) or "none",
            ", ".join(mapper.property_names) or "none",
            ", ".join(mapper.profile_fields),
        )
        if "time" not in mapper.event_fields:
            log.warning(
                "No column is mapped to time: Klaviyo dates these events at the moment that it gets them."
            )
        return mapper

    def delivery(self, means: Means) -> EventDelivery:
        """How batches reach Klaviyo."""
        self._delivery = EventDelivery(
            means.client,
            self.acknowledgements(means.ledger),
            identifier=lambda: self._identifier,
            drops_invalid=self._options.profile.drop_invalid,
        )
        return self._delivery

    def preview(self, path_of: PathOf) -> PreviewDelivery:
        """How a preview shows what would be sent."""
        self._delivery = EventPreview(path_of, lambda batch: [events_body(batch)])
        return self._delivery

    def tell(self) -> Mapping[str, object]:
        """How many events may start flows, and how many are history."""
        live, backfill = self._delivery.kinds if self._delivery else (0, 0)
        log.info(
            "%s events may start flows; %s are history (backfill) and may not.", f"{live:,}", f"{backfill:,}"
        )
        return {"events": {"live": live, "backfill": backfill}}

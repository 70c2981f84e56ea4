"""The events sync: what happened to people, by bulk requests, each event once."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from airflow_provider_klaviyo.client.endpoints import CREATE_EVENTS, MAX_REQUEST_BYTES
from airflow_provider_klaviyo.records.events.bodies import EventRecord
from airflow_provider_klaviyo.records.events.mapper import EventMapper, EventOptions
from airflow_provider_klaviyo.records.mapping import Columns
from airflow_provider_klaviyo.records.record import Record, all_of
from airflow_provider_klaviyo.sync.batching import MARGIN, BatchLimits
from airflow_provider_klaviyo.sync.contracts import Description, Session, SyncContext, Target
from airflow_provider_klaviyo.sync.delivery.preview import PathOf, PreviewDelivery
from airflow_provider_klaviyo.sync.events.delivery import EventDelivery, events_body
from airflow_provider_klaviyo.wording import counted

log = logging.getLogger(__name__)

MAX_BYTES = int(MAX_REQUEST_BYTES * (1 - MARGIN))


class EventPreview(PreviewDelivery):
    """Counts the events that would be sent."""

    kinds = (0, 0)

    def send(self, batch: Sequence[Record]) -> None:
        """Count a batch by whether its events would start flows."""
        backfill = sum(event.is_backfill for event in all_of(EventRecord, batch))
        self.kinds = (self.kinds[0] + len(batch) - backfill, self.kinds[1] + backfill)
        super().send(batch)


@dataclass(frozen=True, slots=True)
class EventsSync(Description):
    """Records what happened to people, each event once.

    :param mapping: ``{Klaviyo field: column}``; None maps by column name.
    :param flagged_by: what says which events are history: ``parameter``, ``backfill run``, or their ``age``.
    """

    mapping: Mapping[str, str] | None
    options: EventOptions
    flagged_by: str = "age"

    name: ClassVar = "events"
    mode: ClassVar = "add"
    limits: ClassVar = BatchLimits(CREATE_EVENTS.max_records, MAX_BYTES)
    endpoints: ClassVar = (CREATE_EVENTS,)

    @property
    def is_recorded_once(self) -> bool:
        """Klaviyo ignores an event whose id it knows."""
        return True

    @property
    def blank_extras(self) -> Mapping[str, object]:
        """No event of either kind."""
        return {"events": _of_each_kind(live=0, backfill=0)}

    @property
    def told_parameters(self) -> Mapping[str, object]:
        """Whether the events start flows, and why."""
        options = self.options
        return {
            "metric": options.metric,
            "backfill": options.is_backfill,
            "backfill_because": self.flagged_by,
            "flow_window": options.flow_window.total_seconds(),
        }

    def target_of(self, list_id: str | None) -> Target:  # noqa: ARG002 - events have none
        """The metric, where all events have one: another metric's events are others."""
        return Target({"metric": self.options.metric or "from a column"})

    def open(self, context: SyncContext) -> EventsSession:
        """Begin a run."""
        return EventsSession(self, context)


class EventsSession(Session):
    """An events sync during one run."""

    duplicate = (
        "another row of this run is the same event (metric, unique_id and person), and the first one counts"
    )

    def __init__(self, sync_type: EventsSync, context: SyncContext) -> None:
        super().__init__(sync_type, context)
        self._mapping = sync_type.mapping
        self._options = sync_type.options
        self._flagged_by = sync_type.flagged_by
        self._identifier = ""
        self._delivery: EventDelivery | EventPreview | None = None

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

    def delivery(self) -> EventDelivery:
        """How batches reach Klaviyo."""
        self._delivery = EventDelivery(
            self._context.client,
            self.acknowledgements(),
            identifier=lambda: self._identifier,
            drops_invalid=self._options.profile.drop_invalid,
        )
        return self._delivery

    def preview(self, path_of: PathOf) -> PreviewDelivery:
        """How a preview shows what would be sent."""
        self._delivery = EventPreview(path_of, lambda batch: [events_body(batch)])
        return self._delivery

    def report_extras(self) -> Mapping[str, object]:
        """How many events may start flows, and how many are history."""
        live, backfill = self._delivery.kinds if self._delivery else (0, 0)
        log.info(
            "May start flows: %s; history (backfill), which may not: %s%s.",
            counted(live, "event"),
            f"{backfill:,}",
            f", because of {_BECAUSE[self._flagged_by]}" if backfill else "",
        )
        return {"events": _of_each_kind(live, backfill)}


_BECAUSE = {"parameter": "backfill=True", "backfill run": "the backfill run", "age": "their age"}


def _of_each_kind(live: int, backfill: int) -> Mapping[str, int]:
    return {"live": live, "backfill": backfill}

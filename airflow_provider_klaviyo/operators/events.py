"""Adds events to people."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_klaviyo.literals import Reader, Rule
from airflow_provider_klaviyo.operators.base import KlaviyoSyncOperator
from airflow_provider_klaviyo.parameters import flag_or_none, not_negative, short_text
from airflow_provider_klaviyo.records.events.mapping import (
    METRIC_LIMIT,
    check_key,
    check_mapping,
    check_metric,
)

if TYPE_CHECKING:
    from airflow_provider_klaviyo.sync.contracts import SyncType
    from airflow_provider_klaviyo.sync.options import SyncOptions

_FLOW_WINDOW = 3 * 86_400


class KlaviyoSyncEventsOperator(KlaviyoSyncOperator):
    """Adds an event to Klaviyo for each row of a query and attaches it to a person; each event counts once.

    An event needs an id: map a column to ``unique_id``, or name the ``primary_key``, from which the id is derived.
    Fields in ``mapping``: ``time``, ``value``, ``value_currency``, ``unique_id``, ``metric``, ``profile.<field>``,
    ``properties.<name>``. By name, identifiers go to the person, ``time`` or ``timestamp`` to the time, columns that
    no field of Klaviyo is called to the event's properties.

    Besides the parameters of ``KlaviyoSyncOperator``:

    :param metric: what happened, such as ``Placed Order``; None takes it from the column mapped to ``metric``
        (templated).
    :param backfill: whether events are recorded without starting flows. True or False forces it; None starts none
        when the Dag run is a backfill run, and none for events older than ``flow_window`` (templated).
    :param flow_window: seconds that an event may be old, when the run starts, and still start flows.

    .. seealso:: Klaviyo's guide: https://developers.klaviyo.com/en/reference/events_api_overview
    """

    template_fields: Sequence[str] = (*KlaviyoSyncOperator.template_fields, "metric", "backfill")

    readers: ClassVar[Mapping[str, Reader]] = {
        **KlaviyoSyncOperator.readers,
        "metric": partial(short_text, limit=METRIC_LIMIT),
        "backfill": flag_or_none,
        "flow_window": not_negative,
    }
    early_rules: ClassVar[Sequence[Rule]] = (check_mapping, check_metric, check_key)

    def __init__(
        self,
        *,
        metric: str | None = None,
        backfill: bool | str | None = None,
        flow_window: float = _FLOW_WINDOW,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.metric = metric
        self.backfill = backfill
        self.flow_window = flow_window
        self.check_literals()

    def sync_type(self, options: SyncOptions) -> SyncType:
        """The events sync with this operator's mapping."""
        from airflow_provider_klaviyo.client.endpoints import MAX_EVENT_PROFILE_BYTES
        from airflow_provider_klaviyo.records.events.mapper import EventOptions
        from airflow_provider_klaviyo.records.profiles.mapper import ProfileOptions
        from airflow_provider_klaviyo.sync.events.sync_type import MAX_BYTES, EventsSync

        backfill = self.read("backfill")
        flagged_by = "age" if backfill is None else "parameter"
        if backfill is None and options.is_backfill_run:
            self.log.info("This is a backfill run: its events are recorded and start no flows.")
            backfill, flagged_by = True, "backfill run"
        return EventsSync(
            mapping=options.mapping,
            flagged_by=flagged_by,
            options=EventOptions(
                profile=ProfileOptions(
                    max_bytes=MAX_EVENT_PROFILE_BYTES,
                    match_by=options.match_by,
                    phone_region=options.phone_region,
                    timezone=options.timezone,
                    drop_invalid=options.drops_invalid,
                ),
                now=dt.datetime.fromtimestamp(self.hook.clock.now(), dt.UTC),
                max_bytes=MAX_BYTES,
                metric=self.read("metric"),
                primary_key=options.primary_key,
                is_backfill=backfill,
                flow_window=dt.timedelta(seconds=self.read("flow_window")),
            ),
        )

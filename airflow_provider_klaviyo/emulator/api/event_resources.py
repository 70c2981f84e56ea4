"""Events and metrics as JSON:API resources, and events as plain dicts.

Source: OpenAPI 2026-07-15, `EventResponseObjectResource`, `MetricResponseObjectResource`; the `$` members of
`event_properties` and the integration as recorded from live answers.
"""

from __future__ import annotations

import uuid
from typing import Any

from airflow_provider_klaviyo.emulator.account.account import Account
from airflow_provider_klaviyo.emulator.account.event_store import Event, Metric
from airflow_provider_klaviyo.emulator.api.operations import Call, timestamp
from airflow_provider_klaviyo.emulator.api.profile_resources import ADDITIONAL, FIELDS
from airflow_provider_klaviyo.emulator.api.resources import links_of, sparse
from airflow_provider_klaviyo.emulator.requests.profile_schema import IDENTIFIERS

EVENT_FIELDS = frozenset(("datetime", "event_properties", "id", "timestamp", "uuid"))
METRIC_FIELDS = frozenset(("created", "id", "integration", "name", "updated"))
#: Who is included with an event shows nothing that would be asked for with `additional-fields`.
PROFILE_FIELDS = frozenset(name for name in FIELDS if name.partition(".")[0] not in ADDITIONAL)
#: What every metric comes from, as the emulator knows no other integration.
INTEGRATION = {"object": "integration", "id": "EmuApi", "key": "api", "name": "API", "category": "API"}


def event_resource(call: Call, event: Event) -> dict[str, Any]:
    """An event as JSON:API resource; a sparse fieldset leaves the relationships."""
    account = call.account
    event_id, metric = account.events.id_of(event), account.events.metrics[event.metric]
    path = f"/api/events/{event_id}"
    attributes = {
        "timestamp": event.time,
        "event_properties": event.given_properties() | _special(event),
        "datetime": timestamp(event.time),
        "uuid": str(uuid.uuid5(uuid.NAMESPACE_OID, event_id)),
    }
    related = {"profile": account.profiles.id_of(account.profiles[event.profile]), "metric": metric.id}
    return {
        "type": "event",
        "id": event_id,
        "attributes": sparse(attributes, call.query.fields.get("event")),
        "relationships": {
            kind: {"data": {"type": kind, "id": each}, **links_of(call.root, path, kind)}
            for kind, each in related.items()
        },
        "links": {"self": f"{call.root}{path}/"},
    }


def _special(event: Event) -> dict[str, Any]:
    members = {"$value_currency": event.value_currency, "$event_id": event.unique_id, "$value": event.value}
    return {name: value for name, value in members.items() if value is not None}


def metric_resource(call: Call, metric: Metric) -> dict[str, Any]:
    """A metric as JSON:API resource."""
    path = f"/api/metrics/{metric.id}"
    attributes = {
        "name": metric.name,
        "created": timestamp(metric.created),
        "updated": timestamp(metric.updated),
        "integration": INTEGRATION,
    }
    triggers: dict[str, Any] = links_of(call.root, path, "flow-triggers")
    if "flow-triggers" in call.query.include:
        triggers = {"data": [], **triggers}
    return {
        "type": "metric",
        "id": metric.id,
        "attributes": sparse(attributes, call.query.fields.get("metric")),
        "relationships": {"flow-triggers": triggers},
        "links": {"self": f"{call.root}{path}/"},
    }


def plain_event(account: Account, event: Event) -> dict[str, Any]:
    """An event with everything that is known of it, for tests and demos."""
    profile = account.profiles[event.profile]
    identifiers = {name: value for name in IDENTIFIERS if (value := getattr(profile, name)) is not None}
    return {
        "id": account.events.id_of(event),
        "metric": account.events.metrics[event.metric].name,
        "profile": {"id": account.profiles.id_of(profile), **identifiers},
        "time": timestamp(event.time),
        "value": event.value,
        "value_currency": event.value_currency,
        "unique_id": event.unique_id,
        "properties": event.given_properties(),
        "backfill": event.is_backfill,
    }

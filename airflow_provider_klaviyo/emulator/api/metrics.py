"""`/api/metrics`: what events are of. A metric comes with its first event and stays."""

from __future__ import annotations

from collections.abc import Mapping

from airflow_provider_klaviyo.emulator.api.event_resources import INTEGRATION, METRIC_FIELDS, metric_resource
from airflow_provider_klaviyo.emulator.api.operations import Answer, Call, M, Operation
from airflow_provider_klaviyo.emulator.api.resources import page
from airflow_provider_klaviyo.emulator.requests.filters import Filterable
from airflow_provider_klaviyo.emulator.requests.query import QueryRules

_SHOWN: Mapping[str, str] = {f"integration.{name}": INTEGRATION[name] for name in ("name", "category")}


def _get_metrics(call: Call) -> Answer:
    with call.account.lock:
        call.account.settle()
        is_shown = all(each.matches(_SHOWN[each.field]) for each in call.query.filter)
        document = page(
            call,
            call.account.events.metrics if is_shown else (),
            resource=lambda metric: metric_resource(call, metric),
            position=lambda metric: metric.number,
        )
    if call.query.include:
        document["included"] = []
    return Answer(200, document)


OPERATIONS = (
    Operation(
        "get_metrics",
        "GET",
        "/api/metrics",
        ("metrics:read",),
        M,
        _get_metrics,
        QueryRules(
            fields={"metric": METRIC_FIELDS},
            include=frozenset(("flow-triggers",)),
            filters={name: Filterable(("equals",)) for name in _SHOWN},
            fixed_page=200,
        ),
    ),
)

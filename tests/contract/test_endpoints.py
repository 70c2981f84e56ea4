"""The client's table of endpoints against what Klaviyo says of them."""

from __future__ import annotations

import re
from typing import Any

import pytest

from airflow_provider_klaviyo.client import endpoints
from airflow_provider_klaviyo.client.any_endpoint import SCARCE, addressed
from airflow_provider_klaviyo.client.endpoints import Endpoint
from airflow_provider_klaviyo.client.rate_limit_slots import Rate
from airflow_provider_klaviyo.records.events import fields as event_fields
from tests.contract.test_requests import strict

ENDPOINTS = {name: each for name, each in vars(endpoints).items() if isinstance(each, Endpoint)}
SECONDS = {"s": 1.0, "m": 60.0, "d": 86_400.0}


def told(rates: dict[str, str]) -> set[Rate]:
    """Klaviyo's words for rates."""
    parts = (rate.partition("/") for rate in rates.values())
    return {Rate(int(count), SECONDS[unit]) for count, _, unit in parts}


def test_the_table_has_every_endpoint() -> None:
    assert {each.name for each in endpoints.ENDPOINTS} == {each.name for each in ENDPOINTS.values()}


@pytest.mark.parametrize("name", ENDPOINTS)
class TestEndpoint:
    def test_it_is_where_klaviyo_has_it(self, facts: dict[str, Any], name: str) -> None:
        endpoint = ENDPOINTS[name]
        described = facts["operations"][endpoint.name]
        path = described["path"].replace("{job_id}", "{id}")
        assert (endpoint.method, endpoint.path) == (described["method"], path)

    def test_it_needs_klaviyos_scopes(self, facts: dict[str, Any], name: str) -> None:
        endpoint = ENDPOINTS[name]
        assert endpoint.scopes == tuple(facts["operations"][endpoint.name]["scopes"])

    def test_it_has_klaviyos_rates(self, facts: dict[str, Any], name: str) -> None:
        endpoint = ENDPOINTS[name]
        described = facts["operations"][endpoint.name]
        lowered = {f"{each.parameter}={each.value}": set(each.rates) for each in endpoint.lowered}
        assert set(endpoint.rates) == told(described["rates"])
        assert lowered == {request: told(rates) for request, rates in described.get("lowered", {}).items()}

    def test_it_takes_as_many_records_as_klaviyo(self, facts: dict[str, Any], name: str) -> None:
        endpoint = ENDPOINTS[name]
        described = facts["operations"][endpoint.name]
        assert endpoint.max_records == described.get("limits", {}).get("records", 1)

    def test_its_records_are_where_klaviyo_has_them(self, facts: dict[str, Any], name: str) -> None:
        endpoint = ENDPOINTS[name]
        if not endpoint.records:
            assert endpoint.max_records == 1
            return
        place = strict(facts["operations"][endpoint.name]["request"], facts["schemas"])
        for step in endpoint.records.strip("/").split("/"):
            place = place["properties"][step]
        assert place["type"] == ("array" if endpoint.max_records > 1 else "object")


def test_the_limits_of_bytes_are_klaviyos(facts: dict[str, Any]) -> None:
    operations = facts["operations"]
    for many in (endpoints.IMPORT_PROFILES, endpoints.CREATE_EVENTS):
        assert operations[many.name]["limits"]["bytes"] == endpoints.MAX_REQUEST_BYTES
    one, job = operations[endpoints.IMPORT_PROFILE.name], operations[endpoints.IMPORT_PROFILES.name]
    assert one["limits"]["bytes"] == job["limits"]["record_bytes"] == endpoints.MAX_PROFILE_BYTES


def test_the_limits_of_an_event_are_klaviyos(facts: dict[str, Any]) -> None:
    schemas = facts["schemas"]
    event = schemas["BaseEventCreateQueryBulkEntryResourceObject"]["properties"]["attributes"]["properties"]
    metric = schemas["MetricCreateQueryResourceObject"]["properties"]["attributes"]["properties"]
    told = facts["operations"][endpoints.CREATE_EVENTS.name]["limits"]["text_bytes"]
    assert told == event_fields.MAX_STRING_BYTES
    assert event["properties"]["maxProperties"] == event_fields.MAX_PROPERTIES
    assert metric["name"]["maxLength"] == event_fields.METRIC_LIMIT - 1


def test_calls_by_hand_keep_klaviyos_rates_of_every_operation(facts: dict[str, Any]) -> None:
    """``scarce`` are all that permit less than is assumed of an operation that the package does not know."""
    for operation in facts["operations"].values():
        path = re.sub(r"{\w+}", "A", operation["path"])
        for asked, rates in {"": operation["rates"], **operation.get("lowered", {})}.items():
            name, _, value = asked.partition("=")
            call = addressed(operation["method"], path, {name: value} if asked else {})
            kept = {rate.seconds: rate.limit for rate in call.endpoint.asked_with(call.query).rates}
            assert all(kept[rate.seconds] <= rate.limit for rate in told(rates)), (path, asked)
    for name, rates in facts["scarce"].items():
        kept = {rate.seconds: rate.limit for rate in SCARCE[name]}
        assert all(kept[rate.seconds] <= rate.limit for rate in told(rates)), name

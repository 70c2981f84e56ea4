"""The bodies that change consent, held against Klaviyo's schemas and against its SDK's models."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import jsonschema
import pytest

from airflow_provider_klaviyo.client.endpoints import SUBSCRIBE, UNSUBSCRIBE
from airflow_provider_klaviyo.records.mapping import Columns, bind_only
from airflow_provider_klaviyo.records.subscriptions.mapper import (
    SubscriptionMapper,
    SubscriptionOptions,
)
from airflow_provider_klaviyo.records.subscriptions.mapping import FIELDS
from airflow_provider_klaviyo.sync.subscriptions.bodies import consent_body
from tests.contract.test_requests import strict

NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
ROW: dict[str, object] = {
    "email": "sarah.mason@klaviyo-demo.com",
    "phone_number": "+14155552671",
    "klaviyo_id": "01GDDKASAP8TKDDA2GRZDSVP4H",
    "consented_at": dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC),
    "age_gated_date_of_birth": dt.date(1990, 1, 31),
}
ENDPOINTS = {"subscribe": SUBSCRIBE, "unsubscribe": UNSUBSCRIBE}
MODELS = {"subscribe": "SubscriptionCreateJobCreateQuery", "unsubscribe": "SubscriptionDeleteJobCreateQuery"}


def body(mode: str, channels: tuple[str, ...], list_id: str | None, *, is_historical: bool) -> dict[str, Any]:
    fields = bind_only(Columns(list(ROW)), None, FIELDS[mode], "")
    options = SubscriptionOptions(mode=mode, channels=channels, is_historical=is_historical)
    (record,) = SubscriptionMapper(fields, options, NOW).map([tuple(ROW.values())], 1).records
    more = {"custom_source": "Checkout", "historical_import": True} if is_historical else {}
    return json.loads(consent_body([record.body], mode, list_id, more))  # type: ignore[no-any-return]


CASES = [
    (mode, channels, list_id, is_historical)
    for mode in MODELS
    for channels in (("email",), ("sms",), ("email", "sms"))
    for list_id in (None, "Y6nRLr")
    for is_historical in ((False, True) if mode == "subscribe" else (False,))
]


@pytest.mark.parametrize(("mode", "channels", "list_id", "is_historical"), CASES)
def test_bodies_fit_the_schema(
    facts: dict[str, Any], mode: str, channels: tuple[str, ...], list_id: str | None, is_historical: bool
) -> None:
    schema = strict(facts["operations"][ENDPOINTS[mode].name]["request"], facts["schemas"])
    jsonschema.validate(body(mode, channels, list_id, is_historical=is_historical), schema)


@pytest.mark.parametrize(("mode", "channels", "list_id", "is_historical"), CASES)
def test_the_sdk_would_send_the_same(
    mode: str, channels: tuple[str, ...], list_id: str | None, is_historical: bool
) -> None:
    sdk = pytest.importorskip("openapi_client", reason="Klaviyo's SDK is not installed")
    sent = body(mode, channels, list_id, is_historical=is_historical)
    read = getattr(sdk.models, MODELS[mode]).model_validate(sent)
    wire = sdk.ApiClient().sanitize_for_serialization(read)
    if mode == "subscribe":  # the SDK writes the default out
        sent["data"]["attributes"].setdefault("historical_import", False)
    assert instants(wire) == instants(sent)


def instants(value: Any) -> Any:
    """Timestamps in one spelling."""
    if isinstance(value, dict):
        return {key: instants(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return list(map(instants, value))
    return value.replace("Z", "+00:00") if isinstance(value, str) and value[:4].isdecimal() else value

"""Bulk requests of events, held against Klaviyo's schemas, its SDK's models and the strict emulator."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_klaviyo.client.endpoints import CREATE_EVENTS
from airflow_provider_klaviyo.emulator.core.settings import Settings
from airflow_provider_klaviyo.emulator.requests.event_body import read_events
from airflow_provider_klaviyo.records.events.bodies import EventRecord
from airflow_provider_klaviyo.records.events.mapper import EventMapper, EventOptions
from airflow_provider_klaviyo.records.mapping import Columns
from airflow_provider_klaviyo.records.profiles.mapper import ProfileOptions
from airflow_provider_klaviyo.records.profiles.mapping import FIELDS
from airflow_provider_klaviyo.sync.events.delivery import events_body
from tests.contract.test_requests import ROW, strict

NOW = dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)


def records(rows: list[dict[str, object]], mapping: dict[str, str] | None = None) -> list[EventRecord]:
    options = EventOptions(
        profile=ProfileOptions(max_bytes=95_000),
        now=NOW,
        max_bytes=4_900_000,
        metric="Placed Order",
        primary_key=("id",),
    )
    made = EventMapper(Columns(list(rows[0])), mapping, options).map([tuple(row.values()) for row in rows], 1)
    return [each for each in made.records if isinstance(each, EventRecord)]


@pytest.fixture(scope="module")
def validator(facts: dict[str, Any]) -> Any:
    schema = strict(facts["operations"][CREATE_EVENTS.name]["request"], facts["schemas"])
    return jsonschema.validators.validator_for(schema)(schema)


EVERYTHING: dict[str, object] = {
    "id": 7,
    **{f"profile.{name}" if name in FIELDS else f"profile.properties.{name}": value for name, value in ROW.items()},
    "time": dt.datetime(2026, 11, 23, tzinfo=dt.UTC),
    "value": "12.50",
    "value_currency": "usd",
    "Colour": {"name": "red"},
    "$extra": [1, None],
}  # fmt: skip
MAPPING = {
    name
    if name.startswith("profile.") or name in ("time", "value", "value_currency")
    else f"properties.{name}": name
    for name in EVERYTHING
}
BARE: dict[str, object] = {"id": 8, "email": "ada@klaviyo-demo.com", "time": "2020-01-01"}


@pytest.fixture(params=["every field", "as little as possible"])
def body(request: pytest.FixtureRequest) -> Any:
    events = records([EVERYTHING], MAPPING) if request.param == "every field" else records([BARE])
    assert len(events) == 1
    return json.loads(events_body(events))


def test_the_body_fits_klaviyos_schema(validator: Any, body: Any) -> None:
    validator.validate(body)


def test_the_sdk_reads_the_body_and_would_send_the_same(body: Any) -> None:
    sdk = pytest.importorskip("openapi_client", reason="Klaviyo's SDK is not installed")
    read = sdk.models.EventsBulkCreateJob.model_validate(body)
    again = sdk.ApiClient().sanitize_for_serialization(read)
    assert is_within(body, again), "the SDK adds defaults and rewrites times, and nothing else"


def is_within(part: Any, whole: Any) -> bool:
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(
            name in whole and is_within(part[name], whole[name]) for name in part
        )
    if isinstance(part, list):
        return len(part) == len(whole) and all(map(is_within, part, whole))
    if isinstance(part, str) and isinstance(whole, str) and part != whole:
        return dt.datetime.fromisoformat(part) == dt.datetime.fromisoformat(whole)
    return bool(part == whole)


def test_the_endpoints_pointer_leads_to_the_groups_of_events() -> None:
    place: Any = json.loads(events_body(records([BARE])))
    for step in CREATE_EVENTS.records.strip("/").split("/"):
        place = place[step]
    assert len(place) == 1


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
VALUES: Any = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(), TEXT, st.decimals(places=2)
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=8,
)
PEOPLE = st.sampled_from(["ada@shop.io", "bob@shop.io", "Ünal@shop.io", "nobody", None])
ROWS: dict[str, Any] = {
    "id": st.one_of(st.none(), st.integers(), TEXT),
    "email": PEOPLE,
    "profile.first_name": st.one_of(st.none(), TEXT),
    "time": st.one_of(
        st.datetimes(dt.datetime(2000, 1, 2), dt.datetime(2027, 11, 1), timezones=st.timezones()),
        st.dates(dt.date(2000, 1, 2), dt.date(2027, 11, 1)),
        st.integers(1_000_000_000, 1_790_000_000),
        st.sampled_from(["2026-01-31T10:00:00Z", "nonsense", 20260131, None]),
    ),
    "value": st.one_of(st.none(), st.integers(), st.floats(), st.decimals(), TEXT),
    "value_currency": st.sampled_from(["usd", " EUR ", None, "", "€", 978]),
    "Any": VALUES,
    '5"': VALUES,
}  # fmt: skip


@given(rows=st.lists(st.fixed_dictionaries(ROWS), min_size=1, max_size=6))
@settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_whatever_a_query_returns_the_body_fits_the_schema_and_is_taken(
    validator: Any, rows: list[dict[str, object]]
) -> None:
    """The emulator answers with every problem that it finds, so a refusal fails here with its words."""
    events = {each.unique_id: each for each in records(rows)}
    if not events:
        return
    body = events_body(list(events.values()))
    validator.validate(json.loads(body))
    groups = read_events(body, NOW.timestamp(), Settings())
    read = [event for group in groups for event in group.events]
    assert {event.unique_id for event in read} == set(events)
    assert len(read) == len(events)
    assert {event.unique_id for event in read if event.is_backfill} == {
        each.unique_id for each in events.values() if each.is_backfill
    }
    people = [group.change.email for group in groups]
    assert set(people) <= {"ada@shop.io", "bob@shop.io", "ünal@shop.io"}

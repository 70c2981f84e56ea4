"""The shortcut for a thousand events says what the rule says."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_klaviyo.emulator import Settings
from airflow_provider_klaviyo.emulator.core.errors import ApiError
from airflow_provider_klaviyo.emulator.requests import event_body
from airflow_provider_klaviyo.emulator.requests.event_body import EventGroup

SETTINGS = Settings()
NOW = 1_790_000_000.5

_odd = st.one_of(st.none(), st.integers(0, 2), st.text(max_size=3), st.just("\x00"), st.booleans())
_values = st.recursive(
    st.one_of(_odd, st.sampled_from([2**63 - 1, 2**63, -(2**63) - 1, 1.5, "null", '"$', '":'])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=6,
)  # fmt: skip
_good_metric = {"data": {"type": "metric", "attributes": {"name": "Placed Order"}}}
_metrics = st.sampled_from(
    [
        *[_good_metric] * 6,
        None,
        {},
        {"data": None},
        {"data": {"type": "metric", "attributes": {"name": ""}}},
        {"data": {"type": "metric", "attributes": {"name": "x" * 128}}},
        {"data": {"type": "metric", "attributes": {"name": "x", "service": "api"}}},
        {"data": {"type": "metric", "attributes": {"name": "x", "service": None}}},
        {"data": {"type": "metric", "attributes": {"name": "x", "service": "web"}}},
        {"data": {"type": "metrics", "attributes": {"name": "x"}}},
    ]
)
_attributes = st.fixed_dictionaries(
    {
        "properties": st.one_of(
            st.just({}),
            st.dictionaries(st.one_of(st.text(max_size=3), st.just("$extra")), _values, max_size=3),
            _odd,
        ),
        "metric": _metrics,
    },
    optional={
        "time": st.one_of(st.sampled_from(["2026-07-01T00:00:00Z", "2026-07-01", "1999-01-01T00:00:00Z"]), _odd),
        "value": st.one_of(st.sampled_from([1, 1.5, 2**63]), _odd),
        "value_currency": st.one_of(st.just("EUR"), _odd),
        "unique_id": st.one_of(st.text(min_size=1, max_size=3), st.just("x" * 256), _odd),
        "backfill": st.one_of(st.booleans(), _odd),
    },
)  # fmt: skip
_people = st.sampled_from(
    [
        *[{"email": "A@b.com"}, {"external_id": "c1", "properties": {"a": [1]}}] * 4,
        {"email": "a@b"},
        {"title": "x"},
        {"external_id": "c1", "title": "x" * 95_000},
        {"external_id": "c1", "anonymous_id": None},
        {"external_id": "c1", "anonymous_id": "a"},
    ]
)
_events = st.fixed_dictionaries(
    {"type": st.sampled_from(["event", "event", "event", "metric"]), "attributes": _attributes},
    optional={"id": st.just("1")},
)
_resources = st.fixed_dictionaries(
    {
        "type": st.just("event-bulk-create"),
        "attributes": st.fixed_dictionaries(
            {
                "profile": st.builds(lambda person: {"data": {"type": "profile", "attributes": person}}, _people),
                "events": st.builds(lambda events: {"data": events}, st.lists(_events, max_size=3)),
            },
            optional={"backfill": st.one_of(st.booleans(), _odd)},
        ),
    }
)  # fmt: skip


def _body(resources: list[Any]) -> bytes:
    attributes = {"events-bulk-create": {"data": resources}}
    document = {"data": {"type": "event-bulk-create-job", "attributes": attributes}}
    return json.dumps(document, separators=(",", ":")).encode()


@given(st.lists(_resources, max_size=3))
def test_the_shortcut_passes_exactly_what_the_rule_passes(resources: list[Any]) -> None:
    body = _body(resources)
    quick, careful = event_body._read_quickly(body, NOW, SETTINGS), _careful(body)
    assert quick is None or [_plain(group) for group in quick] == careful
    assert quick is not None or careful is None or _is_unusual(body)


def _careful(body: bytes) -> list[Any] | None:
    try:
        return [_plain(group) for group in event_body._read_carefully(json.loads(body), NOW, SETTINGS)]
    except ApiError:
        return None


def _plain(group: EventGroup) -> Any:
    """A group without the order of what is JSON in it."""
    events = [
        (each.metric, each.time, each.value, each.value_currency, each.unique_id, json.loads(each.properties))
        for each in group.events
    ]
    flags = [each.is_backfill for each in group.events]
    change = group.change
    return group.place, change.email, change.external_id, json.loads(change.details), events, flags


def _is_unusual(body: bytes) -> bool:
    """Whether the shortcut leaves a good body to the rule, which it may but should rarely do."""
    return any(odd in body for odd in (b"\\u00", b"\\ud", b'"\\', b"anonymous_id"))


def test_an_ordinary_event_takes_the_shortcut() -> None:
    attributes = {
        "properties": {"a": 1, "lines": [{"sku": "x", "n": None}], "$extra": {}},
        "metric": _good_metric,
        "time": "2026-07-01T00:00:00+00:00",
        "value": 9.99,
        "value_currency": "EUR",
        "unique_id": "o1",
    }
    profile = {"data": {"type": "profile", "attributes": {"email": "ann@mail.com"}}}
    group = {"profile": profile, "events": {"data": [{"type": "event", "attributes": attributes}]}}
    body = _body([{"type": "event-bulk-create", "attributes": group}])
    assert event_body._read_quickly(body, NOW, SETTINGS) is not None

"""Rows to events: the person, what happened, and every limit of Klaviyo's with its reason."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from datetime import UTC
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_klaviyo.records.events.bodies import EventRecord, group_body
from airflow_provider_klaviyo.records.events.mapper import EventMapper, EventOptions
from airflow_provider_klaviyo.records.mapping import Columns, MappingError
from airflow_provider_klaviyo.records.profiles.mapper import ProfileOptions
from airflow_provider_klaviyo.records.record import Mapped
from airflow_provider_klaviyo.records.values.unsendable import Unreadable

NOW = dt.datetime(2026, 11, 24, 12, tzinfo=UTC)
PERSON = {"id": 1, "email": "ada@shop.io"}

Row = dict[str, object]


def mapper(columns: Sequence[str], mapping: dict[str, str] | None = None, **options: Any) -> EventMapper:
    """A mapper of "Placed Order" by the column ``id``, unless the options say otherwise."""
    person = {
        name: options.pop(name)
        for name in ("match_by", "phone_region", "timezone", "drop_invalid")
        if name in options
    }
    return EventMapper(
        Columns(columns),
        mapping,
        EventOptions(
            profile=ProfileOptions(max_bytes=95_000, **person),
            now=NOW,
            max_bytes=4_900_000,
            **{"metric": "Placed Order", "primary_key": ("id",), **options},
        ),
    )


def mapped(row: Row, mapping: dict[str, str] | None = None, **options: Any) -> Mapped:
    return mapper(list(row), mapping, **options).map([tuple(row.values())], 1)


def record(row: Row, mapping: dict[str, str] | None = None, **options: Any) -> EventRecord:
    (made,) = mapped(row, mapping, **options).records
    assert isinstance(made, EventRecord)
    return made


def sent(row: Row, mapping: dict[str, str] | None = None, **options: Any) -> dict[str, Any]:
    """The attributes of the event that a row becomes."""
    body = json.loads(record(row, mapping, **options).body)
    assert body["type"] == "event"
    return dict(body["attributes"])


def person(row: Row, mapping: dict[str, str] | None = None, **options: Any) -> dict[str, Any]:
    return dict(json.loads(record(row, mapping, **options).profile)["attributes"])


def reasons(row: Row, **options: Any) -> dict[str, str]:
    """Why a row was rejected, or values of it were left out."""
    made = mapped(row, **options)
    return {
        problem.field: problem.reason for flaw in (*made.rejected, *made.warned) for problem in flaw.problems
    }


# --- mapping --------------------------------------------------------------------------------------------------------


def test_a_row_becomes_the_event_that_klaviyo_documents() -> None:
    row = {
        "order_id": 63,
        "mail": " Sarah.Mason@Klaviyo-Demo.com ",
        "phone": "(415) 555-2671",
        "first": "Sarah",
        "vip": True,
        "ordered_at": dt.datetime(2026, 11, 23, 10, 30, tzinfo=UTC),
        "total": Decimal("12.50"),
        "currency": "usd",
        "items": [{"sku": "A1", "n": 2}],
        "extra": {"note": "gift"},
    }
    mapping = {
        "profile.email": "mail",
        "phone_number": "phone",
        "profile.first_name": "first",
        "profile.properties.Vip": "vip",
        "time": "ordered_at",
        "value": "total",
        "value_currency": "currency",
        "unique_id": "order_id",
        "properties.Items": "items",
        "properties.$extra": "extra",
    }
    assert sent(row, mapping, phone_region="US", primary_key=()) == {
        "properties": {"Items": [{"sku": "A1", "n": 2}], "$extra": {"note": "gift"}},
        "metric": {"data": {"type": "metric", "attributes": {"name": "Placed Order"}}},
        "time": "2026-11-23T10:30:00+00:00",
        "value": 12.5,
        "value_currency": "USD",
        "unique_id": "63",
    }
    assert person(row, mapping, phone_region="US", primary_key=()) == {
        "email": "sarah.mason@klaviyo-demo.com",
        "phone_number": "+14155552671",
        "first_name": "Sarah",
        "properties": {"Vip": True},
    }


def test_by_name_identifiers_go_to_the_person_the_time_to_the_time_and_the_rest_to_properties() -> None:
    row = {**PERSON, "Timestamp": "2026-11-23", "value": 3, "first_name": "Ada", "properties.Colour": "red"}
    event = sent(row)
    assert event["time"] == "2026-11-23T00:00:00+00:00"
    assert event["value"] == 3
    assert event["properties"] == {"id": 1, "first_name": "Ada", "Colour": "red"}
    assert person(row) == {"email": "ada@shop.io"}


def test_by_name_a_prefix_says_what_is_the_persons() -> None:
    row = {
        "id": 1,
        "profile.email": "ada@shop.io",
        "profile.first_name": "Ada",
        "profile.location.city": "Rome",
    }
    assert person(row) == {"email": "ada@shop.io", "first_name": "Ada", "location": {"city": "Rome"}}
    assert sent(row)["properties"] == {"id": 1}


def test_beside_a_time_a_timestamp_is_a_property() -> None:
    event = sent({**PERSON, "timestamp": "first", "time": "2026-11-23"})
    assert event["time"] == "2026-11-23T00:00:00+00:00"
    assert event["properties"]["timestamp"] == "first"


def test_the_metric_is_fixed_or_comes_from_a_column() -> None:
    row = {**PERSON, "metric": "Opened Door"}
    assert sent(row, metric=None)["metric"]["data"]["attributes"] == {"name": "Opened Door"}
    assert sent(row)["metric"]["data"]["attributes"] == {"name": "Placed Order"}
    assert sent(row)["properties"]["metric"] == "Opened Door"
    explicit = {"email": "email", "metric": "metric"}
    assert sent(row, explicit, metric=None)["metric"]["data"]["attributes"] == {"name": "Opened Door"}


def test_a_null_is_left_out_and_without_properties_there_is_an_empty_object() -> None:
    event = sent({**PERSON, "value": None, "value_currency": None, "Colour": None})
    assert event["properties"] == {"id": 1}
    assert "value" not in event
    assert sent(PERSON, {"email": "email"})["properties"] == {}


@pytest.mark.parametrize("name", ['Size 5"', "a\\b", "tab\tbed", "größe", "a.b", "$extra"], ids=repr)
def test_a_property_may_have_any_name(name: str) -> None:
    assert sent({**PERSON, name: 1, "other": None})["properties"] == {"id": 1, name: 1}


@pytest.mark.parametrize(
    ("columns", "mapping", "options", "told"),
    [
        (["id", "email"], None, {"metric": None}, "Nothing names the metric"),
        (["id", "email", "m"], {"email": "email", "metric": "m"}, {}, "keep one of them"),
        (["id", "email"], None, {"primary_key": ()}, "unique_id, or name the primary_key"),
        (["id", "name"], None, {}, "Nothing identifies a person"),
        (["id", "email"], {"email": "mail"}, {}, "did you mean 'email'"),
        (["id", "email"], {"email": "email", "colour": "id"}, {}, "properties.colour"),
        (["id", "email"], {"email": "email", "profile.colour": "id"}, {}, "colour"),
        (["id", "email"], {"email": "email", "profile.email": "id"}, {}, "both mapped"),
        (["id", "email", "$value"], None, {}, "reserved"),
        (["id", "email"], None, {"primary_key": ("nr",)}, "primary_key"),
        (["id", "email", "x", "x"], None, {}, "both mean properties.x"),
        (["id", "email", "x", "properties.x"], None, {}, "both mean properties.x"),
        (["id", "email", "Time", "TIME"], None, {}, "both mean time"),
        (["id", "email", "email"], None, {}, "both mean email"),
        (["id", "email", ""], None, {}, "no name"),
        (["id", "email", "?column?"], None, {}, "Column 3 of the query has no name"),
        (["id", "email"], None, {"match_by": "phone_number"}, "match_by"),
    ],
)
def test_what_does_not_fit_is_said_before_the_first_row(
    columns: list[str], mapping: dict[str, str] | None, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(MappingError, match=told):
        mapper(columns, mapping, **options)


# --- ids ------------------------------------------------------------------------------------------------------------


def test_the_id_is_derived_from_the_key_and_is_the_same_for_any_mapping_of_it() -> None:
    derived = sent(PERSON)["unique_id"]
    assert derived.startswith("k1-")
    assert (
        sent({"ID": Decimal("1.00"), "email": "other@shop.io", "x": 2}, primary_key=("id",))["unique_id"]
        == derived
    )
    assert sent(PERSON, metric="Cancelled Order")["unique_id"] != derived


def test_a_mapped_id_counts_more_than_the_key_and_is_one_of_its_person() -> None:
    row = {**PERSON, "unique_id": " A-7 "}
    assert sent(row)["unique_id"] == "A-7"
    assert record(row).dedup_key != record({**row, "email": "bob@shop.io"}).dedup_key
    assert record(PERSON).dedup_key == record({**PERSON, "email": "bob@shop.io"}).dedup_key


@pytest.mark.parametrize(
    "key",
    [None, Unreadable("the year 10000 cannot be read"), object()],
    ids=["null", "unreadable", "without a text"],
)
def test_a_row_without_a_key_is_rejected(key: object) -> None:
    made = mapped({**PERSON, "id": key, "x": 1}, {"email": "email", "properties.x": "x"})
    assert made.records == []
    assert made.rejected[0].problems[0].field == "primary_key"


def test_the_other_rows_of_a_chunk_are_not_touched_by_a_bad_one() -> None:
    rows = [(1, "a@shop.io"), (None, "b@shop.io"), (3, "nobody"), (4, "d@shop.io")]
    made = mapper(["id", "email"]).map(rows, 11)
    assert [each.number for each in made.records] == [11, 14]
    assert [flaw.number for flaw in made.rejected] == [12, 13]


# --- limits ---------------------------------------------------------------------------------------------------------


def deep(levels: int) -> object:
    value: object = "bottom"
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("good", "bad", "told"),
    [
        (deep(10), deep(11), "10 levels"),
        ("x" * 100_000, "x" * 100_001, "100,000 bytes"),
        ("ü" * 50_000, "ü" * 50_001, "100,000 bytes"),
        ({"in": ["x" * 100_000]}, {"in": ["x" * 100_001]}, "100,000 bytes"),
        ([0] * 4_000, [0] * 4_001, "4,000"),
        ({"in": {"it": [0] * 4_000}}, {"in": {"it": [0] * 4_001}}, "4,000"),
        (2**63 - 1, 2**63, "64 bits"),
        (1.5, float("nan"), "NaN"),
        ("yes", b"\xff", "binary"),
    ],
    ids=["levels", "text", "bytes of text", "text within", "list", "list within", "integer", "NaN", "binary"],
)
def test_a_property_within_its_limit_is_sent_and_beyond_it_is_left_out_with_its_reason(
    good: object, bad: object, told: str
) -> None:
    assert sent({**PERSON, "x": good})["properties"]["x"] == good
    row = {**PERSON, "x": bad, "y": "kept"}
    assert sent(row)["properties"] == {"id": 1, "y": "kept"}
    assert told in reasons(row)["properties.x"]
    assert mapped(row, drop_invalid=False).records == []


def test_four_hundred_properties_are_sent_and_one_more_rejects_the_row() -> None:
    names = {f"p{n}": n for n in range(400)}
    mapping = {"email": "email", **{f"properties.{name}": name for name in names}}
    assert len(sent({**PERSON, **names}, mapping)["properties"]) == 400
    more = {**PERSON, **names, "q": 1}
    made = mapped(more, {**mapping, "properties.q": "q"})
    assert made.records == []
    assert "401 properties" in made.rejected[0].problems[0].reason
    more["p7"] = None
    assert len(sent(more, {**mapping, "properties.q": "q"})["properties"]) == 400


def test_an_event_of_five_megabytes_is_rejected() -> None:
    text = {f"p{n}": "x" * 99_000 for n in range(48)}
    assert len(record({**PERSON, **text}).body) > 4_700_000
    row = {**PERSON, **text, "q": "x" * 99_000}
    assert mapped(row).records == []
    assert "bytes as JSON" in reasons(row)["event"]


def test_a_person_of_more_than_95_kilobytes_is_rejected() -> None:
    mapping = {"email": "email", "profile.first_name": "name"}
    assert record({**PERSON, "name": "x" * 94_900}, mapping)
    made = mapped({**PERSON, "name": "x" * 95_000}, mapping)
    assert made.records == []
    assert "95,000" in made.rejected[0].problems[0].reason


@pytest.mark.parametrize(
    ("field", "good", "bad", "told"),
    [
        ("unique_id", "x" * 255, "x" * 256, "255"),
        ("unique_id", 7, None, "empty"),
        ("unique_id", "7", "  ", "empty"),
        ("unique_id", Decimal("7.00"), True, "text"),
        ("metric", "x" * 127, "x" * 128, "128"),
        ("metric", "Opened", None, "empty"),
        ("time", "2026-11-23", "yesterday", "not a time"),
        ("time", dt.date(2026, 11, 23), 20261123, "ambiguous"),
        ("time", dt.date(2027, 11, 23), dt.date(2027, 11, 26), "future"),
        ("time", dt.date(1990, 1, 1), dt.date(1989, 12, 31), "1990"),
    ],
)
@pytest.mark.parametrize("drop_invalid", [True, False])
def test_what_makes_the_event_another_one_is_never_dropped(
    field: str, good: object, bad: object, told: str, drop_invalid: bool
) -> None:
    options: dict[str, Any] = {"drop_invalid": drop_invalid, "metric": None if field == "metric" else "m"}
    assert record({**PERSON, field: good}, **options)
    row = {**PERSON, field: bad}
    assert mapped(row, **options).records == []
    assert told in reasons(row, **options)[field]


@pytest.mark.parametrize(
    ("text", "number"),
    [("12.50", b"12.50"), (" 7 ", b"7"), (".5", b"0.5"), ("5.", b"5"), ("-1e3", b"-1E+3"), ("+2", b"2")],
)
def test_text_that_is_a_number_is_an_amount(text: str, number: bytes) -> None:
    assert b'"value":' + number + b"," in mapped({**PERSON, "value": text}).records[0].body + b","


@pytest.mark.parametrize(
    ("field", "bad", "told"),
    [
        ("value", "twelve", "not a number"),
        ("value", "1,50", "not a number"),
        ("value", ".", "not a number"),
        ("value", "1e999", "not a number"),
        ("value", True, "number"),
        ("value", float("inf"), "NaN and Infinity"),
        ("value", "99999999999999999999", "64 bits"),
        ("value", dt.date(2026, 1, 1), "number"),
        ("value_currency", "€", "ISO 4217"),
        ("value_currency", "EURO", "ISO 4217"),
        ("value_currency", 978, "ISO 4217"),
        ("phone_number", "12", ""),
    ],
)
def test_another_bad_value_is_left_out_or_rejects_the_row_as_on_invalid_says(
    field: str, bad: object, told: str
) -> None:
    row = {**PERSON, field: bad}
    made = mapped(row)
    assert len(made.records) == len(made.warned) == 1
    assert told in reasons(row)[field]
    assert field not in sent(row)
    strict = mapped(row, drop_invalid=False)
    assert (strict.records, len(strict.rejected)) == ([], 1)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("12.50", 12.5),
        (" -3 ", -3),
        ("+4", 4),
        ("007", 7),
        (0, 0),
        ("0", 0),
        (Decimal("0.10"), 0.1),
        ("", None),
    ],
)
def test_a_value_is_a_number_or_text_that_is_one(value: object, expected: object) -> None:
    assert sent({**PERSON, "value": value}).get("value") == expected


def test_the_zone_of_the_sync_holds_for_the_time_and_for_properties() -> None:
    noon = dt.datetime(2026, 7, 1, 12)
    event = sent({**PERSON, "time": noon, "seen": noon}, timezone=ZoneInfo("Europe/Berlin"))
    assert event["time"] == event["properties"]["seen"] == "2026-07-01T12:00:00+02:00"


# --- history --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "forced", "expected"),
    [
        (dt.timedelta(days=2), None, False),
        (dt.timedelta(days=3), None, False),
        (dt.timedelta(days=3, seconds=1), None, True),
        (dt.timedelta(days=-1), None, False),
        (dt.timedelta(days=2), True, True),
        (dt.timedelta(days=9), False, False),
    ],
)
def test_old_events_start_no_flows_unless_it_is_forced(
    age: dt.timedelta, forced: bool | None, expected: bool
) -> None:
    assert record({**PERSON, "time": NOW - age}, is_backfill=forced).is_backfill is expected


def test_an_event_without_a_time_happens_now() -> None:
    assert record(PERSON).is_backfill is False


def test_growing_old_is_no_change_of_an_event_but_everything_else_is() -> None:
    row = {**PERSON, "time": NOW}
    assert record(row).fingerprinted == record(row, flow_window=dt.timedelta(seconds=-1)).fingerprinted
    assert record(row).fingerprinted != record({**row, "value": 1}).fingerprinted


@pytest.mark.parametrize("is_backfill", [True, False])
def test_the_flag_stands_at_the_group_and_at_each_event_and_nowhere_for_live_ones(is_backfill: bool) -> None:
    event = record(PERSON, is_backfill=is_backfill)
    group = json.loads(group_body(event.profile, [event, event]))["attributes"]
    flags = [group.get("backfill"), *(each["attributes"].get("backfill") for each in group["events"]["data"])]
    assert flags == [True, True, True] if is_backfill else [None, None, None]
    assert event.size >= len(group_body(event.profile, [event]))


# --- everything -----------------------------------------------------------------------------------------------------

JSON: Any = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=9), st.decimals()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
COLUMNS: dict[str, Any] = {
    "id": st.one_of(st.none(), st.integers(), st.text(max_size=5)),
    "email": st.sampled_from(["a@shop.io", "b@shop.io", "nobody", None, "ü@shop.io"]),
    "external_id": st.one_of(st.none(), st.text(max_size=4), st.integers()),
    "time": st.one_of(
        st.datetimes(), st.integers(1_700_000_000, 1_800_000_000), st.sampled_from(["2026-01-31", 7])
    ),
    "value": JSON,
    "value_currency": st.sampled_from(["usd", "EUR", None, "€", 7]),
    "Any": JSON,
    "Other": JSON,
}


@given(rows=st.lists(st.fixed_dictionaries(COLUMNS), min_size=1, max_size=5), drop_invalid=st.booleans())
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_every_row_becomes_an_event_or_has_a_reason(rows: list[Row], drop_invalid: bool) -> None:
    made = mapper(list(COLUMNS), drop_invalid=drop_invalid).map([tuple(row.values()) for row in rows], 1)
    numbers = [each.number for each in made.records] + [flaw.number for flaw in made.rejected]
    assert sorted(numbers) == list(range(1, len(rows) + 1))
    assert {flaw.number for flaw in made.warned} <= {each.number for each in made.records}
    for each in made.records:
        assert isinstance(each, EventRecord)
        body = json.loads(each.body)["attributes"]
        assert body["unique_id"] == each.unique_id
        assert body["metric"]["data"]["attributes"]["name"] == each.metric
        json.loads(each.profile)


def test_by_name_a_property_of_the_person_is_the_persons() -> None:
    made = record({**PERSON, "profile.properties.Tier": "gold", "profile.properties.": "x"})
    assert json.loads(made.profile)["attributes"]["properties"] == {"Tier": "gold"}
    assert "Tier" not in json.loads(made.body)["attributes"]["properties"]


def test_by_name_an_event_finds_its_person_under_headings_of_klaviyos_csv() -> None:
    made = record({"id": 1, "Email Address": "ada@shop.io", "First Name": "Ada"})
    assert made.identity == "ada@shop.io"
    assert json.loads(made.body)["attributes"]["properties"]["First Name"] == "Ada"


def test_json_in_text_becomes_what_it_stands_for_of_the_event_and_of_the_person() -> None:
    row = {**PERSON, "items": '[{"sku": "a", "price": 9.90}]', "tags": '["x"]'}
    mapping = {
        "email": "email",
        "properties.Items": "items::json",
        "profile.properties.Tags": "tags::json",
    }
    made = record(row, mapping)
    assert json.loads(made.body)["attributes"]["properties"] == {"Items": [{"sku": "a", "price": 9.9}]}
    assert json.loads(made.profile)["attributes"]["properties"] == {"Tags": ["x"]}


def test_a_placeholder_is_no_id_of_the_person() -> None:
    row = {"id": 1, "email": "ada@shop.io", "external_id": "nan"}
    result = mapped(row)
    assert json.loads(result.records[0].profile)["attributes"] == {"email": "ada@shop.io"}  # type: ignore[attr-defined]
    assert "placeholder" in result.warned[0].problems[0].reason
    assert mapped(row, match_by="external_id").rejected

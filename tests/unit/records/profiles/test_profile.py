"""Rows to profiles."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_klaviyo.records.mapping import Columns, MappingError, bind, json_fields
from airflow_provider_klaviyo.records.profiles.mapper import ProfileMapper, ProfileOptions
from airflow_provider_klaviyo.records.profiles.mapping import FIELDS
from airflow_provider_klaviyo.records.record import Mapped


def mapper(columns: list[str], mapping: dict[str, str] | None = None, **options: Any) -> ProfileMapper:
    found = Columns(columns)
    return ProfileMapper(
        bind(found, mapping, FIELDS),
        ProfileOptions(max_bytes=100_000, **options),
        json_fields(found, mapping),
    )


def mapped(row: dict[str, object], mapping: dict[str, str] | None = None, **options: Any) -> Mapped:
    return mapper(list(row), mapping, **options).map([tuple(row.values())], 1)


def sent(row: dict[str, object], mapping: dict[str, str] | None = None, **options: Any) -> Any:
    (record,) = mapped(row, mapping, **options).records
    return json.loads(record.body)


def test_a_row_becomes_the_resource_that_klaviyo_documents() -> None:
    row = {
        "klaviyo_id": "01GDDKASAP8TKDDA2GRZDSVP4H",
        "email": " Sarah.Mason@Klaviyo-Demo.com ",
        "phone_number": "(415) 555-2671",
        "external_id": 63,
        "first_name": "Sarah",
        "locale": "en_US",
        "location.city": "Boston",
        "location.zip": 2110,
        "location.latitude": Decimal("42.3555"),
        "Tier": "gold",
        "LTV": Decimal("12.50"),
        "Joined": date(2026, 1, 31),
        "Token": UUID(int=1),
        "Tags": ["a", "b"],
        "Vip": True,
    }
    assert sent(row, phone_region="US") == {
        "type": "profile",
        "id": "01GDDKASAP8TKDDA2GRZDSVP4H",
        "attributes": {
            "email": "sarah.mason@klaviyo-demo.com",
            "phone_number": "+14155552671",
            "external_id": "63",
            "first_name": "Sarah",
            "locale": "en-US",
            "location": {"city": "Boston", "zip": "2110", "latitude": 42.3555},
            "properties": {
                "Tier": "gold",
                "LTV": 12.5,
                "Joined": "2026-01-31",
                "Token": "00000000-0000-0000-0000-000000000001",
                "Tags": ["a", "b"],
                "Vip": True,
            },
        },
    }


def test_nulls_are_left_out_and_an_empty_object_is_not_sent() -> None:
    row = {"email": "ada@shop.io", "first_name": None, "location.city": None, "Tier": None}
    assert sent(row) == {"type": "profile", "attributes": {"email": "ada@shop.io"}}


def test_empty_text_zero_and_false_are_values() -> None:
    row = {"email": "ada@shop.io", "first_name": "", "n": 0, "b": False, "t": ""}
    attributes = sent(row)["attributes"]
    assert attributes["first_name"] == ""
    assert attributes["properties"] == {"n": 0, "b": False, "t": ""}


def test_decimals_keep_their_digits() -> None:
    (record,) = mapped({"email": "ada@shop.io", "n": Decimal("12345678901234567890.123456789")}).records
    assert b"12345678901234567890.123456789" in record.body


def test_naive_timestamps_take_the_timezone_and_aware_ones_keep_theirs() -> None:
    row = {"email": "ada@shop.io", "a": datetime(2026, 7, 1, 12), "b": datetime(2026, 7, 1, 12, tzinfo=UTC)}
    properties = sent(row, timezone=ZoneInfo("Europe/Berlin"))["attributes"]["properties"]
    assert properties == {"a": "2026-07-01T12:00:00+02:00", "b": "2026-07-01T12:00:00+00:00"}


def test_a_bad_phone_number_beside_a_good_address_is_left_out_with_a_warning() -> None:
    result = mapped({"email": "ada@shop.io", "phone_number": "123"})
    assert json.loads(result.records[0].body)["attributes"] == {"email": "ada@shop.io"}
    assert [problem.field for flaw in result.warned for problem in flaw.problems] == ["phone_number"]
    assert not result.rejected


def test_on_invalid_reject_rejects_the_row() -> None:
    result = mapped({"email": "ada@shop.io", "phone_number": "123"}, drop_invalid=False)
    assert not result.records
    assert [problem.field for problem in result.rejected[0].problems] == ["phone_number"]


def test_all_reasons_of_a_row_are_told_at_once_and_without_its_values() -> None:
    row = {"email": "not an address", "phone_number": "+1 999", "score": float("nan"), "blob": b"\0"}
    (flaw,) = mapped(row).rejected
    assert {problem.field for problem in flaw.problems} == {
        "email",
        "phone_number",
        "properties.score",
        "properties.blob",
    }
    assert not any("not an address" in problem.reason or "999" in problem.reason for problem in flaw.problems)


@pytest.mark.parametrize("address", ["nobody", "a@b", "a b@shop.io", "", "   "], ids=repr)
def test_without_its_identifier_a_row_is_rejected_even_when_another_is_valid_but_match_by_says_so(
    address: str,
) -> None:
    row = {"email": address, "external_id": "7"}
    assert mapped(row, match_by="email").rejected
    (record,) = mapped(row).records
    assert json.loads(record.body)["attributes"] == {"external_id": "7"}


@pytest.mark.parametrize(
    ("given", "told"), [("7" * 256, "255 characters"), ("7\0", "NUL")], ids=["long", "NUL"]
)
def test_an_external_id_that_klaviyo_would_not_take_is_left_out_beside_an_address(
    given: str, told: str
) -> None:
    row = {"email": "ada@shop.io", "external_id": given}
    result = mapped(row)
    assert json.loads(result.records[0].body)["attributes"] == {"email": "ada@shop.io"}
    (problem,) = result.warned[0].problems
    assert problem.field == "external_id"
    assert told in problem.reason
    assert mapped(row, match_by="external_id").rejected
    assert mapped(row, drop_invalid=False).rejected
    assert sent({"email": "ada@shop.io", "external_id": "7" * 255})["attributes"]["external_id"] == "7" * 255


@pytest.mark.parametrize(
    "value",
    [
        "nan", "NaN", " null ", "None", "UNDEFINED", "n/a", "N/A", "0", 0, 0.0, Decimal("0.00"), "0.0", "NA", "<NA>",
        "NaT", "nil", "empty", "(null)", "\\N", "-", "#N/A", UUID(int=0),
    ],
    ids=repr,
)  # fmt: skip
def test_a_placeholder_is_nobodys_id(value: object) -> None:
    row = {"email": "ada@shop.io", "external_id": value}
    result = mapped(row, match_by="email")
    assert json.loads(result.records[0].body)["attributes"] == {"email": "ada@shop.io"}
    (problem,) = result.warned[0].problems
    assert problem.field == "external_id"
    assert "placeholder" in problem.reason
    (rejected,) = mapped(row, match_by="external_id").rejected
    assert rejected.problems == (problem,)
    (flaw,) = mapped({"email": None, "external_id": value}).rejected
    assert flaw.problems == (problem,)


@pytest.mark.parametrize("value", ["", "  ", None])
def test_an_empty_id_is_none_at_all(value: object) -> None:
    result = mapped({"email": "ada@shop.io", "external_id": value})
    assert "external_id" not in json.loads(result.records[0].body)["attributes"]
    assert not result.warned


@pytest.mark.parametrize("value", ["nan", "Null", "none", "undefined", "0"])
def test_a_placeholder_is_no_klaviyo_id_either(value: str) -> None:
    result = mapped({"klaviyo_id": value, "email": "ada@shop.io"})
    assert "id" not in json.loads(result.records[0].body)
    assert "placeholder" in result.warned[0].problems[0].reason
    assert result.records[0].identity == "email\0ada@shop.io"
    assert mapped({"klaviyo_id": value, "email": "ada@shop.io"}, match_by="klaviyo_id").rejected


@pytest.mark.parametrize("value", ["4711", "4711.0", "00", "nancy", "null-1", "x0", "none of these"])
def test_what_merely_resembles_a_placeholder_is_an_id(value: str) -> None:
    result = mapped({"email": "ada@shop.io", "external_id": value})
    assert json.loads(result.records[0].body)["attributes"]["external_id"] == value
    assert not result.warned


def test_a_row_that_nothing_identifies_says_what_was_empty() -> None:
    (flaw,) = mapped({"email": None, "external_id": " ", "first_name": "Ada"}).rejected
    assert "email, external_id are all empty" in flaw.problems[0].reason


def test_people_are_told_apart_by_the_kind_of_their_identifier() -> None:
    compiled = mapper(["email", "external_id"])
    records = compiled.map([(None, "ada@shop.io"), ("ada@shop.io", None)], 1).records
    assert records[0].identity != records[1].identity


def test_the_country_of_a_row_decides_its_number() -> None:
    mapping = {"external_id": "id", "phone_number": "phone", "phone_region": "country"}
    rows = [(1, "030 901820", "DE"), (2, "(415) 555-2671", "us"), (3, "030 901820", None)]
    result = mapper(["id", "phone", "country"], mapping, phone_region=None).map(rows, 1)
    numbers = [json.loads(record.body)["attributes"].get("phone_number") for record in result.records]
    assert numbers == ["+4930901820", "+14155552671", None]
    assert [flaw.number for flaw in result.warned] == [3]


def test_a_row_over_100_kb_is_refused_alone() -> None:
    compiled = mapper(["email", "text"])
    rows = [("a@shop.io", "x"), ("b@shop.io", "é" * 60_000), ("c@shop.io", "x" * 90_000)]
    result = compiled.map(rows, 11)
    assert [record.number for record in result.records] == [11, 13]
    assert [flaw.number for flaw in result.rejected] == [12]
    assert "100,000" in result.rejected[0].problems[0].reason


def test_a_row_of_exactly_the_limit_is_sent() -> None:
    overhead = len(mapped({"email": "a@shop.io", "text": ""}).records[0].body)
    assert mapped({"email": "a@shop.io", "text": "x" * (100_000 - overhead)}).records
    assert mapped({"email": "a@shop.io", "text": "x" * (100_001 - overhead)}).rejected


def test_clearing_a_custom_property_unsets_it_in_the_bulk_import() -> None:
    profile = sent({"email": "a@shop.io", "Tier": None, "Shoe": None}, clear_nulls=["properties.Tier"])
    assert profile["meta"] == {"patch_properties": {"unset": ["Tier"]}}


def test_clearing_a_standard_field_takes_a_request_of_its_own_with_an_explicit_null() -> None:
    row = {
        "email": "a@shop.io",
        "title": None,
        "location.city": None,
        "location.zip": "1",
        "n": Decimal("1.10"),
    }
    (record,) = mapped(row, clear_nulls=True).records
    assert record.needs_own_request
    assert json.loads(record.body)["attributes"] == {
        "email": "a@shop.io",
        "title": None,
        "location": {"city": None, "zip": "1"},
        "properties": {"n": 1.1},
    }


def test_a_row_without_nulls_goes_with_the_others() -> None:
    (record,) = mapped({"email": "a@shop.io", "title": "Dr"}, clear_nulls=True).records
    assert not record.needs_own_request


def test_an_invalid_value_is_left_out_and_never_clears() -> None:
    (record,) = mapped({"email": "a@shop.io", "locale": "not a locale", "x": b"\0"}, clear_nulls=True).records
    assert not record.needs_own_request
    assert json.loads(record.body) == {"type": "profile", "attributes": {"email": "a@shop.io"}}


def test_identifiers_are_never_cleared() -> None:
    assert sent({"email": "a@shop.io", "phone_number": None}, clear_nulls=True)["attributes"] == {
        "email": "a@shop.io"
    }
    with pytest.raises(MappingError, match="clear_nulls names phone_number"):
        mapper(["email", "phone_number"], clear_nulls=["phone_number"])


def test_the_exchange_id_of_klaviyos_tracking_is_never_cleared() -> None:
    assert mapper(["email", "_kx", "image"], clear_nulls=True).cleared_fields == ["image"]
    with pytest.raises(MappingError, match="clear_nulls names _kx"):
        mapper(["email", "_kx"], clear_nulls=["_kx"])


def test_an_unknown_region_is_refused_before_the_first_row() -> None:
    with pytest.raises(MappingError, match="phone_region"):
        mapper(["email", "phone_number"], phone_region="XX")


scalars = (
    st.none() | st.text(max_size=20) | st.integers() | st.floats() | st.booleans() | st.binary(max_size=5)
)
rows = st.lists(
    st.tuples(
        st.none() | st.emails() | st.text(max_size=10),
        st.none() | st.text("+0123456789 ()-x", max_size=18),
        scalars,
        st.recursive(
            scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner)
        ),
    ),
    max_size=30,
)


@given(rows)
def test_every_row_becomes_a_record_or_a_rejection_and_every_record_is_json(
    chunk: list[tuple[object, ...]],
) -> None:
    if not chunk:
        return
    result = mapper(["email", "phone_number", "external_id", "anything"], phone_region="DE").map(chunk, 1)
    numbers = [record.number for record in result.records] + [flaw.number for flaw in result.rejected]
    assert sorted(numbers) == list(range(1, len(chunk) + 1))
    for record in result.records:
        attributes = json.loads(record.body)["attributes"]
        assert record.identity
        assert {"email", "phone_number", "external_id"} & attributes.keys()
        assert record.row == chunk[record.number - 1]


@pytest.mark.parametrize("name", ['Size "XL"', "C:\\temp", "two\nlines", "größe"])
def test_a_property_may_have_any_name_that_json_can_write(name: str) -> None:
    row = {"email": "a@shop.io", name: "x", "Tier": None}
    assert sent(row)["attributes"]["properties"] == {name: "x"}
    assert "properties" not in sent({"email": "a@shop.io", name: None, "Tier": None})["attributes"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('["a", 1]', ["a", 1]),
        ('{"b": {"c": 1.50}}', {"b": {"c": 1.5}}),
        ('"plain"', "plain"),
        ("12", 12),
        ("true", True),
        (["read", "already"], ["read", "already"]),
    ],
)
def test_text_that_the_mapping_declares_to_be_json_arrives_as_what_it_stands_for(
    text: object, value: object
) -> None:
    row = {"email": "ada@shop.io", "tags": text}
    made = sent(row, {"email": "email", "properties.Tags": "tags::json"})
    assert made["attributes"]["properties"] == {"Tags": value}


@pytest.mark.parametrize("text", [None, "", "  ", "null"])
def test_no_json_at_all_is_no_value(text: object) -> None:
    row = {"email": "ada@shop.io", "tags": text}
    result = mapped(row, {"email": "email", "properties.Tags": "tags::json"})
    assert "properties" not in json.loads(result.records[0].body)["attributes"]
    assert not result.warned


@pytest.mark.parametrize("text", ["[1,", "gold", "{'a': 1}", "[" * 12 + "]" * 12])
def test_what_is_no_json_or_too_deep_is_left_out_with_a_reason(text: str) -> None:
    row = {"email": "ada@shop.io", "tags": text}
    result = mapped(row, {"email": "email", "properties.Tags": "tags::json"})
    (flaw,) = result.warned
    assert [problem.field for problem in flaw.problems] == ["properties.Tags"]
    assert text not in flaw.problems[0].reason

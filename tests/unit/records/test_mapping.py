"""Which column feeds which field."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_klaviyo.records.mapping import (
    Columns,
    MappingError,
    bind,
    bind_only,
    choose_identifier,
    find_all,
    json_fields,
)
from airflow_provider_klaviyo.records.profiles.mapping import FIELDS


def bound(columns: list[str], mapping: dict[str, str] | None = None) -> dict[str, int]:
    return bind(Columns(columns), mapping, FIELDS)


def test_names_of_klaviyo_are_recognised_and_others_become_properties() -> None:
    assert bound(["id", "email", "location.city", "Tier"]) == {
        "properties.id": 0,
        "email": 1,
        "location.city": 2,
        "properties.Tier": 3,
    }


def test_a_warehouse_that_folds_names_to_upper_case_is_understood() -> None:
    assert bound(["EMAIL", "FIRST_NAME", "LTV"]) == {"email": 0, "first_name": 1, "properties.LTV": 2}


def test_an_exact_match_wins_over_another_spelling() -> None:
    assert bound(["Email", "email"]) == {"properties.Email": 0, "email": 1}
    assert bound(["Mail", "mail"], {"email": "mail"}) == {"email": 1}


def test_two_spellings_without_an_exact_match_are_refused() -> None:
    with pytest.raises(MappingError, match=r"'Email' and 'EMAIL' both mean email"):
        bound(["Email", "EMAIL"])
    with pytest.raises(MappingError, match="could be any of 'Mail', 'MAIL'"):
        bound(["Mail", "MAIL"], {"email": "mail"})


def test_a_column_that_is_named_like_a_property_is_that_property() -> None:
    assert bound(["email", "properties.Tier"]) == {"email": 0, "properties.Tier": 1}


def test_every_problem_of_a_mapping_is_told_at_once_with_the_nearest_name() -> None:
    mapping = {"emial": "email", "email": "e_mail", "tier": "tier", "id": "email"}
    with pytest.raises(MappingError) as caught:
        bound(["email", "tier"], mapping)
    for told in (
        "did you mean 'email'?",
        "no column 'e_mail'",
        "'properties.tier'",
        "klaviyo_id",
        "external_id",
    ):
        assert told in str(caught.value)


@pytest.mark.parametrize(
    "mapping", [None, {"email": "email", "properties.$source": "$source"}], ids=["name", "explicit"]
)
def test_reserved_property_names_are_refused_with_a_way_out(mapping: dict[str, str] | None) -> None:
    with pytest.raises(MappingError, match=r"'\$source'.*reserved.*AS"):
        bound(["email", "$source"], mapping)


def test_a_property_needs_a_name() -> None:
    with pytest.raises(MappingError, match=r"no field 'properties\.'"):
        bound(["email"], {"properties.": "email"})


@pytest.mark.parametrize(
    ("fields", "match_by", "chosen"),
    [
        (["external_id", "email"], None, "email"),
        (["external_id", "email", "klaviyo_id"], None, "klaviyo_id"),
        (["external_id", "phone_number"], None, "phone_number"),
        (["external_id", "email"], "external_id", "external_id"),
    ],
)
def test_the_first_identifier_that_is_mapped_counts(
    fields: list[str], match_by: str | None, chosen: str
) -> None:
    assert choose_identifier(fields, match_by) == chosen


@pytest.mark.parametrize(
    ("fields", "match_by", "told"),
    [
        (["first_name"], None, "Nothing identifies a person"),
        (["email"], "phone_number", "nothing is mapped to phone_number"),
        (["email"], "id", "match_by must be one of"),
    ],
)
def test_a_sync_without_identifier_is_refused(fields: list[str], match_by: str | None, told: str) -> None:
    with pytest.raises(MappingError, match=told):
        choose_identifier(fields, match_by)


def test_a_missing_key_column_is_told_with_its_purpose() -> None:
    with pytest.raises(MappingError, match="primary_key: there is no column 'idd'; did you mean 'id'"):
        find_all(Columns(["id"]), ["idd"], "primary_key")


@pytest.mark.parametrize(
    "name", ["", " ", "properties.", "?column?", "_col1", "_c0", "f0_", "EXPR$0", "(No column name)"]
)
def test_a_column_that_the_query_does_not_name_becomes_no_property(name: str) -> None:
    with pytest.raises(MappingError, match=r"Column 2 of the query has no name .*give it one \(AS"):
        bound(["email", name])


@pytest.mark.parametrize("name", ["count", "count(*)", "column", "_color", "c0", "f0", "expr"])
def test_a_name_that_only_resembles_those_of_nameless_columns_is_a_name(name: str) -> None:
    assert bound(["email", name])[f"properties.{name}"] == 1


@given(st.lists(st.text(min_size=1, max_size=8), unique=True, min_size=1, max_size=12))
def test_by_name_every_column_is_bound_once_or_the_mapping_is_refused(columns: list[str]) -> None:
    try:
        fields = bound(columns)
    except MappingError:
        return
    assert sorted(fields.values()) == list(range(len(columns)))


def test_headings_of_klaviyos_own_csv_are_its_fields_and_the_log_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    columns = ["Email Address", "First Name", "Phone Number", "State / Region", "City", "Tier"]
    assert bound(columns) == {
        "email": 0,
        "first_name": 1,
        "phone_number": 2,
        "location.region": 3,
        "properties.City": 4,
        "properties.Tier": 5,
    }
    assert "'First Name' as first_name" in caplog.text


def test_a_column_that_is_named_after_a_field_wins_over_a_heading() -> None:
    assert bound(["Phone Number", "phone_number"]) == {"properties.Phone Number": 0, "phone_number": 1}


def test_two_headings_of_one_field_are_refused() -> None:
    with pytest.raises(MappingError, match="both mean first_name"):
        bound(["email", "First Name", "FIRST NAME"])


def test_syncs_that_read_identifiers_only_know_the_headings_too() -> None:
    columns = Columns(["Phone Number", "Email Address", "City"])
    assert bind_only(columns, None, ("email", "phone_number"), "") == {"email": 1, "phone_number": 0}


def test_a_column_may_be_declared_to_hold_json() -> None:
    mapping = {"email": "email", "properties.Tags": "tags::json", "properties.Odd": "odd::json"}
    columns = ["email", "tags", "odd::json"]
    assert bound(columns, mapping) == {"email": 0, "properties.Tags": 1, "properties.Odd": 2}
    assert json_fields(Columns(columns), mapping) == {"properties.Tags"}


@pytest.mark.parametrize(
    ("mapping", "told"),
    [
        ({"email": "email::json"}, "only properties.<name> takes JSON"),
        ({"properties.Tags": "tag::json"}, "no column 'tag'"),
    ],
)
def test_json_that_cannot_be_is_refused(mapping: dict[str, str], told: str) -> None:
    with pytest.raises(MappingError, match=told):
        bound(["email", "tags"], mapping)

"""Rows to people whose consent is to change."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from airflow_provider_klaviyo.records.mapping import Columns, MappingError, bind_only
from airflow_provider_klaviyo.records.record import Mapped
from airflow_provider_klaviyo.records.subscriptions.mapper import (
    SubscriptionMapper,
    SubscriptionOptions,
)
from airflow_provider_klaviyo.records.subscriptions.mapping import FIELDS
from airflow_provider_klaviyo.records.subscriptions.record import Address, SubscriptionRecord

NOW = dt.datetime(2026, 6, 1, 12, tzinfo=dt.UTC)
EMAIL, PHONE = "ada@shop.io", "+14155552671"


def mapped(row: dict[str, object], mode: str = "subscribe", **options: Any) -> Mapped:
    settings = {"channels": ("email", "sms")} | options
    fields = bind_only(Columns(list(row)), None, FIELDS[mode], "elsewhere")
    return SubscriptionMapper(fields, SubscriptionOptions(mode=mode, **settings), NOW).map(
        [tuple(row.values())], 1
    )


def sent(row: dict[str, object], **options: Any) -> dict[str, Any]:
    (record,) = mapped(row, **options).records
    return json.loads(record.body)  # type: ignore[no-any-return]


def problem(row: dict[str, object], **options: Any) -> str:
    result = mapped(row, **options)
    (flaw,) = [*result.rejected, *result.skipped]
    return flaw.problems[0].reason


def test_an_address_goes_in_lower_case_and_is_looked_up_as_given_too() -> None:
    (record,) = mapped({"email": " Ada@Shop.IO "}, channels=("email",)).records
    assert isinstance(record, SubscriptionRecord)
    assert json.loads(record.body)["attributes"]["email"] == EMAIL
    assert set(record.lookups("email")) == {EMAIL, "Ada@Shop.IO"}
    assert record.addresses == [Address("email", EMAIL)]


def test_the_identifiers_of_the_channels_and_that_of_the_person_are_sent() -> None:
    row = {"email": EMAIL, "phone_number": PHONE, "external_id": "7", "klaviyo_id": "01ABC"}
    assert sent(row, match_by="email", channels=("sms",))["attributes"] == {
        "email": EMAIL,
        "phone_number": PHONE,
        "subscriptions": {"sms": {"marketing": {"consent": "SUBSCRIBED"}}},
    }
    assert sent(row, match_by="phone_number", channels=("sms",))["attributes"].keys() == {
        "phone_number",
        "subscriptions",
    }
    by_id = sent(row, match_by="klaviyo_id", channels=("email",))
    assert by_id["id"] == "01ABC"
    assert by_id["attributes"].keys() == {"email", "subscriptions"}
    assert "id" not in sent(row, match_by="external_id", channels=("email",))


@pytest.mark.parametrize("match_by", [None, "external_id"])
def test_a_query_without_an_identifier_is_told_those_that_the_mode_takes(match_by: str | None) -> None:
    with pytest.raises(MappingError, match=r"email(,| or) phone_number[ ,]") as refused:
        mapped({"consent.email": True}, mode="unsubscribe", match_by=match_by)
    assert "klaviyo_id" not in str(refused.value)
    with pytest.raises(MappingError, match="klaviyo_id"):
        mapped({"consent.email": True}, match_by=None)


def test_unsubscribing_names_no_profile_id() -> None:
    (record,) = mapped({"email": EMAIL}, mode="unsubscribe", channels=("email",)).records
    assert isinstance(record, SubscriptionRecord)
    named = record.known_as("01ABC")
    assert json.loads(named.body) == {
        "type": "profile",
        "attributes": {
            "email": EMAIL,
            "subscriptions": {"email": {"marketing": {"consent": "UNSUBSCRIBED"}}},
        },
    }
    assert Address("profile", "01ABC") in named.addresses


def test_a_narrowed_person_is_sent_without_the_identifier_that_is_no_longer_needed() -> None:
    (record,) = mapped({"email": EMAIL, "phone_number": PHONE}).records
    assert isinstance(record, SubscriptionRecord)
    assert json.loads(record.narrowed(["email"]).body)["attributes"].keys() == {"email", "subscriptions"}
    assert json.loads(record.narrowed(["sms"]).body)["attributes"].keys() == {
        "email",
        "phone_number",
        "subscriptions",
    }


def test_a_placeholder_identifies_nobody() -> None:
    row = {"external_id": "NaN", "email": EMAIL}
    assert "placeholder" in problem(row, channels=("email",), match_by="external_id")
    (record,) = mapped(row, channels=("email",)).records
    assert record.identity == EMAIL


@pytest.mark.parametrize("value", [True, 1, 1.0, Decimal(1), "true", " T ", "yes", "1"], ids=repr)
def test_what_is_true(value: object) -> None:
    assert mapped({"email": EMAIL, "consent.email": value}, channels=("email",)).records


@pytest.mark.parametrize("value", [False, 0, Decimal(0), "false", "f", "no", "0", None, "", " "], ids=repr)
def test_what_is_false_and_null_send_nothing(value: object) -> None:
    reason = problem({"email": EMAIL, "consent.email": value}, channels=("email",))
    assert reason.startswith("no_consent: ")


@pytest.mark.parametrize(
    "value", ["perhaps", 2, -1, "1.0", "0.0", "2026-01-01", b"\x01", float("nan")], ids=repr
)
def test_what_is_no_boolean_is_no_consent(value: object) -> None:
    assert not mapped({"email": EMAIL, "consent.email": value}, channels=("email",)).records
    both = mapped({"email": EMAIL, "phone_number": PHONE, "consent.email": value})
    assert [json.loads(record.body)["attributes"]["subscriptions"].keys() for record in both.records] == [
        {"sms"}
    ]
    assert both.warned


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC), "2026-03-01T12:00:00+00:00"),
        (dt.datetime(2026, 3, 1, 12, 0, 0, 999_999), "2026-03-01T11:00:00+00:00"),
        (dt.date(2026, 3, 1), "2026-02-28T23:00:00+00:00"),
        ("2026-03-01 12:00", "2026-03-01T11:00:00+00:00"),
        ("2026-03-01T12:00:00-05:00", "2026-03-01T17:00:00+00:00"),
    ],
)
def test_moments_of_consent(value: object, expected: str) -> None:
    row = {"email": EMAIL, "consented_at": value}
    body = sent(row, channels=("email",), is_historical=True, timezone=ZoneInfo("Europe/Berlin"))
    assert body["attributes"]["subscriptions"]["email"]["marketing"]["consented_at"] == expected


@pytest.mark.parametrize("value", [NOW, NOW + dt.timedelta(days=1), "soon", None, ""], ids=str)
@pytest.mark.parametrize("drop_invalid", [True, False])
def test_a_bad_moment_of_consent_rejects_the_row(value: object, drop_invalid: bool) -> None:
    row = {"email": EMAIL, "consented_at": value}
    result = mapped(row, channels=("email",), is_historical=True, drop_invalid=drop_invalid)
    assert [flaw.problems[0].field for flaw in result.rejected] == ["consented_at"]


def test_newer_consent_is_a_change_although_it_is_not_sent() -> None:
    row = {"email": EMAIL, "consented_at": NOW - dt.timedelta(days=2)}
    (before,) = mapped(row, channels=("email",)).records
    (after,) = mapped({**row, "consented_at": NOW - dt.timedelta(days=1)}, channels=("email",)).records
    assert before.body == after.body
    assert before.fingerprinted != after.fingerprinted


@pytest.mark.parametrize(
    "value",
    [
        dt.date(1990, 1, 31),
        dt.datetime(1990, 1, 31, 5),
        "1990-01-31",
        "1990-01-31 00:00:00",
        "1990-01-31T00:00:00.000Z",
    ],
    ids=repr,
)
def test_dates_of_birth(value: object) -> None:
    row = {"email": EMAIL, "phone_number": PHONE, "age_gated_date_of_birth": value}
    assert sent(row)["attributes"]["age_gated_date_of_birth"] == "1990-01-31"
    assert "age_gated_date_of_birth" not in sent(row, channels=("email",))["attributes"]


@pytest.mark.parametrize("value", ["1990", "1990-01-31 05:00", dt.date(2027, 1, 1), 1990], ids=repr)
def test_a_bad_date_of_birth_is_left_out_and_told(value: object) -> None:
    result = mapped({"phone_number": PHONE, "age_gated_date_of_birth": value}, channels=("sms",))
    assert result.warned
    assert "age_gated" not in result.records[0].body.decode()


def test_another_identifier_stands_in_unless_match_by_names_one() -> None:
    row = {"email": None, "phone_number": PHONE}
    assert sent(row)["attributes"].keys() == {"phone_number", "subscriptions"}
    assert "match_by" in problem(row, match_by="email")
    assert "nothing else identifies" in problem({"email": None, "phone_number": " "})


def test_a_channel_without_its_identifier_cannot_be_mapped() -> None:
    with pytest.raises(MappingError, match="nothing is mapped to phone_number"):
        mapped({"email": EMAIL})


def test_columns_are_found_without_regard_to_case_and_others_are_left_alone() -> None:
    fields = bind_only(Columns(["EMAIL", "first_name", "$odd", ""]), None, FIELDS["subscribe"], "")
    assert fields == {"email": 0}

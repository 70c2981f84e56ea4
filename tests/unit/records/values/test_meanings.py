"""What rows mean, whatever the order of columns and of the mapping, the spelling of values and the session's zone."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Protocol
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_klaviyo.records.events.mapper import EventMapper, EventOptions
from airflow_provider_klaviyo.records.mapping import Columns, bind, bind_only
from airflow_provider_klaviyo.records.profiles.mapper import ProfileMapper, ProfileOptions
from airflow_provider_klaviyo.records.profiles.mapping import FIELDS
from airflow_provider_klaviyo.records.record import Mapped, Record
from airflow_provider_klaviyo.records.subscriptions.mapper import SubscriptionMapper, SubscriptionOptions
from airflow_provider_klaviyo.records.subscriptions.mapping import FIELDS as CONSENT_FIELDS

NOW = dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)
ORDERED = dt.datetime(2026, 11, 20, 10, tzinfo=dt.UTC)
BERLIN = ZoneInfo("Europe/Berlin")

Row = Mapping[str, object]


class Mapper(Protocol):
    def keep_meanings(self) -> None: ...
    def map(self, rows: Sequence[tuple[object, ...]], first: int) -> Mapped: ...


def told(mapper: Mapper, row: Row) -> Record:
    mapper.keep_meanings()
    (record,) = mapper.map([tuple(row.values())], 1).records
    return record


def profile(row: Row, mapping: dict[str, str] | None = None, **options: Any) -> Record:
    fields = bind(Columns(list(row)), mapping, FIELDS)
    return told(ProfileMapper(fields, ProfileOptions(max_bytes=100_000, **options)), row)


def event(row: Row, mapping: dict[str, str] | None = None, **options: Any) -> Record:
    settings: dict[str, Any] = {"metric": "Placed Order", "primary_key": ("id",)} | options
    person = ProfileOptions(max_bytes=95_000)
    made = EventOptions(profile=person, now=NOW, max_bytes=4_900_000, **settings)
    return told(EventMapper(Columns(list(row)), mapping, made), row)


def consent(row: Row, mode: str = "subscribe", **options: Any) -> Record:
    settings: dict[str, Any] = {"channels": ("email", "sms")} | options
    fields = bind_only(Columns(list(row)), None, CONSENT_FIELDS[mode], "elsewhere")
    return told(SubscriptionMapper(fields, SubscriptionOptions(mode=mode, **settings), NOW), row)


def together(make: Any, *rows: Row, **options: Any) -> bool:
    """Whether all of them mean the same."""
    return len({make(row, **options).meaning for row in rows}) == 1


PERSON: Row = {
    "email": "ada@shop.io",
    "phone_number": "+14155552671",
    "external_id": 7,
    "first_name": "Ada",
    "location.city": "Boston",
    "location.latitude": Decimal("42.50"),
    "Tier": "gold",
    "Spent": Decimal("5.00"),
    "Ordered": ORDERED,
    'Say "hi"': [1.0, {"b": 2, "a": Decimal("3.0")}],
    "Left": None,
}
SAME_PERSON: Row = {
    "email": " Ada@Shop.io ",
    "phone_number": "+1 (415) 555-2671",
    "external_id": Decimal("7.00"),
    "first_name": "Ada",
    "location.city": "Boston",
    "location.latitude": 42.5,
    "Tier": "gold",
    "Spent": 5,
    "Ordered": ORDERED.astimezone(BERLIN),
    'Say "hi"': (1, {"a": 3, "b": 2.0}),
    "Left": None,
}


@settings(max_examples=40)
@given(order=st.permutations(list(PERSON)), mapped=st.permutations(list(PERSON)), by_name=st.booleans())
def test_a_profile_is_the_same_in_any_order_and_spelling(
    order: list[str], mapped: list[str], by_name: bool
) -> None:
    row = {name: SAME_PERSON[name] for name in order}
    fields = {name if name in FIELDS else f"properties.{name}": name for name in mapped}
    other = profile(row, None if by_name else fields)
    assert other.meaning == profile(PERSON).meaning
    assert profile({name: PERSON[name] for name in PERSON if name != "Left"}).meaning == other.meaning


@given(name=st.sampled_from([name for name in PERSON if name not in ("email", "Left")]))
def test_another_value_of_any_field_is_another_profile(name: str) -> None:
    others = {"phone_number": "+14155552672", "Spent": "5", "external_id": "8", "location.latitude": 42}
    for value in (None, others.get(name, "other")):
        assert not together(profile, PERSON, {**PERSON, name: value})


def test_another_name_of_a_property_is_another_profile() -> None:
    assert not together(profile, {"email": "a@shop.io", "Tier": 1}, {"email": "a@shop.io", "tier": 1})
    assert not together(
        profile, {"email": "a@shop.io", "A": 1, "B": 2}, {"email": "a@shop.io", "A": 2, "B": 1}
    )


def test_what_a_null_does_is_part_of_what_a_profile_means() -> None:
    row = {"email": "a@shop.io", "first_name": None, "last_name": None, "Tier": None, "Level": None}
    clears: list[Any] = [False, True, ["first_name"], ["properties.Tier"], ["first_name", "properties.Tier"]]
    made = [profile(row, clear_nulls=clear_nulls).meaning for clear_nulls in clears]
    assert len(set(made)) == len(made)
    empty = profile({**row, "first_name": "", "Tier": ""}, clear_nulls=["properties.Level"]).meaning
    assert empty not in made


@given(
    order=st.permutations(["first_name", "last_name", "location.city", "properties.Tier", "properties.Level"])
)
def test_the_order_of_what_is_cleared_is_none(order: list[str]) -> None:
    row = {
        "email": "a@shop.io",
        **dict.fromkeys(name.removeprefix("properties.") for name in order),
        "location.zip": "1",
        "Spent": Decimal("5.00"),
    }
    ordered = profile(row, clear_nulls=order)
    other = profile({**dict(reversed(row.items())), "Spent": 5}, clear_nulls=order[::-1])
    assert ordered.meaning == other.meaning
    assert ordered.needs_own_request


def test_a_time_without_a_zone_means_what_the_zone_of_the_sync_makes_of_it() -> None:
    naive = ORDERED.replace(tzinfo=None)
    row = {"email": "a@shop.io", "At": naive}
    assert profile(row).meaning == profile({**row, "At": ORDERED.astimezone(BERLIN)}).meaning
    assert profile(row, timezone=BERLIN).meaning != profile(row).meaning


ORDER: Row = {
    "id": 1,
    "email": "ada@shop.io",
    "time": ORDERED,
    "value": Decimal("5.00"),
    "Lines": [{"sku": "A", "price": 1.50}],
    "Paid": ORDERED,
}
SAME_ORDER: Row = {
    "id": Decimal(1),
    "email": "ADA@shop.io",
    "time": "2026-11-20T11:00:00+01:00",
    "value": "5",
    "Lines": [{"price": Decimal("1.5"), "sku": "A"}],
    "Paid": ORDERED.astimezone(BERLIN),
}


@settings(max_examples=40)
@given(
    order=st.permutations(list(ORDER)), at=st.sampled_from([ORDERED.timestamp(), ORDERED.astimezone(BERLIN)])
)
def test_an_event_is_the_same_in_any_order_and_spelling(order: list[str], at: object) -> None:
    names = {"profile.email": "email", "time": "time", "value": "value", "properties.id": "id"}
    names |= {"properties.Lines": "Lines", "properties.Paid": "Paid"}
    first = event(ORDER)
    for row in (SAME_ORDER, {**SAME_ORDER, "time": at}):
        row = {name: row[name] for name in order}
        assert event(row).meaning == first.meaning
        assert (
            event(row, dict(sorted(names.items(), key=lambda item: order.index(item[1])))).meaning
            == first.meaning
        )


@pytest.mark.parametrize(
    "change",
    [
        {"time": ORDERED + dt.timedelta(microseconds=1)},
        {"value": Decimal("5.01")},
        {"value": None},
        {"value_currency": "EUR"},
        {"Lines": [{"sku": "A", "price": "1.5"}]},
        {"Paid": ORDERED.astimezone(BERLIN).isoformat()},
        {"id": 2},
    ],
    ids=str,
)
def test_anything_else_that_happened_is_another_event(change: Row) -> None:
    assert not together(event, ORDER, {**ORDER, **change})
    assert not together(event, {**ORDER, "id": 1}, {**ORDER, "id": 2})


def test_a_property_that_klaviyo_would_not_take_is_no_part_of_an_event() -> None:
    long = {"Lines": ["x"] * 4_001}
    assert event({**ORDER, **long}).meaning == event({**ORDER, "Lines": None}).meaning


CONSENT: Row = {
    "email": "ada@shop.io",
    "phone_number": "+14155552671",
    "external_id": 7,
    "consented_at": ORDERED,
}


def test_consent_is_the_same_in_any_order_and_spelling() -> None:
    same = {
        "consented_at": ORDERED.astimezone(BERLIN),
        "external_id": "7",
        "phone_number": "+1 415 555 2671",
        "email": "Ada@shop.io",
    }
    for historical in (False, True):
        assert together(consent, CONSENT, same, is_historical=historical)
    assert consent(CONSENT, channels=("sms", "email")).meaning == consent(same).meaning


def test_another_person_channel_or_moment_is_other_consent() -> None:
    made = [
        consent(CONSENT),
        consent(CONSENT, channels=("email",)),
        consent(CONSENT, is_historical=True),
        consent(CONSENT, match_by="external_id"),
        consent({**CONSENT, "external_id": 8}, match_by="external_id"),
        consent({**CONSENT, "consented_at": ORDERED + dt.timedelta(seconds=1)}),
        consent({**CONSENT, "consented_at": None}),
        consent({**CONSENT, "email": "eve@shop.io"}),
        consent({**CONSENT, "phone_number": "+14155552672"}),
        consent({**CONSENT, "age_gated_date_of_birth": "1990-01-31"}),
    ]
    assert len({record.meaning for record in made}) == len(made)


def test_the_spelling_is_pinned_since_a_release_that_changes_it_sends_everything_again() -> None:
    assert profile(PERSON).meaning == (
        b'{"type":"profile","attributes":{"email":"ada@shop.io","phone_number":"+14155552671","external_id":"7",'
        b'"first_name":"Ada","location":{"city":"Boston","latitude":42.5},"properties":'
        b'{"Ordered":"2026-11-20T10:00:00+00:00","Say \\"hi\\"":[1,{"a":3,"b":2}],"Spent":5,"Tier":"gold"}}}'
    )
    cleared = profile({"email": "a@shop.io", "Tier": None, "first_name": None}, clear_nulls=True)
    assert cleared.meaning == (
        b'{"type":"profile","attributes":{"email":"a@shop.io","first_name":null},'
        b'"meta":{"patch_properties":{"unset":["Tier"]}}}'
    )
    assert event({**ORDER, "unique_id": "o-1"}).meaning == (
        b'{"type":"event","attributes":{"properties":{"Lines":[{"price":1.5,"sku":"A"}],'
        b'"Paid":"2026-11-20T10:00:00+00:00","id":1},"metric":{"data":{"type":"metric","attributes":'
        b'{"name":"Placed Order"}}},"time":"2026-11-20T10:00:00+00:00","value":5,'
        b'"unique_id":"o-1"}}'
    )
    assert consent(CONSENT).meaning == (
        b'{"who":["email",["email","ada@shop.io"],["phone_number","+14155552671"]],"channels":["email","sms"],'
        b'"consented_at":"2026-11-20T10:00:00+00:00","age_gated_date_of_birth":null,"is_historical":false}'
    )


def test_nothing_is_told_where_nobody_asked() -> None:
    fields = bind(Columns(list(PERSON)), None, FIELDS)
    mapper = ProfileMapper(fields, ProfileOptions(max_bytes=100_000))
    assert mapper.map([tuple(PERSON.values())], 1).records[0].meaning == b""

"""Encoded profiles that are changed afterwards."""

from __future__ import annotations

import pytest

from airflow_provider_klaviyo.records.resources import field_at, without

PROFILE = (
    b'{"type":"profile","attributes":{"email":"ada@shop.io","phone_number":"+14155550123",'
    b'"location":{"city":"Boston"},"properties":{"a.b":1.50,"c":12345678901234567890}},"id":"01GDDKASAP8TKDDA2GRZDSVP4H"}'
)


@pytest.mark.parametrize(
    ("field", "gone"),
    [
        ("phone_number", b'"phone_number":"+14155550123",'),
        ("klaviyo_id", b',"id":"01GDDKASAP8TKDDA2GRZDSVP4H"'),
        ("location.city", b'"location":{"city":"Boston"},'),
        ("properties.a.b", b'"a.b":1.50,'),
        ("properties.no", b""),
        ("location.zip", b""),
        ("external_id", b""),
    ],
)
def test_a_field_that_is_left_out_changes_nothing_else(field: str, gone: bytes) -> None:
    assert without(PROFILE, [field]) == PROFILE.replace(gone, b"")


@pytest.mark.parametrize(
    ("path", "field"),
    [
        (("phone_number",), "phone_number"),
        (("id",), "klaviyo_id"),
        (("location", "city"), "location.city"),
        (("location.city",), "location.city"),
        (("location",), "location"),
        (("properties", "a.b"), "properties.a.b"),
        (("properties", "a", "b"), "properties.a.b"),
        (("properties", "c", "deep"), ""),
        (("properties", "no"), ""),
        (("title",), ""),
        ((), ""),
    ],
)
def test_the_steps_of_a_pointer_lead_to_a_field_that_is_there(path: tuple[str, ...], field: str) -> None:
    assert field_at(PROFILE, path) == field


def test_what_is_deeper_inside_a_property_is_the_propertys() -> None:
    profile = b'{"type":"profile","attributes":{"properties":{"cart":{"items":[{"sku":1}]},"cart/items":2}}}'
    assert field_at(profile, ("properties", "cart", "items", "0", "sku")) == "properties.cart"
    assert field_at(profile, ("properties", "cart/items")) == "properties.cart/items"


def test_an_object_that_must_be_there_stays_when_it_is_empty() -> None:
    event = b'{"type":"event","attributes":{"properties":{"a":1},"value":2}}'
    assert without(event, ["properties.a"], required=["properties"]) == event.replace(b'"a":1', b"")

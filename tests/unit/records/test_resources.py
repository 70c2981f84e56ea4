"""Encoded profiles that are changed afterwards."""

from __future__ import annotations

import pytest

from airflow_provider_klaviyo.records.resources import without

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

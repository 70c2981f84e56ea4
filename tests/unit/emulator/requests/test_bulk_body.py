"""The shortcut for thousands of profiles says what the rule says."""

from __future__ import annotations

import json
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_klaviyo.emulator import Settings
from airflow_provider_klaviyo.emulator.core.errors import ApiError
from airflow_provider_klaviyo.emulator.requests import bulk_body
from airflow_provider_klaviyo.emulator.requests.profile_schema import Change

SETTINGS = Settings()

_texts = st.one_of(
    st.text(max_size=5), st.text(max_size=5), st.text(max_size=5), st.none(), st.integers(0, 3)
)
_values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.text(max_size=4), st.floats(allow_nan=False, allow_infinity=False),
        st.sampled_from([0, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, "null", '"$', '":', "\x00"]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=6,
)  # fmt: skip
_attributes = st.fixed_dictionaries(
    {},
    optional={
        "email": st.one_of(_texts, st.sampled_from(["a@b.com", "A@B.com", "a@b"])),
        "phone_number": st.one_of(_texts, st.sampled_from(["+12025550123", "+12"])),
        "external_id": st.one_of(_texts, st.just("x" * 256)),
        "first_name": _texts,
        "locale": st.one_of(_texts, st.just("en-US")),
        "image": st.one_of(_texts, st.just("https://a.b/c.png")),
        "location": st.one_of(
            st.none(),
            _texts,
            st.dictionaries(
                st.sampled_from(["city", "zip", "latitude", "longitude", "ip", "moon"]),
                st.one_of(_texts, st.sampled_from(["12.5", 12.5, 181, True, "::1"])),
                max_size=3,
            ),
        ),
        "properties": st.one_of(st.none(), _texts, st.dictionaries(st.text(max_size=3), _values, max_size=3)),
        "_kx": _texts,
        "age": st.just(1),
    },
)
_resources = st.fixed_dictionaries(
    {"type": st.sampled_from(["profile", "profile", "profile", "list"]), "attributes": _attributes},
    optional={
        "id": st.one_of(_texts, st.just("01GDDKASAP8TKDDA2GRZDSVP4H")),
        "meta": st.one_of(
            st.none(),
            st.just({"patch_properties": {"unset": ["a"]}}),
            st.just({"patch_properties": {"unset": {"a": 1}}}),
        ),
    },
)


def _body(resources: list[Any]) -> bytes:
    data = {"type": "profile-bulk-import-job", "attributes": {"profiles": {"data": resources}}}
    return json.dumps({"data": data}, separators=(",", ":")).encode()


@given(st.lists(_resources, max_size=4), st.booleans(), st.sampled_from(["dropped", "refused"]))
def test_the_shortcut_passes_exactly_what_the_rule_passes(
    resources: list[Any], sms: bool, bulk_phones: Literal["dropped", "refused"]
) -> None:
    settings, body = Settings(sms=sms, bulk_phones=bulk_phones), _body(resources)
    quick = bulk_body._read_quickly(body, settings)
    careful = _careful(body, settings)
    assert quick is None or [_plain(each) for each in quick.changes] == careful
    assert quick is not None or careful is None or _is_unusual(body)


def _careful(body: bytes, settings: Settings) -> list[Any] | None:
    try:
        read = bulk_body._read_carefully(json.loads(body), settings)
    except ApiError:
        return None
    return [_plain(each) for each in read.changes]


def _is_unusual(body: bytes) -> bool:
    """Whether the shortcut leaves a good body to the rule, which it may but should rarely do."""
    return any(odd in body for odd in (b"\\u00", b"\\ud", b'"\\'))


@pytest.mark.parametrize(
    "attributes",
    [
        {"email": "nobody"},
        {"email": None},
        {"external_id": "x" * 256},
        {"locale": "german"},
        {"image": "cat.png"},
        {"first_name": "\x00"},
        {"title": "x" * 100_000},
        {"location": {"latitude": 91}},
        {"location": {"longitude": True}},
        {"location": {"ip": "300.1.1.1"}},
        {"properties": {str(n): n for n in range(401)}},
        {"properties": {"$id": 1}},
        {"properties": {"": 1}},
        {"properties": {"big": 2**63}},
        {"properties": {"deep": [[[[[[[[[[[1]]]]]]]]]]]}},
        {"_kx": "x"},
    ],
    ids=lambda attributes: repr(attributes)[:40],
)
def test_one_bad_profile_among_good_ones_never_takes_the_shortcut(attributes: dict[str, Any]) -> None:
    good = {"type": "profile", "attributes": {"external_id": "c1"}}
    known = {"external_id": "c2"} if attributes != {"email": None} else {}
    body = _body([good, {"type": "profile", "attributes": {**known, **attributes}}, good])
    assert bulk_body._read_quickly(body, SETTINGS) is None
    with pytest.raises(ApiError) as refused:
        bulk_body.read_bulk(body, SETTINGS)
    assert {str(problem.pointer).split("/")[5] for problem in refused.value.problems} == {"1"}


def _plain(change: Change) -> Any:
    """A change without the order of its details."""
    patch = change.patch and (change.patch.append, change.patch.unappend, change.patch.unset)
    return change.id, change.email, change.phone_number, change.external_id, json.loads(change.details), patch


def test_ordinary_people_take_the_shortcut() -> None:
    person = {
        "email": "Ann@Mail.com",
        "phone_number": "+12025550123",
        "external_id": "c1",
        "first_name": 'Änn "Q" O\'Neil',
        "location": {"city": "Kiel", "latitude": 54.3, "ip": "127.0.0.1"},
        "properties": {"a:": 1, "b": "\\", "c": 1.5, "d": True},
    }
    body = _body([{"type": "profile", "attributes": person}])
    read = bulk_body._read_quickly(body, SETTINGS)
    assert read is not None
    assert read.changes[0].email == "ann@mail.com"


@given(
    st.recursive(
        st.one_of(st.text(max_size=4), st.sampled_from(['":', '\\":', "a:", "\\"])),
        lambda inner: st.dictionaries(
            st.one_of(st.text(max_size=3), st.sampled_from(['":', "\\", ":"])), inner, max_size=3
        ),
        max_leaves=8,
    ),
    st.data(),
)
def test_a_key_that_occurs_twice_is_never_overlooked(properties: Any, data: st.DataObject) -> None:
    if not isinstance(properties, dict) or not properties:
        return
    ascii_only = data.draw(st.booleans())
    name = data.draw(st.sampled_from(sorted(properties)))
    text = json.dumps(
        properties,
        ensure_ascii=ascii_only,
        separators=data.draw(st.sampled_from([(",", ":"), (", ", " : ")])),
    )
    twice = "{" + json.dumps(name, ensure_ascii=ascii_only) + ":0," + text[1:]
    body = _body([{"type": "profile", "attributes": {"external_id": "c1", "properties": 0}}])
    with pytest.raises(ApiError):
        bulk_body.read_bulk(body.replace(b'"properties":0', b'"properties":' + twice.encode()), SETTINGS)

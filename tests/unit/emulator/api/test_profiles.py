"""One profile at a time, and finding them again."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from airflow_provider_klaviyo.emulator import Emulator, ManualClock

IMPORT = "/api/profile-import"


def _ids(profiles: list[Any]) -> list[str]:
    return [profile["attributes"]["email"] for profile in profiles]


@pytest.fixture
def ann(emulator: Emulator) -> str:
    person = {
        "email": "Ann@Mail.com",
        "external_id": "c1",
        "first_name": "Ann",
        "location": {"city": "Kiel", "latitude": "54.3"},
        "properties": {"tier": "gold", "tags": ["a"]},
    }
    return emulator.add_profiles([person])[0]


def test_a_new_profile_is_created_and_shown_whole(emulator: Emulator, caller: Any) -> None:
    response = caller.post(
        "/api/profiles", caller.profile_body(email="Ann@Mail.com", properties={"tier": "gold"})
    )
    assert response.status_code == 201
    attributes = response.json()["data"]["attributes"]
    assert attributes["email"] == "ann@mail.com"
    assert attributes["properties"] == {"tier": "gold"}
    assert attributes["first_name"] is None
    assert attributes["created"] == "2026-09-21T14:13:20+00:00"
    assert emulator.count() == 1


@pytest.mark.parametrize("identifier", [{"email": "ANN@mail.com"}, {"external_id": "c1"}])
def test_creating_somebody_who_exists_is_a_conflict(
    caller: Any, ann: str, identifier: dict[str, str]
) -> None:
    response = caller.post("/api/profiles", caller.profile_body(**identifier))
    assert response.status_code == 409
    error = response.json()["errors"][0]
    assert error["code"] == "duplicate_profile"
    assert error["meta"] == {"duplicate_profile_id": ann}


def test_an_import_creates_then_updates(caller: Any) -> None:
    body = caller.profile_body(email="ann@mail.com", first_name="Ann")
    assert [caller.post(IMPORT, body).status_code for _ in range(2)] == [201, 200]


def test_an_update_leaves_what_it_does_not_name(emulator: Emulator, caller: Any, ann: str) -> None:
    caller.post(
        IMPORT, caller.profile_body(email="ann@mail.com", location={"zip": "1"}, properties={"age": 3})
    )
    assert emulator.profile(id=ann) == {
        "id": ann,
        "email": "ann@mail.com",
        "external_id": "c1",
        "first_name": "Ann",
        "location": {"city": "Kiel", "latitude": "54.3", "zip": "1"},
        "properties": {"tier": "gold", "tags": ["a"], "age": 3},
    }


def test_a_null_clears_a_field(emulator: Emulator, caller: Any, ann: str) -> None:
    body = caller.profile_body(
        email="ann@mail.com",
        external_id=None,
        first_name=None,
        location={"city": None},
        properties={"tier": None},
    )
    assert caller.post(IMPORT, body).status_code == 200
    assert emulator.profile(id=ann) == {
        "id": ann,
        "email": "ann@mail.com",
        "location": {"latitude": "54.3"},
        "properties": {"tags": ["a"]},
    }


def test_a_null_clears_a_whole_group_of_fields(emulator: Emulator, caller: Any, ann: str) -> None:
    caller.post(IMPORT, caller.profile_body(external_id="c1", location=None, properties=None))
    assert set(emulator.profile(id=ann) or {}) == {"id", "email", "external_id", "first_name"}


def test_nobody_loses_the_last_identifier(emulator: Emulator, caller: Any, ann: str) -> None:
    body = caller.profile_body(ann, email=None, external_id=None)
    assert caller.call("PATCH", f"/api/profiles/{ann}", body).status_code == 400
    assert emulator.profile(email="ann@mail.com")


def test_properties_are_appended_unappended_and_unset(emulator: Emulator, caller: Any, ann: str) -> None:
    def patch(**operations: Any) -> Any:
        meta = {"patch_properties": operations}
        assert caller.post(IMPORT, caller.profile_body(email="ann@mail.com", meta=meta)).status_code == 200
        return (emulator.profile(id=ann) or {})["properties"]

    assert patch(append={"tags": ["b", "c"], "new": 1}) == {
        "tier": "gold",
        "tags": ["a", "b", "c"],
        "new": [1],
    }
    assert patch(unappend={"tags": "b"})["tags"] == ["a", "c"]
    assert patch(unset=["tags", "new", "absent"]) == {"tier": "gold"}
    assert patch(unset="tier") == {}


@pytest.mark.parametrize(
    "meta",
    [
        {"patch_properties": {"unset": {"tags": 1}}},
        {"patch_properties": {"unset": [1]}},
        {"patch_properties": {"append": ["tags"]}},
        {"patch_properties": {"append": {"tags": {"a": 1}}}},
        {"patch_properties": {"remove": "tags"}},
        {"patch_identifiers": {"append": {"email": ["b@mail.com"]}}},
        {"other": 1},
        [],
    ],
)
def test_a_patch_that_is_not_understood_is_refused(caller: Any, meta: Any) -> None:
    document = caller.profile_body(email="ann@mail.com")
    document["data"]["meta"] = meta
    assert caller.post(IMPORT, document).status_code == 400


def test_identifiers_of_two_people_are_a_conflict(emulator: Emulator, caller: Any, ann: str) -> None:
    (bob,) = emulator.add_profiles([{"external_id": "c2"}])
    response = caller.post(IMPORT, caller.profile_body(email="ann@mail.com", external_id="c2"))
    assert response.status_code == 409
    assert response.json()["errors"][0]["meta"] == {"duplicate_profile_id": bob}


def test_an_account_may_let_the_first_identifier_take_over_the_others(
    emulator: Emulator, caller: Any, ann: str
) -> None:
    emulator.set(conflicts="take_over")
    (bob,) = emulator.add_profiles([{"email": "bob@mail.com", "phone_number": "+14155550123"}])
    body = caller.profile_body(email="ann@mail.com", phone_number="+14155550123")
    assert caller.post(IMPORT, body).json()["data"]["id"] == ann
    assert [profile.get("phone_number") for profile in emulator.iter_profiles()] == ["+14155550123", None]
    assert caller.post(IMPORT, caller.profile_body(email="bob@mail.com")).json()["data"]["id"] == bob


def test_an_identifier_moves_on_with_its_owner(emulator: Emulator, caller: Any, ann: str) -> None:
    assert caller.post(IMPORT, caller.profile_body(external_id="c1", email="new@mail.com")).status_code == 200
    assert caller.post(IMPORT, caller.profile_body(email="ann@mail.com")).status_code == 201
    assert emulator.count() == 2


def test_an_unknown_klaviyo_id_is_not_found(caller: Any, ann: str) -> None:
    for unknown in ("01GDDKASAP8TKDDA2GRZDSVP4H", "c1", ann[:-1] + "0", ann.lower()):
        assert caller.post(IMPORT, caller.profile_body(unknown)).status_code == 404
        assert caller.get(f"/api/profiles/{unknown}").status_code == 404


def test_a_profile_is_updated_by_its_id(
    emulator: Emulator, caller: Any, ann: str, clock: ManualClock
) -> None:
    clock.advance(5)
    response = caller.call("PATCH", f"/api/profiles/{ann}", caller.profile_body(ann, title="Dr."))
    assert response.status_code == 200
    assert response.json()["data"]["attributes"]["updated"] == "2026-09-21T14:13:25+00:00"
    other = caller.profile_body("01GDDKASAP8TKDDA2GRZDSVP4H", title="Dr.")
    assert caller.call("PATCH", f"/api/profiles/{ann}", other).status_code == 400


def test_an_update_takes_nobody_elses_identifier(emulator: Emulator, caller: Any, ann: str) -> None:
    emulator.add_profiles([{"phone_number": "+4943112345678"}])
    body = caller.profile_body(ann, phone_number="+4943112345678")
    assert caller.call("PATCH", f"/api/profiles/{ann}", body).status_code == 409


@pytest.mark.parametrize(
    ("attributes", "field"),
    [
        ({"email": "nobody"}, "email"),
        ({"email": "a" * 65 + "@mail.com"}, "email"),
        ({"email": "a@" + "b" * 60 + "." + "c" * 35 + ".com"}, "email"),
        ({"email": 1}, "email"),
        ({"email": ""}, "email"),
        ({"phone_number": "0431 123456"}, "phone_number"),
        ({"phone_number": "+4943"}, "phone_number"),
        ({"phone_number": "+999123456789"}, "phone_number"),
        ({"external_id": ""}, "external_id"),
        ({"external_id": " c1"}, "external_id"),
        ({"external_id": "x" * 256}, "external_id"),
        ({"external_id": 7}, "external_id"),
        ({"first_name": 1}, "first_name"),
        ({"first_name": "\x00"}, "first_name"),
        ({"locale": "german"}, "locale"),
        ({"image": "cat.png"}, "image"),
        ({"colour": "red"}, "colour"),
        ({"anonymous_id": "x"}, "anonymous_id"),
        ({"created": "2026-01-01"}, "created"),
        ({"_kx": "abc"}, "_kx"),
        ({"location": "Kiel"}, "location"),
        ({"location": {"planet": "Earth"}}, "location/planet"),
        ({"location": {"zip": 24103}}, "location/zip"),
        ({"location": {"latitude": 91}}, "location/latitude"),
        ({"location": {"latitude": True}}, "location/latitude"),
        ({"location": {"longitude": "east"}}, "location/longitude"),
        ({"location": {"ip": "300.1.1.1"}}, "location/ip"),
        ({"properties": []}, "properties"),
        ({"properties": {"$source": "x"}}, "properties/$source"),
        ({"properties": {"": "x"}}, "properties/"),
        ({"properties": {"a/b~c": "\x00"}}, "properties/a~1b~0c"),
        ({"properties": {"big": 2**63}}, "properties/big"),
        ({"properties": {"long": [0] * 4_001}}, "properties/long"),
        ({"properties": {str(n): n for n in range(401)}}, "properties"),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_a_bad_value_is_refused_with_a_pointer_to_it(
    caller: Any, attributes: dict[str, Any], field: str
) -> None:
    response = caller.post(IMPORT, caller.profile_body(**{"email": "ann@mail.com", **attributes}))
    assert response.status_code == 400
    assert [pointer for pointer, _ in caller.errors_of(response)] == [f"/data/attributes/{field}"]


def _nested(levels: int) -> Any:
    return {"a": _nested(levels - 1)} if levels > 1 else {"a": 1}


@pytest.mark.parametrize(
    "attributes",
    [
        {"email": "a" * 64 + "@mail.com"},
        {"email": "o'neil+x@sub.mail-x.co.uk"},
        {"email": "a@xn--bcher-kva.com"},
        {"phone_number": "+12025550123"},
        {"external_id": "x" * 255},
        {"locale": "zh-Hant-TW"},
        {"first_name": ""},
        {"location": {"latitude": -90, "longitude": "180.0", "ip": "::1"}},
        {"properties": {"big": 2**63 - 1, "long": [0] * 4_000, "null": None}},
        {"properties": {str(n): n for n in range(400)}},
        {"properties": _nested(10)},
    ],
    ids=lambda value: repr(value)[:60],
)
def test_a_value_at_the_limit_is_taken(caller: Any, attributes: dict[str, Any]) -> None:
    response = caller.post(IMPORT, caller.profile_body(**{"email": "ann@mail.com", **attributes}))
    assert response.status_code == 201, response.text


def test_values_may_be_nested_ten_levels_deep(caller: Any) -> None:
    response = caller.post(IMPORT, caller.profile_body(email="ann@mail.com", properties=_nested(11)))
    assert response.status_code == 400


@pytest.mark.parametrize("attributes", [{}, {"email": None}, {"first_name": "Ann"}])
def test_somebody_must_be_named(caller: Any, attributes: dict[str, Any]) -> None:
    response = caller.post(IMPORT, caller.profile_body(**attributes))
    assert caller.errors_of(response) == [("/data/attributes", "One or more identifiers is required")]


def test_a_phone_number_names_nobody_without_sms(emulator: Emulator, caller: Any) -> None:
    emulator.set(sms=False)
    assert caller.post(IMPORT, caller.profile_body(phone_number="+12025550123")).status_code == 400
    assert (
        caller.post(IMPORT, caller.profile_body(phone_number="+12025550123", external_id="c")).status_code
        == 201
    )


def test_numbers_of_unsupported_countries_are_refused(emulator: Emulator, caller: Any) -> None:
    emulator.set(phone_regions=["US"])
    statuses = [
        caller.post(IMPORT, caller.profile_body(phone_number=number)).status_code
        for number in ("+12025550123", "+14165550123", "+4943112345678")
    ]
    assert statuses == [201, 400, 400]


@pytest.mark.parametrize(("size", "status"), [(100_000, 201), (100_001, 413)])
def test_a_profile_may_have_a_hundred_kilobytes(caller: Any, size: int, status: int) -> None:
    document = caller.profile_body(email="ann@mail.com", title="")
    document["data"]["attributes"]["title"] = "x" * (size - len(json.dumps(document, separators=(",", ":"))))
    response = caller.post(IMPORT, document)
    assert response.status_code == status


def test_creating_takes_neither_an_id_nor_a_patch(caller: Any, ann: str) -> None:
    assert caller.post("/api/profiles", caller.profile_body(ann, email="b@mail.com")).status_code == 400
    document = caller.profile_body(email="b@mail.com", meta={"patch_properties": {}})
    assert caller.post("/api/profiles", document).status_code == 400


# ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def people(emulator: Emulator, clock: ManualClock) -> list[str]:
    ids = []
    for number in range(45):
        person = {"email": f"p{number:02}@mail.com", "external_id": f"c{number}"}
        ids += emulator.add_profiles([person])
        clock.advance(1)
    return ids


@pytest.mark.parametrize("size", [1, 20, 44, 45, 100])
def test_pages_hold_everybody_once(caller: Any, people: list[str], size: int) -> None:
    pages = list(caller.pages("/api/profiles", **{"page[size]": size}))
    assert [profile["id"] for page in pages for profile in page] == people
    assert max(len(page) for page in pages) == min(size, 45)


def test_a_page_holds_twenty_when_nothing_else_is_said(caller: Any, people: list[str]) -> None:
    assert len(caller.data("/api/profiles")) == 20


@pytest.mark.parametrize(
    "sort", ["id", "-id", "email", "-email", "created", "-created", "updated", "-updated"]
)
def test_every_order_is_kept_from_page_to_page(caller: Any, people: list[str], sort: str) -> None:
    pages = caller.pages("/api/profiles", **{"page[size]": 7, "sort": sort})
    found = [profile["id"] for page in pages for profile in page]
    assert found == (people[::-1] if sort.startswith("-") else people)


def test_a_cursor_fits_only_the_query_that_it_came_from(caller: Any, people: list[str]) -> None:
    following = caller.get("/api/profiles", **{"page[size]": 7, "sort": "email"}).json()["links"]["next"]
    assert caller.get(following.replace("sort=email", "sort=id")).status_code == 400


def test_a_cursor_that_was_made_up_is_refused(caller: Any, people: list[str]) -> None:
    following = caller.get("/api/profiles", **{"page[size]": 7}).json()["links"]["next"]
    (cursor,) = parse_qs(urlsplit(following).query)["page[cursor]"]
    fingerprint = base64.urlsafe_b64decode(cursor + "==").partition(b":")[0]
    forged = base64.urlsafe_b64encode(fingerprint + b":x").decode().rstrip("=")
    assert caller.get("/api/profiles", **{"page[cursor]": forged}).status_code == 400


@pytest.mark.parametrize("field", ["email", "external_id", "id"])
def test_people_are_found_by_any_of_their_identifiers(caller: Any, people: list[str], field: str) -> None:
    values = {
        "email": ["p03@mail.com", "p01@mail.com"],
        "external_id": ["c3", "c1"],
        "id": [people[3], people[1]],
    }
    listed = ",".join(f'"{value}"' for value in values[field])
    found = caller.data("/api/profiles", filter=f'any({field},[{listed},"nobody"])')
    assert _ids(found) == ["p01@mail.com", "p03@mail.com"]
    assert _ids(caller.data("/api/profiles", filter=f'equals({field},"{values[field][0]}")')) == [
        "p03@mail.com"
    ]


def test_a_filter_minds_the_letter_case(caller: Any, people: list[str]) -> None:
    assert caller.data("/api/profiles", filter='equals(email,"P03@mail.com")') == []


def test_conditions_are_joined_by_and(caller: Any, people: list[str]) -> None:
    both = 'any(email,["p01@mail.com","p02@mail.com"]),equals(external_id,"c2")'
    assert _ids(caller.data("/api/profiles", filter=both)) == ["p02@mail.com"]
    assert _ids(caller.data("/api/profiles", filter=f"and({both})")) == ["p02@mail.com"]


def test_people_are_found_by_when_they_came(caller: Any, people: list[str]) -> None:
    after = "greater-than(created,2026-09-21T14:13:25Z),less-than(created,2026-09-21T14:13:28+00:00)"
    assert _ids(caller.data("/api/profiles", filter=after)) == ["p06@mail.com", "p07@mail.com"]


@pytest.mark.parametrize(
    "condition",
    [
        "equals(email,p01@mail.com)",
        'equals(email,"a"',
        'equals(email,"a"))',
        'equals(email,["a"])',
        'any(email,"a")',
        "any(email,[])",
        'contains(email,"a")',
        'equals(first_name,"a")',
        'greater-than(created,"2026-01-01")',
        "greater-than(created,yesterday)",
        "greater-or-equal(created,2026-01-01)",
        'equals(email,"a") or equals(email,"b")',
        'equals(email,"a")equals(email,"b")',
        "()",
        "email",
        "any(email,[" + ",".join(['"a@mail.com"'] * 101) + "])",
    ],
    ids=lambda text: text[:40],
)
def test_a_filter_that_is_not_understood_is_refused(caller: Any, condition: str) -> None:
    response = caller.get("/api/profiles", filter=condition)
    assert response.status_code == 400
    assert response.json()["errors"][0]["source"] == {"parameter": "filter"}


def test_a_hundred_values_may_be_asked_for_at_once(caller: Any, people: list[str]) -> None:
    values = ",".join(f'"p{number:02}@mail.com"' for number in range(100))
    found = caller.pages("/api/profiles", filter=f"any(email,[{values}])", **{"page[size]": 100})
    assert sum(map(len, found)) == 45


def test_quotes_in_a_filter_are_escaped(emulator: Emulator, caller: Any) -> None:
    emulator.add_profiles([{"external_id": "a\"b'c\\d"}])
    assert len(caller.data("/api/profiles", filter='equals(external_id,"a\\"b\'c\\\\d")')) == 1
    assert len(caller.data("/api/profiles", filter="equals(external_id,'a\"b\\'c\\\\d')")) == 1


def test_a_sparse_fieldset_drops_every_other_attribute_and_keeps_the_relationships(
    caller: Any, ann: str
) -> None:
    (profile,) = caller.data("/api/profiles", **{"fields[profile]": "email,location.city"})
    assert profile["attributes"] == {"email": "ann@mail.com", "location": {"city": "Kiel"}}
    assert "lists" in profile["relationships"]


def test_additional_fields_come_on_top_of_a_sparse_fieldset(caller: Any, ann: str) -> None:
    query = {"fields[profile]": "email", "additional-fields[profile]": "subscriptions"}
    (profile,) = caller.data("/api/profiles", **query)
    assert list(profile["attributes"]) == ["email", "subscriptions"]


def test_consent_is_shown_on_request(caller: Any, ann: str) -> None:
    assert "subscriptions" not in caller.data(f"/api/profiles/{ann}")["attributes"]
    profile = caller.data(f"/api/profiles/{ann}", **{"additional-fields[profile]": "subscriptions"})
    assert profile["attributes"]["subscriptions"]["email"]["marketing"]["consent"] == "NEVER_SUBSCRIBED"


def test_a_profile_can_come_with_its_lists(emulator: Emulator, caller: Any, ann: str) -> None:
    list_id = emulator.add_list("VIP", [ann])
    document = caller.get(f"/api/profiles/{ann}", include="lists").json()
    assert [each["id"] for each in document["included"]] == [list_id]
    assert document["data"]["relationships"]["lists"]["data"] == [{"type": "list", "id": list_id}]

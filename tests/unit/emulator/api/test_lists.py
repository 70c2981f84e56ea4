"""Lists and who is on them."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator, ManualClock


def _list(list_id: str | None = None, **attributes: Any) -> dict[str, Any]:
    return {"data": {"type": "list", "attributes": attributes} | ({"id": list_id} if list_id else {})}


def _members(*ids: str) -> dict[str, Any]:
    return {"data": [{"type": "profile", "id": each} for each in ids]}


@pytest.fixture
def people(emulator: Emulator) -> list[str]:
    return emulator.add_profiles([{"email": f"p{number}@mail.com"} for number in range(25)])


def test_a_list_is_made_renamed_and_deleted(caller: Any) -> None:
    made = caller.post("/api/lists", _list(name="VIP")).json()["data"]
    assert made["attributes"]["opt_in_process"] == "double_opt_in"
    path = f"/api/lists/{made['id']}"
    assert caller.call("PATCH", path, _list(made["id"], name="Gold")).status_code == 200
    assert caller.data(path)["attributes"]["name"] == "Gold"
    assert caller.call("DELETE", path).status_code == 204
    assert caller.get(path).status_code == 404


def test_two_lists_may_have_one_name(caller: Any) -> None:
    for process in ("single_opt_in", "double_opt_in"):
        assert caller.post("/api/lists", _list(name="VIP", opt_in_process=process)).status_code == 201
    assert len(caller.data("/api/lists", filter='equals(name,"VIP")')) == 2


def test_lists_come_ten_a_page(emulator: Emulator, caller: Any) -> None:
    ids = [emulator.add_list(f"List {number:02}") for number in range(25)]
    pages = list(caller.pages("/api/lists"))
    assert [len(page) for page in pages] == [10, 10, 5]
    assert [each["id"] for page in pages for each in page] == ids
    names = [each["attributes"]["name"] for page in caller.pages("/api/lists", sort="-name") for each in page]
    assert names == sorted(names, reverse=True)


def test_lists_are_found_by_name_and_id(emulator: Emulator, caller: Any) -> None:
    ids = [emulator.add_list(name) for name in ("VIP", "News", "Old")]
    assert [each["id"] for each in caller.data("/api/lists", filter='any(name,["VIP","Old"])')] == [
        ids[0],
        ids[2],
    ]
    assert [each["id"] for each in caller.data("/api/lists", filter=f'equals(id,"{ids[1]}")')] == [ids[1]]
    assert caller.data("/api/lists", filter='equals(name,"vip")') == []
    assert caller.get("/api/lists", filter='contains(name,"V")').status_code == 400


def test_a_lists_size_is_told_at_a_price(emulator: Emulator, caller: Any, people: list[str]) -> None:
    list_id = emulator.add_list("VIP", people)
    path = f"/api/lists/{list_id}"
    counted = caller.get(path, **{"additional-fields[list]": "profile_count"})
    assert counted.json()["data"]["attributes"]["profile_count"] == 25
    assert counted.headers["RateLimit-Limit"] == "1, 1;w=1, 15;w=60"
    assert caller.get(path, **{"additional-fields[list]": "profile_count"}).status_code == 429
    assert "profile_count" not in caller.data(path)["attributes"]


def test_people_are_put_on_a_list_and_taken_off(emulator: Emulator, caller: Any, people: list[str]) -> None:
    path = f"/api/lists/{emulator.add_list('VIP')}/relationships/profiles"
    assert caller.post(path, _members(*people[:3])).status_code == 204
    assert caller.post(path, _members(people[0])).status_code == 204
    assert caller.call("DELETE", path, _members(people[1], people[9])).status_code == 204
    assert [each["id"] for each in caller.data(path)] == [people[0], people[2]]
    assert emulator.count() == 25


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_an_unknown_or_repeated_id_changes_nothing(
    emulator: Emulator, caller: Any, people: list[str], method: str
) -> None:
    list_id = emulator.add_list("VIP", people[:2])
    path = f"/api/lists/{list_id}/relationships/profiles"
    for ids in ((people[0], people[2], "01GDDKASAP8TKDDA2GRZDSVP4H"), (people[0], people[2], people[2])):
        response = caller.call(method, path, _members(*ids))
        assert [pointer for pointer, _ in caller.errors_of(response)] == ["/data/2/id"]
    assert [each["id"] for each in emulator.members(list_id)] == people[:2]


@pytest.mark.parametrize("method", ["POST", "DELETE"])
@pytest.mark.parametrize(("count", "status"), [(0, 400), (1, 204), (1_000, 204), (1_001, 400)])
def test_a_thousand_people_may_be_named_at_once(
    emulator: Emulator, caller: Any, method: str, count: int, status: int
) -> None:
    ids = emulator.add_profiles([{"external_id": f"c{number}"} for number in range(count)])
    path = f"/api/lists/{emulator.add_list('VIP')}/relationships/profiles"
    assert caller.call(method, path, _members(*ids)).status_code == status


@pytest.mark.parametrize(
    "member", [{"type": "person", "id": "x"}, {"type": "profile"}, {"type": "profile", "id": 1}, 1]
)
def test_a_member_must_be_named_properly(emulator: Emulator, caller: Any, member: Any) -> None:
    path = f"/api/lists/{emulator.add_list('VIP')}/relationships/profiles"
    assert caller.post(path, {"data": [member]}).status_code == 400


def test_members_come_in_pages_with_when_they_joined(
    emulator: Emulator, caller: Any, people: list[str], clock: ManualClock
) -> None:
    list_id = emulator.add_list("VIP", people[5:])
    clock.advance(10)
    caller.post(f"/api/lists/{list_id}/relationships/profiles", _members(*people[:5]))
    pages = list(caller.pages(f"/api/lists/{list_id}/profiles", **{"page[size]": 10}))
    assert [each["id"] for page in pages for each in page] == people[5:] + people[:5]
    assert pages[2][4]["attributes"]["joined_group_at"] == "2026-09-21T14:13:30+00:00"
    newest = caller.data(f"/api/lists/{list_id}/profiles", sort="-joined_group_at", **{"page[size]": 1})
    assert newest[0]["id"] == people[4]
    late = "greater-than(joined_group_at,2026-09-21T14:13:25Z)"
    assert [each["id"] for each in caller.data(f"/api/lists/{list_id}/profiles", filter=late)] == people[:5]


def test_members_who_leave_between_pages_make_nobody_skipped(
    emulator: Emulator, caller: Any, people: list[str]
) -> None:
    list_id = emulator.add_list("VIP", people)
    seen = []
    for page in caller.pages(f"/api/lists/{list_id}/profiles", **{"page[size]": 10}):
        ids = [each["id"] for each in page]
        caller.call("DELETE", f"/api/lists/{list_id}/relationships/profiles", _members(*ids))
        seen += ids
    assert seen == people
    assert emulator.members(list_id) == []


def test_members_are_found_by_address(emulator: Emulator, caller: Any, people: list[str]) -> None:
    list_id = emulator.add_list("VIP", people[:2])
    path = f"/api/lists/{list_id}/profiles"
    found = caller.data(path, filter='any(email,["p1@mail.com","p2@mail.com"])')
    assert [each["id"] for each in found] == [people[1]]
    for refused in ('equals(external_id,"c1")', f'equals(id,"{people[0]}")'):
        assert caller.get(path, filter=refused).status_code == 400


def test_a_list_that_is_gone_has_no_members(emulator: Emulator, caller: Any) -> None:
    for path in ("profiles", "relationships/profiles"):
        assert caller.get(f"/api/lists/NoList/{path}").status_code == 404
    assert caller.call("DELETE", "/api/lists/NoList").status_code == 404


@pytest.mark.parametrize(
    "attributes",
    [{"name": ""}, {"name": None}, {"name": "x", "opt_in_process": "triple"}, {"name": "x", "size": 1}, []],
)
def test_a_list_must_be_described_properly(caller: Any, attributes: Any) -> None:
    document = {"data": {"type": "list", "attributes": attributes}}
    assert caller.post("/api/lists", document).status_code == 400


# --- what members show ----------------------------------------------------------------------------------------------


def test_members_show_an_identifier_some_time_after_it_was_written(
    emulator: Emulator, caller: Any, clock: ManualClock
) -> None:
    emulator.set(member_lag=60.0)
    one, two = emulator.add_profiles(
        [{"email": "a@mail.com", "phone_number": "+14155550101"}, {"email": "b@mail.com"}]
    )
    path = f"/api/lists/{emulator.add_list('VIP', [one, two])}/profiles"

    def shown(**parameters: Any) -> list[tuple[Any, Any]]:
        names = ("email", "phone_number")
        return [tuple(each["attributes"][name] for name in names) for each in caller.data(path, **parameters)]

    assert shown() == [(None, None), (None, None)]
    assert shown(filter='equals(email,"a@mail.com")') == []
    clock.advance(61.0)
    assert shown() == [("a@mail.com", "+14155550101"), ("b@mail.com", None)]
    emulator.add_profiles([{"email": "a@mail.com", "phone_number": "+14155550102"}])
    clock.advance(30.0)
    emulator.add_profiles([{"email": "a@mail.com", "phone_number": "+14155550103"}])
    assert shown(filter='equals(phone_number,"+14155550101")') == [("a@mail.com", "+14155550101")]
    clock.advance(31.0)
    assert shown()[0] == ("a@mail.com", "+14155550102")
    assert caller.data(f"/api/profiles/{one}")["attributes"]["phone_number"] == "+14155550103"
    clock.advance(30.0)
    assert shown(filter='equals(phone_number,"+14155550103")') == [("a@mail.com", "+14155550103")]


@pytest.mark.parametrize("way", ["null", "absent"])
def test_an_identifier_may_never_show_of_members_though_it_finds_them(
    emulator: Emulator, caller: Any, way: str
) -> None:
    emulator.set(hidden_of_members=frozenset(("phone_number",)), hides_members_as=way)
    (one,) = emulator.add_profiles([{"email": "a@mail.com", "phone_number": "+14155550101"}])
    path = f"/api/lists/{emulator.add_list('VIP', [one])}/profiles"
    (found,) = caller.data(path, filter='equals(phone_number,"+14155550101")')
    assert found["attributes"]["email"] == "a@mail.com"
    assert found["attributes"].get("phone_number") is None
    assert ("phone_number" in found["attributes"]) is (way == "null")
    assert caller.data(f"/api/profiles/{one}")["attributes"]["phone_number"] == "+14155550101"

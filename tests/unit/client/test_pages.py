"""Pages of a collection: one that cannot be read is asked for again, and is never the last one."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_klaviyo.client.endpoints import GET_LIST_PROFILES, GET_PROFILES, Endpoint
from airflow_provider_klaviyo.client.list_reader import all_members
from airflow_provider_klaviyo.client.lists import find_list, name_of_list
from airflow_provider_klaviyo.client.members import Member, member_of, read_members
from airflow_provider_klaviyo.client.people import find_people, read_profiles
from airflow_provider_klaviyo.client.responses import Response
from airflow_provider_klaviyo.exceptions import KlaviyoError, KlaviyoResponseError
from tests.unit.client.conftest import MakeWorld, Scripted

HERE = "https://a.klaviyo.com/api/lists/L/profiles/?page%5Bcursor%5D="


def profile(number: int, **attributes: object) -> dict[str, Any]:
    known = {"email": f"p{number}@x.com", "phone_number": None, "external_id": None}
    return {"type": "profile", "id": f"P{number}", "attributes": known | attributes}


def page(*resources: object, following: str | None = None, **members: object) -> Scripted:
    document = {"data": list(resources), "links": {"self": HERE, "next": following}} | members
    return Scripted(200, json.dumps(document).encode())


FIRST = page(*map(profile, range(100)), following=f"{HERE}2")
LAST = page(profile(100))
UNREADABLE = {
    "empty": Scripted(200, b""),
    "null": Scripted(200, b"null"),
    "a text": Scripted(200, b'"ok"'),
    "no data": Scripted(200, b"{}"),
    "data is null": page(data=None),
    "data is an object": page(data=profile(7)),
    "data is a text": page(data="none"),
    "a resource is null": page(profile(7), None),
    "a resource without id": page(profile(7) | {"id": None}),
    "a resource with a number as id": page(profile(7) | {"id": 7}),
    "a resource with an empty id": page(profile(7) | {"id": ""}),
    "attributes are a list": page(profile(7) | {"attributes": []}),
    "attributes are null": page(profile(7) | {"attributes": None}),
    "an address that is a number": page(profile(7, email=7)),
    "a number that is a list": page(profile(7, phone_number=["+14155550101"])),
    "an external id that is a number": page(profile(7, external_id=4711)),
    "more to read and nowhere to go": page(profile(7), following="https://a.klaviyo.com/api/lists"),
    "more to read at a number": page(profile(7), links={"next": 2}),
    "more to read at an object": page(profile(7), links={"next": {"href": f"{HERE}3"}}),
    "more to read at no URL": page(profile(7), following="https://[bad"),
    "links that are a list": page(profile(7), links=[f"{HERE}3"]),
    "a page that is its own next": page(profile(7), following=f"{HERE}2"),
    "nested too deeply": Scripted(200, b'{"data":' + b"[" * 5_000 + b"]" * 5_000 + b"}"),
    "broken letters": Scripted(200, b'{"data":[],"links":{"self":"\xff"}}'),
    "broken letters in what nobody reads": Scripted(200, b'{"data":[],"meta":{"note":"\xff"}}'),
    "a resource is a list": page(profile(7), ["P8", {}]),
    "attributes are missing": page({"type": "profile", "id": "P7"}),
    "breaks off": Scripted(200, b'{"data":['),
}


@pytest.mark.parametrize("odd", UNREADABLE.values(), ids=UNREADABLE)
def test_a_page_that_cannot_be_read_is_asked_for_again_and_nobody_is_overlooked(
    world: MakeWorld, odd: Scripted
) -> None:
    made = world(FIRST, odd, LAST)
    members = [member.id for part in all_members(made.client, "L") for member in part]
    assert members == [f"P{number}" for number in range(101)]
    assert made.server.requests[1].path == made.server.requests[2].path


@pytest.mark.parametrize("odd", UNREADABLE.values(), ids=UNREADABLE)
def test_a_page_that_stays_unreadable_is_an_error_and_not_the_end(world: MakeWorld, odd: Scripted) -> None:
    made = world(FIRST, odd)
    with pytest.raises(KlaviyoResponseError, match="Gave up after 4 tries"):
        list(all_members(made.client, "L"))
    assert made.clock.time < 1_000_060


@pytest.mark.parametrize("odd", [*UNREADABLE.values(), Scripted(503, b"")], ids=[*UNREADABLE, "an error"])
def test_what_is_refused_of_a_list_is_what_is_refused_of_a_search_and_in_the_same_words(
    odd: Scripted,
) -> None:
    def said(read: Callable[[Endpoint, Response], object]) -> str:
        try:
            read(GET_LIST_PROFILES, Response(odd.status, {}, odd.body))
        except KlaviyoError as error:
            return f"{type(error)} {error}"
        return "nothing"

    assert said(read_members) == said(read_profiles)


def test_members_are_read_whatever_else_a_page_shows(world: MakeWorld) -> None:
    known = {"relationships": {"lists": {"links": {"self": HERE}}}, "links": {"self": HERE}, "meta": None}
    shown = [
        profile(1, email="ä@x.com", phone_number="", external_id="", properties={"a": [1e9, None]}) | known,
        {"id": "P2", "attributes": {"phone_number": "+14155550101", "external_id": 'C\0"2'}},
    ]
    (read,) = all_members(world(page(*shown, included=[], meta={"a": 1})).client, "L")
    assert read == [Member("P1", "ä@x.com", None, None), Member("P2", None, "+14155550101", 'C\0"2')]
    assert read == list(map(member_of, shown))


def circle(length: int) -> list[Scripted]:
    """Pages the last of which leads to the first."""
    return [page(profile(n), following=f"{HERE}{n % length}") for n in range(1, length + 1)]


@pytest.mark.parametrize("length", [1, 2, 51, 300])
def test_pages_that_go_in_a_circle_end_the_scan_when_it_closes(world: MakeWorld, length: int) -> None:
    first = page(profile(0), following=f"{HERE}0")
    made = world(first, *circle(length))
    read: list[object] = []
    with pytest.raises(
        KlaviyoResponseError, match=r"get_profiles .*its pages go in a circle.*Gave up after 4 tries"
    ):
        read.extend(made.client.pages(GET_PROFILES))
    assert len(read) == length, "the page that leads back is not taken for one"
    assert len(made.server.requests) == length + 4
    waits = [wait for wait in made.clock.slept if wait > 0.4]
    assert sum(waits) > 3, "it is asked for again more and more rarely"


def test_pages_without_anything_on_them_end_the_scan_at_some_time(world: MakeWorld) -> None:
    empty = [page(following=f"{HERE}{n}") for n in range(200)]
    made = world(page(profile(1), following=f"{HERE}first"), *empty)
    with pytest.raises(
        KlaviyoResponseError, match="has nothing on 100 pages in a row, and always a next one"
    ):
        list(made.client.pages(GET_PROFILES))
    assert len(made.server.requests) == 1 + 100 + 4

    made = world(*empty[:100], page(profile(1)))
    assert len(list(made.client.pages(GET_PROFILES))) == 101, "fewer of them are no reason"


def test_a_scan_of_more_pages_than_can_be_remembered_ends(
    world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_klaviyo.client.trail.MOST_PAGES", 5)
    made = world(*(page(profile(n), following=f"{HERE}{n}") for n in range(20)))
    with pytest.raises(KlaviyoResponseError, match="has more than 5 pages"):
        list(made.client.pages(GET_PROFILES))


@pytest.mark.parametrize("links", [{"self": HERE}, {"next": None}, {"next": ""}, {}, None])
def test_a_page_without_a_next_one_is_the_last(world: MakeWorld, links: object) -> None:
    made = world(page(*map(profile, range(100)), links=links))
    assert sum(map(len, all_members(made.client, "L"))) == 100


def test_who_is_looked_up_is_not_unknown_because_an_answer_cannot_be_read(world: MakeWorld) -> None:
    made = world(UNREADABLE["data is null"], page(profile(1)))
    assert list(find_people(made.client, "email", ["p1@x.com"])) == ["p1@x.com"]


def test_a_list_is_not_unknown_because_an_answer_cannot_be_read(world: MakeWorld) -> None:
    known = {"type": "list", "id": "L", "attributes": {"name": "VIPs"}}
    made = world(Scripted(200, b'{"data": null}'), page(known), page(data=[]), page(data=known))
    assert find_list(made.client, "VIPs") == "L"
    assert name_of_list(made.client, "L") == "VIPs"


def test_who_is_read_twice_because_of_a_change_is_one_profile_and_the_last_reading_counts(
    world: MakeWorld,
) -> None:
    before, after = profile(1, external_id="C-1"), profile(1, external_id="C-1", phone_number="+14155550101")
    made = world(page(before, following=f"{HERE}2"), page(after))
    assert find_people(made.client, "external_id", ["C-1"]) == {"C-1": [after]}


def test_nobody_is_found_by_the_word_for_nothing(world: MakeWorld) -> None:
    made = world(page(profile(1)), page(), page())
    assert find_people(made.client, "external_id", ["None", "C-1"]) == {}

"""Pages of a list's members: by when they joined, forwards and backwards, narrowed, while members come and go."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator, ManualClock

START = 1_790_000_000.0  # 2026-09-21T14:13:20Z
JOINED = [START + each for each in (0, 0, 0, 0.25, 0.5, 0.5, 3, 3, 3, 3, 3, 7)]


@pytest.fixture
def people(emulator: Emulator) -> list[str]:
    return emulator.add_profiles([{"email": f"p{number}@mail.com"} for number in range(len(JOINED))])


def _read(caller: Any, list_id: str, **parameters: Any) -> list[str]:
    pages = caller.pages(f"/api/lists/{list_id}/profiles", **{"page[size]": 2, **parameters})
    return [each["id"] for page in pages for each in page]


@pytest.mark.parametrize("ties", ["turn", "stay"])
def test_members_come_in_the_order_of_joining_or_the_newest_first(
    emulator: Emulator, caller: Any, people: list[str], ties: str
) -> None:
    emulator.set(ties=ties)
    list_id = emulator.add_list("VIP", people, joined=JOINED)
    assert _read(caller, list_id) == _read(caller, list_id, sort="joined_group_at") == people
    newest = [people[11], *people[6:11], *people[4:6], people[3], *people[:3]]
    turned = people[::-1]
    assert _read(caller, list_id, sort="-joined_group_at") == (turned if ties == "turn" else newest)


def test_they_come_by_when_they_joined_whoever_was_put_on_the_list_first(
    emulator: Emulator, caller: Any, people: list[str]
) -> None:
    list_id = emulator.add_list("VIP", people, joined=JOINED[::-1])
    last = [people[11], people[10], people[9]]
    assert sorted(_read(caller, list_id, sort="joined_group_at")[:3]) == sorted(last)


@pytest.mark.parametrize(
    ("condition", "first", "last"),
    [
        ("greater-or-equal(joined_group_at,2026-09-21T14:13:23Z)", 6, 12),
        ("greater-than(joined_group_at,2026-09-21T14:13:23Z)", 11, 12),
        ("less-than(joined_group_at,2026-09-21T14:13:20.5Z)", 0, 4),
        ("less-or-equal(joined_group_at,2026-09-21T14:13:20.5Z)", 0, 6),
        (
            "greater-than(joined_group_at,2026-09-21T14:13:20Z),less-than(joined_group_at,2026-09-21T14:13:21Z)",
            3,
            6,
        ),
        ("less-than(joined_group_at,2026-09-21T14:13:20Z)", 0, 0),
    ],
)
def test_a_filter_goes_by_more_than_the_seconds_that_are_shown(
    emulator: Emulator, caller: Any, people: list[str], condition: str, first: int, last: int
) -> None:
    list_id = emulator.add_list("VIP", people, joined=JOINED)
    for sort, step in (("joined_group_at", 1), ("-joined_group_at", -1)):
        assert _read(caller, list_id, sort=sort, filter=condition) == people[first:last][::step]
    shown = caller.data(f"/api/lists/{list_id}/profiles", **{"page[size]": 5})
    assert shown[4]["attributes"]["joined_group_at"] == "2026-09-21T14:13:20+00:00"
    emulator.set(joined_times="exact")
    shown = caller.data(f"/api/lists/{list_id}/profiles", **{"page[size]": 5})
    assert shown[4]["attributes"]["joined_group_at"] == "2026-09-21T14:13:20.500000+00:00"


@pytest.mark.parametrize("ties", ["turn", "stay"])
@pytest.mark.parametrize("sort", ["joined_group_at", "-joined_group_at"])
def test_who_leaves_or_comes_back_meanwhile_makes_nobody_skipped(
    emulator: Emulator, caller: Any, people: list[str], clock: ManualClock, sort: str, ties: str
) -> None:
    emulator.set(ties=ties)
    clock.advance(10)
    list_id = emulator.add_list("VIP", people, joined=JOINED)
    path = f"/api/lists/{list_id}/relationships/profiles"
    seen = []
    for page in caller.pages(f"/api/lists/{list_id}/profiles", **{"page[size]": 2, "sort": sort}):
        ids = [each["id"] for each in page]
        document = {"data": [{"type": "profile", "id": each} for each in ids]}
        if not set(ids) & set(seen):
            caller.call("DELETE", path, document)
            caller.call("POST", path, document)
        seen += ids
    assert set(seen) == set(people)
    assert len(seen) == (24 if sort == "joined_group_at" else 12), "whoever joins again is the newest"


def test_members_are_found_by_address_and_time(emulator: Emulator, caller: Any, people: list[str]) -> None:
    list_id = emulator.add_list("VIP", people, joined=JOINED)
    named = 'any(email,["p7@mail.com","p1@mail.com","none@mail.com"])'
    assert _read(caller, list_id, filter=named) == [people[1], people[7]]
    late = f"{named},greater-than(joined_group_at,2026-09-21T14:13:22Z)"
    assert _read(caller, list_id, filter=late) == [people[7]]

"""Members whose identifiers a list does not show, or not yet: whoever the query names stays on it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator, Fault
from tests.integration.conftest import Run, StartEmulator, Sync, Warehouse

pytestmark = pytest.mark.integration

REMOVE, READ = "remove_profiles_from_list", "get_profiles_for_list"
BOTH = pytest.mark.parametrize("strict", [False, True], ids=["tracked", "strict"])
FIELDS = pytest.mark.parametrize("field", ["email", "phone_number", "external_id"])
COLUMNS = {"email": "email", "phone_number": "phone", "external_id": "customer"}


class LateClock:
    """The machine's clock, some seconds late."""

    late = 0.0

    def now(self) -> float:
        return time.time() + self.late


def value(field: str, number: int) -> str:
    return {
        "email": f"p{number}@shop.io",
        "phone_number": f"+1415555{number:04}",
        "external_id": f"C-{number}",
    }[field]


def other_than(field: str) -> str:
    return "email" if field == "external_id" else "external_id"


def people(field: str, *numbers: int) -> list[dict[str, Any]]:
    """Rows of the query that name people by one identifier."""
    return [{"key": f"k{number}", COLUMNS[field]: value(field, number)} for number in numbers]


def profiles(field: str, *numbers: int) -> list[dict[str, Any]]:
    """Profiles that have that identifier and another one."""
    return [{name: value(name, number) for name in (field, other_than(field))} for number in numbers]


@pytest.fixture
def mirror(list_sync: Sync) -> Callable[..., Run]:
    def run(field: str, **parameters: Any) -> Run:
        column = COLUMNS[field]
        sql = f"SELECT key, {column} FROM people ORDER BY place"
        made = list_sync("mirror", **({"sql": sql, "mapping": {field: column}} | parameters))
        made.counts()
        return made

    return run


def on_list(klaviyo: Emulator, list_id: str) -> set[str]:
    return {member["id"] for member in klaviyo.members(list_id)}


@FIELDS
@pytest.mark.parametrize("way", ["null", "absent"])
@pytest.mark.parametrize("left", [0, 3], ids=["nobody left", "some left"])
def test_a_strict_mirror_keeps_whom_the_query_names_though_the_list_does_not_show_it(
    start_emulator: StartEmulator,
    warehouse: Warehouse,
    mirror: Callable[..., Run],
    field: str,
    way: str,
    left: int,
) -> None:
    klaviyo = start_emulator(hidden_of_members=frozenset((field,)), hides_members_as=way)
    ids = klaviyo.add_profiles(profiles(field, *range(8 + left)))
    vips = klaviyo.add_list("VIPs", ids)
    warehouse.hold(*people(field, *range(8)))

    run = mirror(field, strict=True)

    assert (run.error, run.summary["removed"]) == (None, left)
    assert on_list(klaviyo, vips) == set(ids[:8])
    assert mirror(field, strict=True).summary["removed"] == 0


@FIELDS
@BOTH
def test_whose_identifier_was_just_changed_to_one_that_the_query_names_stays(
    start_emulator: StartEmulator, warehouse: Warehouse, mirror: Callable[..., Run], field: str, strict: bool
) -> None:
    clock = LateClock()
    klaviyo = start_emulator(clock=clock)
    ids = klaviyo.add_profiles(profiles(field, *range(8)))
    vips = klaviyo.add_list("VIPs", ids if strict else ())
    warehouse.hold(*people(field, *range(8)))
    assert mirror(field, strict=strict).error is None

    clock.late = 86_400.0
    klaviyo.set(member_lag=3_600.0)
    changes = [
        {field: value(field, n + 100), other_than(field): value(other_than(field), n)} for n in range(8)
    ]
    for profile_id, change in zip(ids, changes, strict=True):
        rename(klaviyo, profile_id, change)
    warehouse.hold(*({**row, "key": f"k{n}"} for n, row in enumerate(people(field, *range(100, 108)))))
    run = mirror(field, strict=strict)

    assert (run.error, run.summary["removed"]) == (None, 0)
    assert on_list(klaviyo, vips) == set(ids)


def rename(klaviyo: Emulator, profile_id: str, attributes: dict[str, Any]) -> None:
    """Change a profile, as another tool does a moment before."""
    import requests

    answer = requests.patch(
        f"{klaviyo.url}/api/profiles/{profile_id}",
        json={"data": {"type": "profile", "id": profile_id, "attributes": attributes}},
        headers={"Authorization": f"Klaviyo-API-Key {klaviyo.api_key}", "revision": "2026-07-15"},
        timeout=10,
    )
    assert answer.status_code == 200, answer.text


@FIELDS
def test_who_has_been_on_the_list_for_a_moment_only_stays(
    start_emulator: StartEmulator, warehouse: Warehouse, mirror: Callable[..., Run], field: str
) -> None:
    klaviyo = start_emulator(member_lag=3_600.0)
    ids = klaviyo.add_profiles(profiles(field, *range(8)))
    vips = klaviyo.add_list("VIPs", ids)
    warehouse.hold(*people(field, *range(6)))
    run = mirror(field, strict=True)
    assert (run.error, run.summary["removed"]) == (None, 2)
    assert on_list(klaviyo, vips) == set(ids[:6])


@FIELDS
def test_members_without_the_identifier_stay_and_the_report_says_how_many_and_why(
    klaviyo: Emulator,
    warehouse: Warehouse,
    mirror: Callable[..., Run],
    caplog: pytest.LogCaptureFixture,
    field: str,
) -> None:
    other = other_than(field)
    by_hand = klaviyo.add_profiles([{other: value(other, number)} for number in range(50, 53)])
    named, gone = klaviyo.add_profiles(profiles(field, 1, 2))
    vips = klaviyo.add_list("VIPs", [*by_hand, named, gone])
    warehouse.hold(*people(field, 1))

    run = mirror(field, strict=True)

    assert (run.error, run.summary["removed"]) == (None, 1)
    assert on_list(klaviyo, vips) == {*by_hand, named}
    assert run.report["spared_without_identifier"] == 3
    assert f"show no {field}, neither on the list nor by their id" in caplog.text


@pytest.mark.parametrize("hidden", ["phone_number", "external_id"])
def test_rows_that_cannot_be_sent_keep_those_whom_they_name_by_what_does_not_show(
    start_emulator: StartEmulator, warehouse: Warehouse, mirror: Callable[..., Run], hidden: str
) -> None:
    klaviyo = start_emulator(hidden_of_members=frozenset((hidden,)))
    ids = klaviyo.add_profiles(
        [{"phone_number": value("phone_number", n), "external_id": value("external_id", n)} for n in range(9)]
    )
    vips = klaviyo.add_list("VIPs", ids)
    rows = [{"key": f"k{n}", "phone": value("phone_number", n)} for n in range(5)]
    without_key = {"key": None, "phone": value("phone_number", 5)}
    same_key = {"key": "k0", "phone": value("phone_number", 6)}
    bad_number = {"key": "k7", "phone": "no number", "customer": "C-7"}
    warehouse.hold(*rows, without_key, same_key, bad_number)
    run = mirror(
        "phone_number",
        strict=True,
        sql="SELECT key, phone, customer FROM people ORDER BY place",
        mapping={"phone_number": "phone", "external_id": "customer"},
    )
    assert (run.error, run.summary["removed"]) == (None, 1)
    assert on_list(klaviyo, vips) == set(ids[:8])


def test_somebody_who_changes_between_the_look_and_the_removal_stays(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_klaviyo.sync.lists.mirror import MirrorSession

    ids = klaviyo.add_profiles(profiles("email", 1, 2, 3))
    vips = klaviyo.add_list("VIPs", ids)
    objection = MirrorSession._objection

    def meanwhile(*arguments: Any) -> str:
        rename(klaviyo, ids[1], {"email": "p9@shop.io"})
        return objection(*arguments)

    monkeypatch.setattr(MirrorSession, "_objection", meanwhile)
    warehouse.hold(*people("email", 1))
    run = mirror("email", strict=True)
    assert (run.error, run.summary["removed"], run.report["changed_meanwhile"]) == (None, 1, 1)
    assert on_list(klaviyo, vips) == set(ids[:2])


@pytest.mark.parametrize(
    "body", ["", "null", '{"data": null}', '{"data": {}}', '{"data": [{"type": "profile"}]}']
)
@pytest.mark.parametrize("stays", [False, True], ids=["once", "for ever"])
def test_a_page_of_members_that_cannot_be_read_is_not_the_end_of_the_list(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Callable[..., Run], body: str, stays: bool
) -> None:
    ids = klaviyo.add_profiles([{"email": f"p{number}@shop.io"} for number in range(250)])
    vips = klaviyo.add_list("VIPs", ids)
    warehouse.fill(0, 248)
    klaviyo.inject(Fault("not_json", READ, body=body or "empty", skip=1, count=None if stays else 1))
    run = mirror("email", strict=True)
    if stays:
        assert run.error is not None
        assert on_list(klaviyo, vips) == set(ids)
        klaviyo.clear_faults()
        run = mirror("email", strict=True)
    assert (run.error, run.counts(), run.summary["removed"]) == (
        None,
        {"rows_read": 249, "unchanged": 249},
        1,
    )
    assert on_list(klaviyo, vips) == set(ids[:249])


def test_a_removal_in_the_dark_by_a_tracked_mirror_waits_for_light(
    start_emulator: StartEmulator, warehouse: Warehouse, mirror: Callable[..., Run]
) -> None:
    """The list finds somebody by a number that the profile itself has no more: who it is now is not known."""
    clock = LateClock()
    klaviyo = start_emulator(clock=clock)
    warehouse.hold(*people("phone_number", 1, 2))
    mirror("phone_number")
    (vips,) = (each.id for each in klaviyo._account.lists)
    members = {member["phone_number"]: member["id"] for member in klaviyo.members(vips)}
    gone = members[value("phone_number", 2)]
    clock.late = 86_400.0
    klaviyo.set(member_lag=3_600.0)
    rename(klaviyo, gone, {"email": "now@shop.io", "phone_number": None})
    warehouse.hold(*people("phone_number", 1))
    run = mirror("phone_number")
    assert (run.error, run.summary["removed"]) == (None, 0)
    assert gone in on_list(klaviyo, vips)
    assert run.report["changed_meanwhile"] == 1

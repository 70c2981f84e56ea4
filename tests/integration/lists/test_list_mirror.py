"""A list that agrees with a query, and a query that cannot empty it by accident."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_klaviyo.client.lists import remove_members
from airflow_provider_klaviyo.emulator import Emulator, Fault
from airflow_provider_klaviyo.sync.lists import removals as list_removals
from tests.integration.conftest import StartEmulator, Sync, Warehouse, emails
from tests.integration.lists.by_hand import put, unsubscribe

pytestmark = pytest.mark.integration

ADD, REMOVE, FIND = "bulk_import_profiles", "remove_profiles_from_list", "get_profiles_for_list"
BOTH = pytest.mark.parametrize("strict", [False, True], ids=["tracked", "strict"])


def written(klaviyo: Emulator) -> int:
    return sum(len(klaviyo.requests(name)) for name in (ADD, REMOVE, "add_profiles_to_list"))


# --- what it is for -----------------------------------------------------------------------------------------------


@BOTH
def test_who_joins_the_query_joins_the_list_and_who_leaves_it_leaves(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, vips: str, strict: bool
) -> None:
    warehouse.hold("ada@shop.io", "bob@shop.io", "eve@shop.io")
    assert mirror(strict=strict).counts() == {"rows_read": 3, "accepted": 3}
    warehouse.hold("bob@shop.io", "eve@shop.io", "new@shop.io")
    run = mirror(strict=strict)
    assert (run.error, run.counts(), run.summary["removed"]) == (
        None,
        {"rows_read": 3, "accepted": 1, "unchanged": 2},
        1,
    )
    assert emails(klaviyo, vips) == {"bob@shop.io", "eve@shop.io", "new@shop.io"}
    assert klaviyo.profile(email="ada@shop.io") is not None
    before = written(klaviyo)
    again = mirror(strict=strict)
    assert (again.counts(), again.summary["removed"]) == ({"rows_read": 3, "unchanged": 3}, 0)
    assert written(klaviyo) == before
    warehouse.take("ada@shop.io")
    assert mirror(strict=strict).counts() == {"rows_read": 4, "accepted": 1, "unchanged": 3}
    assert "ada@shop.io" in emails(klaviyo, vips)


def test_members_added_by_hand_are_never_touched(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, vips: str
) -> None:
    put(klaviyo, vips, "hand@shop.io")
    warehouse.hold("ada@shop.io", "bob@shop.io")
    mirror()
    warehouse.hold("bob@shop.io")
    assert mirror().summary["removed"] == 1
    assert emails(klaviyo, vips) == {"hand@shop.io", "bob@shop.io"}


def test_strictly_the_list_holds_exactly_the_query_whatever_was_there(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, vips: str
) -> None:
    put(klaviyo, vips, "hand@shop.io", "ada@shop.io")
    warehouse.hold("ada@shop.io", "bob@shop.io")
    run = mirror(strict=True)
    assert (run.counts(), run.summary["removed"]) == ({"rows_read": 2, "accepted": 1, "unchanged": 1}, 1)
    assert emails(klaviyo, vips) == {"ada@shop.io", "bob@shop.io"}


@pytest.mark.parametrize("back_by", [{"strict": True}, {"full_refresh": True}], ids=str)
def test_who_has_unsubscribed_and_is_in_the_query_is_a_member_again_without_consent(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, vips: str, back_by: dict[str, bool]
) -> None:
    klaviyo.set(subscription_seconds=0)
    warehouse.hold("ada@shop.io", "bob@shop.io")
    mirror()
    profile = klaviyo.profile(email="ada@shop.io")
    assert profile is not None
    klaviyo.set_consent(profile["id"], "email", "SUBSCRIBED")
    unsubscribe(klaviyo, vips, "ada@shop.io")
    before = klaviyo.subscriptions(profile["id"])
    assert emails(klaviyo, vips) == {"bob@shop.io"}
    assert mirror().counts() == {"rows_read": 2, "unchanged": 2}
    assert emails(klaviyo, vips) == {"bob@shop.io"}
    mirror(**back_by)
    assert emails(klaviyo, vips) == {"ada@shop.io", "bob@shop.io"}
    assert klaviyo.subscriptions(profile["id"]) == before


def test_changing_between_strict_and_tracked_loses_nobody(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, vips: str
) -> None:
    warehouse.hold("ada@shop.io", "bob@shop.io")
    mirror()
    warehouse.hold("bob@shop.io")
    assert mirror(strict=True).summary["removed"] == 1
    warehouse.hold("bob@shop.io", "ada@shop.io")
    assert mirror().counts() == {"rows_read": 2, "accepted": 1, "unchanged": 1}
    assert emails(klaviyo, vips) == {"ada@shop.io", "bob@shop.io"}
    warehouse.hold("ada@shop.io")
    assert mirror().summary["removed"] == 1


@BOTH
@pytest.mark.parametrize(
    ("field", "column", "values"),
    [
        ("phone_number", "phone", ["+1 415 555 2671", "+14155552672"]),
        ("external_id", "customer", ["C-1", "C-2"]),
        ("klaviyo_id", "klaviyo", ["", ""]),
    ],
)
def test_every_identifier_mirrors(
    klaviyo: Emulator,
    warehouse: Warehouse,
    mirror: Sync,
    vips: str,
    field: str,
    column: str,
    values: list[str],
    strict: bool,
) -> None:
    ids = klaviyo.add_profiles([{"email": "ada@shop.io"}, {"email": "bob@shop.io"}])
    people = [{"key": str(n), column: value or ids[n]} for n, value in enumerate(values)]
    more = {"sql": "SELECT * FROM people ORDER BY place", "mapping": {field: column}, "strict": strict}
    warehouse.hold(*people)
    assert mirror(**more).counts() == {"rows_read": 2, "accepted": 2}
    assert len(klaviyo.members(vips)) == 2
    warehouse.hold(people[1])
    assert mirror(**more).summary["removed"] == 1
    (member,) = klaviyo.members(vips)
    assert ids[1] == member["id"] or member[field].endswith(values[1][-3:])


@BOTH
def test_who_is_matched_by_phone_here_and_known_by_an_address_there_is_one_person(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, strict: bool
) -> None:
    (known,) = klaviyo.add_profiles([{"email": "Ada@shop.io", "phone_number": "+14155552671"}])
    vips = klaviyo.add_list("VIPs", [known])
    warehouse.hold({"key": "a", "phone": "(415) 555-2671"})
    run = mirror(
        sql="SELECT * FROM people", mapping={"phone_number": "phone"}, phone_region="US", strict=strict
    )
    assert (run.error, run.summary["removed"]) == (None, 0)
    assert [member["id"] for member in klaviyo.members(vips)] == [known]
    assert len(klaviyo.requests(ADD)) == (0 if strict else 1)


@BOTH
def test_addresses_compare_as_klaviyo_compares_them(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, strict: bool
) -> None:
    vips = klaviyo.add_list("VIPs", klaviyo.add_profiles([{"email": "Ada@Shop.io"}], keep_case=True))
    warehouse.hold("ADA@shop.io", {"key": "other", "email": "ada@shop.IO"})
    run = mirror(strict=strict)
    assert (run.error, run.summary["removed"]) == (None, 0)
    assert run.counts()["skipped"] == 1
    assert len(klaviyo.members(vips)) == 1


@BOTH
def test_somebody_who_changes_the_address_changes_places(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, vips: str, strict: bool
) -> None:
    warehouse.hold({"key": "1", "email": "old@shop.io"}, {"key": "2", "email": "bob@shop.io"})
    mirror(strict=strict)
    warehouse.hold({"key": "1", "email": "new@shop.io"}, {"key": "2", "email": "bob@shop.io"})
    run = mirror(strict=strict)
    assert run.summary["removed"] == 1
    assert emails(klaviyo, vips) == {"new@shop.io", "bob@shop.io"}


@BOTH
def test_the_old_address_stays_until_the_new_one_is_accepted(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, vips: str, strict: bool
) -> None:
    warehouse.hold({"key": "1", "email": "old@shop.io"}, {"key": "2", "email": "bob@shop.io"})
    mirror(strict=strict)
    warehouse.hold({"key": "1", "email": "new@shop.io"}, {"key": "2", "email": "bob@shop.io"})
    klaviyo.inject(Fault("job_fails", match="new@shop.io"))
    run = mirror(strict=strict)
    assert (run.counts()["rejected"], run.summary["removed"]) == (1, 0)
    assert emails(klaviyo, vips) == {"old@shop.io", "bob@shop.io"}
    klaviyo.clear_faults()
    assert mirror(strict=strict).summary["removed"] == 1
    assert emails(klaviyo, vips) == {"new@shop.io", "bob@shop.io"}


def test_a_key_that_takes_over_anothers_address_lets_its_own_go(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, vips: str
) -> None:
    warehouse.hold({"key": "1", "email": "one@shop.io"}, {"key": "2", "email": "two@shop.io"})
    mirror()
    warehouse.hold({"key": "1", "email": "two@shop.io"}, {"key": "2", "email": "two@shop.io"})
    run = mirror()
    assert (run.counts()["skipped"], run.summary["removed"]) == (1, 1)
    assert emails(klaviyo, vips) == {"two@shop.io"}
    warehouse.hold({"key": "2", "email": "two@shop.io"})
    assert mirror().summary["removed"] == 0
    assert emails(klaviyo, vips) == {"two@shop.io"}


# --- a profile with several addresses -----------------------------------------------------------------------------


@pytest.fixture
def twice(klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, vips: str) -> str:
    """The list of bob@shop.io and of a profile that two rows name, one of them by its second address."""
    with_second_address(klaviyo, "main@shop.io", "second@shop.io")
    warehouse.hold("second@shop.io", "bob@shop.io")
    mirror()
    warehouse.take("main@shop.io")
    mirror()
    return vips


def with_second_address(klaviyo: Emulator, main: str, second: str) -> str:
    """A profile that filters find by both addresses, and that shows the main one."""
    (profile,) = klaviyo.add_profiles([{"email": main}])
    klaviyo.add_email(profile, second)
    return profile


def test_a_profile_that_another_row_names_by_its_main_address_stays(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, twice: str
) -> None:
    warehouse.hold("main@shop.io", "bob@shop.io")
    run = mirror()
    assert (run.error, run.summary["removed"]) == (None, 0)
    assert (run.report["still_named"], run.report["were_not_on_list"]) == (1, 0)
    assert emails(klaviyo, twice) == {"main@shop.io", "bob@shop.io"}
    mirror()
    warehouse.hold("bob@shop.io")
    assert mirror().summary["removed"] == 1
    assert emails(klaviyo, twice) == {"bob@shop.io"}


def test_a_profile_whose_addresses_both_leave_is_removed_once(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, twice: str
) -> None:
    warehouse.hold("bob@shop.io")
    assert mirror().summary["removed"] == 1
    assert emails(klaviyo, twice) == {"bob@shop.io"}


def test_strictly_whom_a_row_names_by_a_second_address_stays(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync
) -> None:
    vips = klaviyo.add_list("VIPs", [with_second_address(klaviyo, "main@shop.io", "second@shop.io")])
    put(klaviyo, vips, "hand@shop.io")
    warehouse.hold("second@shop.io", "bob@shop.io")
    assert mirror(strict=True, preview=True).summary["removed"] == 1
    for removed in (1, 0, 0):
        run = mirror(strict=True)
        assert (run.error, run.summary["removed"]) == (None, removed)
        assert emails(klaviyo, vips) == {"main@shop.io", "bob@shop.io"}


@pytest.mark.parametrize(("leaves", "look_ups"), [(False, 0), (True, 2)])
def test_strictly_only_who_was_added_is_looked_up_and_only_when_somebody_is_to_leave(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, vips: str, leaves: bool, look_ups: int
) -> None:
    put(klaviyo, vips, *(f"p{n}@shop.io" for n in range(1, 51)))
    warehouse.fill(2 if leaves else 1, 200)  # 150 of them are not on the list yet
    run = mirror(strict=True)
    assert (run.counts()["accepted"], run.summary["removed"]) == (150, int(leaves))
    assert len([each for each in klaviyo.requests(FIND) if "filter" in each.query]) == look_ups


# --- who is present although the row is not sent ------------------------------------------------------------------


@pytest.mark.parametrize(
    "row",
    [
        {"key": "ada", "email": "not an address"},
        {"key": "ada", "email": None},
        {"key": None, "email": "ada@shop.io"},
        {"key": "another", "email": "ADA@shop.io"},
        {"key": "bob", "email": "ada@shop.io"},
    ],
    ids=["rejected", "without an address", "without a key", "of another key", "behind a row of its key"],
)
@BOTH
def test_whom_any_row_names_by_key_or_person_stays(
    klaviyo: Emulator,
    warehouse: Warehouse,
    mirror: Sync,
    vips: str,
    row: dict[str, object],
    strict: bool,
) -> None:
    warehouse.hold("ada@shop.io", "bob@shop.io")
    mirror(strict=strict)
    warehouse.hold("bob@shop.io", row)
    run = mirror(strict=strict)
    assert (run.error, run.summary["removed"]) == (None, 0)
    assert emails(klaviyo, vips) == {"ada@shop.io", "bob@shop.io"}


@BOTH
def test_a_duplicate_that_is_bad_for_a_day_is_present(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, vips: str, strict: bool
) -> None:
    warehouse.hold(
        {"key": "3", "email": "a@shop.io"},
        {"key": "7", "email": "a@shop.io"},
        {"key": "4", "email": "d@shop.io"},
    )
    assert mirror(strict=strict).counts() == {"rows_read": 3, "accepted": 2, "skipped": 1}
    warehouse.hold(
        {"key": "3", "email": "f@shop.io"}, {"key": "7", "email": "bad"}, {"key": "4", "email": "d@shop.io"}
    )
    run = mirror(strict=strict)
    assert (run.error, run.summary["removed"]) == (None, 0)
    assert emails(klaviyo, vips) == {"a@shop.io", "d@shop.io", "f@shop.io"}
    warehouse.hold({"key": "3", "email": "f@shop.io"}, {"key": "4", "email": "d@shop.io"})
    assert mirror(strict=strict).summary["removed"] == 1
    assert emails(klaviyo, vips) == {"d@shop.io", "f@shop.io"}


@pytest.mark.parametrize("number", ["(415) 555-2671", "0415 555-2671", "+1 415 555 2671", "001 415-555-2671"])
def test_a_strict_mirror_spares_whom_a_rejected_row_names_by_a_number_in_any_spelling(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, number: str
) -> None:
    numbers = ["+14155552671", "+14155552672", "+14155552673"]
    vips = klaviyo.add_list("VIPs", klaviyo.add_profiles([{"phone_number": each} for each in numbers]))
    more = {
        "sql": "SELECT key, phone, customer FROM people ORDER BY place",
        "mapping": {"phone_number": "phone", "phone_region": "customer"},
        "on_invalid": "reject",
    }
    warehouse.hold(
        {"key": "new", "phone": number, "customer": "XX"},
        {"key": "short", "phone": "2673", "customer": "US"},
        {"key": "2", "phone": numbers[1], "customer": "US"},
    )
    run = mirror(strict=True, **more)
    assert (run.error, run.summary["removed"]) == (None, 1)
    assert {member["phone_number"] for member in klaviyo.members(vips)} == set(numbers[:2])


# --- rule 7: a broken query cannot empty a list -------------------------------------------------------------------


@BOTH
def test_a_query_without_rows_fails_and_removes_nobody(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, vips: str, strict: bool
) -> None:
    warehouse.hold("ada@shop.io", "bob@shop.io")
    mirror(strict=strict)
    warehouse.hold()
    run = mirror(strict=strict, max_removals=None)
    assert "allow_empty=True" in str(run.error)
    assert len(klaviyo.members(vips)) == 2
    assert mirror(strict=strict, allow_empty=True).summary["removed"] == 2
    assert klaviyo.members(vips) == []


@BOTH
@pytest.mark.parametrize(
    ("allowed", "holds"), [(0.2, True), (19, True), (20, False), (0.5, False), (None, False)]
)
def test_too_many_removals_stop_the_run_with_counts_and_what_to_set(
    klaviyo: Emulator,
    warehouse: Warehouse,
    mirror: Sync,
    vips: str,
    strict: bool,
    allowed: float | None,
    holds: bool,
) -> None:
    warehouse.fill(1, 80)
    mirror(strict=strict)
    warehouse.hold("new@shop.io")
    warehouse.fill(21, 80)
    run = mirror(strict=strict, max_removals=allowed)
    members = emails(klaviyo, vips)
    assert "new@shop.io" in members, "additions are made"
    assert run.summary["accepted"] == 1
    if not holds:
        assert (run.error, len(members)) == (None, 61)
        return
    assert len(members) == 81, "nobody was removed"
    assert type(run.error).__name__ == "AirflowFailException"
    for word in ("20 of 80 people", f"max_removals={allowed}", "max_removals=20", "nobody was removed"):
        assert word in str(run.error)
    assert run.summary["removed"] == 0
    assert mirror(strict=strict, max_removals=20).summary["removed"] == 20


@BOTH
@pytest.mark.parametrize("fault", ["status", "status_after"])
def test_what_earlier_tries_of_the_run_have_removed_counts(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, vips: str, strict: bool, fault: str
) -> None:
    """Two batches leave, the second in vain: who leaves the query before the retry is one too many."""
    klaviyo.set(rate_limits="off")
    warehouse.fill(1, 1_400)
    mirror(strict=strict, run_id="first")
    warehouse.drop(*(f"p{n}" for n in range(1, 1_201)))
    klaviyo.inject(Fault(fault, operation=REMOVE, skip=1, status=403, count=None))
    assert mirror(strict=strict, max_removals=1_200).error is not None
    left_on_list = len(klaviyo.members(vips))
    assert 200 <= left_on_list < 1_400
    klaviyo.clear_faults()

    warehouse.drop("p1201")
    again = mirror(strict=strict, max_removals=1_200, try_number=2)
    for told in ("1,201 of 1,400", "earlier tries of this run", "max_removals=1200", "max_removals=1201"):
        assert told in str(again.error)
    assert len(klaviyo.members(vips)) == left_on_list, "nobody was removed"
    warehouse.fill(1_201, 1_201)
    assert mirror(strict=strict, max_removals=1_200, try_number=3).error is None
    assert len(klaviyo.members(vips)) == 200

    warehouse.drop("p1202")
    assert mirror(strict=strict, max_removals=1, run_id="next").summary["removed"] == 1


@BOTH
def test_a_share_always_permits_ten(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, vips: str, strict: bool
) -> None:
    warehouse.fill(1, 12)
    mirror(strict=strict)
    warehouse.hold("p1@shop.io", "p2@shop.io")
    assert mirror(strict=strict).summary["removed"] == 10
    assert emails(klaviyo, vips) == {"p1@shop.io", "p2@shop.io"}


@BOTH
def test_too_many_rejected_rows_remove_nobody(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, vips: str, strict: bool
) -> None:
    warehouse.fill(1, 20)
    mirror(strict=strict)
    warehouse.drop("p1", "p2")
    warehouse.take({"key": "x", "email": "nobody"}, {"key": "y", "email": "nobody"})
    run = mirror(strict=strict, max_rejected=1)
    assert "max_rejected=1" in str(run.error)
    assert len(klaviyo.members(vips)) == 20
    assert mirror(strict=strict, max_rejected=2).summary["removed"] == 2


@BOTH
def test_who_stays_for_rejected_rows_is_told_with_every_limit_that_was_passed(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, vips: str, strict: bool
) -> None:
    warehouse.fill(1, 20)
    mirror(strict=strict)
    warehouse.drop(*(f"p{n}" for n in range(1, 9)))
    warehouse.take({"key": "x", "email": "nobody"})
    both = str(mirror(strict=strict, max_removals=5, max_rejected=0).error)
    for told in ("8 of 20 people", "max_removals=8", "1 of 13 rows are rejected", "max_rejected"):
        assert told in both
    rejected = str(mirror(strict=strict, max_removals=8, max_rejected=0).error)
    for told in ("1 of 13 rows were rejected", "Nobody was removed from", "8 people left the query"):
        assert told in rejected
    assert len(klaviyo.members(vips)) == 20


@BOTH
def test_rows_that_klaviyo_rejects_count_before_anybody_is_removed(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, vips: str, strict: bool
) -> None:
    warehouse.fill(1, 20)
    mirror(strict=strict)
    warehouse.drop("p1")
    warehouse.take("x@shop.io", "y@shop.io")
    klaviyo.inject(Fault("job_fails", records=2))
    assert "max_rejected=1" in str(mirror(strict=strict, max_rejected=1).error)
    assert len(klaviyo.members(vips)) == 20


@BOTH
def test_a_query_that_breaks_off_removes_nobody(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, vips: str, strict: bool
) -> None:
    warehouse.fill(1, 20)
    mirror(strict=strict)
    warehouse.drop("p20")
    warehouse.take("zoe@shop.io")
    sql = "SELECT key, email, 1 / (place - 10) AS boom FROM people ORDER BY place"
    run = mirror(strict=strict, sql=sql)
    assert run.error is not None
    assert len(klaviyo.members(vips)) in (20, 21)
    assert "p20@shop.io" in emails(klaviyo, vips)


def test_a_cancelled_job_leaves_the_removals_to_the_retry(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, vips: str
) -> None:
    warehouse.hold("ada@shop.io", "bob@shop.io")
    mirror()
    warehouse.hold("bob@shop.io", "new@shop.io")
    klaviyo.inject(Fault("job_cancelled"))
    run = mirror()
    assert (run.counts()["pending"], run.summary["removed"]) == (1, 0)
    assert mirror().summary["removed"] == 1
    assert emails(klaviyo, vips) == {"bob@shop.io", "new@shop.io"}


@BOTH
def test_removals_come_last(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, vips: str, strict: bool
) -> None:
    warehouse.hold("ada@shop.io", "bob@shop.io")
    mirror(strict=strict)
    warehouse.hold("bob@shop.io", "new@shop.io")
    seen = len(klaviyo.requests())
    mirror(strict=strict)
    operations = [request.operation for request in klaviyo.requests()[seen:]]
    assert operations.index(REMOVE) > operations.index(ADD)
    assert [each for each in operations if not each.startswith("get_")][-1] == REMOVE


# --- state --------------------------------------------------------------------------------------------------------


def test_a_full_refresh_adds_everyone_again_and_still_removes_who_left(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, vips: str
) -> None:
    warehouse.hold("ada@shop.io", "bob@shop.io", "eve@shop.io")
    mirror()
    warehouse.hold("bob@shop.io", "eve@shop.io")
    run = mirror(full_refresh=True)
    assert (run.counts(), run.summary["removed"]) == ({"rows_read": 2, "accepted": 2}, 1)
    assert emails(klaviyo, vips) == {"bob@shop.io", "eve@shop.io"}


def test_a_state_of_another_list_removes_nobody(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, vips: str
) -> None:
    warehouse.hold("ada@shop.io", "bob@shop.io")
    mirror()
    other = klaviyo.add_list("Others")
    put(klaviyo, other, "ada@shop.io")
    warehouse.hold("bob@shop.io")
    caught = mirror(list_name="Others")
    assert vips in str(caught.error)
    assert other in str(caught.error)
    run = mirror(list_name="Others", full_refresh=True)
    assert (run.error, run.summary["removed"]) == (None, 0)
    assert emails(klaviyo, other) == {"ada@shop.io", "bob@shop.io"}


def test_another_identifier_removes_nobody(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, vips: str
) -> None:
    person = {"key": "1", "email": "ada@shop.io", "phone": "+14155552671"}
    klaviyo.add_profiles([{"email": "ada@shop.io", "phone_number": "+14155552671"}])
    warehouse.hold(person)
    mirror()
    by_phone = {"sql": "SELECT * FROM people", "mapping": {"phone_number": "phone"}}
    caught = mirror(**by_phone)
    assert "known by" in str(caught.error) or "knows the people of this mirror by email" in str(caught.error)
    run = mirror(**by_phone, full_refresh=True)
    assert (run.error, run.summary["removed"]) == (None, 0)
    assert len(klaviyo.members(vips)) == 1


def test_a_state_that_is_missing_removes_nobody_and_says_so(
    klaviyo: Emulator,
    warehouse: Warehouse,
    mirror: Sync,
    vips: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    warehouse.hold("ada@shop.io", "bob@shop.io")
    mirror()
    shutil.rmtree(tmp_path / "storage" / "sync-state")
    warehouse.hold("bob@shop.io")
    run = mirror(context={"prev_start_date_success": "2026-11-23"})
    assert (run.error, run.summary["removed"]) == (None, 0)
    assert "nobody as gone" in caplog.text.replace("\n", " ")
    assert emails(klaviyo, vips) == {"ada@shop.io", "bob@shop.io"}


def test_a_preview_counts_both_and_changes_nothing(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, vips: str
) -> None:
    warehouse.hold({"key": "1", "email": "old@shop.io"}, "ada@shop.io", "bob@shop.io")
    mirror()
    warehouse.hold({"key": "1", "email": "new@shop.io"}, "bob@shop.io", "zoe@shop.io")
    before = written(klaviyo)
    for strict in (False, True, False):
        run = mirror(preview=True, strict=strict)
        assert run.counts() == {"rows_read": 3, "accepted": 2, "unchanged": 1}
        assert run.summary["removed"] == 2
    assert written(klaviyo) == before
    assert mirror().summary["removed"] == 2


def test_people_whose_add_failed_are_tried_again(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, vips: str
) -> None:
    warehouse.hold("ada@shop.io", "bob@shop.io")
    klaviyo.inject(Fault("job_fails", match="ada@shop.io"))
    assert mirror().counts() == {"rows_read": 2, "accepted": 1, "rejected": 1}
    klaviyo.clear_faults()
    assert mirror().counts() == {"rows_read": 2, "accepted": 1, "unchanged": 1}
    assert emails(klaviyo, vips) == {"ada@shop.io", "bob@shop.io"}


def test_who_was_refused_and_is_on_the_list_by_hand_stays_when_the_row_leaves(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, vips: str
) -> None:
    put(klaviyo, vips, "hand@shop.io")
    warehouse.hold("hand@shop.io", "bob@shop.io")
    klaviyo.inject(Fault("job_fails", match="hand@shop.io"))
    mirror()
    klaviyo.clear_faults()
    warehouse.hold("bob@shop.io")
    assert mirror().summary["removed"] == 0
    assert emails(klaviyo, vips) == {"hand@shop.io", "bob@shop.io"}


NOTHING_DONE = {
    "the key lacks a scope": {"status": 403},
    "the list is locked": {
        "status": 400,
        "errors": [
            {"code": "invalid", "detail": "Locked.", "source": {"pointer": "/data/relationships/lists"}}
        ],
    },
}


@pytest.mark.parametrize("refusal", NOTHING_DONE)
@pytest.mark.parametrize("field", ["email", "klaviyo_id"])
def test_whom_a_refused_request_was_to_add_is_on_the_list_by_hand_only(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, vips: str, refusal: str, field: str
) -> None:
    put(klaviyo, vips, "hand@shop.io", "bob@shop.io")
    hand, bob = (member["id"] for member in klaviyo.members(vips))
    by_id = {"sql": "SELECT * FROM people", "mapping": {"klaviyo_id": "klaviyo"}}
    more = by_id if field == "klaviyo_id" else {}
    people = [
        {"key": "1", "email": "hand@shop.io", "klaviyo": hand},
        {"key": "2", "email": "bob@shop.io", "klaviyo": bob},
    ]
    warehouse.hold(*people)
    operation = "add_profiles_to_list" if by_id == more else ADD
    klaviyo.inject(Fault("status", operation, count=None, **NOTHING_DONE[refusal]))
    assert mirror(**more).error is not None
    klaviyo.clear_faults()
    warehouse.hold(people[1])
    run = mirror(**more)
    assert (run.error, run.summary["removed"]) == (None, 0)
    assert emails(klaviyo, vips) == {"hand@shop.io", "bob@shop.io"}


def test_whom_an_earlier_run_has_added_a_refused_request_leaves_tracked(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, vips: str
) -> None:
    warehouse.hold("ada@shop.io", "bob@shop.io")
    mirror()
    klaviyo.inject(Fault("status", ADD, status=403))
    assert mirror(full_refresh=True).error is not None
    warehouse.hold("bob@shop.io")
    assert mirror().summary["removed"] == 1
    assert emails(klaviyo, vips) == {"bob@shop.io"}


@BOTH
def test_a_profile_that_is_gone_before_its_removal_does_not_fail_the_others(
    klaviyo: Emulator,
    warehouse: Warehouse,
    mirror: Sync,
    vips: str,
    monkeypatch: pytest.MonkeyPatch,
    strict: bool,
) -> None:
    warehouse.fill(1, 5)
    mirror(strict=strict)
    warehouse.drop("p1", "p2", "p3")
    klaviyo.inject(Fault("status", REMOVE, status=404))
    members = klaviyo._account.lists.get(vips).members  # type: ignore[union-attr]

    def after_others(*arguments: Any) -> None:
        members.pop(1, None)  # p2@shop.io
        remove_members(*arguments)

    monkeypatch.setattr(list_removals, "remove_members", after_others)
    run = mirror(strict=strict)
    assert (run.error, run.summary["removed"]) == (None, 2)
    assert run.report["were_not_on_list"] == 1
    assert emails(klaviyo, vips) == {"p4@shop.io", "p5@shop.io"}


@BOTH
def test_people_whose_removal_failed_are_tried_again(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, vips: str, strict: bool
) -> None:
    warehouse.fill(1, 5)
    mirror(strict=strict)
    warehouse.drop("p1", "p2")
    klaviyo.inject(Fault("status", REMOVE, status=503, count=None))
    stopped = mirror(strict=strict, timeout=4)
    assert (stopped.summary["removed"], stopped.counts()) == (0, {"rows_read": 3, "unchanged": 3})
    assert stopped.error is not None
    klaviyo.clear_faults()
    run = mirror(strict=strict)
    assert run.summary["removed"] == 2
    assert emails(klaviyo, vips) == {"p3@shop.io", "p4@shop.io", "p5@shop.io"}


def test_who_comes_back_while_the_removal_was_in_doubt_is_added_again(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, vips: str
) -> None:
    warehouse.hold("ada@shop.io", "bob@shop.io")
    mirror()
    warehouse.hold("bob@shop.io")
    klaviyo.inject(Fault("reset_after", REMOVE, count=None))
    mirror(timeout=3)
    assert emails(klaviyo, vips) == {"bob@shop.io"}
    klaviyo.clear_faults()
    warehouse.hold("ada@shop.io", "bob@shop.io")
    assert mirror().counts() == {"rows_read": 2, "accepted": 1, "unchanged": 1}
    assert emails(klaviyo, vips) == {"ada@shop.io", "bob@shop.io"}


def test_who_left_the_list_by_hand_is_no_longer_tracked(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync
) -> None:
    warehouse.hold("ada@shop.io", "bob@shop.io")
    vips = mirror().summary["list_id"]
    klaviyo._account.lists.get(vips).members.clear()  # type: ignore[union-attr]
    warehouse.hold("bob@shop.io")
    run = mirror()
    assert (run.error, run.summary["removed"]) == (None, 0)
    assert json.loads(Path(run.summary["report_path"]).read_text())["were_not_on_list"] == 1


def test_a_hundred_changes_of_many_cost_a_handful_of_requests(
    start_emulator: StartEmulator, warehouse: Warehouse, mirror: Sync
) -> None:
    start_emulator()
    warehouse.fill(1, 20_000)
    mirror()
    warehouse.drop(*(f"p{n}" for n in range(1, 101)))
    warehouse.fill(20_001, 20_100)
    run = mirror()
    assert (run.counts()["accepted"], run.summary["removed"]) == (100, 100)
    assert run.summary["requests"] <= 8


def test_the_state_of_a_mirror_forgets_people_who_left(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, tmp_path: Path
) -> None:
    from airflow_provider_klaviyo.state.opening import open_ledger
    from airflow_provider_klaviyo.state.stores import store_of

    warehouse.hold("ada@shop.io", "bob@shop.io")
    mirror()
    warehouse.hold("bob@shop.io")
    mirror()
    (folder,) = (tmp_path / "storage" / "sync-state").iterdir()
    (tmp_path / "scratch").mkdir()
    ledger = open_ledger(
        store_of(folder), tmp_path / "scratch", None, writer="test", now=lambda: 0.0, is_read_only=True
    )
    assert ledger.people.count() == 1
    assert sum(ledger.counts().values()) == 1
    ledger.close()


def test_a_strict_mirror_removes_nobody_whose_row_is_bad_for_a_day(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, vips: str
) -> None:
    people = [f"p{n}@shop.io" for n in range(20)]
    put(klaviyo, vips, *people)
    warehouse.hold(*people)
    assert mirror(strict=True).counts() == {"rows_read": 20, "unchanged": 20}
    warehouse.hold(*people[1:])
    warehouse.take({"key": "p0", "email": "p0@@shop.io"})

    run = mirror(strict=True, max_rejected=1)

    assert (run.error, run.summary["removed"]) == (None, 0)
    assert emails(klaviyo, vips) == set(people)


def test_a_strict_mirror_spares_whom_a_bad_row_names_by_another_identifier(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, vips: str
) -> None:
    put(klaviyo, vips, "ada@shop.io", "bob@shop.io")
    warehouse.hold(
        "ada@shop.io", {"key": "b", "phone": "+14155552671"}, {"key": "c", "email": None, "customer": "7"}
    )
    klaviyo.add_profiles([{"email": "bob@shop.io", "phone_number": "+14155552671"}])
    run = mirror(
        strict=True,
        sql="SELECT key, email, phone FROM people ORDER BY place",
        mapping={"email": "email", "phone_number": "phone"},
        max_rejected=2,
    )
    assert (run.error, run.summary["removed"]) == (None, 0)


def test_somebody_who_does_not_show_on_the_list_yet_is_looked_for_again(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, vips: str
) -> None:
    warehouse.hold("ada@shop.io", "bob@shop.io")
    mirror()
    warehouse.hold("ada@shop.io")
    nobody = json.dumps({"data": [], "links": {"next": None}})
    klaviyo.inject(Fault("not_json", FIND, body=nobody))
    assert mirror().summary["removed"] == 0
    assert mirror().summary["removed"] == 1
    assert emails(klaviyo, vips) == {"ada@shop.io"}


def test_klaviyos_words_about_a_person_are_masked_where_a_removal_fails(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, vips: str
) -> None:
    warehouse.hold("ada@shop.io", "bob@shop.io")
    mirror()
    warehouse.hold("ada@shop.io")
    words = {
        "status": 400,
        "code": "invalid",
        "title": "Invalid.",
        "detail": "bob@shop.io +14155552671 is odd",
    }
    body = json.dumps({"errors": [{**words, "source": {"pointer": "/data/0/id"}}]})
    klaviyo.inject(Fault("status", REMOVE, status=400, body=body, count=None))
    run = mirror()
    assert "is odd" in str(run.error)
    assert "bob@" not in str(run.error)
    assert "4155552671" not in str(run.error)

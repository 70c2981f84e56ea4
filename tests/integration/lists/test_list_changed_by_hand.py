"""People of a tracked mirror whose address somebody changes in Klaviyo: they leave with their row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator, Fault
from airflow_provider_klaviyo.sync.lists import profile_ids
from tests.integration.conftest import LIST_SYNC, Sync, TaskInstance, Warehouse, emails
from tests.integration.lists.by_hand import change, put, request

pytestmark = pytest.mark.integration

FIND, PROFILES = "get_profiles_for_list", "get_profiles"
NOBODY = json.dumps({"data": [], "links": {"next": None}})


# --- who leaves ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "field", "before", "after"),
    [
        ("email", "email", "ada@shop.io", "edited@shop.io"),
        ("phone", "phone_number", "+14155552671", "+14155552679"),
        ("customer", "external_id", "C-1", "C-9"),
    ],
)
def test_whose_identifier_was_changed_by_hand_leaves_with_the_row(
    klaviyo: Emulator,
    warehouse: Warehouse,
    mirror: Sync,
    vips: str,
    column: str,
    field: str,
    before: str,
    after: str,
) -> None:
    other = {"email": "bob@shop.io", "phone": "+14155552672", "customer": "C-2"}[column]
    known = {"email": "ada@shop.io", "phone_number": "+14155552671", "external_id": "C-1"}
    klaviyo.add_profiles([known])
    more = {"sql": "SELECT * FROM people ORDER BY place", "mapping": {field: column}}
    warehouse.hold({"key": "1", column: before}, {"key": "2", column: other})
    mirror(**more)
    change(klaviyo, "ada@shop.io", **{field: after})
    warehouse.hold({"key": "2", column: other})

    run = mirror(**more)

    assert (run.error, run.summary["removed"]) == (None, 1)
    assert [member[field] for member in klaviyo.members(vips)] == [other]
    assert mirror(**more).summary["removed"] == 0


def test_who_changed_the_address_by_hand_and_keeps_the_row_stays(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, vips: str
) -> None:
    warehouse.hold("ada@shop.io", "bob@shop.io")
    mirror()
    change(klaviyo, "ada@shop.io", email="edited@shop.io")
    for _ in range(2):
        run = mirror()
        assert (run.counts(), run.summary["removed"]) == ({"rows_read": 2, "unchanged": 2}, 0)
        assert emails(klaviyo, vips) == {"edited@shop.io", "bob@shop.io"}


@pytest.mark.parametrize("is_read", [True, False], ids=["read", "not read yet"])
def test_a_row_that_is_sent_once_more_makes_a_second_profile_and_both_leave_with_it(
    klaviyo: Emulator,
    warehouse: Warehouse,
    mirror: Sync,
    vips: str,
    monkeypatch: pytest.MonkeyPatch,
    is_read: bool,
) -> None:
    warehouse.hold("ada@shop.io", "bob@shop.io")
    mirror()
    change(klaviyo, "ada@shop.io", email="edited@shop.io")
    if not is_read:
        monkeypatch.setattr(profile_ids, "MOST", 0)
    mirror(full_refresh=True)
    assert emails(klaviyo, vips) == {"edited@shop.io", "ada@shop.io", "bob@shop.io"}
    warehouse.hold("bob@shop.io")
    assert mirror().summary["removed"] == 2
    assert emails(klaviyo, vips) == {"bob@shop.io"}


def test_the_rows_new_address_that_klaviyo_had_first_keeps_the_profile(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, vips: str
) -> None:
    warehouse.hold({"key": "1", "email": "ada@shop.io"}, {"key": "2", "email": "bob@shop.io"})
    mirror()
    change(klaviyo, "ada@shop.io", email="edited@shop.io")
    warehouse.hold({"key": "1", "email": "edited@shop.io"}, {"key": "2", "email": "bob@shop.io"})
    for _ in range(3):
        run = mirror()
        assert (run.error, run.summary["removed"]) == (None, 0)
        assert emails(klaviyo, vips) == {"edited@shop.io", "bob@shop.io"}
    warehouse.hold({"key": "2", "email": "bob@shop.io"})
    assert mirror().summary["removed"] == 1


# --- who stays ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "row",
    [
        {"key": "3", "email": "edited@shop.io"},
        {"key": None, "email": "edited@shop.io"},
        {"key": "bob", "email": "EDITED@shop.io"},
    ],
    ids=["sent", "without a key", "behind a row of its key"],
)
def test_whom_a_row_names_by_the_new_address_stays(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, vips: str, row: dict[str, object]
) -> None:
    warehouse.hold("ada@shop.io", "bob@shop.io")
    mirror()
    change(klaviyo, "ada@shop.io", email="edited@shop.io")
    warehouse.hold("bob@shop.io", row)
    run = mirror()
    assert (run.error, run.summary["removed"], run.report["still_named"]) == (None, 0, 1)
    assert emails(klaviyo, vips) == {"edited@shop.io", "bob@shop.io"}


def test_somebody_else_who_has_the_old_address_now_stays(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, vips: str
) -> None:
    warehouse.hold("ada@shop.io", "bob@shop.io")
    mirror()
    change(klaviyo, "ada@shop.io", email="edited@shop.io")
    put(klaviyo, vips, "ada@shop.io")
    warehouse.hold("bob@shop.io")
    run = mirror()
    assert (run.error, run.summary["removed"]) == (None, 1)
    assert emails(klaviyo, vips) == {"ada@shop.io", "bob@shop.io"}


def test_somebody_else_stays_also_when_the_new_address_is_that_of_another_who_leaves(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, vips: str
) -> None:
    warehouse.hold("ada@shop.io", "bob@shop.io", "eve@shop.io")
    mirror()
    change(klaviyo, "eve@shop.io", email="eve-now@shop.io")
    change(klaviyo, "ada@shop.io", email="eve@shop.io")
    put(klaviyo, vips, "ada@shop.io")
    warehouse.hold("bob@shop.io")
    run = mirror()
    assert (run.error, run.summary["removed"]) == (None, 2)
    assert emails(klaviyo, vips) == {"ada@shop.io", "bob@shop.io"}


def test_somebody_else_with_the_old_address_stays_also_when_the_one_who_was_added_is_off_the_list(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, vips: str
) -> None:
    warehouse.hold("ada@shop.io", "bob@shop.io")
    mirror()
    ada = change(klaviyo, "ada@shop.io", email="edited@shop.io")
    path = f"/api/lists/{vips}/relationships/profiles"
    request(klaviyo, "DELETE", path, {"data": [{"type": "profile", "id": ada}]})
    put(klaviyo, vips, "ada@shop.io")
    warehouse.hold("bob@shop.io")
    run = mirror()
    assert (run.error, run.summary["removed"], run.report["were_not_on_list"]) == (None, 0, 1)
    assert emails(klaviyo, vips) == {"ada@shop.io", "bob@shop.io"}


def test_who_shows_no_address_any_more_stays_and_the_report_says_so(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, vips: str
) -> None:
    klaviyo.add_profiles([{"email": "ada@shop.io", "external_id": "C-1"}])
    warehouse.hold("ada@shop.io", "bob@shop.io")
    mirror()
    change(klaviyo, "ada@shop.io", email=None)
    warehouse.hold("bob@shop.io")
    run = mirror()
    assert (run.error, run.summary["removed"], run.report["changed_meanwhile"]) == (None, 0, 1)
    assert len(klaviyo.members(vips)) == 2


def test_where_the_profile_is_gone_as_after_a_merge_the_address_tells(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, vips: str
) -> None:
    warehouse.hold("ada@shop.io", "bob@shop.io")
    mirror()
    path = f"/api/lists/{vips}/relationships/profiles"
    merged = change(klaviyo, "ada@shop.io", email="merged-away@shop.io")
    request(klaviyo, "DELETE", path, {"data": [{"type": "profile", "id": merged}]})
    put(klaviyo, vips, "ada@shop.io")  # the profile that is left
    warehouse.hold("bob@shop.io")
    klaviyo.inject(Fault("not_json", PROFILES, body=NOBODY))  # the id is nobody's
    run = mirror()
    assert (run.error, run.summary["removed"]) == (None, 1)
    assert emails(klaviyo, vips) == {"bob@shop.io"}


def test_a_deleted_profile_is_nothing_to_remove(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, vips: str
) -> None:
    warehouse.hold("ada@shop.io", "bob@shop.io")
    mirror()
    change(klaviyo, "ada@shop.io", email="deleted@shop.io")
    warehouse.hold("bob@shop.io")
    klaviyo.inject(Fault("not_json", PROFILES, body=NOBODY, count=None))
    for _ in range(3):
        run = mirror()
        assert (run.error, run.summary["removed"]) == (None, 0)


def test_whose_address_klaviyo_does_not_take_has_one_verdict_and_is_tried_again(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, vips: str
) -> None:
    warehouse.hold("ada@shop.io", "bob@shop.io")
    mirror()
    change(klaviyo, "ada@shop.io", email="edited@shop.io")
    warehouse.hold("bob@shop.io")
    klaviyo.inject(Fault("status", FIND, status=400))
    run = mirror()
    assert "1 people could not be taken off the list" in str(run.error)
    assert (run.summary["removed"], len(klaviyo.members(vips))) == (0, 2)
    assert mirror().summary["removed"] == 1


# --- the rules of a mirror ----------------------------------------------------------------------------------------


def test_max_removals_and_a_preview_count_them(
    klaviyo: Emulator, warehouse: Warehouse, mirror: Sync, vips: str
) -> None:
    warehouse.fill(1, 3)
    mirror()
    for number in (1, 2):
        change(klaviyo, f"p{number}@shop.io", email=f"edited{number}@shop.io")
    warehouse.drop("p1", "p2")
    run = mirror(max_removals=1)
    assert "max_removals=2" in str(run.error)
    assert len(klaviyo.members(vips)) == 3
    assert mirror(max_removals=2, preview=True).summary["removed"] == 2
    assert mirror(max_removals=2).summary["removed"] == 2
    assert emails(klaviyo, vips) == {"p3@shop.io"}


def test_a_deferred_run_learns_who_was_added_too(
    klaviyo: Emulator,
    warehouse: Warehouse,
    mirror: Sync,
    vips: str,
    tmp_path: Path,
) -> None:
    from airflow_provider_klaviyo.operators.lists import KlaviyoSyncListOperator

    klaviyo.set(job_seconds=0.5)
    warehouse.hold("ada@shop.io", "bob@shop.io")
    context: Any = {"ti": TaskInstance("sync_list")}

    def operator() -> KlaviyoSyncListOperator:
        return KlaviyoSyncListOperator(
            task_id="sync_list", mode="mirror", deferrable=True, defer_after=0, **LIST_SYNC
        )

    with pytest.raises(BaseException) as deferred:
        operator().execute(context)
    assert type(deferred.value).__name__ == "TaskDeferred"
    assert operator().execute_complete(context)["accepted"] == 2
    change(klaviyo, "ada@shop.io", email="edited@shop.io")
    warehouse.hold("bob@shop.io")
    assert mirror().summary["removed"] == 1
    assert emails(klaviyo, vips) == {"bob@shop.io"}

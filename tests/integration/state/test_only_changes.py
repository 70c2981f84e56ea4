"""Only what changed is sent, in the words of those who run it every night."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator, Fault
from tests.contents import content_of
from tests.integration.conftest import Shop, StartEmulator, Sync, Warehouse
from tests.integration.state.alive import alive

pytestmark = pytest.mark.integration

IMPORT = "bulk_import_profiles"


@pytest.fixture
def nightly(sync: Sync) -> Sync:
    def run(**parameters: Any) -> Any:
        return sync(**({"primary_key": "id", "only_changes": True} | parameters))

    return run


def writes(klaviyo: Emulator) -> int:
    return len(klaviyo.requests(IMPORT)) + len(klaviyo.requests("create_or_update_profile"))


def test_a_second_run_with_nothing_changed_makes_no_write_call(
    klaviyo: Emulator, shop: Shop, nightly: Sync
) -> None:
    shop.fill_with_people(30)
    assert nightly().counts() == {"rows_read": 30, "accepted": 30}
    before = writes(klaviyo)

    again = nightly()

    assert again.error is None
    assert again.counts() == {"rows_read": 30, "unchanged": 30}
    assert writes(klaviyo) == before


def test_a_changed_value_sends_one_row(klaviyo: Emulator, shop: Shop, nightly: Sync) -> None:
    shop.fill_with_people(30)
    nightly()
    shop.execute("UPDATE customers SET tier = 'silver' WHERE id = 7")

    assert nightly().counts() == {"rows_read": 30, "accepted": 1, "unchanged": 29}
    assert klaviyo.profile(external_id="7")["properties"]["Tier"] == "silver"
    assert nightly().counts() == {"rows_read": 30, "unchanged": 30}


def test_a_changed_mapping_sends_all(klaviyo: Emulator, shop: Shop, nightly: Sync) -> None:
    shop.fill_with_people(30)
    nightly()

    assert nightly(mapping={"email": "email", "properties.Level": "tier"}).counts() == {
        "rows_read": 30,
        "accepted": 30,
    }


def test_a_full_refresh_sends_all_also_as_a_word(klaviyo: Emulator, shop: Shop, nightly: Sync) -> None:
    shop.fill_with_people(30)
    nightly()

    assert nightly(full_refresh="true").counts() == {"rows_read": 30, "accepted": 30}
    assert nightly(full_refresh="false").counts() == {"rows_read": 30, "unchanged": 30}


def test_new_rows_and_rows_that_left_and_came_back(klaviyo: Emulator, shop: Shop, nightly: Sync) -> None:
    shop.fill_with_people(10)
    nightly()
    shop.execute("DELETE FROM customers WHERE id = 3")
    shop.fill([(11, "new@shop.io", None, "New", "gold")])
    assert nightly().counts() == {"rows_read": 10, "accepted": 1, "unchanged": 9}
    shop.fill([(3, "p3@shop.io", "+14155550003", "P3", "gold")])
    assert nightly().counts() == {"rows_read": 11, "unchanged": 11}


def test_rows_that_klaviyo_refused_go_again_although_they_did_not_change(
    klaviyo: Emulator, shop: Shop, nightly: Sync
) -> None:
    shop.fill_with_people(20)
    klaviyo.inject(Fault("job_fails", match="p5@shop.io"))
    first = nightly(max_rejected=1.0)
    assert first.counts() == {"rows_read": 20, "accepted": 19, "rejected": 1}
    klaviyo.clear_faults()

    assert nightly().counts() == {"rows_read": 20, "accepted": 1, "unchanged": 19}
    assert klaviyo.profile(email="p5@shop.io") is not None


def test_duplicate_and_null_keys_are_told(klaviyo: Emulator, shop: Shop, nightly: Sync) -> None:
    shop.fill_with_people(3)
    shop.fill([(2, "other@shop.io", None, "Other", "gold"), (None, "null@shop.io", None, "Null", "gold")])

    run = nightly(sql="SELECT * FROM customers ORDER BY id IS NULL, id", max_rejected=1.0)

    assert run.counts() == {"rows_read": 5, "accepted": 3, "skipped": 1, "rejected": 1}
    assert {(line["outcome"], line["field"]) for line in run.rejects} == {
        ("skipped", "primary_key"),
        ("rejected", "primary_key"),
    }
    assert klaviyo.profile(email="null@shop.io") is None


def test_two_rows_of_one_person_that_take_turns_never_leave_klaviyo_with_the_other(
    klaviyo: Emulator, shop: Shop, nightly: Sync
) -> None:
    mapping = {"email": "email", "properties.Tier": "tier"}
    shop.fill([(1, "p@shop.io", None, "P", "gold"), (2, "p@shop.io", None, "P", "silver")])
    up, down = "SELECT * FROM customers ORDER BY id", "SELECT * FROM customers ORDER BY id DESC"
    for sql, tier in ((up, "gold"), (down, "silver"), (up, "gold"), (up, "gold"), (down, "silver")):
        nightly(sql=sql, mapping=mapping)
        assert klaviyo.profile(email="p@shop.io")["properties"]["Tier"] == tier


def test_a_row_that_takes_over_a_person_from_a_row_that_left(
    klaviyo: Emulator, shop: Shop, nightly: Sync
) -> None:
    mapping = {"email": "email", "properties.Tier": "tier"}
    everyone = "SELECT * FROM customers"
    shop.fill([(1, "p@shop.io", None, "P", "gold"), (2, "p@shop.io", None, "P", "silver")])
    for key, tier in ((1, "gold"), (2, "silver"), (1, "gold")):
        nightly(sql=f"{everyone} WHERE id = {key}", mapping=mapping)
        assert klaviyo.profile(email="p@shop.io")["properties"]["Tier"] == tier


def test_the_same_dag_against_another_account_is_caught(
    start_emulator: StartEmulator, shop: Shop, nightly: Sync
) -> None:
    shop.fill_with_people(5)
    start_emulator(account_id="TESTAA")
    nightly()
    production = start_emulator(account_id="PRODAA")

    caught = nightly()

    assert "TESTAA" in str(caught.error)
    assert "PRODAA" in str(caught.error)
    assert "full_refresh" in str(caught.error)
    assert writes(production) == 0
    assert nightly(full_refresh=True).counts() == {"rows_read": 5, "accepted": 5}
    assert nightly().counts() == {"rows_read": 5, "unchanged": 5}


def test_another_key_column_is_another_state(klaviyo: Emulator, shop: Shop, nightly: Sync) -> None:
    shop.fill_with_people(5)
    nightly()
    assert "key columns was id and is now email" in str(nightly(primary_key="email").error)
    assert nightly(primary_key="email", state_key="by email").counts() == {"rows_read": 5, "accepted": 5}


def test_a_run_that_never_sent_anything_binds_the_state_to_nothing(
    klaviyo: Emulator, shop: Shop, nightly: Sync
) -> None:
    shop.fill_with_people(5)
    assert "no column 'idd'" in str(nightly(primary_key="idd").error)
    assert "syntax error" in str(nightly(primary_key="email", sql="SELEC *").error)
    assert nightly().counts() == {"rows_read": 5, "accepted": 5}
    assert "key columns was id and is now email" in str(nightly(primary_key="email").error)


def test_a_state_key_longer_than_a_folders_name_keeps_a_state(
    klaviyo: Emulator, shop: Shop, nightly: Sync
) -> None:
    shop.fill_with_people(5)
    for key in ("x" * 300, "x" * 301):
        assert nightly(state_key=key).counts() == {"rows_read": 5, "accepted": 5}
        assert nightly(state_key=key).counts() == {"rows_read": 5, "unchanged": 5}


def test_only_changes_without_a_primary_key_says_so(klaviyo: Emulator, shop: Shop, nightly: Sync) -> None:
    assert "needs primary_key" in str(nightly(primary_key=None).error)


def test_a_preview_compares_and_leaves_the_state_alone(klaviyo: Emulator, shop: Shop, nightly: Sync) -> None:
    shop.fill_with_people(5)
    nightly()
    shop.execute("UPDATE customers SET tier = 'silver' WHERE id = 1")
    assert nightly(preview=True).counts() == {"rows_read": 5, "accepted": 1, "unchanged": 4}
    assert nightly().counts() == {"rows_read": 5, "accepted": 1, "unchanged": 4}


def test_a_preview_of_a_full_refresh_shows_all_and_leaves_the_state_alone(
    klaviyo: Emulator, shop: Shop, nightly: Sync
) -> None:
    shop.fill_with_people(5)
    nightly()
    for _ in range(2):
        assert nightly(preview=True, full_refresh=True).counts() == {"rows_read": 5, "accepted": 5}
    assert nightly().counts() == {"rows_read": 5, "unchanged": 5}
    assert writes(klaviyo) == 1


def test_a_preview_with_too_many_rejects_does_not_say_that_rows_were_sent(
    klaviyo: Emulator, shop: Shop, nightly: Sync
) -> None:
    shop.fill([(1, "ada@shop.io", None, "A", "gold"), (2, "nobody", None, "B", "gold")])
    mapping = {"email": "email"}
    assert "All other rows would be sent." in str(nightly(mapping=mapping, preview=True).error)
    assert "All other rows were sent." in str(nightly(mapping=mapping).error)


@pytest.mark.parametrize("strict", [False, True], ids=["tracked", "strict"])
def test_a_preview_of_a_mirror_removes_nobody_where_a_run_would_not(
    klaviyo: Emulator, warehouse: Warehouse, list_sync: Sync, strict: bool
) -> None:
    def removed(**parameters: Any) -> int:
        return int(list_sync("mirror", strict=strict, preview=True, **parameters).summary["removed"])

    warehouse.fill(1, 20)
    list_sync("mirror", strict=strict)
    warehouse.hold("p1@shop.io", "p2@shop.io", "p3@shop.io", "p4@shop.io", {"key": "x", "email": "nobody"})
    assert removed(max_removals=16) == 16
    assert removed(max_removals=15) == 0
    assert removed(max_removals=16, max_rejected=0) == 0
    warehouse.hold()
    assert removed(max_removals=None) == 0
    assert removed(max_removals=None, allow_empty=True) == 20


def test_a_job_that_refused_everybody_settles_them_although_it_names_nobody(
    klaviyo: Emulator, shop: Shop, nightly: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_klaviyo.client.jobs import RecordError
    from airflow_provider_klaviyo.sync.delivery import import_jobs

    def nameless(attributes: Mapping[str, object]) -> RecordError:
        return RecordError("", str(attributes["detail"]), {})

    kind = replace(import_jobs.PROFILE_IMPORTS, read_error=nameless)
    monkeypatch.setattr(import_jobs, "PROFILE_IMPORTS", kind)
    klaviyo.inject(Fault("job_fails", match="p1@shop.io", count=None))
    shop.fill_with_people(1)
    for _ in range(2):
        run = nightly(max_rejected=1.0)
        assert (run.error, run.counts()) == (None, {"rows_read": 1, "rejected": 1})
        assert "Klaviyo rejected it: " in run.rejects[0]["reason"]
    shop.fill_with_people(2)
    assert nightly(sql="SELECT * FROM customers GROUP BY id", max_rejected=1.0).counts() == {
        "rows_read": 2,
        "pending": 2,
    }, "one of two: who it is, is not known"


def test_jobs_that_a_run_did_not_wait_for_are_settled_by_the_next(
    start_emulator: StartEmulator, shop: Shop, nightly: Sync
) -> None:
    klaviyo = start_emulator(job_seconds=1.0)
    shop.fill_with_people(5)
    assert nightly(wait_for_completion=False).counts() == {"rows_read": 5, "pending": 5}
    assert nightly().counts() == {"rows_read": 5, "unchanged": 5}
    assert writes(klaviyo) == 1


def test_a_cancelled_job_acknowledges_nobody(
    start_emulator: StartEmulator, shop: Shop, nightly: Sync
) -> None:
    klaviyo = start_emulator()
    klaviyo.inject(Fault("job_cancelled"))
    shop.fill_with_people(5)
    assert nightly().counts() == {"rows_read": 5, "pending": 5}
    assert nightly().counts() == {"rows_read": 5, "accepted": 5}
    assert nightly().counts() == {"rows_read": 5, "unchanged": 5}


def test_clearing_fields_counts_as_a_change_too(klaviyo: Emulator, shop: Shop, nightly: Sync) -> None:
    shop.fill_with_people(3)
    nightly(clear_nulls=True)
    shop.execute("UPDATE customers SET first_name = NULL WHERE id = 2")
    assert nightly(clear_nulls=True).counts() == {"rows_read": 3, "accepted": 1, "unchanged": 2}
    assert "first_name" not in klaviyo.profile(external_id="2")
    assert nightly(clear_nulls=True).counts() == {"rows_read": 3, "unchanged": 3}


def test_a_state_that_is_torn_is_explained_and_a_full_refresh_heals_it(
    klaviyo: Emulator, shop: Shop, nightly: Sync, tmp_path: Path
) -> None:
    shop.fill_with_people(3)
    nightly()
    entries = sorted(tmp_path.glob("storage/sync-state/*/*.entry"))
    content = entries[1].read_bytes()
    entries[1].write_bytes(content[:-3])

    broken = nightly()

    assert "damaged" in str(broken.error)
    assert entries[1].name in str(broken.error)
    assert nightly(full_refresh=True).counts() == {"rows_read": 3, "accepted": 3}
    assert nightly().counts() == {"rows_read": 3, "unchanged": 3}


def test_state_holds_no_address_and_no_number(
    klaviyo: Emulator, shop: Shop, nightly: Sync, tmp_path: Path
) -> None:
    shop.fill_with_people(3)
    nightly()
    for file in tmp_path.glob("storage/sync-state/**/*"):
        if file.is_file():
            assert b"@shop.io" not in content_of(file)
            assert b"41555" not in content_of(file)


def test_a_mapped_task_must_name_its_shard(klaviyo: Emulator, shop: Shop, nightly: Sync) -> None:
    shop.fill_with_people(3)
    assert "name the shard in state_key" in str(nightly(map_index=3).error)
    assert nightly(map_index=3, state_key="vip-us").counts() == {"rows_read": 3, "accepted": 3}


@pytest.mark.parametrize("executor", ["CeleryExecutor", "LocalExecutor,team:some.where.KubernetesExecutor"])
def test_workers_elsewhere_need_a_place_that_they_share(
    klaviyo: Emulator,
    shop: Shop,
    nightly: Sync,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    executor: str,
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", executor)
    shop.fill_with_people(3)
    assert nightly().counts() == {"rows_read": 3, "accepted": 3}
    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", "")
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "home"))
    caught = nightly()
    assert "storage_path" in str(caught.error)
    assert executor.rpartition(",")[2] in str(caught.error)
    assert nightly(only_changes=False).error is None, "without state no place needs to be shared"


def test_a_state_that_is_missing_is_said(
    klaviyo: Emulator, shop: Shop, nightly: Sync, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shop.fill_with_people(3)
    nightly()
    assert "No state" in caplog.text
    shutil.rmtree(tmp_path / "storage" / "sync-state")
    caplog.clear()
    again = nightly(context={"prev_start_date_success": "2026-11-23"})
    assert again.counts() == {"rows_read": 3, "accepted": 3}
    assert "although an earlier run of this Dag succeeded" in caplog.text


def test_two_runs_at_once_the_second_stops_and_names_the_first(
    start_emulator: StartEmulator, shop: Shop, nightly: Sync
) -> None:
    klaviyo = start_emulator(job_seconds=3.0)
    shop.fill_with_people(3)
    with alive(klaviyo, nightly) as runs:
        second = nightly(run_id="tuesday", lock_timeout=0)
    assert "Another run of this sync is under way" in str(second.error)
    assert "run monday" in str(second.error)
    assert second.counts() == {}
    assert runs[0].counts() == {"rows_read": 3, "accepted": 3}
    assert nightly(run_id="tuesday").counts() == {"rows_read": 3, "unchanged": 3}


def test_an_outage_ends_with_everything_accounted_for_and_the_next_run_goes_on(
    start_emulator: StartEmulator, shop: Shop, nightly: Sync
) -> None:
    klaviyo = start_emulator()
    shop.fill_with_people(10)
    klaviyo.inject(Fault("reset_after", IMPORT, count=None))
    stopped = nightly(timeout=3)
    assert stopped.error is not None
    assert stopped.counts() == {"rows_read": 10, "pending": 10}
    klaviyo.clear_faults()
    assert nightly().counts() == {"rows_read": 10, "accepted": 10}
    assert nightly().counts() == {"rows_read": 10, "unchanged": 10}

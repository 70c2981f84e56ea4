"""Whose a state is: two syncs never have one by accident, and none is lost when a release or a name changes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_klaviyo.cli.program import main
from airflow_provider_klaviyo.emulator import Emulator
from airflow_provider_klaviyo.operators.lists import KlaviyoSyncListOperator
from airflow_provider_klaviyo.state.opening import open_ledger
from airflow_provider_klaviyo.state.stores import store_of
from airflow_provider_klaviyo.storage import storage_path
from airflow_provider_klaviyo.sync.storage import Storage
from tests.integration.conftest import LIST_SYNC, Run, Shop, Sync, Warehouse, emails, run_operator

pytestmark = pytest.mark.integration

ONE, OTHER = ("crm", "eu.vip"), ("crm.eu", "vip")
ADA, BOB, EVE = "ada@shop.io", "bob@shop.io", "eve@shop.io"


class Mirrors:
    """Mirrors of one list, each of a task of its own."""

    def __init__(self, klaviyo: Emulator, warehouse: Warehouse) -> None:
        self._klaviyo, self._warehouse = klaviyo, warehouse
        self._list = klaviyo.add_list("VIPs")

    def __call__(self, task: tuple[str, str], *people: str, **parameters: Any) -> Run:
        more = {name: parameters.pop(name) for name in ("map_index", "run_id") if name in parameters}
        self._warehouse.hold(*people)
        dag_id, task_id = task
        operator = KlaviyoSyncListOperator(task_id=task_id, mode="mirror", **(LIST_SYNC | parameters))
        return run_operator(operator, dag_id=dag_id, **more)

    @property
    def members(self) -> set[str]:
        return emails(self._klaviyo, self._list)


@pytest.fixture
def mirror(
    klaviyo: Emulator, warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Mirrors:
    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", str(tmp_path / "storage"))
    return Mirrors(klaviyo, warehouse)


@pytest.fixture
def as_of_a_former_release(tmp_path: Path) -> Callable[[str], None]:
    """Take from a state that it says whose it is."""

    def forget(state_key: str) -> None:
        scratch = tmp_path / f"scratch {time.monotonic_ns()}"
        scratch.mkdir()
        ledger = open_ledger(
            store_of(Storage(storage_path()).state(state_key)), scratch, None, writer="test", now=time.time
        )
        ledger.become({name: value for name, value in ledger.target.items() if name != "belongs to"})
        ledger.close()

    return forget


@pytest.mark.parametrize("refresh", [False, True], ids=["", "full refresh"])
@pytest.mark.parametrize("preview", [False, True], ids=["", "preview"])
def test_tasks_whose_ids_make_one_name_do_not_take_each_others_people_off(
    mirror: Mirrors, refresh: bool, preview: bool
) -> None:
    assert mirror(ONE, ADA, BOB).error is None
    run = mirror(OTHER, EVE, full_refresh=refresh, preview=preview)
    assert "Dag crm, task eu.vip" in str(run.error)
    assert "Dag crm.eu, task vip" in str(run.error)
    assert mirror.members == {ADA, BOB}
    assert mirror(OTHER, EVE, state_key="vip of the EU").counts() == {"rows_read": 1, "accepted": 1}
    assert mirror(ONE, ADA).summary["removed"] == 1
    assert mirror.members == {ADA, EVE}


@pytest.mark.parametrize("first", [ONE, OTHER])
def test_a_state_of_a_former_release_is_taken_over_once_by_the_task_that_wrote_it(
    mirror: Mirrors, as_of_a_former_release: Callable[[str], None], first: tuple[str, str]
) -> None:
    second = OTHER if first == ONE else ONE
    mirror(first, ADA, BOB)
    as_of_a_former_release("crm.eu.vip")
    assert "belongs to" in str(mirror(second, EVE).error)
    assert mirror(first, ADA, BOB).counts() == {"rows_read": 2, "unchanged": 2}
    assert "belongs to" in str(mirror(second, EVE).error)
    assert mirror(first, ADA).summary["removed"] == 1


def test_a_state_key_of_a_former_release_stays_that_of_all_who_give_it(
    mirror: Mirrors, as_of_a_former_release: Callable[[str], None]
) -> None:
    mirror(ONE, ADA, BOB, state_key="vips")
    as_of_a_former_release("vips")
    assert mirror(("renamed", "vip"), ADA, state_key="vips").summary["removed"] == 1


@pytest.mark.parametrize("is_old", [False, True], ids=["", "of a former release"])
def test_a_state_key_that_is_another_tasks_default_name_is_refused_until_that_is_released(
    mirror: Mirrors,
    as_of_a_former_release: Callable[[str], None],
    capsys: pytest.CaptureFixture[str],
    is_old: bool,
) -> None:
    mirror(("crm", "vip"), ADA, BOB)
    if is_old:
        as_of_a_former_release("crm.vip")
    renamed = mirror(("crm_2", "vip"), ADA, state_key="crm.vip")
    assert "Dag crm, task vip" in str(renamed.error)
    assert "Dag crm_2, task vip" in str(renamed.error)
    assert mirror.members == {ADA, BOB}

    assert "state release crm.vip" in str(renamed.error)
    assert main(["state", "release", "crm.vip"]) == 0
    assert mirror(("crm_2", "vip"), ADA, state_key="crm.vip").summary["removed"] == 1
    assert "belongs to" in str(mirror(("crm", "vip"), BOB).error)


def test_a_default_name_that_was_given_as_state_key_is_refused(mirror: Mirrors) -> None:
    mirror(("elsewhere", "vip"), ADA, BOB, state_key="crm.vip")
    run = mirror(("crm", "vip"), EVE)
    assert "Dag elsewhere, task vip" in str(run.error)
    assert "Dag crm, task vip" in str(run.error)


def test_a_task_may_give_its_own_default_name_and_leave_it_out_again(mirror: Mirrors) -> None:
    task = ("crm", "vip")
    mirror(task, ADA, BOB)
    assert mirror(task, ADA, BOB, state_key="crm.vip").counts() == {"rows_read": 2, "unchanged": 2}
    assert mirror(task, ADA, BOB).counts() == {"rows_read": 2, "unchanged": 2}


def test_tasks_that_give_one_state_key_share_it_and_are_told(
    mirror: Mirrors, caplog: pytest.LogCaptureFixture
) -> None:
    mirror(("crm", "vip"), ADA, BOB, state_key="vips", run_id="monday")
    assert "last used by" not in caplog.text
    assert mirror(("crm_2", "vip"), ADA, BOB, state_key="vips", run_id="tuesday").counts() == {
        "rows_read": 2,
        "unchanged": 2,
    }
    assert "last used by Dag crm, task vip" in caplog.text


@pytest.mark.parametrize(
    "second", [{"map_index": 1}, {"task": ("crm", "other")}], ids=["instances of a mapped task", "tasks"]
)
def test_mirrors_of_one_dag_run_cannot_share_a_state_key(mirror: Mirrors, second: dict[str, Any]) -> None:
    first = {"state_key": "vip", "map_index": 0, "run_id": "monday"}
    mirror(("crm", "vip"), ADA, BOB, **first)
    where = first | second
    run = mirror(where.pop("task", ("crm", "vip")), EVE, **where)
    assert "in this very run" in str(run.error)
    assert mirror.members == {ADA, BOB}
    assert mirror(("crm", "vip"), ADA, BOB, **first).counts() == {"rows_read": 2, "unchanged": 2}
    assert mirror(("crm", "vip"), ADA, BOB, **first | {"map_index": 5, "run_id": "tuesday"}).error is None


def test_runs_whose_ids_differ_in_what_no_file_can_be_named_after_keep_files_of_their_own(
    klaviyo: Emulator, shop: Shop, sync: Sync
) -> None:
    shop.fill_with_people(1)
    ids = ("a b", "a_b", "a:b", "a.map1")
    runs = [sync(run_id=run_id) for run_id in ids] + [sync(run_id="a", map_index=1)]
    assert len({run.summary["report_path"] for run in runs}) == len(runs)

"""A list is created once, whatever happens on the way, and not before a run can use it."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator, Fault
from airflow_provider_klaviyo.emulator.account.list_store import ListStore, ProfileList
from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError, KlaviyoTimeout
from airflow_provider_klaviyo.hooks.klaviyo import KlaviyoHook
from airflow_provider_klaviyo.operators.lists import KlaviyoCreateListOperator
from airflow_provider_klaviyo.sync.lists.creation import ListCreation
from airflow_provider_klaviyo.sync.lists.target import ListTarget
from tests.clocks import JUMPS, JumpingClock
from tests.integration.conftest import (
    LIST_SYNC,
    Run,
    ShiftedClock,
    StartEmulator,
    Sync,
    Warehouse,
    emails,
    hook_by,
    run_operator,
)
from tests.late import LATE

pytestmark = pytest.mark.integration

CREATE = "create_list"


def create(folder: Any, name: str = "VIPs", seconds: float = 30) -> str:
    with KlaviyoHook().get_client(timeout=seconds) as client:
        return ListTarget(name, None, True, "single_opt_in", folder).create(client)


def lists(klaviyo: Emulator) -> list[str]:
    return [each.id for each in klaviyo._account.lists]


@pytest.mark.parametrize(
    ("kind", "calls"),
    [("reset_after", 1), ("not_json", 1), ("reset_before", 2), ("status", 2)],
)
def test_a_creation_whose_answer_was_lost_is_looked_for_before_it_is_repeated(
    klaviyo: Emulator, tmp_path: Path, kind: str, calls: int
) -> None:
    klaviyo.inject(Fault(kind, CREATE, status=503))  # type: ignore[arg-type]
    found = create(tmp_path)
    assert lists(klaviyo) == [found]
    assert len(klaviyo.requests(CREATE)) == calls


def test_tasks_that_start_together_create_one_list(klaviyo: Emulator, tmp_path: Path) -> None:
    klaviyo.inject(Fault("slow", CREATE, seconds=0.5, count=None))
    found: list[str] = []
    tasks = [threading.Thread(target=lambda: found.append(create(tmp_path))) for _ in range(6)]
    for task in tasks:
        task.start()
    for task in tasks:
        task.join()
    assert lists(klaviyo) == [found[0]]
    assert found == [found[0]] * 6
    assert [file.name.partition("-")[2] for file in tmp_path.iterdir()] == ["created"], (
        "locks were left behind"
    )


def test_tasks_that_start_together_in_an_object_store(klaviyo: Emulator, s3_storage: str) -> None:
    from airflow_provider_klaviyo.storage import remote_path

    klaviyo.inject(Fault("slow", CREATE, seconds=0.5, count=None))
    found: list[str] = []
    tasks = [
        threading.Thread(target=lambda: found.append(create(remote_path(s3_storage) / "locks")))
        for _ in range(3)
    ]
    for task in tasks:
        task.start()
    for task in tasks:
        task.join()
    assert lists(klaviyo) == [found[0]]
    assert found == [found[0]] * 3


def test_the_lock_of_a_task_that_died_does_not_block_for_ever(klaviyo: Emulator, tmp_path: Path) -> None:
    with KlaviyoHook().get_client() as client:
        dead = ListCreation(client, "VIPs", tmp_path, lifetime=1.5)
        assert dead._claim() == 1
        started = time.monotonic()
        found = create(tmp_path)
    assert time.monotonic() - started > 1
    assert lists(klaviyo) == [found]


@pytest.mark.parametrize("jump", JUMPS)
def test_the_lock_of_the_dead_lasts_no_longer_when_somebody_sets_the_clock(
    klaviyo: Emulator, tmp_path: Path, jump: float
) -> None:
    hook = KlaviyoHook()
    hook.clock = JumpingClock(jump)
    with hook.get_client(timeout=86_400) as client:
        ListCreation(client, "VIPs", tmp_path)._claim()
        began = hook.clock.monotonic()
        found = ListTarget("VIPs", None, True, "single_opt_in", tmp_path).create(client)
    assert lists(klaviyo) == [found]
    assert hook.clock.monotonic() - began < 302


@pytest.mark.parametrize("jump", JUMPS)
def test_a_list_that_was_deleted_is_looked_for_no_longer_when_somebody_sets_the_clock(
    klaviyo: Emulator, tmp_path: Path, jump: float
) -> None:
    klaviyo.set(rate_limits="off")
    hook = KlaviyoHook()
    hook.clock = JumpingClock(jump)
    with hook.get_client(timeout=86_400) as client:
        creation = ListCreation(client, "VIPs", tmp_path)
        creation.note("GONE00")
        began = hook.clock.monotonic()
        assert creation.noted() is None
    assert 60 <= hook.clock.monotonic() - began < 62


def test_a_lock_that_is_held_too_long_ends_with_the_time(klaviyo: Emulator, tmp_path: Path) -> None:
    with KlaviyoHook().get_client() as client:
        ListCreation(client, "VIPs", tmp_path)._claim()
    with pytest.raises(KlaviyoTimeout, match="another task creates the list"):
        create(tmp_path, seconds=1)


def test_other_names_do_not_wait(klaviyo: Emulator, tmp_path: Path) -> None:
    with KlaviyoHook().get_client() as client:
        ListCreation(client, "VIPs", tmp_path)._claim()
    assert create(tmp_path, "Others", seconds=5) in lists(klaviyo)


def test_the_daily_limit_is_told(start_emulator: StartEmulator, tmp_path: Path) -> None:
    klaviyo = start_emulator(time_factor=1.0)
    klaviyo.inject(Fault("status", CREATE, status=429, retry_after=80_000, count=None))
    with pytest.raises(KlaviyoTimeout, match="150 new lists a day"):
        create(tmp_path)
    assert len(klaviyo.requests(CREATE)) == 1


def test_the_hook_creates_once_too(klaviyo: Emulator) -> None:
    klaviyo.inject(Fault("reset_after", CREATE))
    hook = KlaviyoHook()
    assert [hook.create_list("VIPs"), hook.create_list("VIPs"), hook.find_list("VIPs")] == lists(klaviyo) * 3


# --- a list that is not shown yet ---------------------------------------------------------------------------------


@pytest.fixture
def lagging(klaviyo: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """A Klaviyo that shows a new list only after two seconds, in listings and by its id."""

    def is_shown(each: ProfileList) -> bool:
        return time.time() - each.created > 2

    everything, by_id = ListStore.__iter__, ListStore.get

    def get(store: ListStore, list_id: str) -> ProfileList | None:
        found = by_id(store, list_id)
        return found if found and is_shown(found) else None

    monkeypatch.setattr(ListStore, "__iter__", lambda store: filter(is_shown, everything(store)))
    monkeypatch.setattr(ListStore, "get", get)
    return klaviyo


@pytest.fixture
def create_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sync:
    """Run the operator that creates a list."""
    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", str(tmp_path / "storage"))

    def run(name: object = "VIPs", *, clock: ShiftedClock | None = None, **parameters: Any) -> Run:
        operator = KlaviyoCreateListOperator(task_id="create", **({"list_name": name} | parameters | LATE))
        if clock:
            operator.hook = hook_by(clock)
        return run_operator(operator)

    return run


def test_tasks_that_start_together_create_one_list_that_klaviyo_does_not_show_yet(
    lagging: Emulator, create_list: Sync
) -> None:
    runs: list[Run] = []
    tasks = [threading.Thread(target=lambda: runs.append(create_list())) for _ in range(3)]
    for task in tasks:
        task.start()
    for task in tasks:
        task.join()
    assert [run.error for run in runs] == [None] * 3
    assert len({str(run.summary) for run in runs}) == 1
    assert len(lagging.requests(CREATE)) == 1


@pytest.mark.parametrize("mode", ["add", "mirror", "strict mirror"])
@pytest.mark.parametrize("by", ["list_name", "list_id"])
def test_a_sync_right_after_the_creation_uses_the_new_list(
    lagging: Emulator, create_list: Sync, warehouse: Warehouse, list_sync: Sync, by: str, mode: str
) -> None:
    warehouse.hold("ada@shop.io")
    created: Any = create_list().summary
    target = {"list_name": None, "list_id": created} if by == "list_id" else {}
    run = list_sync(mode.rpartition(" ")[2], strict=mode.startswith("strict"), **target)
    assert (run.error, run.counts()) == (None, {"rows_read": 1, "accepted": 1})
    assert run.summary["list_id"] == created
    assert len(lagging.requests(CREATE)) == 1


@pytest.mark.parametrize("became", ["deleted", "renamed"])
def test_what_became_of_a_remembered_list_counts(klaviyo: Emulator, create_list: Sync, became: str) -> None:
    created: Any = create_list().summary
    if became == "deleted":
        klaviyo._account.lists.remove(created)
    else:
        klaviyo._account.lists.get(created).name = "Other"  # type: ignore[union-attr]
    again = create_list(clock=ShiftedClock(59.0))  # soon it is too old to be merely unknown
    assert again.error is None
    assert again.summary != created
    assert len(klaviyo.requests(CREATE)) == 2


def test_an_id_that_nobody_has_created_is_refused_at_once(
    klaviyo: Emulator, create_list: Sync, warehouse: Warehouse, list_sync: Sync
) -> None:
    create_list()
    started = time.monotonic()
    assert "no list with the id XXXXXX" in str(list_sync("add", list_name=None, list_id="XXXXXX").error)
    assert time.monotonic() - started < 10


# --- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [" lead", "trail ", "new\nline"])
def test_a_name_with_blanks_around_it_is_looked_up_as_it_is(
    klaviyo: Emulator, create_list: Sync, warehouse: Warehouse, list_sync: Sync, name: str
) -> None:
    warehouse.hold("ada@shop.io")
    known = klaviyo.add_list(name)
    assert list_sync("add", list_name=name).summary["list_id"] == known
    assert create_list(name).summary == known  # type: ignore[comparison-overlap]
    assert klaviyo.requests(CREATE) == []


def test_blanks_that_a_template_leaves_around_a_name_make_no_other_list(
    klaviyo: Emulator, create_list: Sync
) -> None:
    known = klaviyo.add_list("VIPs")
    assert create_list(" VIPs\n").summary == known  # type: ignore[comparison-overlap]
    create_list(" Others\n")
    assert [each.name for each in klaviyo._account.lists] == ["VIPs", "Others"]
    for blank in ("", "  ", "\n"):
        assert "list_name is empty" in str(create_list(blank).error)


# --- not before everything else is known to be right ----------------------------------------------------------------


@pytest.mark.parametrize("mode", ["add", "mirror"])
@pytest.mark.parametrize(
    "wrong",
    [
        {"primary_key": "kee"},
        {"mapping": {"email": "nope"}},
        {"match_by": "external_id"},
        {"sql": "SELEC key FROM people"},
        {"sql": "SELECT key, email, 1 / (length(key) - length(key)) FROM people"},
    ],
    ids=["key", "mapping", "match_by", "sql", "sql fails at its first row"],
)
def test_a_run_that_cannot_begin_creates_no_list(
    klaviyo: Emulator, warehouse: Warehouse, list_sync: Sync, mode: str, wrong: dict[str, Any]
) -> None:
    warehouse.hold("ada@shop.io")
    assert list_sync(mode, **wrong).error is not None
    assert klaviyo.requests(CREATE) == []
    assert list_sync(mode).counts() == {"rows_read": 1, "accepted": 1}
    assert len(klaviyo.requests(CREATE)) == 1


@pytest.mark.parametrize("became", ["renamed", "deleted"])
def test_a_list_that_is_gone_by_its_name_is_another_target_and_no_new_list(
    klaviyo: Emulator,
    warehouse: Warehouse,
    list_sync: Sync,
    became: str,
) -> None:
    warehouse.hold("ada@shop.io", "bob@shop.io")
    known = list_sync("mirror").summary["list_id"]
    if became == "deleted":
        klaviyo._account.lists.remove(known)
    else:
        klaviyo._account.lists.get(known).name = "VIPs 2026"  # type: ignore[union-attr]

    later = ShiftedClock(61.0)  # the list is too old to be merely unknown
    stopped = list_sync("mirror", clock=later)

    for word in (f"list was {known}", "not there yet", "Nothing was sent", "full_refresh=True"):
        assert word in str(stopped.error)
    assert len(klaviyo.requests(CREATE)) == 1
    anew = list_sync("mirror", full_refresh=True, clock=later)
    assert (anew.error, anew.counts()) == (None, {"rows_read": 2, "accepted": 2})
    assert anew.summary["list_id"] != known
    assert list_sync("mirror", clock=later).counts() == {"rows_read": 2, "unchanged": 2}


@pytest.mark.parametrize(
    ("more", "creates"),
    [
        ({"mode": "add"}, True),
        ({"mode": "mirror", "allow_empty": True}, True),
        ({"mode": "mirror", "allow_empty": True, "strict": True}, True),
        ({"mode": "mirror"}, False),
        ({"mode": "add", "preview": True}, False),
        ({"mode": "mirror", "allow_empty": True, "preview": True}, False),
    ],
    ids=["add", "mirror", "strict", "not allowed", "preview of add", "preview of mirror"],
)
def test_a_query_without_rows_creates_the_list_where_that_is_no_failure(
    klaviyo: Emulator, warehouse: Warehouse, list_sync: Sync, more: dict[str, Any], creates: bool
) -> None:
    run = list_sync(**more)
    assert len(klaviyo.requests(CREATE)) == creates
    assert run.summary["list_id"] == ((*lists(klaviyo), None)[0])


def test_a_creation_that_failed_binds_the_state_to_nothing(
    klaviyo: Emulator, warehouse: Warehouse, list_sync: Sync
) -> None:
    warehouse.hold("ada@shop.io", {"key": "again", "email": "ada@shop.io"})
    klaviyo.inject(Fault("status", CREATE, status=429, retry_after=80_000))
    failed = list_sync("mirror")
    assert "150 new lists a day" in str(failed.error)
    assert failed.counts() == {"rows_read": 2, "skipped": 1, "pending": 1}
    known = klaviyo.add_list("VIPs")
    run = list_sync("mirror")
    assert (run.error, run.counts()) == (None, {"rows_read": 2, "accepted": 1, "skipped": 1})
    assert run.summary["list_id"] == known


def test_a_run_all_of_whose_rows_are_rejected_creates_no_list(
    klaviyo: Emulator, warehouse: Warehouse, list_sync: Sync
) -> None:
    warehouse.hold("nobody")
    assert "max_rejected" in str(list_sync("add", max_rejected=0.5).error)
    assert klaviyo.requests(CREATE) == []


def test_without_create_list_a_missing_list_is_told(
    klaviyo: Emulator, warehouse: Warehouse, list_sync: Sync
) -> None:
    for preview in (False, True):
        run = list_sync("add", create_list=False, preview=preview)
        assert "Klaviyo has no list named 'VIPs'. Nothing was sent" in str(run.error)
    assert klaviyo.requests(CREATE) == []


@pytest.mark.parametrize(
    ("file", "named"),
    [
        ("storage", "The report cannot be written to"),
        ("storage/sync-state", "The state cannot be kept in"),
        ("storage/list-creation", "Nothing can be kept in"),
    ],
)
def test_a_storage_that_cannot_be_used_is_told_and_creates_no_list(
    klaviyo: Emulator, warehouse: Warehouse, list_sync: Sync, tmp_path: Path, file: str, named: str
) -> None:
    warehouse.hold("ada@shop.io")
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text("in the way")
    run = list_sync("mirror")
    assert named in str(run.error)
    assert "[klaviyo] storage_path" in str(run.error)
    assert type(run.error).__name__ == "AirflowFailException"
    assert klaviyo.requests(CREATE) == []


def test_the_create_operator_tells_a_storage_that_cannot_be_used(
    klaviyo: Emulator, create_list: Sync, tmp_path: Path
) -> None:
    (tmp_path / "storage").write_text("in the way")
    run = create_list()
    assert "[klaviyo] storage_path" in str(run.error)
    assert type(run.error).__name__ == "AirflowFailException"
    assert klaviyo.requests(CREATE) == []


@pytest.mark.parametrize("timeout", ["abc", None, -1, 0])
def test_a_timeout_that_is_none_is_told(klaviyo: Emulator, create_list: Sync, timeout: object) -> None:
    assert "timeout must be a number of seconds, above 0" in str(create_list(timeout=timeout).error)
    assert klaviyo.requests() == []


# --- after a deferral -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["add", "mirror"])
def test_a_list_that_was_renamed_while_the_task_was_deferred_is_still_the_list(
    start_emulator: StartEmulator,
    warehouse: Warehouse,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
) -> None:
    from airflow_provider_klaviyo.operators.lists import KlaviyoSyncListOperator
    from tests.integration.conftest import TaskInstance

    klaviyo = start_emulator(job_seconds=0.5)
    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", str(tmp_path / "storage"))
    warehouse.hold("ada@shop.io")
    settings = LIST_SYNC | {"mode": mode, "deferrable": True, "defer_after": 0}
    with pytest.raises(BaseException) as deferred:
        KlaviyoSyncListOperator(task_id="sync_list", **settings).execute({"ti": TaskInstance("sync_list")})  # type: ignore[typeddict-item]
    assert type(deferred.value).__name__ == "TaskDeferred"
    (known,) = klaviyo._account.lists
    known.name = "Renamed"

    resumed = KlaviyoSyncListOperator(task_id="sync_list", **settings)
    summary = resumed.execute_complete({"ti": TaskInstance("sync_list")})  # type: ignore[typeddict-item]

    assert (summary["list_id"], summary["accepted"]) == (known.id, 1)
    assert lists(klaviyo) == [known.id]
    assert emails(klaviyo, known.id) == {"ada@shop.io"}


@pytest.mark.parametrize("there", ["vip customers", "VIP  Customers", "VIPCustomers", "\uff36IP Customers"])
def test_a_list_of_nearly_the_name_is_asked_about_and_none_is_created(
    klaviyo: Emulator, tmp_path: Path, there: str
) -> None:
    others = [klaviyo.add_list(f"Other {number}") for number in range(12)]
    alike = klaviyo.add_list(there)
    with pytest.raises(KlaviyoConfigurationError, match=f"no list named 'VIP Customers'.*{alike}"):
        create(tmp_path, "VIP Customers")
    assert sorted(lists(klaviyo)) == sorted([*others, alike])


def test_a_sync_asks_about_such_a_list_before_its_first_row(
    klaviyo: Emulator, warehouse: Warehouse, list_sync: Sync
) -> None:
    klaviyo.add_list("gold customers")
    warehouse.hold("ada@shop.io")
    run = list_sync(mode="add", list_id=None, list_name="Gold Customers")
    assert "gold customers" in str(run.error)
    assert run.counts() == {}
    assert len(lists(klaviyo)) == 1

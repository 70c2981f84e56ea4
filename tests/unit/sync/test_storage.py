"""Whatever Dags, tasks, runs and states are called, their files stay below ``storage_path``, each by itself."""

from __future__ import annotations

import hashlib
import uuid
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_klaviyo.state.holder import Holder
from airflow_provider_klaviyo.state.remote import RemotePath
from airflow_provider_klaviyo.sync.storage import Storage
from airflow_provider_klaviyo.sync.task_run import Task, TaskRun

ODD = [
    "..", ".", "...", "", " ", "/", "//", "/etc/passwd", "a/../../b", "../../../b", "..\\..\\b", "%2e%2e", "%2e%2e%2fb",
    "a\0b", "a\nb", "~root", "C:\\x", "x" * 500, "ä" * 250, "\N{PILE OF POO}" * 250, "\udc80", "a b", "a?b", "a#b", "s3://x/y",
    "sync-state", "Sync-State", "in-flight", "list-creation",
]  # fmt: skip


def run_of(dag_id: str = "dag", task_id: str = "task", run_id: str = "run") -> Holder:
    return Holder(dag_id, task_id, run_id, map_index=12_345, try_number=12, host="here", pid=1)


def paths_of(root: Any, run: Holder) -> list[Any]:
    files = Storage(root).files(run)
    return [files.report, files.rejects, files.preview(10), files.deferred(), files.deferred(12_345)]


@pytest.fixture(params=["disk", "objects"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "disk":
        return tmp_path / "storage"
    return RemotePath(MemoryFileSystem(), f"/{uuid.uuid4()}/storage", "memory://storage")


@pytest.mark.parametrize("part", ["dag_id", "task_id", "run_id"])
@pytest.mark.parametrize("name", ODD, ids=lambda name: ascii(name)[:20])
def test_files_of_a_run_stay_below_the_path(root: Any, part: str, name: str) -> None:
    for path in paths_of(root, run_of(**{part: name})):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"{}")
        assert str(path.parent.parent.parent) == str(root), path
        assert str(path.parent.parent) not in (str(Storage(root).states), str(Storage(root).in_flight))
        assert ".." not in str(path).split("/")
    assert len({str(path) for path in paths_of(root, run_of(**{part: name}))}) == 5


@pytest.mark.parametrize("name", ODD, ids=lambda name: ascii(name)[:20])
def test_a_state_stays_in_the_folder_of_states(root: Any, name: str) -> None:
    folder = Storage(root).state(name)
    assert str(folder.parent) == str(Storage(root).states)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "entry-1").write_bytes(b"x")
    assert [path.name for path in Storage(root).states.iterdir()] == [folder.name]


@pytest.mark.parametrize(
    "names", [ODD, ["VIP", "vip", "Vip"], ["a b", "a_b", "a  b", "a/b"], ["x" * 300, "x" * 301]]
)
def test_no_two_names_share_a_state_or_a_report(tmp_path: Path, names: list[str]) -> None:
    storage = Storage(tmp_path)
    assert len({str(storage.state(name)).casefold() for name in names}) == len(names)
    for part in ("dag_id", "task_id", "run_id"):
        assert len({str(storage.files(run_of(**{part: name})).report) for name in names}) == len(names)


def test_what_is_there_under_ordinary_names_is_found_where_it_was(tmp_path: Path) -> None:
    """By these names files lie in storages that exist."""
    storage = Storage(tmp_path)
    run = TaskRun(
        Task("shop_to_klaviyo", "group.sync-people"), "scheduled__2026-11-24T01:00:00+00:00", due=0.0
    )
    assert str(storage.files(run.holder).report.relative_to(tmp_path)) == (
        "shop_to_klaviyo/group.sync-people/scheduled__2026-11-24T01_00_00+00_00-20bbe432.try1.report.json"
    )
    assert storage.state("shop_to_klaviyo.sync_people").name == "shop_to_klaviyo.sync_people-f17ff956"
    assert storage.state("vip / Österreich").name == "vip_Österreich-b70cb639"
    assert len(storage.state("x" * 246).name) == 255


def test_a_state_that_an_object_store_has_under_a_longer_name_is_found_there() -> None:
    """As former releases named them."""
    root = RemotePath(MemoryFileSystem(), f"/{uuid.uuid4()}/storage", "memory://storage")
    key, other = "x" * 300, "x" * 299
    ending = hashlib.sha256(key.encode()).hexdigest()[:8]
    (root / "sync-state" / f"{key}-{ending}" / "1.entry").write_bytes(b"x")
    assert Storage(root).state(key).name == f"{key}-{ending}"
    assert len(Storage(root).state(other).name) == 255

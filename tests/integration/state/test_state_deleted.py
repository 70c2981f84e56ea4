"""A state whose folder somebody deletes during a run."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator
from airflow_provider_klaviyo.state import lock as state_lock
from airflow_provider_klaviyo.state.errors import StateConflict
from airflow_provider_klaviyo.state.log import StateLog
from airflow_provider_klaviyo.state.stores import store_of
from airflow_provider_klaviyo.storage import remote_path
from tests.integration.conftest import Shop, StartEmulator, Sync
from tests.integration.state.alive import LOOK, alive

pytestmark = pytest.mark.integration


@pytest.fixture(params=["disk", "s3"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "disk":
        return tmp_path / "state"
    return remote_path(request.getfixturevalue("s3_storage")) / "state"


def delete(folder: Any) -> None:
    store = store_of(folder)
    for name in store.names():
        store.delete(name)
    if isinstance(folder, Path):
        folder.rmdir()


def test_that_it_was_deleted_is_said_and_nothing_is_left_that_the_next_run_stumbles_over(folder: Any) -> None:
    log = StateLog(store_of(folder), writer="this run", now=lambda: 0.0)
    log.begin({})
    log.append("doubt", {})
    delete(folder)
    for _ in range(2):
        with pytest.raises(StateConflict, match="was deleted while this run wrote to it") as failure:
            log.append("verdict", {})
        assert str(folder) in str(failure.value)
    assert StateLog(store_of(folder), writer="the next", now=lambda: 0.0).entries == []


@contextmanager
def deleted_once_klaviyo_has_the_rows(emulator: Emulator, folder: Path) -> Iterator[None]:
    """Within, somebody deletes a folder as soon as an import job is waited for."""

    def wait_and_delete() -> None:
        while not emulator.requests(LOOK):  # then the job is noted, and nothing is written until it ends
            time.sleep(0.01)
        shutil.rmtree(folder)

    somebody = threading.Thread(target=wait_and_delete)
    somebody.start()
    yield
    somebody.join()


@pytest.mark.parametrize("by", ["a person", "another run"])
def test_a_run_that_has_lost_its_lock_ends_soon_in_a_sentence(
    start_emulator: StartEmulator,
    shop: Shop,
    sync: Sync,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    by: str,
) -> None:
    """It waits for a job, and has nothing to write that would tell it."""
    monkeypatch.setattr(state_lock, "LIFETIME", 0.9)
    emulator = start_emulator(job_seconds=60.0)
    shop.fill_with_people(5)
    nightly = partial(sync, primary_key="id", only_changes=True)
    begun = time.monotonic()
    with alive(emulator, nightly) as runs:
        (lock,) = (tmp_path / "storage" / "sync-state").rglob("lock.json")
        if by == "a person":
            lock.unlink()
        else:
            nightly(run_id="monday", try_number=2, timeout=0.1)
    assert time.monotonic() - begun < 50
    (lost,) = runs
    assert type(lost.error) is StateConflict
    assert str(lost.error).startswith("This run stops, since ")
    assert lost.report["error"] == str(lost.error)
    assert lost.summary["pending"] == 5
    assert max(len(line["reason"]) for line in lost.rejects) < 200
    assert not lock.exists(), "nobody blocks the next run"


def test_a_run_whose_state_is_deleted_says_so_and_the_next_one_sends_its_rows(
    start_emulator: StartEmulator, shop: Shop, sync: Sync, tmp_path: Path
) -> None:
    emulator = start_emulator(job_seconds=3.0)
    shop.fill_with_people(5)
    with deleted_once_klaviyo_has_the_rows(emulator, tmp_path / "storage" / "sync-state"):
        struck = sync(primary_key="id", only_changes=True)
    assert "was deleted while this run wrote to it" in str(struck.error)
    assert struck.summary["rows_read"] == struck.summary["pending"] + struck.summary["accepted"] == 5
    again = sync(primary_key="id", only_changes=True)
    assert again.error is None
    assert again.summary["accepted"] == 5

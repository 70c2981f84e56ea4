"""State in an object store: against a server that speaks S3, over a real socket."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator
from airflow_provider_klaviyo.state.errors import StateConflict, StateLocked
from airflow_provider_klaviyo.state.lock import LOCK, Holder, StateLock
from airflow_provider_klaviyo.state.log import StateLog
from tests.integration.conftest import Shop, Sync

pytestmark = pytest.mark.integration


def opened(folder: Any, writer: str = "a run") -> StateLog:
    return StateLog(folder, writer=writer, now=lambda: 1_000.0)


def notes(folder: Any) -> list[int]:
    return [entry.facts["n"] for entry in opened(folder).entries if entry.kind == "note"]


@pytest.fixture
def folder(s3_storage: str) -> Any:
    from airflow.sdk import ObjectStoragePath

    return ObjectStoragePath(s3_storage) / "log"


def test_a_log_is_a_log(folder: Any) -> None:
    assert opened(folder).entries == []
    log = opened(folder)
    log.begin({"target": {}})
    for number in range(3):
        log.append("note", {"n": number}, b"x" * number)
    assert notes(folder) == [0, 1, 2]
    assert opened(folder).payload(opened(folder).entries[-1]) == b"xx"


def test_a_large_snapshot_goes_up_in_parts_and_comes_back_whole(folder: Any, tmp_path: Any) -> None:
    file = tmp_path / "table"
    file.write_bytes(bytes(range(256)) * 60_000)
    log = opened(folder)
    log.append_file("snapshot", {"target": {}}, file)
    log.append("note", {"n": 1})
    log.prune()
    log.copy_payload(opened(folder).entries[0], tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == file.read_bytes()
    stale = opened(folder)
    log.append("note", {"n": 2})
    with pytest.raises(StateConflict):  # in parts too, a number is given once
        stale.append_file("snapshot", {"target": {}}, file)
    assert notes(folder) == [1, 2]


def test_of_many_writers_of_one_number_one_succeeds(folder: Any) -> None:
    opened(folder).begin({"target": {}})
    logs = [opened(folder, f"writer {number}") for number in range(6)]
    barrier, lost = threading.Barrier(len(logs)), []

    def write(number: int, log: StateLog) -> None:
        barrier.wait()
        try:
            log.append("note", {"n": number})
        except StateConflict as error:
            lost.append(str(error))

    threads = [threading.Thread(target=write, args=each) for each in enumerate(logs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lost) == len(logs) - 1
    assert len(notes(folder)) == 1


def test_an_upload_that_was_broken_off_is_passed_over(folder: Any) -> None:
    log = opened(folder)
    log.begin({"target": {}})
    for number in range(2):
        log.append("note", {"n": number}, b"payload")
    with log.entries[-1].file.open("rb") as file:
        content = file.read()
    with log.entries[-1].file.open("wb") as file:
        file.write(content[:-4])
    assert notes(folder) == [0]
    opened(folder).append("note", {"n": 9})
    assert notes(folder) == [0, 9]


def test_the_lock_works_there(folder: Any) -> None:
    def lock(run: str) -> StateLock:
        return StateLock(folder / LOCK, Holder("shop", "sync", run, -1, 1, "there", 1), now=lambda: 0.0)

    first = lock("monday")
    first.acquire()
    with pytest.raises(StateLocked, match="run monday"):
        lock("tuesday").acquire()
    first.release()
    second = lock("tuesday")
    second.acquire()
    second.release()


def test_a_sync_keeps_its_state_there(
    klaviyo: Emulator, shop: Shop, sync: Sync, s3_storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", s3_storage)
    shop.fill_with_people(20)
    parameters: dict[str, Any] = {"primary_key": "id", "only_changes": True}

    first = sync(**parameters)
    assert first.error is None
    assert first.summary["accepted"] == 20
    assert first.summary["report_path"].startswith("s3://")
    shop.execute("UPDATE customers SET tier = 'silver' WHERE id = 3")
    again = sync(**parameters)
    assert (again.summary["accepted"], again.summary["unchanged"]) == (1, 19)

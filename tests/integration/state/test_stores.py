"""What a store promises, and what rests on that, over each storage there is."""

from __future__ import annotations

import gc
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError
from airflow_provider_klaviyo.state.errors import StateConflict, StateLocked
from airflow_provider_klaviyo.state.holder import Holder
from airflow_provider_klaviyo.state.lock import StateLock
from airflow_provider_klaviyo.state.log import StateLog
from airflow_provider_klaviyo.state.notes import Note, NoteFolder, forget_in_notes
from airflow_provider_klaviyo.state.remote import RemotePath
from airflow_provider_klaviyo.state.stores import DiskStore, Store, blocks_of, store_of
from airflow_provider_klaviyo.storage import remote_path
from tests.integration.state.conftest import STORES

pytestmark = pytest.mark.integration


@pytest.fixture(params=["disk", "file", "memory", "s3 by its own credentials", *STORES])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A folder that is not there yet: of this machine, of fsspec's own stores, and of servers."""
    if request.param == "disk":
        return tmp_path / "state"
    if request.param in STORES:
        return remote_path(request.getfixturevalue(f"{request.param.lower()}_storage")) / "state"
    if request.param == "s3 by its own credentials":
        return remote_path(request.getfixturevalue("s3_without_connection")) / "state"
    if request.param == "memory":
        return RemotePath(MemoryFileSystem(), f"/{uuid.uuid4().hex}", "memory://a") / "state"
    return RemotePath(LocalFileSystem(), str(tmp_path), f"file://{tmp_path}") / "state"


@pytest.fixture
def store(folder: Any) -> Store:
    return store_of(folder)


def content(store: Store, name: str) -> bytes:
    return b"".join(blocks_of(store, name))


def payload(*blocks: bytes) -> Callable[[], Iterator[bytes]]:
    return lambda: iter(blocks)


# --- files --------------------------------------------------------------------------------------------------------


def test_before_its_first_file_a_store_is_empty(store: Store) -> None:
    assert store.names() == []
    assert not store.holds("1.entry")
    with pytest.raises(FileNotFoundError):
        content(store, "1.entry")
    store.delete("1.entry")


def test_what_was_created_is_listed_held_and_read(store: Store) -> None:
    assert store.create("1.entry", b"line\n", payload(b"one, ", b"two\n"))
    assert store.names() == ["1.entry"]
    assert store.holds("1.entry")
    assert content(store, "1.entry") == b"line\none, two\n"
    assert b"".join(blocks_of(store, "1.entry", after_line=True)) == b"one, two\n"
    with closing(store.open("1.entry")) as file:
        assert file.readline() == b"line\n"
    assert store.path("1.entry").endswith("state/1.entry")
    assert str(store) in store.path("1.entry")


def test_a_name_is_given_once(store: Store) -> None:
    assert store.create("1.entry", b"ours\n", payload())
    assert not store.create("1.entry", b"theirs\n", payload(b"more"))
    assert content(store, "1.entry") == b"ours\n"


def test_a_file_of_ours_whose_creation_was_never_answered_counts_as_created(store: Store) -> None:
    for _ in range(2):
        assert store.create("1.entry", b"ours\n", payload(b"payload"))
    assert content(store, "1.entry") == b"ours\npayload"


def test_a_creation_that_breaks_off_on_the_way_leaves_nothing_that_is_taken_for_whole(store: Store) -> None:
    def broken() -> Iterator[bytes]:
        yield b"a part"
        raise ConnectionError

    with suppress(OSError):
        store.create("1.entry", b"line\n", broken)
    if isinstance(store, DiskStore):
        assert store.names() == []
    else:
        assert store.names() == [] or content(store, "1.entry") in (b"", b"line\na part")


def test_a_creation_that_failed_is_not_done_later_behind_ones_back(s3_storage: str, s3_server: str) -> None:
    """As files of ``fsspec`` do, when they are forgotten and were not closed."""
    import boto3

    bucket = f"late-{uuid.uuid4().hex}"
    store = store_of(remote_path(f"s3://s3@{bucket}/klaviyo"))
    with pytest.raises(FileNotFoundError):
        store.create("1.entry", b"line\n", payload())
    with pytest.raises(FileNotFoundError):
        store.prove_exclusive("No state can be kept in", "it is damaged")
    client = boto3.client(
        "s3",
        endpoint_url=s3_server,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    client.create_bucket(Bucket=bucket)
    gc.collect()
    assert store.names() == []


def test_what_is_put_takes_the_place_of_what_was_there(store: Store) -> None:
    for each in (b"a longer one", b"short"):
        store.put("lock", each)
        assert content(store, "lock") == each


def test_what_is_deleted_is_gone_and_may_be_created_again(store: Store) -> None:
    store.create("1.entry", b"line\n", payload())
    store.create("2.entry", b"line\n", payload())
    store.delete("1.entry")
    assert store.names() == ["2.entry"]
    assert not store.holds("1.entry")
    assert store.create("1.entry", b"other\n", payload())
    assert sorted(store.names()) == ["1.entry", "2.entry"]


def test_what_another_process_did_is_seen(folder: Any) -> None:
    one, two = store_of(folder), store_of(folder)
    assert one.names() == two.names() == []
    two.create("1.entry", b"line\n", payload())
    assert one.names() == ["1.entry"]
    assert one.holds("1.entry")
    two.delete("1.entry")
    assert one.names() == []
    assert not one.holds("1.entry")


# --- the log ------------------------------------------------------------------------------------------------------


def opened(store: Store, writer: str = "a run") -> StateLog:
    return StateLog(store, writer=writer, now=lambda: 1_000.0)


def notes(store: Store) -> list[int]:
    return [entry.facts["n"] for entry in opened(store).entries if entry.kind == "note"]


def test_a_log_is_a_log(store: Store) -> None:
    assert opened(store).entries == []
    log = opened(store)
    log.begin({"target": {}})
    for number in range(3):
        log.append("note", {"n": number}, b"x" * number)
    assert notes(store) == [0, 1, 2]
    assert opened(store).payload(opened(store).entries[-1]) == b"xx"


def test_a_large_snapshot_goes_up_in_parts_and_comes_back_whole(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "table"
    file.write_bytes(bytes(range(256)) * 60_000)
    log = opened(store)
    log.append_file("snapshot", {"target": {}}, file)
    log.append("note", {"n": 1})
    log.prune()
    log.copy_payload(opened(store).entries[0], tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == file.read_bytes()
    stale = opened(store)
    log.append("note", {"n": 2})
    with pytest.raises(StateConflict):  # in parts too, a number is given once
        stale.append_file("snapshot", {"target": {}}, file)
    assert notes(store) == [1, 2]


def test_old_entries_are_pruned(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "table"
    file.write_bytes(b"table")
    log = opened(store)
    log.begin({"target": {}})
    for _ in range(2):
        log.append_file("snapshot", {"target": {}}, file)
    log.prune(keep_previous=False)
    assert [entry.kind for entry in opened(store).entries] == ["snapshot"]
    assert len(store.names()) == 1


def test_of_many_writers_of_one_number_one_succeeds(folder: Any) -> None:
    opened(store_of(folder)).begin({"target": {}})
    logs = [opened(store_of(folder), f"writer {number}") for number in range(6)]
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
    assert len(notes(store_of(folder))) == 1


def test_an_upload_that_was_broken_off_is_passed_over(store: Store) -> None:
    log = opened(store)
    log.begin({"target": {}})
    for number in range(2):
        log.append("note", {"n": number}, b"payload")
    last = log.entries[-1].name
    store.put(last, content(store, last)[:-4])
    assert notes(store) == [0]
    opened(store).append("note", {"n": 9})
    assert notes(store) == [0, 9]


def test_no_state_begins_on_a_server_of_webdav_which_only_looks_before_it_writes(
    webdav_folder: RemotePath,
) -> None:
    store = store_of(webdav_folder)
    with pytest.raises(KlaviyoConfigurationError, match=r"No state can be kept in webdav://server/klaviyo"):
        opened(store).begin({"target": {}})
    assert store.names() == []


# --- the lock, and notes for others -------------------------------------------------------------------------------


def test_the_lock_works_there(store: Store) -> None:
    def lock(run: str) -> StateLock:
        return StateLock(store, Holder("shop", "sync", run, -1, 1, "there", 1), now=lambda: 0.0)

    first = lock("monday")
    first.acquire()
    with pytest.raises(StateLocked, match="run monday"):
        lock("tuesday").acquire()
    first.release()
    second = lock("tuesday")
    second.acquire()
    second.release()
    assert store.names() == []


def test_notes_are_left_found_and_taken_away(folder: Any) -> None:
    ours, theirs = NoteFolder(store_of(folder / "L1")), NoteFolder(store_of(folder / "L1"))
    note = Note(kind="removal", account="", by="crm.leave", at=1.0, until=9e9, people=[(11, 12), (13,)])
    name = ours.write(note)
    (found,) = theirs
    assert (found.name, theirs.read(name)) == (name, note)
    assert forget_in_notes(folder, [11], dead_before=0.0, unread=never) == 1
    (found,) = theirs
    kept = theirs.read(found.name)
    assert kept is not None
    assert kept.people == [(13,)]
    theirs.delete([found.name])
    assert list(ours) == []
    assert forget_in_notes(folder, [13], dead_before=0.0, unread=never) == 0


def never(what: object, why: object) -> None:
    pytest.fail(f"{what} was not read: {why}")

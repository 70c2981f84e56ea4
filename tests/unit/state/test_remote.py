"""Files in stores that fsspec reaches: each has a client with habits of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError
from airflow_provider_klaviyo.state import remote
from airflow_provider_klaviyo.state.log import StateLog
from airflow_provider_klaviyo.state.remote import RemotePath, StoreFailed, modified
from airflow_provider_klaviyo.state.stores import RemoteStore


class Disk(LocalFileSystem):
    """Stands in for a store whose client is changed in one habit."""

    cachable = False


def folder(fs: Any, tmp_path: Path) -> RemotePath:
    return RemotePath(fs, str(tmp_path / "bucket"), "s3://bucket")


# --- one after another, and both at once --------------------------------------------------------------------------


class LooksFirst(Disk):
    """Creates a file where it saw none a moment before, as a client of WebDAV does."""

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        if "x" not in mode:
            return super()._open(path, mode, **kwargs)
        if self.exists(path):
            raise FileExistsError(path)
        return LateFile(path)


class LateFile:
    """Appears when it is closed."""

    def __init__(self, path: str) -> None:
        self._path, self._content = path, b""

    def write(self, content: bytes) -> None:
        self._content += content

    def close(self) -> None:
        Path(self._path).write_bytes(self._content)


class IgnoresTheCondition(Disk):
    """Writes over what is there, as servers do that do not know conditional requests."""

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        return super()._open(path, mode.replace("x", "w"), **kwargs)


class HasNoSuchMode(Disk):
    """Knows reading and writing only."""

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        if "x" in mode:
            msg = f"mode {mode} is not supported"
            raise ValueError(msg)
        return super()._open(path, mode, **kwargs)


@pytest.mark.parametrize("fs", [LooksFirst, IgnoresTheCondition, HasNoSuchMode])
def test_no_state_begins_where_two_can_create_one_file(fs: type[Disk], tmp_path: Path) -> None:
    store = RemoteStore(folder(fs(), tmp_path))
    log = StateLog(store, writer="a run", now=lambda: 0.0)
    with pytest.raises(
        KlaviyoConfigurationError, match=r"s3://bucket: this store lets two writers .* storage_path"
    ):
        log.begin({"target": {}})
    assert store.names() == []


@pytest.mark.parametrize("fs", [Disk, MemoryFileSystem])
def test_a_state_begins_where_only_one_can(fs: type[Any], tmp_path: Path) -> None:
    store = RemoteStore(RemotePath(fs(), f"{tmp_path}/bucket", "s3://bucket"))
    StateLog(store, writer="a run", now=lambda: 0.0).begin({"target": {}})
    assert store.names() == ["00000001.entry"]


# --- what a store's client says -----------------------------------------------------------------------------------


class LosesRacesOddly(Disk):
    """Has an error of its own for a file that is there."""

    class ConditionNotMetError(Exception):
        """As the clients of Google, Azure and others have one."""

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        if "x" in mode and self.exists(path):
            raise self.ConditionNotMetError
        return super()._open(path, mode, **kwargs)


def test_a_lost_race_is_one_whatever_the_error_is(tmp_path: Path) -> None:
    store = RemoteStore(folder(LosesRacesOddly(), tmp_path))
    assert store.create("1.entry", b"theirs\n", lambda: iter(()))
    assert not store.create("1.entry", b"ours\n", lambda: iter(()))


class Down(Disk):
    """Cannot be reached."""

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        msg = "the server does not answer"
        raise RuntimeError(msg)


def test_what_no_client_should_raise_is_an_error_of_storage(tmp_path: Path) -> None:
    path = folder(Down(), tmp_path) / "1.entry"
    with pytest.raises(OSError, match="the server does not answer"):
        path.create(iter((b"line\n",)))
    with pytest.raises(OSError, match="RuntimeError"):
        path.read_bytes()


class StoresHalf(Disk):
    """Says that all is well with half of it stored."""

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        file = super()._open(path, mode, **kwargs)
        if "r" not in mode:
            write = file.f.write
            file.write = lambda content: write(content[: len(content) // 2])
        return file


def test_what_is_stored_in_part_does_not_count_as_stored(tmp_path: Path) -> None:
    store = RemoteStore(folder(StoresHalf(), tmp_path))
    with pytest.raises(OSError, match="of 12 bytes were stored"):
        store.create("1.entry", b"0123456789\n\n", lambda: iter(()))
    with pytest.raises(OSError, match="of 6 bytes were stored"):
        store.put("lock", b"holder")


def test_what_breaks_off_while_it_is_written_is_no_file_of_a_store_that_writes_at_the_end() -> None:
    path = RemotePath(MemoryFileSystem(), "/broken", "memory://broken")

    def blocks() -> Iterator[bytes]:
        yield b"a part"
        raise ConnectionError

    with pytest.raises(StoreFailed, match="ConnectionError"):
        path.create(blocks())


# --- folders and ages ---------------------------------------------------------------------------------------------


class OfAmazon(Disk):
    """Where a folder is made by making a bucket."""

    protocol = ("s3", "s3a")


def test_no_bucket_is_made(tmp_path: Path) -> None:
    bucket = folder(OfAmazon(), tmp_path)
    with pytest.raises(FileNotFoundError):
        RemoteStore(bucket / "state").put("lock", b"holder")
    assert not (tmp_path / "bucket").exists()


def test_folders_are_made_where_there_are_folders(tmp_path: Path) -> None:
    RemoteStore(folder(Disk(), tmp_path) / "state").put("lock", b"holder")
    assert (tmp_path / "bucket" / "state" / "lock").read_bytes() == b"holder"


NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        ({"LastModified": NOON}, NOON.timestamp()),
        ({"last_modified": NOON}, NOON.timestamp()),
        ({"mtime": NOON}, NOON.timestamp()),
        ({"mtime": NOON.replace(tzinfo=None)}, NOON.timestamp()),
        ({"mtime": NOON.timestamp()}, NOON.timestamp()),
        ({"updated": "2026-11-29T12:00:00Z"}, NOON.timestamp()),
        ({"modified": "Sun, 29 Nov 2026"}, None),
        ({"mtime": 0}, None),
        ({"mtime": None}, None),
        ({}, None),
    ],
)
def test_every_store_tells_a_files_age_in_its_own_way(
    details: Mapping[str, Any], expected: float | None
) -> None:
    assert modified(RemotePath(None, "bucket/file", "s3://bucket/file", details)) == expected


def test_a_refused_upload_is_told_from_other_errors_before_the_winners_file_can_be_read() -> None:
    """Some S3 servers refuse the loser before they show the winner's file."""

    class Refused(Exception):
        def __init__(self, code: str) -> None:
            self.response = {"Error": {"Code": code}}

    def error(code: str) -> OSError:
        made = OSError(22, code)
        made.__cause__ = Refused(code)
        return made

    assert remote._says_that_it_is_there(error("PreconditionFailed"))
    assert not remote._says_that_it_is_there(error("AccessDenied"))
    assert not remote._says_that_it_is_there(OSError("the line is dead"))

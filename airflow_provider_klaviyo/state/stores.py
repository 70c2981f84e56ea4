"""Where files of a state are kept: on a disk, or in an object store. Both are used in the same way."""

from __future__ import annotations

import errno
import hashlib
import os
import uuid
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError
from airflow_provider_klaviyo.state.remote import RemotePath, listed, modified

_BLOCK = 1 << 20
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS)

Payload = Callable[[], Iterator[bytes]]
"""What a file holds behind its first line, from its beginning each time that it is called."""


class Store(Protocol):
    """The files of one folder, by their names. The folder comes into being with its first file.

    What a storage refuses is raised as it comes, mostly as an ``OSError``. As text, a store is where it is.

    ``entries_to_read`` is how many files of a log may be read at the beginning of a run, before it is worth while to
    have fewer.
    """

    entries_to_read: int

    def names(self) -> list[str]:
        """The files that are there now, in no order; none where there is no folder."""

    def holds(self, name: str) -> bool:
        """Whether a file is there now."""

    def open(self, name: str) -> BinaryIO:
        """A file to be read from its beginning, and closed.

        :raises FileNotFoundError: when it is not there.
        """

    def read(self, name: str) -> bytes:
        """The whole content of a small file.

        :raises FileNotFoundError: when it is not there.
        """

    def create(self, name: str, line: bytes, payload: Payload) -> bool:
        """Create a file, whole and by one only, or not at all; False when it is there and not ours.

        An answer that was lost is looked up.

        :param line: the first line, with its end, unlike that of any other writer.
        """

    def prove_exclusive(self, what: str, danger: str) -> None:
        """Make sure that of two who create one name only one succeeds.

        :param what: cannot be done otherwise, before the store.
        :param danger: what could happen then.
        :raises KlaviyoConfigurationError: when both do.
        """

    def put(self, name: str, content: bytes) -> None:
        """Write a file, whole or not at all, in place of one that is there."""

    def written(self, name: str) -> float | None:
        """When a file was written, in seconds since the epoch; None where that cannot be known."""

    def delete(self, name: str) -> None:
        """Delete a file; one that is not there already is."""

    def path(self, name: str) -> str:
        """Where a file is, for people."""


def store_of(folder: Path | RemotePath) -> Store:
    """The store of a folder."""
    return DiskStore(folder) if isinstance(folder, Path) else RemoteStore(folder)


def folders_in(folder: Path | RemotePath) -> list[Any]:
    """The folders in a folder; none where it is not there."""
    return [path for path in listed(folder) if path.is_dir()]


def blocks_of(store: Store, name: str, *, after_line: bool = False) -> Generator[bytes]:
    """The content of a file, a megabyte at a time.

    :param after_line: without its first line.
    :raises FileNotFoundError: when it is not there.
    """
    with closing(store.open(name)) as content:
        if after_line:
            content.readline()
        while block := content.read(_BLOCK):
            yield block


class DiskStore:
    """A folder on a disk; files are flushed, and only their owner may read them.

    :param folder: a path on this machine.
    """

    entries_to_read = 300

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __str__(self) -> str:
        return str(self._folder)

    def names(self) -> list[str]:
        return [file.name for file in listed(self._folder)]

    def holds(self, name: str) -> bool:
        return (self._folder / name).exists()

    def open(self, name: str) -> BinaryIO:
        return (self._folder / name).open("rb")

    def read(self, name: str) -> bytes:
        return (self._folder / name).read_bytes()

    def create(self, name: str, line: bytes, payload: Payload) -> bool:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / name
        return _created(self, name, line, payload, lambda: self._write(path, line, payload))

    def prove_exclusive(self, what: str, danger: str) -> None:
        """A disk has links, or files that are opened exclusively."""

    def put(self, name: str, content: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        draft = _draft(self._folder)
        try:
            draft.write_bytes(content)
            draft.replace(self._folder / name)
        finally:
            with suppress(OSError):
                draft.unlink(missing_ok=True)

    def written(self, name: str) -> float | None:
        with suppress(OSError):
            return modified(self._folder / name)
        return None

    def delete(self, name: str) -> None:
        (self._folder / name).unlink(missing_ok=True)

    def path(self, name: str) -> str:
        return str(self._folder / name)

    def _write(self, path: Path, line: bytes, payload: Payload) -> None:
        """Write it beside, and link it under its name, so that nobody ever sees a part of it."""
        draft = _draft(path.parent)
        try:
            with draft.open("xb") as file:
                _fill(file, line, payload)
                file.flush()
                os.fsync(file.fileno())
            draft.chmod(0o600)
            try:
                os.link(draft, path)
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                with path.open("xb") as file:  # a disk without hard links: torn files are told by checksum
                    _fill(file, line, payload)
        finally:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class RemoteStore:
    """A folder of an object store or a file server."""

    entries_to_read = 3

    def __init__(self, folder: RemotePath) -> None:
        self._folder = folder
        self._listed: Mapping[str, RemotePath] = {}

    def __str__(self) -> str:
        return str(self._folder)

    def names(self) -> list[str]:
        self._listed = {file.name: file for file in listed(self._folder)}
        return list(self._listed)

    def holds(self, name: str) -> bool:
        return (self._folder / name).exists()

    def open(self, name: str) -> BinaryIO:
        return self._listed.get(name, self._folder / name).open("rb")

    def read(self, name: str) -> bytes:
        return (self._folder / name).read_bytes()

    def create(self, name: str, line: bytes, payload: Payload) -> bool:
        self._folder.mkdir()
        path = self._folder / name
        return _created(self, name, line, payload, lambda: path.create(chain((line,), payload())))

    def prove_exclusive(self, what: str, danger: str) -> None:
        self._folder.mkdir()
        path = self._folder / f"probe-{uuid.uuid4().hex}"
        try:
            is_exclusive = path.is_created_by_one_only()
        finally:
            with suppress(OSError):
                path.unlink()
        if not is_exclusive:
            msg = (
                f"{what} {self}: this store lets two writers create the same file, so that {danger}. Set [klaviyo] "
                "storage_path to a store that creates a file only once (Amazon S3, Google Cloud Storage, Azure Blob "
                "Storage, an SFTP server, or a folder that all workers share)."
            )
            raise KlaviyoConfigurationError(msg)

    def put(self, name: str, content: bytes) -> None:
        self._folder.mkdir()
        (self._folder / name).write_bytes(content)

    def written(self, name: str) -> float | None:
        return next((file.modified for file in self._folder.iterdir() if file.name == name), None)

    def delete(self, name: str) -> None:
        with suppress(FileNotFoundError):
            (self._folder / name).unlink()

    def path(self, name: str) -> str:
        return str(self._folder / name)


def _created(store: Store, name: str, line: bytes, payload: Payload, write: Callable[[], None]) -> bool:
    """Whether what was written is there under its name; after an error that is looked up, since each store has others.

    :raises OSError: when nothing is there, or a part of what was written. What is being written by somebody else may
        look as if nothing were there; then the error says that there is.
    """
    try:
        write()
    except OSError as error:
        try:
            with closing(store.open(name)) as file:
                found = file.readline()
        except OSError:
            found = b""
        if found == line and _is_whole(store, name, line, payload):
            return True
        if found == line or (line.startswith(found) and not isinstance(error, FileExistsError)):
            raise
        return False
    return True


def _is_whole(store: Store, name: str, line: bytes, payload: Payload) -> bool:
    try:
        return measured(blocks_of(store, name)) == measured(chain((line,), payload()))
    except OSError:
        return False


def measured(blocks: Iterable[bytes]) -> tuple[int, str]:
    """How many bytes these are, and their checksum (SHA-256, in hexadecimal digits)."""
    digest, size = hashlib.sha256(), 0
    for block in blocks:
        digest.update(block)
        size += len(block)
    return size, digest.hexdigest()


def _draft(folder: Path) -> Path:
    """A name that nobody else writes under."""
    return folder / f".{uuid.uuid4().hex}.draft"


def _fill(file: BinaryIO, line: bytes, payload: Payload) -> None:
    file.write(line)
    for block in payload():
        file.write(block)

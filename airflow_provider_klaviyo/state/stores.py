"""Where files of a state are kept: on a disk, or in an object store. Both are used in the same way."""

from __future__ import annotations

import errno
import os
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol

_BLOCK = 1 << 20
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS)

Payload = Callable[[], Iterator[bytes]]
"""What a file holds behind its first line, from its beginning each time that it is called."""


class Store(Protocol):
    """The files of one folder, by their names. The folder comes into being with its first file.

    What a storage refuses is raised as it comes, mostly as an ``OSError``. As text, a store is where it is.
    """

    def names(self) -> list[str]:
        """The files that are there now, in no order; none where there is no folder."""

    def holds(self, name: str) -> bool:
        """Whether a file is there now."""

    def open(self, name: str) -> BinaryIO:
        """A file to be read from its beginning, and closed.

        :raises FileNotFoundError: when it is not there.
        """

    def create(self, name: str, line: bytes, payload: Payload) -> bool:
        """Create a file, whole and by one only, or not at all; False when it is there and not ours.

        An answer that was lost is looked up.

        :param line: the first line, with its end, unlike that of any other writer.
        """

    def put(self, name: str, content: bytes) -> None:
        """Write a file, in place of one that is there."""

    def delete(self, name: str) -> None:
        """Delete a file; one that is not there already is."""

    def path(self, name: str) -> str:
        """Where a file is, for people."""


def store_of(folder: Any) -> Store:
    """The store of a folder.

    :param folder: a ``pathlib.Path``, or Airflow's ``ObjectStoragePath``.
    """
    return DiskStore(folder) if isinstance(folder, Path) else ObjectStore(folder)


def folders_in(folder: Any) -> list[Any]:
    """The folders in a folder; none where it is not there.

    :param folder: a ``pathlib.Path``, or Airflow's ``ObjectStoragePath``.
    """
    if not isinstance(folder, Path):
        folder.fs.invalidate_cache()
    return [path for path in folder.iterdir() if path.is_dir()] if folder.exists() else []


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


class _FolderStore(ABC):
    """What disks and object stores have in common, since their paths have the same methods."""

    def __init__(self, folder: Any) -> None:
        self._folder = folder

    def __str__(self) -> str:
        return str(self._folder)

    def names(self) -> list[str]:
        self._look_anew()
        return [file.name for file in self._folder.iterdir()] if self._folder.exists() else []

    def holds(self, name: str) -> bool:
        self._look_anew()
        return bool((self._folder / name).exists())

    def open(self, name: str) -> BinaryIO:
        content: BinaryIO = (self._folder / name).open("rb")
        return content

    def create(self, name: str, line: bytes, payload: Payload) -> bool:
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            self._write(self._folder / name, line, payload)
        except FileExistsError:
            return self._is_ours(name, line)
        except OSError:
            if not self._is_ours(name, line):
                raise
        return True

    def put(self, name: str, content: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / name).open("wb") as file:
            file.write(content)

    def delete(self, name: str) -> None:
        with suppress(FileNotFoundError):
            (self._folder / name).unlink()

    def path(self, name: str) -> str:
        return str(self._folder / name)

    def _is_ours(self, name: str, line: bytes) -> bool:
        self._look_anew()
        try:
            with self.open(name) as file:
                return bool(file.readline() == line)
        except OSError:
            return False

    @abstractmethod
    def _look_anew(self) -> None:
        """Forget what was seen."""

    @abstractmethod
    def _write(self, path: Any, line: bytes, payload: Payload) -> None:
        """Create a file.

        :raises FileExistsError: when it is there.
        """


class DiskStore(_FolderStore):
    """A folder on a disk; files are flushed, and only their owner may read them.

    :param folder: a path on this machine.
    """

    def _look_anew(self) -> None:
        """A disk is always looked at."""

    def _write(self, path: Path, line: bytes, payload: Payload) -> None:
        """Write it beside, and link it under its name, so that nobody ever sees a part of it."""
        draft = path.with_name(f".{uuid.uuid4().hex}.draft")
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


class ObjectStore(_FolderStore):
    """A folder of an object store.

    :param folder: an ``ObjectStoragePath``.
    """

    def _look_anew(self) -> None:
        self._folder.fs.invalidate_cache()

    def _write(self, path: Any, line: bytes, payload: Payload) -> None:
        """Write it by a conditional request where the store's client has one ("x" is that mode), else after a look."""
        try:
            file = path.open("xb")
        except (NotImplementedError, ValueError):
            if path.exists():
                raise FileExistsError(str(path)) from None
            file = path.open("wb")
        with file:
            _fill(file, line, payload)


def _fill(file: BinaryIO, line: bytes, payload: Payload) -> None:
    file.write(line)
    for block in payload():
        file.write(block)

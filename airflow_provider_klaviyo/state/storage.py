"""Files of a state on a disk or in an object store: created whole and by one only, or not at all."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol, Self

from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError

_BLOCK = 1 << 20
_UNUSABLE = (
    FileExistsError,
    FileNotFoundError,
    ImportError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS)


class StateFolder(Protocol):
    """What is used of a folder; ``pathlib.Path`` and Airflow's ``ObjectStoragePath`` both have it."""

    @property
    def name(self) -> str: ...
    def __truediv__(self, name: str) -> Self: ...
    def mkdir(self, *, parents: bool, exist_ok: bool) -> None: ...
    def exists(self) -> bool: ...
    def iterdir(self) -> Iterator[Self]: ...
    def open(self, mode: str) -> BinaryIO: ...
    def unlink(self) -> None: ...


@contextmanager
def usable(
    path: Any, what: str = "Nothing can be kept in", names: str = "the ids of Dag and task"
) -> Iterator[None]:
    """Say in words that a place cannot be written to, where another try would end the same way.

    :param what: cannot be done, before the path.
    :param names: what the path is named after.
    :raises KlaviyoConfigurationError: naming what to change.
    """
    try:
        yield
    except _UNUSABLE as error:
        msg = f"{what} {path} ({error}). Check [klaviyo] storage_path."
        raise KlaviyoConfigurationError(msg) from error
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        msg = f"{what} {path}: its name is too long. Shorten {names}, or set another [klaviyo] storage_path."
        raise KlaviyoConfigurationError(msg) from error


def listed(folder: StateFolder) -> list[Any]:
    """What is in a folder now."""
    _look_anew(folder)
    return list(folder.iterdir()) if folder.exists() else []


def is_there(file: Any) -> bool:
    """Whether a file is there now."""
    _look_anew(file)
    return bool(file.exists())


def _look_anew(path: Any) -> None:
    """Have an object store's client forget what it saw."""
    filesystem = getattr(path, "fs", None)
    if filesystem is not None:
        filesystem.invalidate_cache()


def blocks_of(file: Any, *, after_line: bool = False) -> Generator[bytes]:
    """The content of a file, a megabyte at a time.

    :param after_line: without its first line.
    """
    with file.open("rb") as content:
        if after_line:
            content.readline()
        while block := content.read(_BLOCK):
            yield block


def create(folder: Any, name: str, line: bytes, payload: Callable[[], Iterator[bytes]]) -> bool:
    """Create a file that is not there yet; False when it is there and not ours.

    An answer that was lost is looked up: the first line is unlike that of any other writer.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write = _link if isinstance(folder, Path) else _upload
    try:
        write(folder, name, line, payload)
    except FileExistsError:
        return _is_ours(folder / name, line)
    except OSError:
        if not _is_ours(folder / name, line):
            raise
    return True


def _link(folder: Any, name: str, line: bytes, payload: Callable[[], Iterator[bytes]]) -> None:
    """On a disk: written beside, flushed, and linked under its name, so that nobody ever sees a part of it."""
    draft = folder / f".{uuid.uuid4().hex}.draft"
    try:
        with draft.open("xb") as file:
            _fill(file, line, payload)
            file.flush()
            os.fsync(file.fileno())
        draft.chmod(0o600)
        try:
            os.link(draft, folder / name)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            with (folder / name).open(
                "xb"
            ) as file:  # a disk without hard links: torn files are told by checksum
                _fill(file, line, payload)
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _upload(folder: Any, name: str, line: bytes, payload: Callable[[], Iterator[bytes]]) -> None:
    """In an object store: by a conditional request where its client has one ("x" is that mode), else after a look."""
    path = folder / name
    try:
        file = path.open("xb")
    except (NotImplementedError, ValueError):
        if path.exists():
            raise FileExistsError(str(path)) from None
        file = path.open("wb")
    with file:
        _fill(file, line, payload)


def _fill(file: BinaryIO, line: bytes, payload: Callable[[], Iterator[bytes]]) -> None:
    file.write(line)
    for block in payload():
        file.write(block)


def _is_ours(path: Any, line: bytes) -> bool:
    _look_anew(path)
    try:
        with path.open("rb") as file:
            return bool(file.readline() == line)
    except OSError:
        return False

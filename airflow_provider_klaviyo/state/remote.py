"""A path in a store that fsspec reaches: of Amazon, Google or Azure, on an SFTP server, and so on.

It has what is used of ``pathlib.Path``. Airflow's own ``ObjectStoragePath`` is not used beyond finding the filesystem:
it lists through one filesystem object and writes through another, each with a cache of its own, and before
universal-pathlib 0.3 it took itself for a file of this machine.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Self

_WITHOUT_FOLDERS = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oci", "oss", "r2"})
"""Protocols whose folders are parts of names: to make one is to make a bucket."""

_LONG = 8 << 20
"""Files of so many bytes are read and written in pieces; others, where a listing told their size, by one request."""

_OF_A_FILE = (
    FileExistsError,
    FileNotFoundError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)

_AGE = ("LastModified", "last_modified", "mtime", "updated", "modified")
"""What the listings of the filesystems call the time of a file's last change."""


class StoreFailed(OSError):
    """A store did not do what it was asked for, nor said why in a way that has an error of its own."""


class RemotePath:
    """A file or folder of a store.

    Whatever a store's client raises arrives as an ``OSError``: a ``StoreFailed``, where it says nothing of the file.

    :param fs: an ``fsspec`` filesystem; every path made from this one uses the same.
    :param key: where it is, as the filesystem names it.
    :param url: where it is, for people.
    :param details: what a listing said of it.
    """

    def __init__(self, fs: Any, key: str, url: str, details: Mapping[str, Any] | None = None) -> None:
        self._fs = fs
        self._key = key.rstrip("/")
        self._url = url.rstrip("/")
        self._details = details

    def __str__(self) -> str:
        return self._url

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._url!r})"

    def __truediv__(self, name: str) -> Self:
        return type(self)(self._fs, f"{self._key}/{name}", f"{self._url}/{name}")

    @property
    def name(self) -> str:
        """The last part of it."""
        return self._key.rpartition("/")[2]

    @property
    def parent(self) -> Self:
        """The folder that it is in."""
        return type(self)(self._fs, self._key.rpartition("/")[0], self._url.rpartition("/")[0])

    @property
    def size(self) -> int | None:
        """Bytes, if a listing said so."""
        return (self._details or {}).get("size")

    @property
    def modified(self) -> float | None:
        """When it was changed last, in seconds since the epoch; None where a listing did not tell."""
        found = self._details or {}
        return next((_seconds(found[name]) for name in _AGE if name in found), None)

    def exists(self) -> bool:
        """Whether a file or a folder is there now."""
        with self._spoken():
            self._fs.invalidate_cache()
            return bool(self._fs.exists(self._key))

    def is_dir(self) -> bool:
        """Whether a listing called it a folder."""
        return (self._details or {}).get("type") == "directory"

    def iterdir(self) -> Iterator[Self]:
        """What is in the folder now.

        :raises FileNotFoundError: when there is no folder; stores that have no folders may find an empty one.
        """
        with self._spoken():
            self._fs.invalidate_cache()
            found = self._fs.ls(self._key, detail=True)
        for details in found:
            key = str(details["name"]).rstrip("/")
            if key.strip("/") != self._key.strip("/"):  # some stores list a folder as its own first entry
                name = key.rpartition("/")[2]
                yield type(self)(self._fs, f"{self._key}/{name}", f"{self._url}/{name}", details)

    def mkdir(self, *, parents: bool = False, exist_ok: bool = False) -> None:  # noqa: ARG002 - as ``pathlib.Path``
        """Make the folder, in a store that has folders; a bucket or container is never made."""
        protocols = (
            self._fs.protocol if isinstance(self._fs.protocol, (tuple, list)) else (self._fs.protocol,)
        )
        if _WITHOUT_FOLDERS.isdisjoint(protocols):
            with self._spoken():
                self._fs.makedirs(self._key, exist_ok=True)

    def open(self, mode: str) -> BinaryIO:
        """The file, for reading ("rb"), for writing ("wb"), or for creating it unless it is there ("xb").

        Better than to write by this is ``write_bytes``, which never leaves a part.
        """
        with self._spoken():
            if mode == "rb" and (self.size or _LONG) < _LONG:
                return BytesIO(self._fs.cat_file(self._key))
            file: BinaryIO = self._fs.open(self._key, mode, block_size=_LONG)
            return file

    def read_bytes(self) -> bytes:
        """The whole file."""
        with self._spoken():
            content: bytes = self._fs.cat_file(self._key)
            return content

    def write_bytes(self, content: bytes) -> None:
        """Write the file, in place of one that is there, and make sure that the store has all of it."""
        with self._spoken():
            self._fs.pipe_file(self._key, content)
        self.check_size(len(content))

    def create(self, blocks: Iterator[bytes]) -> None:
        """Create the file, unless it is there.

        :raises OSError: when it is there, or when the store does not take it; which of the two is to be looked up,
            since stores differ in what they say.
        """
        size = 0
        with self._spoken():
            file = self._fs.open(self._key, "xb")
            try:
                for block in blocks:
                    file.write(block)
                    size += len(block)
                file.close()
            except BaseException as error:
                _discard(file)
                if _says_that_it_is_there(error):
                    raise FileExistsError(str(error)) from error
                raise
        self.check_size(size)

    def is_created_by_one_only(self) -> bool:
        """Whether of two who create the file at the same time one fails, and leaves the other's content alone.

        Both open it before either is done, so that a store's client that only looks first is found out.

        :raises OSError: when nothing can be created there at all.
        """
        try:
            with self._spoken():
                first = self._fs.open(self._key, "xb")
        except NotImplementedError:
            return False
        second, is_refused = None, True
        with suppress(Exception):
            second = self._fs.open(self._key, "xb")
        try:
            with self._spoken():
                first.write(b"first")
                first.close()
        except BaseException:
            _discard(first)
            _discard(second)
            raise
        if second:
            try:
                second.write(b"second")
                second.close()
                is_refused = False
            except Exception:
                _discard(second)
        return is_refused and self.read_bytes() == b"first"

    def unlink(self) -> None:
        """Delete the file."""
        with self._spoken():
            self._fs.rm_file(self._key)

    def check_size(self, expected: int, *, or_more: bool = False) -> None:
        """Make sure that the store has so many bytes of the file.

        :param or_more: whether it may have more.
        :raises OSError: when it has not: what was written is not whole.
        """
        with self._spoken():
            self._fs.invalidate_cache()
            found = self._fs.info(self._key).get("size")
        if found is not None and found != expected and not (or_more and found > expected):
            raise StoreFailed(errno.EIO, f"{found} of {expected} bytes were stored", str(self))

    @contextmanager
    def _spoken(self) -> Iterator[None]:
        try:
            yield
        except (StoreFailed, NotImplementedError, *_OF_A_FILE):
            raise
        except ValueError as error:  # what filesystems say to a mode that they do not have
            raise NotImplementedError(str(error)) from error
        except Exception as error:  # such as the errors of Google's, Azure's and Paramiko's clients
            number, words = getattr(error, "errno", None), getattr(error, "strerror", None)
            told = f"{type(error).__name__}: {error}" if number is None else words or str(error)
            raise StoreFailed(number or errno.EIO, told, str(self)) from error


def listed(folder: Any) -> list[Any]:
    """What is in a folder now; nothing where it is not there.

    :param folder: a ``pathlib.Path``, or a ``RemotePath``.
    """
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return []


def modified(path: Path | RemotePath) -> float | None:
    """When a file of a listing was changed last, in seconds since the epoch; None where that cannot be known."""
    return path.stat().st_mtime if isinstance(path, Path) else path.modified


def _seconds(told: object) -> float | None:
    if isinstance(told, str):
        with suppress(ValueError):
            told = datetime.fromisoformat(told)
    if isinstance(told, datetime):
        return (told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp()
    return float(told) if isinstance(told, (int, float)) and told > 0 else None


def _discard(file: Any) -> None:
    """Let nothing be stored of a file that is being written: closed, or merely forgotten, it would be stored after all.

    :param file: that of a filesystem; None where there is none.
    """
    with suppress(Exception):
        file.discard()
    with suppress(Exception):
        file.closed = True


def _says_that_it_is_there(error: BaseException) -> bool:
    """Whether S3 refused an upload because the name is taken: the winner's file may be readable only a moment later."""
    response = getattr(error.__cause__, "response", None)
    return isinstance(response, dict) and response.get("Error", {}).get("Code") == "PreconditionFailed"

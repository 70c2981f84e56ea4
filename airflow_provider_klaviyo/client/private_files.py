"""What the processes of one user keep for each other on a host, where other users may have been first.

Anybody may make a folder in the one for temporary files. Whose it is decides who can read what is in it, and whose
words are believed.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path


class NotPrivate(PermissionError):
    """A folder or a file is not this user's alone; the message says where and what it is instead."""

    def __init__(self, path: Path, fault: str) -> None:
        super().__init__(
            errno.EPERM,
            f"{path} {fault}, so somebody else may have put it there, or can change it. Delete it, or give the tasks "
            "a TMPDIR that their user alone can write to",
        )


def private_folder(folder: Path) -> Path:
    """A folder of this user's own; made if there is none.

    :raises NotPrivate: when it is somebody else's, a link, or others can write to it.
    :raises OSError: when it cannot be made.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _check(folder, stat.S_IFDIR)
    return folder


def open_private(path: str, flags: int) -> int:
    """An opener for ``open``: a file of this user's own in such a folder, made if the flags say so.

    :raises NotPrivate: when it is somebody else's, a link, no plain file, or others can write to it.
    """
    _check(os.path.dirname(path), stat.S_IFDIR)  # noqa: PTH120 - text, since this is done for each request
    with suppress(FileNotFoundError):  # it may be deleted at any moment
        _check(path, stat.S_IFREG)
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


def _check(path: str | Path, kind: int) -> None:
    found = os.lstat(path)
    fault = ""
    if stat.S_ISLNK(found.st_mode):
        fault = "is a link"
    elif stat.S_IFMT(found.st_mode) != kind:
        fault = f"is no {'folder' if kind == stat.S_IFDIR else 'plain file'}"
    elif found.st_uid != os.geteuid():
        fault = (
            f"belongs to the user with the number {found.st_uid}, not to {os.geteuid()}, as whom this runs"
        )
    elif found.st_mode & 0o022:
        fault = "can be written to by other users"
    if fault:
        raise NotPrivate(Path(path), fault)

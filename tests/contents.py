"""What files below ``storage_path`` hold, for tests that look for people in them."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path


def content_of(file: Path) -> bytes:
    """All bytes of a file, those of a packed table as the table has them."""
    content = file.read_bytes()
    line, end, payload = content.partition(b"\n")
    if b'"kind":"snapshot"' not in line or payload.startswith(b"SQLite"):
        return content
    return line + end + zlib.decompress(payload)


def content_of_all(files: Iterable[Path]) -> bytes:
    """The same of many files."""
    return b"".join(map(content_of, files))

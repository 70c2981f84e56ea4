"""The table of a state as the payload of a snapshot: a small one is mostly room to grow, and is written packed."""

from __future__ import annotations

import zlib
from pathlib import Path

_SMALL = 1 << 20
"""Bytes of a table up to which packing it is worth while: of a large one most is hashes, which do not get smaller."""

_TABLE = b"SQLite format 3\0"


def pack(path: Path) -> None:
    """Make a copy of a table smaller, where that is worth while."""
    if path.stat().st_size <= _SMALL:
        path.write_bytes(zlib.compress(path.read_bytes()))


def unpack(path: Path) -> None:
    """Make a table again of what ``pack`` made of one; a table stays as it is."""
    with path.open("rb") as file:
        is_table = file.read(len(_TABLE)) == _TABLE
    if not is_table:
        path.write_bytes(zlib.decompress(path.read_bytes()))

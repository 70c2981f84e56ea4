"""The table of a snapshot, as it is written."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from airflow_provider_klaviyo.state.frozen import pack, unpack


def table(path: Path, rows: int) -> bytes:
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE rows (key INTEGER PRIMARY KEY, text TEXT)")
        database.executemany("INSERT INTO rows VALUES (?, ?)", [(n, f"{n:0200}") for n in range(rows)])
        database.commit()
    return path.read_bytes()


def test_a_small_table_takes_little_room_and_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "table"
    content = table(path, 10)
    pack(path)
    assert path.stat().st_size < len(content) / 5
    unpack(path)
    assert path.read_bytes() == content


def test_a_large_table_and_one_of_a_release_before_stay_as_they_are(tmp_path: Path) -> None:
    large, small = tmp_path / "large", tmp_path / "small"
    contents = table(large, 10_000), table(small, 10)
    pack(large)
    assert large.read_bytes() == contents[0]
    unpack(large)
    unpack(small)
    assert (large.read_bytes(), small.read_bytes()) == contents

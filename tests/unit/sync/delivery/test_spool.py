"""Records that wait on disk."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from airflow_provider_klaviyo.records.record import Record
from airflow_provider_klaviyo.sync.delivery.spool import Spool


def _records(count: int) -> list[Record]:
    return [Record(n, (n, f"person{n}@shop.io"), f"person{n}@shop.io", b"x" * 500) for n in range(count)]


@pytest.mark.parametrize("count", [0, 1, 500, 501, 2_000])
def test_all_records_come_back_in_their_order(tmp_path: Path, count: int) -> None:
    spool = Spool(tmp_path)
    records = _records(count)
    records[:1] = [Record(0, ("half of a character: \ud83d",), "p@shop.io", b"{}")] * min(count, 1)
    loaded = spool.load(spool.keep(records))
    assert [(each.number, tuple(each.row), each.body) for each in loaded] == [
        (each.number, each.row, each.body) for each in records
    ]


def test_records_are_written_without_a_second_copy_of_all_of_them(tmp_path: Path) -> None:
    records = _records(10_000)
    tracemalloc.start()
    try:
        size = Spool(tmp_path).keep(records).stat().st_size
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < size / 5

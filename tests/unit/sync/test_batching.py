"""Records to batches."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_klaviyo.records.record import Record
from airflow_provider_klaviyo.sync.batching import Batcher, BatchLimits


def records(sizes: list[int]) -> list[Record]:
    return [Record(number, (), str(number), b"x" * size) for number, size in enumerate(sizes, 1)]


def batches(sizes: list[int], max_records: int, max_bytes: int, chunk: int = 3) -> list[list[Record]]:
    batcher = Batcher(BatchLimits(max_records, max_bytes))
    given_records = records(sizes)
    for start in range(0, len(sizes), chunk):
        batcher.add(given_records[start : start + chunk])
    batcher.finish()
    return list(batcher.full)


@given(st.lists(st.integers(1, 40), max_size=60), st.integers(1, 9), st.integers(1, 100), st.integers(1, 7))
def test_nothing_is_lost_or_doubled_and_no_limit_is_passed(
    sizes: list[int], max_records: int, max_bytes: int, chunk: int
) -> None:
    made = batches(sizes, max_records, max_bytes, chunk)
    assert [record.number for batch in made for record in batch] == list(range(1, len(sizes) + 1))
    for batch in made:
        body = b",".join(record.body for record in batch)
        assert 0 < len(batch) <= max_records
        assert len(body) <= max_bytes or len(batch) == 1


@given(st.lists(st.integers(1, 40), max_size=60), st.integers(1, 9), st.integers(40, 100))
def test_a_batch_is_closed_only_when_the_next_record_would_burst_it(
    sizes: list[int], max_records: int, max_bytes: int
) -> None:
    made = batches(sizes, max_records, max_bytes)
    for batch, following in pairwise(made):
        grown = len(b",".join(record.body for record in [*batch, following[0]]))
        assert len(batch) == max_records or grown > max_bytes


@pytest.mark.parametrize(("rows", "counts"), [(10_000, [10_000]), (10_001, [10_000, 1]), (1, [1]), (0, [])])
def test_the_count_is_klaviyos(rows: int, counts: list[int]) -> None:
    assert [len(batch) for batch in batches([1] * rows, 10_000, 10**9, 2_000)] == counts

"""So many rows are fetched at once as their width permits."""

from __future__ import annotations

from airflow_provider_klaviyo.sync.source.drivers.fetch_size import FetchSize
from airflow_provider_klaviyo.sync.source.query import Query
from airflow_provider_klaviyo.sync.source.rows import RowStream
from tests.unit.sync.source.test_rows import NUMBERS, Hook

MOST = 2_000


def sizes_of(sql: str) -> list[int]:
    with RowStream(Hook(), Query(sql)) as stream:
        return [len(chunk) for chunk in stream]


def test_narrow_rows_soon_come_in_full_chunks() -> None:
    sizes = sizes_of(NUMBERS.format(20_000))
    assert sum(sizes) == 20_000
    assert len(sizes) <= 20_000 / MOST + 3
    assert max(sizes) == MOST


def test_wide_rows_come_in_small_ones_from_the_first_on() -> None:
    sizes = sizes_of(f"SELECT id, printf('%.*c', 90000, 'x') AS note FROM ({NUMBERS.format(500)})")
    assert sum(sizes) == 500
    assert max(sizes) * 90_000 < 5_000_000


def test_it_follows_rows_that_grow_wider_and_narrower() -> None:
    size = FetchSize(MOST)
    for _ in range(5):
        size.learn([("x" * 10,)] * size.rows)
    assert size.rows == MOST
    size.learn([("x" * 10,)] * 1_000 + [("x" * 90_000,)] * 1_000)
    assert size.rows < 100
    size.learn([("x" * 10_000_000,)])
    assert size.rows == 1
    for _ in range(5):
        size.learn([(1, None)] * size.rows)
    assert size.rows == MOST


def test_a_fetch_may_be_empty_and_a_row_a_mapping_or_have_parts() -> None:
    size = FetchSize(MOST)
    size.learn([])
    size.learn([{"note": ["x" * 1_000_000]}])
    assert size.rows <= 4
    assert FetchSize(7).rows == 7
    assert FetchSize(MOST).at_most(5).rows == 5

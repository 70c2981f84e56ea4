"""Rows in doubt keep their places, which verdicts refer to."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_klaviyo.state.doubts import Doubts
from airflow_provider_klaviyo.state.rows import NOBODY, Sent

ROWS = [Sent(1, 10, 100), Sent(2, 20, 200, "email\0b@shop.io"), Sent(-3, -30, -300)]


def test_what_was_kept_is_there_until_its_verdict(tmp_path: Path) -> None:
    doubts = Doubts(tmp_path)
    doubts.keep(7, ROWS)
    doubts.keep(8, [])
    assert doubts.rows_of(7) == ROWS
    assert doubts.clear(7) == ROWS
    assert doubts.rows_of(8) == []
    with pytest.raises(FileNotFoundError):
        doubts.rows_of(7)


def test_who_is_forgotten_leaves_a_gap_and_no_identifier(tmp_path: Path) -> None:
    doubts = Doubts(tmp_path)
    doubts.keep(7, ROWS)
    doubts.forget(7, {2, 99})
    assert doubts.rows_of(7) == [ROWS[0], NOBODY, ROWS[2]]
    assert not any(b"shop.io" in file.read_bytes() for file in tmp_path.iterdir())

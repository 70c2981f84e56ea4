"""How the counts of a run are told."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_klaviyo.sync.summary import told_counts


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ({}, "0 accepted"),
        ({"rows_read": 2, "accepted": 1, "rejected": 1, "warnings": 1}, "1 accepted, 1 rejected, 1 warning"),
        (
            {"accepted": 1_200, "removed": 3, "pending": 0, "warnings": 2},
            "1,200 accepted, 3 removed, 2 warnings",
        ),
    ],
)
def test_what_is_nothing_is_not_told_and_one_is_one(counts: dict[str, Any], told: str) -> None:
    assert ", ".join(told_counts(counts)) == told

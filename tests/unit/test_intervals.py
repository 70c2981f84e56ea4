"""What is said of a backfill whose runs all read the same."""

from __future__ import annotations

import pytest

from airflow_provider_klaviyo.operators.intervals import same_in_each_run_notice


def test_a_backfill_of_a_query_without_templates_is_told_that_one_run_would_do() -> None:
    assert "one run would do" in same_in_each_run_notice(reads_now=True, is_backfill=True, keeps_state=True)


@pytest.mark.parametrize("missing", ["reads_now", "is_backfill", "keeps_state"])
def test_nothing_is_said_of_others(missing: str) -> None:
    facts = {"reads_now": True, "is_backfill": True, "keeps_state": True, missing: False}
    assert same_in_each_run_notice(**facts) == ""

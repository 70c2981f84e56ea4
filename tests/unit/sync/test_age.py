"""How old a run is beside the state of its sync."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_provider_klaviyo.state.errors import OlderRun
from airflow_provider_klaviyo.state.owner import Task
from airflow_provider_klaviyo.sync.age import check_age, progress_after
from airflow_provider_klaviyo.sync.task_run import TaskRun

RUN = TaskRun(Task("shop", "sync"), "of an old day", due=1_000.0)
RUNS = [{"progress": {"moment": 2_000.0, "run": "yesterday"}}]


def test_a_run_of_an_old_day_is_older_than_the_state() -> None:
    with pytest.raises(OlderRun, match="by the run yesterday"):
        check_age(RUN, RUNS)
    assert progress_after(RUN, RUNS, now=3_000.0, is_success=True) == {
        "moment": 1_000.0,
        "run": "of an old day",
    }


def test_a_run_that_reads_what_there_is_now_never_is() -> None:
    run = replace(RUN, reads_now=True)
    check_age(run, RUNS)
    assert progress_after(run, RUNS, now=3_000.0, is_success=True) == {
        "moment": 3_000.0,
        "run": "of an old day",
    }

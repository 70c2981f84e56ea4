"""What is done again and again beside a run."""

from __future__ import annotations

import logging
import threading

import pytest

from airflow_provider_klaviyo.sync.refresher import Refresher


def test_work_is_done_until_the_end_and_never_after_it() -> None:
    twice, times = threading.Event(), []

    def work() -> None:
        times.append(1)
        if len(times) == 2:
            twice.set()

    refresher = Refresher(work, 0.001)
    refresher.begin()
    refresher.begin()
    assert twice.wait(30)
    refresher.end()
    done = len(times)
    refresher.end()
    refresher.begin()
    assert len(times) == done


def test_the_end_waits_for_what_is_under_way() -> None:
    begun, done = threading.Event(), []

    def work() -> None:
        begun.set()
        threading.Event().wait(0.05)
        done.append(1)

    refresher = Refresher(work, 0.001)
    refresher.begin()
    assert begun.wait(30)
    refresher.end()
    assert done


def test_work_that_fails_is_done_again_and_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    thrice, times = threading.Event(), []

    def work() -> None:
        times.append(1)
        if len(times) == 3:
            thrice.set()
        msg = "no room"
        raise OSError(msg)

    refresher = Refresher(work, 0.001)
    with caplog.at_level(logging.INFO):
        refresher.begin()
        assert thrice.wait(30)
        refresher.end()
    assert [record.getMessage() for record in caplog.records] == [
        "The report could not be refreshed: no room"
    ]


def test_one_that_never_began_ends_at_once() -> None:
    Refresher(lambda: None, 0.001).end()

"""Calls that may hang are given so much time, and end when it is time to stop."""

import threading
from contextvars import ContextVar

import pytest

from airflow_provider_klaviyo.client.bounded import OutOfTime, ToldToStop, call_bounded


@pytest.fixture
def hanging():
    """A call that comes back when the test is over."""
    over = threading.Event()
    yield over.wait
    over.set()


def test_what_a_call_returns_comes_back():
    assert call_bounded(lambda: 7, seconds=10) == 7


def test_what_a_call_raises_is_raised():
    with pytest.raises(ZeroDivisionError):
        call_bounded(lambda: 1 // 0, seconds=10)


def test_what_comes_back_as_an_error_is_no_error():
    error = ValueError("a value")
    assert call_bounded(lambda: error, seconds=10) is error


def test_a_call_that_hangs_is_given_up(hanging):
    with pytest.raises(OutOfTime):
        call_bounded(hanging, seconds=0.05)


def test_a_call_that_hangs_is_given_up_when_told_to_stop(hanging):
    with pytest.raises(ToldToStop):
        call_bounded(hanging, seconds=60, stop=lambda: True)


def test_an_answer_that_comes_within_the_grace_is_taken_although_told_to_stop():
    asked = threading.Event()

    def stop() -> bool:
        asked.set()
        return True

    assert call_bounded(lambda: asked.wait(10) and "answer", seconds=60, stop=stop, grace=10) == "answer"


def test_a_call_sees_the_context_of_its_caller():
    task = ContextVar("task")
    task.set("sync")
    assert call_bounded(task.get, seconds=10) == "sync"


def test_a_call_that_no_thread_can_be_started_for_has_not_begun(monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        msg = "can't start new thread"
        raise RuntimeError(msg)

    monkeypatch.setattr("_thread.start_new_thread", refuse)
    with pytest.raises(BlockingIOError, match="can't start new thread"):
        call_bounded(pytest.fail, seconds=10)

from __future__ import annotations

import queue
import threading

import pytest

from airflow_provider_klaviyo.client.config import KlaviyoConfig
from airflow_provider_klaviyo.client.endpoints import UNSUBSCRIBE
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.client.rate_limit import MemoryWindows, RateLimiter
from airflow_provider_klaviyo.exceptions import (
    KlaviyoError,
    KlaviyoPermissionError,
    KlaviyoServerError,
    KlaviyoStopped,
)
from airflow_provider_klaviyo.sync.subscriptions.one_at_first import OneAtFirst

ENOUGH = 20.0
"""Seconds to wait for what is to happen at once."""


class Sender:
    """Somebody who enters from a thread of their own; ``came`` tells of that, or why it was not to be."""

    def __init__(self, gate: OneAtFirst) -> None:
        self.came: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._gate = gate
        self._leaves = threading.Event()
        self._failure: KlaviyoError | None = None
        self._thread = threading.Thread(target=self._send, daemon=True)
        self._thread.start()

    def _send(self) -> None:
        try:
            with self._gate.entered() as attempt:
                self.came.put("entered")
                self._leaves.wait(ENOUGH)
                attempt.failure = self._failure
        except KlaviyoStopped as error:
            self.came.put(error)

    def leave(self, failure: KlaviyoError | None = None) -> None:
        self._failure = failure
        self._leaves.set()
        self._thread.join(ENOUGH)


@pytest.fixture
def client() -> KlaviyoClient:
    limiter = RateLimiter(MemoryWindows(), account="a")
    return KlaviyoClient(KlaviyoConfig(api_key="pk_0"), limiter)


@pytest.fixture
def gate(client: KlaviyoClient) -> OneAtFirst:
    return OneAtFirst(client, UNSUBSCRIBE)


@pytest.fixture
def first(gate: OneAtFirst) -> Sender:
    sender = Sender(gate)
    assert sender.came.get(timeout=ENOUGH) == "entered"
    return sender


def is_waiting(sender: Sender) -> bool:
    try:
        sender.came.get(timeout=0.1)
    except queue.Empty:
        return True
    return False


@pytest.mark.parametrize(
    "failure", [None, KlaviyoServerError("HTTP 503")], ids=["answered", "to be repeated"]
)
def test_the_next_one_enters_when_the_first_has_left(
    gate: OneAtFirst, first: Sender, failure: KlaviyoError | None
) -> None:
    second = Sender(gate)
    assert is_waiting(second)
    first.leave(failure)
    assert second.came.get(timeout=ENOUGH) == "entered"


def test_nobody_enters_after_a_failure_that_ends_the_run(
    gate: OneAtFirst, first: Sender, client: KlaviyoClient
) -> None:
    second = Sender(gate)
    first.leave(KlaviyoPermissionError("HTTP 403"))
    assert is_waiting(second)
    client.cancel()
    assert isinstance(second.came.get(timeout=ENOUGH), KlaviyoStopped)


def test_all_enter_when_one_was_answered(gate: OneAtFirst, first: Sender, client: KlaviyoClient) -> None:
    others = [Sender(gate) for _ in range(3)]
    with client.pace(UNSUBSCRIBE).request():
        pass
    first.leave()
    assert [each.came.get(timeout=ENOUGH) for each in others] == ["entered"] * 3

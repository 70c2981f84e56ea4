"""Queries that mark what they read, as an outbox is emptied: refused, or kept only when the run ended well."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator
from tests.integration.conftest import Run, Shop, StartEmulator, Sync

pytestmark = pytest.mark.integration

OUTBOX = "UPDATE customers SET tier = 'sent' WHERE tier = 'new' RETURNING email"

Empty = Callable[..., Run]


@pytest.fixture
def outbox(shop: Shop) -> Shop:
    shop.fill([(n, f"p{n}@shop.io", None, None, "new") for n in range(3)])
    return shop


@pytest.fixture
def empty(sync: Sync, outbox: Shop) -> Empty:
    """Empty the outbox into Klaviyo."""

    def run(**parameters: Any) -> Run:
        return sync(**({"sql": OUTBOX, "mapping": {"email": "email"}, "read_only": False} | parameters))

    return run


def test_a_query_that_writes_fails_before_anything_is_sent(klaviyo: Emulator, empty: Empty) -> None:
    run = empty(read_only=True)
    assert type(run.error).__name__ == "AirflowFailException"
    assert "does more than read" in str(run.error)
    assert "read_only=False" in run.report["error"]
    assert run.counts() == {}
    assert klaviyo.requests() == []


@pytest.mark.parametrize("read_only", [False, "false"])
def test_a_query_that_may_write_gives_each_row_once(
    klaviyo: Emulator, empty: Empty, read_only: object
) -> None:
    assert empty(read_only=read_only).counts() == {"rows_read": 3, "accepted": 3}
    assert empty(read_only=read_only).counts() == {}
    assert klaviyo.count() == 3


def test_a_preview_undoes_what_the_query_writes(klaviyo: Emulator, empty: Empty) -> None:
    assert empty(preview=True).counts() == {"rows_read": 3, "accepted": 3}
    assert empty().counts() == {"rows_read": 3, "accepted": 3}


def test_a_run_with_too_many_rejects_undoes_what_the_query_writes(
    klaviyo: Emulator, empty: Empty, outbox: Shop
) -> None:
    outbox.fill([(4, "nobody", None, None, "new")])
    assert "max_rejected" in str(empty().error)
    assert empty(max_rejected=1).counts() == {"rows_read": 4, "accepted": 3, "rejected": 1}
    assert empty().counts() == {}


def test_a_run_that_klaviyo_fails_undoes_what_the_query_writes(
    start_emulator: StartEmulator, empty: Empty
) -> None:
    start_emulator(key="pk_of_another_account")
    assert empty().counts() == {"rows_read": 3, "pending": 3}
    start_emulator()
    assert empty().counts() == {"rows_read": 3, "accepted": 3}


def test_a_run_that_does_not_wait_keeps_what_the_query_wrote(klaviyo: Emulator, empty: Empty) -> None:
    assert empty(wait_for_completion=False).counts() == {"rows_read": 3, "pending": 3}
    assert empty().counts() == {}

"""Requests whose outcome is awaited share entries of the state, and each is withdrawn, or stays in doubt, by itself."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_klaviyo.records.subscriptions.mapping import UNSUBSCRIBE
from airflow_provider_klaviyo.records.subscriptions.record import Address, SubscriptionRecord
from airflow_provider_klaviyo.state.ledger import Ledger
from airflow_provider_klaviyo.state.opening import open_ledger
from airflow_provider_klaviyo.state.stores import store_of
from airflow_provider_klaviyo.sync.subscriptions.asked import Asked, AskedPeople
from airflow_provider_klaviyo.workers import side_by_side

NOW = 1_795_000_000
TARGET = {"state_key": "test", "sync type": "subscriptions"}
EMAILS = [f"p{number}@shop.io" for number in range(12)]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    (tmp_path / "scratch").mkdir()
    store = store_of(tmp_path / "log")
    opened = open_ledger(store, tmp_path / "scratch", TARGET, writer="test", now=lambda: 0.0)
    yield opened
    opened.close()


def person(email: str) -> SubscriptionRecord:
    identifiers = {"email": email}
    return SubscriptionRecord(
        1, (email,), email, b"", mode=UNSUBSCRIBE, channels=("email",), identifiers=identifiers
    )


def in_doubt(asked: AskedPeople) -> list[str]:
    found = asked.asked_at([Address("email", email) for email in EMAILS])
    assert set(found.values()) <= {Asked(NOW, is_answered=False)}
    return sorted(address.value for address in found)


def test_of_requests_that_share_an_entry_only_those_withdrawn_may_be_sent_again(
    ledger: Ledger, tmp_path: Path
) -> None:
    asked = AskedPeople(ledger, now=lambda: NOW, remembers=True, keeps_rows=False, is_outcome_awaited=True)
    entries = len(list((tmp_path / "log").iterdir()))
    all_are_there = threading.Barrier(len(EMAILS))

    def ask(email: str) -> int:
        all_are_there.wait()
        ticket = asked.mark_in_doubt([person(email)])
        assert email in in_doubt(asked)  # before its request leaves
        return ticket

    tickets = side_by_side(ask, EMAILS)
    assert len(list((tmp_path / "log").iterdir())) <= entries + len(EMAILS)

    for ticket in tickets[:4]:
        asked.withdraw(ticket)
    for ticket in tickets[4:]:
        asked.keep_in_doubt(ticket)
    assert in_doubt(asked) == sorted(EMAILS[4:])

    asked.withdraw(tickets[5])
    assert in_doubt(asked) == sorted(EMAILS[4:])

    asked.forget([Address("email", email) for email in EMAILS[4:8]])
    assert in_doubt(asked) == sorted(EMAILS[8:])

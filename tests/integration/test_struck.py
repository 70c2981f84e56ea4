"""Wherever a timeout breaks in, every row has its line and nothing leaves after it, whatever is synced.

Consent keeps its rules: nobody is asked twice, by the next try either, and nobody is unsubscribed by accident.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred

from airflow_provider_klaviyo.emulator import Emulator
from airflow_provider_klaviyo.operators.events import KlaviyoSyncEventsOperator
from airflow_provider_klaviyo.operators.profiles import KlaviyoSyncProfilesOperator
from airflow_provider_klaviyo.operators.subscriptions import KlaviyoSyncSubscriptionsOperator
from tests.integration.conftest import Run, Shop, StartEmulator
from tests.integration.struck import check, run_struck
from tests.striking import Strike, let_go, strikes, wait_for_workers

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # what nobody closes then
]

Work = Callable[[Strike, int], Run]
"""A run that is struck, with a number of its own."""


@pytest.fixture
def klaviyo(start_emulator: StartEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", str(tmp_path / "storage"))
    return start_emulator(rate_limits="off", subscription_seconds=0.0, toggle_seconds=0.0)


@pytest.fixture
def people(shop: Shop) -> Callable[[int], str]:
    """The query for people whom no other run knows, one of them without an address."""
    shop.fill_with_people(8)
    return lambda number: (
        f"SELECT id, CASE id WHEN 3 THEN 'nobody' ELSE 'p' || id || '.{number}@shop.io' END AS email, "
        f"'{number}-' || id AS number, strftime('%Y-%m-%dT%H:%M:%SZ', 'now') AS time FROM customers ORDER BY id"
    )


def strike_everywhere(
    klaviyo: Emulator, work: Work, seed: int, after: Callable[[int], None], sample: int = 40
) -> None:
    """Strike a run at each place of an undisturbed one, or a sample of them.

    :param after: looks at what a run has left, by its number.
    :param sample: how many places.
    """
    undisturbed = Strike()
    first = work(undisturbed, 0)
    assert isinstance(first.error, TaskDeferred) or first.summary["accepted"], repr(first.error)
    wrong = {}
    for place in strikes(undisturbed.places, seed=seed, sample=sample):
        before = len(klaviyo.requests())
        outcome = work(Strike(place), place)
        sent = len(klaviyo.requests())
        try:
            check(outcome, asked=sent - before)
            wait_for_workers()
            assert len(klaviyo.requests()) == sent, "a request left after the end"
            after(place)
        except AssertionError as error:
            wrong[undisturbed.places[place - 1]] = str(error).partition("\n")[0]
    del outcome
    let_go()
    assert wrong == {}


def settings(sql: str) -> dict[str, Any]:
    return {
        "sql": sql,
        "sql_conn_id": "shop",
        "poll_interval": 0.05,
        "timeout": 60,
        "max_rejected": 1.0,
    }


def test_events(klaviyo: Emulator, people: Callable[[int], str]) -> None:
    def work(strike: Strike, number: int) -> Run:
        mapping = {"profile.email": "email", "time": "time", "unique_id": "number"}
        operator = KlaviyoSyncEventsOperator(
            task_id="events", metric="Ordered", mapping=mapping, **settings(people(number))
        )
        return run_struck(operator, strike, str(number))

    strike_everywhere(klaviyo, work, 3, lambda _: None)


@pytest.mark.parametrize("mode", ["subscribe", "unsubscribe"])
def test_consent(klaviyo: Emulator, people: Callable[[int], str], mode: str) -> None:
    lists: dict[int, str] = {}

    def work(strike: Strike, number: int) -> Run:
        if number not in lists:
            known = [{"email": f"p{person}.{number}@shop.io"} for person in range(1, 7)]
            members = klaviyo.add_profiles(known) if mode == "unsubscribe" else []
            lists[number] = klaviyo.add_list(f"List {number}", members, opt_in_process="double_opt_in")
        operator = KlaviyoSyncSubscriptionsOperator(
            task_id="consent",
            mode=mode,
            list_id=lists[number],
            mapping={"email": "email"},
            state_key=str(number),
            **settings(people(number)),
        )
        return run_struck(operator, strike, str(number))

    def after(number: int) -> None:
        again = work(Strike(), number)
        assert again.error is None, repr(again.error)
        assert max(klaviyo.confirmations().values(), default=0) <= 1, "somebody was asked twice"
        assert klaviyo.incidents() == []
        assert set(klaviyo.accidental_unsubscribes().values()) <= {0}

    strike_everywhere(klaviyo, work, 4, after, sample=25)


def profiles(sql: str) -> KlaviyoSyncProfilesOperator:
    return KlaviyoSyncProfilesOperator(
        task_id="profiles", mapping={"email": "email"}, deferrable=True, defer_after=0, **settings(sql)
    )


def test_a_deferral(klaviyo: Emulator, people: Callable[[int], str]) -> None:
    def work(strike: Strike, number: int) -> Run:
        return run_struck(profiles(people(number)), strike, str(number))

    strike_everywhere(klaviyo, work, 5, lambda _: None)


def test_what_comes_back_from_a_deferral(
    klaviyo: Emulator, people: Callable[[int], str], tmp_path: Path
) -> None:
    operator = profiles(people(0))
    assert isinstance(run_struck(operator, Strike(), "deferred").error, TaskDeferred)
    shutil.copytree(tmp_path / "storage", tmp_path / "base")

    def work(strike: Strike, number: int) -> Run:
        shutil.rmtree(tmp_path / "storage")
        shutil.copytree(tmp_path / "base", tmp_path / "storage")
        return run_struck(operator, strike, "deferred", resumes=True)

    strike_everywhere(klaviyo, work, 6, lambda _: None)

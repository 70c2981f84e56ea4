"""The package is updated over states of format 2: everything in them is known, and the sync goes on."""

from __future__ import annotations

import itertools
import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator
from airflow_provider_klaviyo.identity import Identity
from airflow_provider_klaviyo.operators.subscriptions import KlaviyoSyncSubscriptionsOperator
from airflow_provider_klaviyo.state.keys import person_hash
from airflow_provider_klaviyo.state.ledger import Ledger
from airflow_provider_klaviyo.state.opening import open_ledger
from airflow_provider_klaviyo.state.stores import store_of
from airflow_provider_klaviyo.storage import storage_path
from airflow_provider_klaviyo.sync.storage import Storage
from tests.integration.conftest import Run, StartEmulator, run_operator
from tests.integration.state import states_of_format_2 as before
from tests.integration.state.brought import bring
from tests.integration.state.states_of_format_2 import ADA, BOB, EVE, GUS, IDA, JOE, OTHER_PHONE, PHONE

pytestmark = pytest.mark.integration

STATES = Path(before.__file__).with_suffix("")
SUBSCRIBE = "bulk_subscribe_profiles"

# --- everything a mirror keeps ----------------------------------------------------------------------------------

Open = Callable[..., Ledger]


@pytest.fixture(params=["entries", "snapshot"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Opens a copy of the state anew, as the next run does."""
    folder = tmp_path / "state"
    shutil.copytree(STATES / request.param, folder)
    numbers = itertools.count()
    ledgers: list[Ledger] = []

    def make(**more: bool) -> Ledger:
        scratch = tmp_path / f"scratch-{next(numbers)}"
        scratch.mkdir()
        ledgers.append(
            open_ledger(store_of(folder), scratch, before.TARGET, writer="a run", now=lambda: 0.0, **more)
        )
        return ledgers[-1]

    yield make
    for ledger in ledgers:
        ledger.close()


def statuses(ledger: Ledger) -> dict[int, str]:
    return {key: known.status.name for key, known in sorted(ledger.look_up(range(1, 11)).items())}


KNOWN = {
    1: "STALE",
    2: "IN_DOUBT",
    4: "FAILED",
    5: "IN_DOUBT",
    6: "IN_DOUBT",
    7: "IN_DOUBT",
    8: "STALE",
    9: "IN_DOUBT",
    10: "ACKNOWLEDGED",
}


def test_klaviyos_ids_of_those_who_were_added_are_to_be_read(opened: Open) -> None:
    assert opened().people.ids.unread(9) == [ADA, BOB]


@pytest.mark.parametrize("is_read_only", [True, False])
def test_everything_is_known(opened: Open, is_read_only: bool) -> None:
    ledger = opened(is_read_only=is_read_only)
    assert statuses(ledger) == KNOWN
    assert ledger.meet([1, 10, 2]).acknowledged == {10: 100}
    assert {job.id: [(row.key, row.person) for row in job.rows] for job in ledger.open_jobs} == {
        "job-1": [(5, IDA), (2, BOB)],
        "job-2": [(6, JOE)],
    }
    people = [ADA, BOB, EVE, GUS, IDA, JOE]
    assert ledger.people.identities(people) == {
        person: before.IDENTITIES[person] for person in (ADA, BOB, IDA, JOE)
    }
    assert ledger.shared.owners([PHONE, OTHER_PHONE]) == {PHONE: ADA}
    (run,) = ledger.runs
    assert {name: run[name] for name in before.RUN} == before.RUN


def test_a_refresh_that_was_finished_is_another_ones_beginning(opened: Open) -> None:
    ledger = opened()
    ledger.refresh("monday")
    assert ledger.meet([10]).acknowledged == {}


def test_it_goes_on_where_it_was_left(opened: Open) -> None:
    ledger = opened()
    first, second = ledger.open_jobs
    ledger.settle(first.ticket, failed=[1])
    assert opened().open_jobs == [second]
    ledger = opened()
    ledger.settle(second.ticket)
    ledger.settle(ledger.mark_in_doubt([before_row(7, 71, JOE)], overrules=False))
    ledger.unshare([PHONE])
    known = KNOWN | {2: "FAILED", 5: "ACKNOWLEDGED", 6: "ACKNOWLEDGED", 7: "ACKNOWLEDGED"}
    assert statuses(opened()) == known
    ledger.compact(keep_previous=False)
    ledger = opened()
    assert statuses(ledger) == known
    assert ledger.open_jobs == []
    assert ledger.shared.is_empty()
    ledger.meet([1, 2, 5])
    absent = {each.person for part in ledger.people.absent() for each in part}
    assert absent == {JOE}


def before_row(key: int, fingerprint: int, person: int) -> Any:
    from airflow_provider_klaviyo.state.rows import Sent

    return Sent(key, fingerprint, person, before.IDENTITIES[person])


# --- who was asked ----------------------------------------------------------------------------------------------


@pytest.fixture
def klaviyo(start_emulator: StartEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    before.make_shop(tmp_path / "shop.sqlite")
    monkeypatch.setenv(
        "AIRFLOW_CONN_SHOP", json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "shop.sqlite")})
    )
    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", str(tmp_path / "storage"))
    return start_emulator(subscription_seconds=0.0, rate_limits="off")


@pytest.fixture(params=["asked", "asked_in_snapshot"])
def list_id(request: pytest.FixtureRequest, klaviyo: Emulator) -> str:
    """The list that people were asked for, with the state of those who asked in its place."""
    made = klaviyo.add_list(before.LIST, opt_in_process="double_opt_in")
    folder = Storage(storage_path()).state("shop_to_klaviyo.asked")
    bring(STATES / request.param, folder, b"2", base_URL=klaviyo.url, list=made)
    return made


def ask(**more: Any) -> Run:
    parameters = {"sql": before.SQL.format(5)} | before.CONSENT | more
    return run_operator(KlaviyoSyncSubscriptionsOperator(task_id="asked", **parameters))


def told(run: Run) -> dict[Any, str]:
    return {line["key"]: line["reason"] for line in run.rejects}


def test_nobody_is_asked_a_second_time(klaviyo: Emulator, list_id: str) -> None:
    everybody = {"rows_read": 5, "accepted": 1, "unchanged": 1, "skipped": 3}
    assert ask(preview=True).counts() == everybody
    first = ask()
    assert (first.error, first.counts()) == (None, everybody)
    assert klaviyo.confirmations() == {("p4@shop.io", "email", list_id): 1}
    reasons = told(first)
    assert {number: "may have been asked" in reasons[number] for number in (2, 3, 5)} == {
        2: False,
        3: False,
        5: True,
    }
    assert all(reasons[number].startswith("already_asked: ") for number in (2, 3, 5))
    for _ in range(2):
        assert ask().counts() == {"rows_read": 5, "unchanged": 1, "skipped": 4}
    assert len(klaviyo.requests(SUBSCRIBE)) == 1


def test_when_they_were_asked_is_known(klaviyo: Emulator, list_id: str) -> None:
    run = ask()
    assert "asked for on 2026-11-29" in told(run)[2]
    assert ask(ask_again_after=0).counts() == {"rows_read": 5, "accepted": 4, "unchanged": 1}


def test_a_full_refresh_forgets_rows_and_nobody_who_was_asked(klaviyo: Emulator, list_id: str) -> None:
    run = ask(full_refresh=True, sql=before.SQL.format(3))
    assert run.counts() == {"rows_read": 3, "skipped": 3}
    assert klaviyo.requests(SUBSCRIBE) == []


def test_who_is_forgotten_may_be_asked(klaviyo: Emulator, list_id: str, tmp_path: Path) -> None:
    with closing(held(tmp_path)) as ledger:
        keys = ledger.keys_of_person(person_hash(Identity("email", "p2@shop.io")))
        assert len(keys) == 1
        ledger.forget(keys)
    with sqlite3.connect(tmp_path / "shop.sqlite") as database:
        database.execute("DELETE FROM people WHERE id NOT IN (2, 3)")
    database.close()
    assert ask().counts() == {"rows_read": 2, "accepted": 1, "skipped": 1}


def held(tmp_path: Path) -> Ledger:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return open_ledger(
        store_of(Storage(storage_path()).state("shop_to_klaviyo.asked")),
        scratch,
        None,
        writer="by hand",
        now=lambda: 0.0,
    )

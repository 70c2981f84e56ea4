"""What a full refresh makes of a state that cannot be read, or that is of another target."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_klaviyo.state.errors import StateOfAnotherTarget, StateUnreadable
from airflow_provider_klaviyo.state.ledger import Ledger
from airflow_provider_klaviyo.state.log import StateLog
from airflow_provider_klaviyo.state.opening import open_ledger
from airflow_provider_klaviyo.state.rows import Sent, Status
from airflow_provider_klaviyo.state.stores import store_of

TARGET = {"account": "TEST", "channels": "email"}


def opened(folder: Path, name: str, target: dict[str, str] = TARGET, **options: Any) -> Ledger:
    scratch = folder / name
    scratch.mkdir()
    return open_ledger(store_of(folder / "log"), scratch, target, writer="test", now=lambda: 0.0, **options)


def kept(folder: Path) -> None:
    with closing(opened(folder, "first")) as ledger:
        ledger.settle(ledger.mark_in_doubt([Sent(1, 10, 100), Sent(2, 20, 200)]))
        ledger.compact()


def test_a_snapshot_of_another_release_is_named_and_a_full_refresh_starts_anew(tmp_path: Path) -> None:
    kept(tmp_path)
    old = tmp_path / "old.sqlite"
    with closing(sqlite3.connect(old)) as database:
        database.execute("PRAGMA user_version = 99")
        database.execute("CREATE TABLE rows (key INTEGER)")
    StateLog(store_of(tmp_path / "log"), writer="test", now=lambda: 0.0).append_file(
        "snapshot", {"target": TARGET, "runs": [], "refresh": {}, "open": []}, old
    )
    with pytest.raises(StateUnreadable, match="full_refresh"):
        opened(tmp_path, "second")
    with closing(opened(tmp_path, "third", full_refresh=True)) as ledger:
        assert ledger.is_new
    with closing(opened(tmp_path, "fourth")) as ledger:
        assert ledger.is_new


def test_over_a_change_that_may_be_a_full_refresh_keeps_what_is_remembered(tmp_path: Path) -> None:
    kept(tmp_path)
    both = TARGET | {"channels": "email, sms"}
    with pytest.raises(StateOfAnotherTarget):
        opened(tmp_path, "second", both, may_change=("channels",))
    with closing(opened(tmp_path, "third", both, may_change=("channels",), full_refresh=True)) as ledger:
        assert set(ledger.look_up([1, 2])) == {1, 2}
        assert ledger.meet([1, 2]).acknowledged == {}
    with closing(opened(tmp_path, "fourth", both)) as ledger:
        assert ledger.target == both
    other = both | {"account": "PROD"}
    with closing(opened(tmp_path, "fifth", other, may_change=("channels",), full_refresh=True)) as ledger:
        assert ledger.is_new


def test_a_log_is_not_compacted_while_jobs_are_open(tmp_path: Path) -> None:
    with closing(opened(tmp_path, "first")) as ledger:
        ticket = ledger.mark_in_doubt([Sent(1, 10, 100)])
        ledger.start(ticket, "job")
        for number in range(320):
            ledger.fail([number + 10])
        ledger.record_run({"run": "night", "succeeded": False})
        kinds = {
            entry.kind for entry in StateLog(store_of(tmp_path / "log"), writer="t", now=lambda: 0.0).entries
        }
        assert "snapshot" not in kinds
        ledger.settle(ticket)
        ledger.compact_if_grown()
    kinds = {
        entry.kind for entry in StateLog(store_of(tmp_path / "log"), writer="t", now=lambda: 0.0).entries
    }
    assert kinds == {"snapshot"}


def test_a_state_that_holds_nothing_takes_another_target(tmp_path: Path) -> None:
    with closing(opened(tmp_path, "first")) as ledger:
        ledger.record_run({"run": "night", "succeeded": False})
    other = TARGET | {"account": "PROD"}
    with closing(opened(tmp_path, "looked at", other, is_read_only=True)) as ledger:
        assert ledger.target == other
    with closing(opened(tmp_path, "second", other)) as ledger:
        assert ledger.target == other
        assert len(ledger.runs) == 1, "what happened is still known"
        ledger.mark_in_doubt([Sent(1, 10, 100)])
    with pytest.raises(StateOfAnotherTarget, match="account was PROD and is now TEST"):
        opened(tmp_path, "third")


def test_a_target_that_is_found_on_the_way_is_part_of_the_same_full_refresh(tmp_path: Path) -> None:
    kept(tmp_path)
    there = TARGET | {"list": "L1"}
    with closing(opened(tmp_path, "second", TARGET | {"list": "none yet"}, full_refresh=True)) as ledger:
        ledger.refresh("night")
        ledger.become(there)
        ledger.settle(ledger.mark_in_doubt([Sent(1, 10, 100)]))
    with closing(opened(tmp_path, "retry", there, full_refresh=True)) as ledger:
        ledger.refresh("night")
        assert ledger.meet([1, 2]).acknowledged == {1: 10}


def test_rows_that_were_hashed_anew_are_noted_with_the_run_and_stay_acknowledged(tmp_path: Path) -> None:
    kept(tmp_path)
    with closing(opened(tmp_path, "killed")) as ledger:
        ledger.rehash({1: 11})
    with closing(opened(tmp_path, "second")) as ledger:
        assert ledger.meet([1, 2]).acknowledged == {1: 10, 2: 20}, "until then the old ones serve"
        ledger.rehash({1: 11, 2: 21, 3: 31})
        ledger.invalidate([2])
        ledger.record_run({"run": "night", "succeeded": True})
    with closing(opened(tmp_path, "third")) as ledger:
        met = ledger.meet([1, 2, 3])
        assert (met.acknowledged, met.persons) == ({1: 11}, {1: 100})
        assert not ledger.knows(3)


def test_many_rows_that_were_hashed_anew_take_few_entries(tmp_path: Path) -> None:
    keys = range(1, 120_001)
    with closing(opened(tmp_path, "first")) as ledger:
        ledger.settle(ledger.mark_in_doubt([Sent(key, 1, key) for key in keys]))
        for start in range(0, len(keys), 2_000):
            ledger.rehash(dict.fromkeys(keys[start : start + 2_000], 2))
        ledger.record_run({"run": "night", "succeeded": True})
        assert set(ledger.meet(keys).acknowledged.values()) == {2}
    assert len(list((tmp_path / "log").iterdir())) < 10


def test_a_second_verdict_on_a_ticket_changes_nothing_and_leaves_the_state_readable(tmp_path: Path) -> None:
    """As from a deferred task that comes back when another run has settled its jobs."""
    with closing(opened(tmp_path, "first")) as ledger:
        ticket = ledger.mark_in_doubt([Sent(1, 10, 100), Sent(2, 20, 200)])
        ledger.start(ticket, "J1")
        assert ledger.has_open(ticket, "J1")
        assert not ledger.has_open(ticket, "J2")
        ledger.settle(ticket, failed=[1])
        ledger.settle(ticket, failed=[0, 1])
        assert not ledger.has_open(ticket, "J1")
    with closing(opened(tmp_path, "second")) as ledger:
        assert {key: known.status for key, known in ledger.look_up([1, 2]).items()} == {
            1: Status.ACKNOWLEDGED,
            2: Status.FAILED,
        }

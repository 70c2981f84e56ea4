"""Who was asked is remembered through answers, kills and snapshots, and is found as the person it is."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from airflow_provider_klaviyo.state.asked import Asked
from airflow_provider_klaviyo.state.ledger import Ledger
from airflow_provider_klaviyo.state.opening import open_ledger
from airflow_provider_klaviyo.state.rows import Sent, Status
from airflow_provider_klaviyo.state.stores import store_of
from airflow_provider_klaviyo.state.table import StateTable

Open = Callable[[], Ledger]
ADA, BOB = 11, 12
ADAS_EMAIL, ADAS_PHONE, BOBS_EMAIL = -1, -2, -3
NOW = 1_795_000_000
TARGET = {"state_key": "test", "sync type": "subscriptions"}


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """Opens the state anew, as the next run does."""
    ledgers: list[Ledger] = []
    numbers = itertools.count()

    def make() -> Ledger:
        scratch = tmp_path / f"scratch-{next(numbers)}"
        scratch.mkdir()
        ledgers.append(
            open_ledger(store_of(tmp_path / "log"), scratch, TARGET, writer="test", now=lambda: 0.0)
        )
        return ledgers[-1]

    yield make
    for ledger in ledgers:
        ledger.close()


def known(ledger: Ledger) -> dict[int, Asked]:
    return ledger.asked.look_up([ADAS_EMAIL, ADAS_PHONE, BOBS_EMAIL])


@pytest.mark.parametrize("compacts", [False, True])
def test_what_became_of_a_request_is_known_to_later_runs(opened: Open, compacts: bool) -> None:
    ledger = opened()
    ledger.answer(ledger.ask({ADAS_EMAIL: ADA}, NOW), is_taken=True)
    ledger.answer(ledger.ask({ADAS_PHONE: ADA}, NOW + 1), is_taken=False)
    lost = ledger.ask({BOBS_EMAIL: BOB}, NOW + 2)
    if compacts:
        ledger.compact()
    expected = {
        ADAS_EMAIL: Asked(NOW, Status.ACKNOWLEDGED),
        ADAS_PHONE: Asked(NOW + 1, Status.FAILED),
        BOBS_EMAIL: Asked(NOW + 2, Status.IN_DOUBT),
    }
    assert known(opened()) == expected
    ledger.answer(lost, is_taken=True)
    assert known(opened()) == expected | {BOBS_EMAIL: Asked(NOW + 2, Status.ACKNOWLEDGED)}


def test_a_late_answer_leaves_a_later_doubt(opened: Open) -> None:
    ledger = opened()
    first = ledger.ask({ADAS_EMAIL: ADA, BOBS_EMAIL: BOB}, NOW)
    ledger.ask({ADAS_EMAIL: ADA}, NOW + 60)
    ledger.answer(first, is_taken=False)
    assert known(opened()) == {
        ADAS_EMAIL: Asked(NOW + 60, Status.IN_DOUBT),
        BOBS_EMAIL: Asked(NOW, Status.FAILED),
    }


def test_when_the_outcome_has_shown_asking_is_asking_anew(opened: Open) -> None:
    ledger = opened()
    ledger.answer(ledger.ask({ADAS_EMAIL: ADA}, NOW), is_taken=True)
    assert ledger.has_acknowledged()
    ledger.conclude([ADAS_EMAIL])
    ledger = opened()
    assert known(ledger)[ADAS_EMAIL].status is Status.FAILED
    assert not ledger.has_acknowledged()


def test_a_state_of_people_who_were_asked_is_not_an_empty_one(opened: Open, tmp_path: Path) -> None:
    opened().ask({ADAS_EMAIL: ADA}, NOW)
    ledger = opened()
    assert not ledger.is_new
    assert ledger.counts() == {Status.IN_DOUBT: 1}
    assert not ledger.meet([ADAS_EMAIL]).in_doubt, "an address is not a row"


def test_who_is_forgotten_is_so_with_all_addresses(opened: Open) -> None:
    ledger = opened()
    ledger.ask({ADAS_EMAIL: ADA, ADAS_PHONE: ADA, BOBS_EMAIL: BOB}, NOW)
    ledger.settle(ledger.mark_in_doubt([Sent(1, 10, ADA)]))
    keys = ledger.keys_of_person(ADA)
    assert sorted(keys) == [ADAS_PHONE, ADAS_EMAIL, 1]
    ledger.forget(keys)
    ledger = opened()
    assert known(ledger).keys() == {BOBS_EMAIL}
    assert not ledger.knows(1)


def test_times_among_the_fingerprints_of_rows_are_who_was_asked(tmp_path: Path) -> None:
    with closing(StateTable(tmp_path / "t.sqlite")) as table:
        table.mark([(ADAS_EMAIL, NOW, ADA, None)], Status.ACKNOWLEDGED, 1)
        table.mark([(BOBS_EMAIL, NOW, BOB, None)], Status.IN_DOUBT, 2)
        rows = [(1, 0, ADA, None), (2, -NOW, BOB, None), (3, 1 << 32, BOB, None)]
        table.mark(rows, Status.ACKNOWLEDGED, 3)
        table.asked.take_from_rows()
        assert set(table.look_up([ADAS_EMAIL, BOBS_EMAIL, 1, 2, 3])) == {1, 2, 3}
        assert table.asked.look_up([ADAS_EMAIL, BOBS_EMAIL, 1]) == {
            ADAS_EMAIL: Asked(NOW, Status.ACKNOWLEDGED),
            BOBS_EMAIL: Asked(NOW, Status.IN_DOUBT),
        }


def test_rows_written_by_this_release_are_never_taken_for_who_was_asked(opened: Open) -> None:
    ledger = opened()
    ledger.settle(ledger.mark_in_doubt([Sent(1, NOW, ADA)]))
    assert opened().meet([1]).acknowledged == {1: NOW}


def test_the_log_tells_when_without_saying_who(opened: Open, tmp_path: Path) -> None:
    opened().ask({ADAS_EMAIL: ADA, BOBS_EMAIL: BOB}, NOW)
    last = sorted((tmp_path / "log").iterdir())[-1].read_bytes()
    header = json.loads(last.partition(b" ")[2].partition(b"\n")[0])
    assert (header["kind"], header["facts"]) == ("asking", {"at": NOW, "people": 2})

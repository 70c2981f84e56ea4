"""Whom a sync has put on a list, kept through verdicts, changes of mind, kills and snapshots."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from airflow_provider_klaviyo.state.ledger import Ledger
from airflow_provider_klaviyo.state.opening import open_ledger
from airflow_provider_klaviyo.state.rows import Sent
from airflow_provider_klaviyo.state.stores import store_of
from airflow_provider_klaviyo.state.tracked import Absent
from tests.contents import content_of_all

Open = Callable[..., Ledger]
ADA, BOB, EVE = 11, 12, 13
TO = {ADA: "email\0ada@shop.io", BOB: "email\0bob@shop.io", EVE: "email\0eve@shop.io"}


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """Opens the state anew, as the next run does; what the last one did not write is lost."""
    ledgers: list[Ledger] = []
    numbers = itertools.count()

    def make(**more: bool) -> Ledger:
        scratch = tmp_path / f"scratch-{next(numbers)}"
        scratch.mkdir()
        ledger = open_ledger(
            store_of(tmp_path / "log"), scratch, {"state_key": "test"}, writer="test", now=lambda: 0.0, **more
        )
        ledgers.append(ledger)
        return ledger

    yield make
    for ledger in ledgers:
        ledger.close()


def send(ledger: Ledger, **people: int) -> int:
    """Put rows in doubt: ``k1=ADA`` is the key 1 that names Ada."""
    return ledger.mark_in_doubt(
        [Sent(int(key[1:]), person, person, TO[person]) for key, person in people.items()], overrules=False
    )


def absent(ledger: Ledger) -> list[Absent]:
    return [each for part in ledger.people.absent() for each in part]


@pytest.mark.parametrize("compacts", [False, True])
def test_who_left_the_query_is_absent_also_after_a_snapshot(opened: Open, compacts: bool) -> None:
    ledger = opened()
    ledger.settle(send(ledger, k1=ADA, k2=BOB))
    if compacts:
        ledger.compact()
    ledger = opened()
    ledger.meet([2])
    assert absent(ledger) == [Absent(ADA)]
    assert ledger.people.identities([ADA]) == {ADA: TO[ADA]}
    ledger.remove([ADA])
    ledger = opened()
    ledger.meet([2])
    assert absent(ledger) == []
    assert not ledger.knows(1)


def test_who_was_refused_was_never_put_there_unless_an_earlier_run_did(opened: Open) -> None:
    ledger = opened()
    ledger.settle(send(ledger, k1=ADA))
    ledger.settle(send(ledger, k1=ADA, k2=BOB), failed=[0, 1])
    assert (ledger.people.count(), ledger.people.known_by()) == (1, "email")
    send(ledger, k3=EVE)
    ledger.fail([3])
    assert opened().people.count() == 1


def test_who_is_in_doubt_may_be_on_the_list(opened: Open) -> None:
    send(opened(), k1=ADA)
    assert absent(opened()) == [Absent(ADA)]


@pytest.mark.parametrize("compacts", [False, True])
def test_whom_a_row_named_before_is_held_until_its_new_person_is_acknowledged(
    opened: Open, compacts: bool
) -> None:
    ledger = opened()
    ledger.settle(send(ledger, k1=ADA))
    ledger.meet([1])
    ticket = send(ledger, k1=BOB)
    ledger.start(ticket, "job")
    assert absent(ledger) == [Absent(ADA, (1,))]
    assert ledger.people.replaced([1]) == set()
    if compacts:
        ledger.compact()
    ledger = opened()
    ledger.meet([1])
    ledger.settle(ticket)
    assert ledger.people.replaced([1]) == {1}
    assert absent(ledger) == [Absent(ADA, (1,))]


def test_a_row_that_goes_back_holds_nobody(opened: Open) -> None:
    ledger = opened()
    ledger.settle(send(ledger, k1=ADA))
    ledger.settle(send(ledger, k1=BOB), failed=[0])
    ledger.settle(send(ledger, k1=ADA))
    ledger = opened()
    ledger.meet([1])
    assert absent(ledger) == []


def test_a_row_whose_person_another_row_brought_lets_its_own_go(opened: Open) -> None:
    ledger = opened()
    ledger.settle(send(ledger, k1=ADA, k2=BOB))
    ledger = opened()
    ledger.meet([1, 2])
    ledger.move([Sent(1, 0, BOB), Sent(7, 0, BOB)], is_acknowledged=False)
    assert absent(ledger) == [Absent(ADA, (1,))]
    assert ledger.people.replaced([1]) == {1}


def test_a_row_that_was_never_sent_stands_for_its_person_also_when_it_is_bad_one_day(opened: Open) -> None:
    ledger = opened()
    ledger.settle(send(ledger, k1=ADA))
    ledger.move([Sent(7, 0, ADA)], is_acknowledged=False)
    assert ledger.meet([7]).acknowledged == {}
    ledger = opened()
    ledger.meet([1, 7])
    ledger.settle(send(ledger, k1=BOB))
    assert absent(ledger) == []


def test_who_was_sent_since_an_entry_is_told_by_the_identifier(opened: Open) -> None:
    ledger = opened()
    ledger.settle(send(ledger, k1=ADA))
    before = ledger.people.newest()
    ledger.settle(send(ledger, k2=BOB))
    ledger = opened()
    assert list(ledger.people.sent_since(before)) == [[TO[BOB]]]
    assert list(ledger.people.sent_since(ledger.people.newest())) == []


def test_named_people_stay(opened: Open) -> None:
    ledger = opened()
    ledger.settle(send(ledger, k1=ADA, k2=BOB))
    ledger = opened()
    ledger.people.name([ADA])
    assert absent(ledger) == [Absent(BOB)]


def test_who_is_leaving_counts_as_new_when_coming_back(opened: Open) -> None:
    ledger = opened()
    ledger.settle(send(ledger, k1=ADA))
    ledger.leave([ADA], "monday")
    ledger = opened()
    assert ledger.meet([1]).acknowledged == {}
    assert absent(ledger) == []


def test_a_restart_knows_nobody(opened: Open) -> None:
    ledger = opened()
    ledger.settle(send(ledger, k1=ADA))
    ledger.restart()
    assert (ledger.people.count(), ledger.is_new) == (0, True)
    assert opened().is_new


def test_a_preview_writes_nothing(opened: Open) -> None:
    ledger = opened()
    ledger.settle(send(ledger, k1=ADA))
    rehearsal = opened(is_read_only=True)
    rehearsal.settle(send(rehearsal, k1=BOB))
    rehearsal.meet([1])
    assert absent(rehearsal) == [Absent(ADA, (1,))]
    assert opened().meet([1]).acknowledged == {1: ADA}


def test_a_person_who_is_forgotten_leaves_no_identifier(opened: Open, tmp_path: Path) -> None:
    ledger = opened()
    ledger.settle(send(ledger, k1=ADA, k2=EVE))
    ledger.settle(send(ledger, k1=BOB))
    ledger.forget([], [ADA])
    ledger.forget([2])
    content = content_of_all((tmp_path / "log").iterdir())
    assert b"bob@" in content
    assert b"ada@" not in content
    assert b"eve@" not in content


# --- Klaviyo's ids ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compacts", [False, True])
def test_ids_are_kept_of_those_who_were_put_on_the_list_until_they_leave(
    opened: Open, compacts: bool
) -> None:
    ledger = opened()
    ledger.settle(send(ledger, k1=ADA, k2=BOB, k3=EVE), failed=[2])
    assert ledger.people.ids.unread(9) == [ADA, BOB]
    ledger.identify({ADA: ["P1", "P2"], BOB: [], EVE: ["P3"]})
    if compacts:
        ledger.compact()
    ledger = opened()
    assert ledger.people.ids.of([ADA, BOB, EVE]) == {ADA: {"P1", "P2"}}
    assert ledger.people.ids.persons("P2") == [ADA]
    assert ledger.people.ids.unread(9) == [BOB]
    ledger.remove([ADA])
    assert opened().people.ids.of([ADA]) == {}


def test_who_was_asked_for_least_often_is_asked_for_first_and_nobody_for_ever(opened: Open) -> None:
    ledger = opened()
    ledger.settle(send(ledger, k1=ADA, k2=BOB))
    ledger.identify({ADA: []})
    assert ledger.people.ids.unread(1) == [BOB]
    ledger.identify({ADA: []})
    ledger.identify({ADA: []})
    assert (opened().people.ids.unread(9), opened().people.ids.count_unread()) == ([BOB], 1)


def test_who_is_added_again_may_have_another_profile_as_well(opened: Open) -> None:
    ledger = opened()
    ledger.settle(send(ledger, k1=ADA))
    ledger.identify({ADA: ["P1"]})
    ledger.settle(send(ledger, k1=ADA))
    assert ledger.people.ids.unread(9) == [ADA]
    ledger.identify({ADA: ["P2"]})
    assert opened().people.ids.of([ADA]) == {ADA: {"P1", "P2"}}


def test_who_is_added_again_is_asked_for_as_often_as_before(opened: Open) -> None:
    ledger = opened()
    ledger.settle(send(ledger, k1=ADA))
    for _ in range(2):
        ledger.identify({ADA: []})
    ledger.settle(send(ledger, k1=ADA))
    for _ in range(2):
        ledger.identify({ADA: []})
    assert opened().people.ids.unread(9) == [ADA]


def test_who_is_known_by_klaviyos_id_has_no_other(opened: Open) -> None:
    ledger = opened()
    ledger.settle(ledger.mark_in_doubt([Sent(1, 1, ADA, "klaviyo_id\0P1")], overrules=False))
    assert ledger.people.ids.unread(9) == []


def test_a_snapshot_of_a_release_that_read_no_ids_has_all_of_them_read(opened: Open, tmp_path: Path) -> None:
    ledger = opened()
    ledger.settle(send(ledger, k1=ADA))
    send(ledger, k2=BOB)
    for table in ("profiles", "unread"):
        ledger._table._database.execute(f"DROP TABLE {table}")
    ledger.compact()
    assert opened().people.ids.unread(9) == [ADA]


def test_a_restart_and_the_right_to_be_forgotten_leave_no_ids(opened: Open, tmp_path: Path) -> None:
    ledger = opened()
    ledger.settle(send(ledger, k1=ADA, k2=BOB))
    ledger.identify({ADA: ["P-ADA"], BOB: ["P-BOB"]})
    ledger.forget([], [ADA])
    content = content_of_all((tmp_path / "log").iterdir())
    assert (b"P-ADA" in content, b"P-BOB" in content) == (False, True)
    ledger.restart()
    assert ledger.people.ids.of([BOB]) == {}

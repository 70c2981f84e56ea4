"""Two syncs that may not both send something about one person: every order in which their steps can come."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airflow_provider_klaviyo.client.config import KlaviyoConfig
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.client.rate_limit import MemoryWindows, RateLimiter
from airflow_provider_klaviyo.exceptions import KlaviyoRetryableError
from airflow_provider_klaviyo.state.errors import StateUnreadable
from airflow_provider_klaviyo.state.notes import Note, NoteFolder, forget_in_notes
from airflow_provider_klaviyo.state.stores import DiskStore, store_of
from airflow_provider_klaviyo.sync.in_flight.index import NoteIndex
from airflow_provider_klaviyo.sync.in_flight.notes import OUTSTANDING, REMOVAL, UNSUBSCRIPTION, InFlight
from tests.unit.client.conftest import FakeClock

ADA, BOB, EVE = (1, 11), (2, 22), (3, 33)

Make = Callable[..., InFlight]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def client(clock: FakeClock) -> Iterator[KlaviyoClient]:
    config = KlaviyoConfig("pk_test", base_url="http://127.0.0.1:1")
    with KlaviyoClient(
        config, RateLimiter(MemoryWindows(), account="test", clock=clock), clock=clock
    ) as made:
        yield made


@pytest.fixture
def sync(client: KlaviyoClient, tmp_path: Path) -> Iterator[Make]:
    """What a sync has of the notes about one list."""
    made: list[InFlight] = []
    (tmp_path / "scratch").mkdir()

    def make(
        by: str = "crm.leave", account: str = "EmuLtr", folder: Path | None = None, **more: Any
    ) -> InFlight:
        index = NoteIndex(tmp_path / "scratch")
        made.append(
            InFlight(
                client, NoteFolder(store_of(folder or tmp_path / "L1")), index, account=account, by=by, **more
            )
        )
        return made[-1]

    yield make
    for each in made:
        each.close()


class Stage:
    """Lets threads take their steps in a given order; when that is at its end, as they like.

    A step is a look at the folder, the writing of a note, and the sending.
    """

    def __init__(self, order: Sequence[str]) -> None:
        self._order = list(order)
        self._here: set[str] = set()
        self._change = threading.Condition()

    def step(self) -> None:
        me = threading.current_thread().name
        with self._change:
            self._change.wait_for(lambda: not self._order or self._order[0] == me, timeout=10)
            if self._order:
                self._order.pop(0)
            self._change.notify_all()

    def leave(self) -> None:
        """A thread that has ended has no more steps."""
        me = threading.current_thread().name
        with self._change:
            self._order = [each for each in self._order if each != me]
            self._change.notify_all()

    def stepping(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def after_its_turn(*arguments: Any) -> Any:
            self.step()
            return function(*arguments)

        return after_its_turn


STEPS = 4
ORDERS = sorted(set(itertools.permutations("A" * STEPS + "B" * STEPS)))


@pytest.mark.parametrize(
    ("first", "second"),
    [(UNSUBSCRIPTION, REMOVAL), (UNSUBSCRIPTION, UNSUBSCRIPTION)],
    ids=["a removal", "another unsubscription"],
)
def test_of_two_at_the_same_moment_at_most_one_goes_on_in_whatever_order_they_come(
    sync: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str, second: str
) -> None:
    look, write = DiskStore.names, DiskStore.create
    for number, order in enumerate(ORDERS):
        stage, went_on = Stage(order), dict.fromkeys("AB", frozenset[Any]())
        monkeypatch.setattr(DiskStore, "names", stage.stepping(look))
        monkeypatch.setattr(DiskStore, "create", stage.stepping(write))

        def claim(kind: str, people: Sequence[Any], number: int = number, stage: Stage = stage) -> None:
            try:
                claim = sync(folder=tmp_path / f"L{number}").claim(kind, people)
                stage.step()
                went_on[threading.current_thread().name] = frozenset(  # noqa: B023 - joined below
                    who for place, who in enumerate(people) if place not in claim.held
                )
            finally:
                stage.leave()

        work = {"A": (first, [ADA, BOB]), "B": (second, [BOB, EVE])}
        threads = [threading.Thread(target=claim, args=each, name=name) for name, each in work.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)

        assert not went_on["A"] & went_on["B"], f"both went on with Bob: {order}"
        assert ADA in went_on["A"], f"nobody else has Ada: {order}"
        assert EVE in went_on["B"], f"nobody else has Eve: {order}"
    assert len(ORDERS) == 70


def test_two_removals_do_not_mind_each_other(sync: Make) -> None:
    assert not sync().claim(REMOVAL, [ADA]).held
    assert not sync().claim(REMOVAL, [ADA]).held


def test_the_reason_says_who_what_and_until_when(sync: Make) -> None:
    sync("crm.leave").claim(UNSUBSCRIPTION, [ADA])
    (reason,) = sync("crm.mirror").claim(REMOVAL, [ADA]).held.values()
    assert (
        "crm.leave has asked for this person to be unsubscribed from this list, at 13:46 UTC on 1970-01-12"
        in reason
    )
    assert "until 13:46 UTC on 1970-01-13 at the latest" in reason


def test_anybody_who_shares_an_identifier_is_the_same_person(sync: Make) -> None:
    sync().claim(UNSUBSCRIPTION, [ADA, BOB])
    assert set(sync().held([(22,), (5,), (11, 7)])) == {0, 2}


def test_a_removal_counts_for_minutes_and_an_unsubscription_for_a_day(sync: Make, clock: FakeClock) -> None:
    sync().claim(REMOVAL, [ADA])
    sync().claim(UNSUBSCRIPTION, [BOB])
    other = sync()
    assert set(other.claim(UNSUBSCRIPTION, [ADA, BOB]).held) == {0, 1}
    clock.time += 300
    assert set(other.claim(UNSUBSCRIPTION, [ADA, BOB]).held) == {1}
    clock.time += OUTSTANDING
    assert not other.claim(UNSUBSCRIPTION, [ADA, BOB]).held


def test_notes_that_do_not_count_any_more_are_deleted_unread(
    sync: Make, clock: FakeClock, tmp_path: Path
) -> None:
    sync().claim(UNSUBSCRIPTION, [ADA])
    (note,) = (tmp_path / "L1").iterdir()
    note.write_bytes(b"9 of another release")
    clock.time += OUTSTANDING + 2
    sync().claim(UNSUBSCRIPTION, [BOB])
    assert not note.exists()


def test_what_is_withdrawn_or_over_holds_nobody(sync: Make) -> None:
    one, other = sync(), sync()
    note = one.claim(UNSUBSCRIPTION, [ADA]).note
    assert other.held([ADA])
    one.withdraw(note or "")
    assert not other.held([ADA])
    one.keep(one.claim(UNSUBSCRIPTION, [ADA, BOB]).note or "")
    assert set(other.held([ADA, BOB])) == {0, 1}
    one.clear([11])
    one.tidy()
    assert set(other.held([ADA, BOB])) == {1}
    other.clear([2])
    assert not sync().held([ADA, BOB])


def test_another_sync_may_see_that_it_is_over_and_others_in_the_note_stay_in_it(sync: Make) -> None:
    sync("dead.task").claim(UNSUBSCRIPTION, [ADA, BOB])
    witness = sync()
    witness.clear([1])
    witness.tidy()
    found = sync().held([ADA, BOB])
    assert set(found) == {1}
    assert "dead.task" in found[1]
    assert set(witness.held([ADA, BOB])) == {1}


@pytest.mark.parametrize(("mine", "held"), [("EmuLtr", 1), ("", 1), ("OtherA", 0)])
def test_notes_of_another_account_are_of_no_concern(sync: Make, mine: str, held: int) -> None:
    sync(account="EmuLtr").claim(UNSUBSCRIPTION, [ADA])
    assert len(sync(account=mine).held([ADA])) == held


def test_a_preview_looks_and_leaves_everything_as_it_is(sync: Make, clock: FakeClock, tmp_path: Path) -> None:
    sync().claim(UNSUBSCRIPTION, [ADA])
    preview = sync(is_preview=True)
    claim = preview.claim(REMOVAL, [ADA, BOB])
    assert (claim.note, set(claim.held)) == (None, {0})
    clock.time += OUTSTANDING + 2
    assert not preview.claim(REMOVAL, [ADA]).held
    preview.clear([1])
    assert len(list((tmp_path / "L1").iterdir())) == 1


def test_storage_that_is_too_slow_to_tell_in_time_sends_nothing(
    sync: Make, clock: FakeClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = DiskStore.create

    def slowly(*arguments: Any) -> bool:
        clock.time += 100
        return write(*arguments)

    monkeypatch.setattr(DiskStore, "create", slowly)
    with pytest.raises(KlaviyoRetryableError, match="storage_path is too slow"):
        sync().claim(UNSUBSCRIPTION, [ADA])
    assert list((tmp_path / "L1").iterdir()) == []


# --- notes ----------------------------------------------------------------------------------------------------------


def note(*people: Any) -> Note:
    return Note(kind=UNSUBSCRIPTION, account="", by="crm.leave", at=1.0, until=9e9, people=list(people))


def test_a_note_that_was_not_written_to_its_end_does_not_count_and_one_of_another_release_stops_the_run(
    tmp_path: Path,
) -> None:
    folder = NoteFolder(store_of(tmp_path))
    name = folder.write(note(ADA, BOB))
    whole = (tmp_path / name).read_bytes()
    for size in range(len(whole)):
        (tmp_path / name).write_bytes(whole[:size])
        assert folder.read(name) is None, size
    (tmp_path / name).write_bytes(whole)
    assert folder.read(name) == note(ADA, BOB)
    (tmp_path / name).write_bytes(b"2 " + whole[2:])
    with pytest.raises(StateUnreadable, match="has format 2"):
        folder.read(name)
    assert folder.read("gone") is None


def test_other_files_of_the_folder_are_left_alone(tmp_path: Path) -> None:
    folder = NoteFolder(store_of(tmp_path))
    for name in (".0a1b.draft", "readme.note", "1.txt", "12.unsubscription.note.txt"):
        (tmp_path / name).touch()
    name = folder.write(note(ADA))
    assert [each.name for each in folder] == [name]


def test_a_person_is_forgotten_in_the_notes_of_all_lists(tmp_path: Path) -> None:
    one, two = NoteFolder(store_of(tmp_path / "L1")), NoteFolder(store_of(tmp_path / "L2"))
    one.write(note(ADA, BOB))
    two.write(note(ADA))
    two.write(msgspec.structs.replace(note(EVE), until=5.0))
    assert forget_in_notes(tmp_path, [11], dead_before=6.0, unread=never) == 2
    assert [read.people for each in one if (read := one.read(each.name))] == [[BOB]]
    assert list(two) == [], "also what does not count any more"
    assert forget_in_notes(tmp_path / "nowhere", [11], dead_before=0.0, unread=never) == 0


def never(what: object, why: object) -> None:
    pytest.fail(f"{what} was not read: {why}")

"""Unsubscribed from a list, and a moment later taken off it: Klaviyo would unsubscribe these people from everything."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_klaviyo.cli.program import main
from airflow_provider_klaviyo.client.http import HttpTransport
from airflow_provider_klaviyo.emulator import Emulator, Fault
from airflow_provider_klaviyo.identity import Identity
from airflow_provider_klaviyo.operators.lists import KlaviyoSyncListOperator
from airflow_provider_klaviyo.state.keys import person_hash
from airflow_provider_klaviyo.state.notes import NoteFolder
from airflow_provider_klaviyo.state.stores import store_of
from airflow_provider_klaviyo.sync.in_flight import notes as in_flight
from airflow_provider_klaviyo.sync.subscriptions import terms, unsubscribe
from airflow_provider_klaviyo.sync.subscriptions.delivery import ConsentDelivery
from tests.integration.conftest import Run, ShiftedClock, hook_by, run_operator
from tests.integration.subscriptions.conftest import (
    BOTH,
    UNSUBSCRIBE,
    ConsentSync,
    KlaviyosClock,
    People,
    email_of,
    phone_of,
    reasons,
    writes,
)

pytestmark = pytest.mark.integration

COUNT = 5
SOON = 60.0
DAY = 86_400.0


class Club:
    """People who are subscribed to everything, and on a list."""

    def __init__(self, klaviyo: Emulator, consent_sync: ConsentSync) -> None:
        self.klaviyo = klaviyo
        self.ids = klaviyo.add_profiles(
            [
                {"email": email_of(n), "phone_number": phone_of(n), "external_id": f"c{n}"}
                for n in range(1, COUNT + 1)
            ]
        )
        for each in self.ids:
            klaviyo.set_consent(each, "email", "SUBSCRIBED")
            klaviyo.set_consent(each, "sms", "SUBSCRIBED")
        self.list_id = klaviyo.add_list("Club", self.ids)
        self._consent_sync = consent_sync
        self.clock = ShiftedClock()
        """That of the host on which the next sync runs."""

    def unsubscribe(self, **parameters: Any) -> Run:
        return self._consent_sync(
            **({"mode": "unsubscribe", "list_id": self.list_id, "clock": self.clock} | parameters)
        )

    def ask(self, **parameters: Any) -> None:
        """Ask Klaviyo to unsubscribe everybody from the list, which it does a minute later."""
        run = self.unsubscribe(wait_for_completion=False, **parameters)
        assert run.counts() == {"rows_read": COUNT, "accepted": COUNT}

    def sync(self, mode: str, **parameters: Any) -> Run:
        settings = {
            "task_id": "list",
            "mode": mode,
            "sql": "SELECT id, email, phone, 'c' || id AS customer FROM people ORDER BY id",
            "sql_conn_id": "shop",
            "mapping": {"email": "email"},
            "primary_key": "id",
            "list_id": self.list_id,
            "poll_interval": 0.2,
            "timeout": 60,
        }
        limits = {"max_removals": None, "allow_empty": True} if mode == "mirror" else {}
        operator = KlaviyoSyncListOperator(**(settings | limits | parameters))
        operator.hook = hook_by(self.clock)
        return run_operator(operator, run_id=str(time.monotonic()))

    @property
    def members(self) -> int:
        return len(self.klaviyo.members(self.list_id))

    def check_consent(self) -> None:
        """Nobody was unsubscribed from anything but the list."""
        for each in self.ids:
            assert self.klaviyo.consent(id=each) == {"email": "SUBSCRIBED", "sms": "SUBSCRIBED"}


@pytest.fixture
def club(klaviyo: Emulator, consent_sync: ConsentSync, people: People) -> Club:
    klaviyo.set(subscription_seconds=SOON)
    people.fill(COUNT)
    return Club(klaviyo, consent_sync)


def remove(club: Club) -> Run:
    return club.sync("remove")


def remove_by_customer(club: Club) -> Run:
    return club.sync("remove", mapping={"external_id": "customer"})


def mirror(club: Club) -> Run:
    return club.sync("mirror", sql="SELECT id, email FROM people WHERE id > 9")


def mirror_strictly(club: Club) -> Run:
    return club.sync("mirror", sql="SELECT id, email FROM people WHERE id > 9", strict=True)


def refresh_strictly(club: Club) -> Run:
    return club.sync(
        "mirror", sql="SELECT id, email FROM people WHERE id > 9", strict=True, full_refresh=True
    )


def unsubscribe_elsewhere(club: Club) -> Run:
    return club.unsubscribe(state_key="another")


def unsubscribe_by_number(club: Club) -> Run:
    return club.unsubscribe(task_id="by_number", channels=["sms"], mapping={"phone_number": "phone"})


def unsubscribe_after_a_reset(club: Club) -> Run:
    assert main(["state", "reset", "shop_to_klaviyo.consent", "--yes"]) == 0
    return club.unsubscribe()


BY_ROW = (remove, remove_by_customer, unsubscribe_elsewhere, unsubscribe_by_number, unsubscribe_after_a_reset)
MIRRORS = (mirror, mirror_strictly, refresh_strictly)
EVERY_WAY = pytest.mark.parametrize("make_it_worse", [*BY_ROW, *MIRRORS])
Way = Callable[[Club], Run]


@pytest.fixture(autouse=True)
def impatient(consent_sync: ConsentSync) -> None:
    consent_sync.patience = 0.5


def were_left_for_later(run: Run, make_it_worse: Way) -> bool:
    if make_it_worse in MIRRORS:
        return (run.error, run.summary["removed"], run.report["left_for_later"]) == (None, 0, COUNT)
    assert all("left for a later run: " in reason for reason in reasons(run).values())
    return run.counts() == {"rows_read": COUNT, "pending": COUNT}


# --- the three orders, and more -------------------------------------------------------------------------------------


@EVERY_WAY
def test_nobody_whose_unsubscription_is_on_its_way_is_taken_off_the_list(
    clock: KlaviyosClock, club: Club, make_it_worse: Way
) -> None:
    if make_it_worse is mirror:
        assert club.sync("mirror").counts() == {"rows_read": COUNT, "accepted": COUNT}
    club.ask()
    assert club.members == COUNT, "Klaviyo has not done it yet"

    assert were_left_for_later(make_it_worse(club), make_it_worse)

    assert club.members == COUNT
    clock.advance(SOON)
    assert club.members == 0
    club.check_consent()
    last = make_it_worse(club)
    assert (last.error, last.summary["removed"]) == (None, 0)
    if make_it_worse not in MIRRORS:
        assert last.counts() == {"rows_read": COUNT, "skipped": COUNT}
    elif make_it_worse is mirror:
        assert last.report["were_not_on_list"] == COUNT
        assert mirror(club).report["left_the_query"] == 0
    club.check_consent()


@EVERY_WAY
def test_a_request_whose_answer_was_lost_is_on_its_way_too(
    klaviyo: Emulator, clock: KlaviyosClock, club: Club, make_it_worse: Way
) -> None:
    if make_it_worse is mirror:
        club.sync("mirror")
    klaviyo.inject(Fault("reset_after", operation=UNSUBSCRIBE))
    assert club.unsubscribe().counts() == {"rows_read": COUNT, "pending": COUNT}

    assert were_left_for_later(make_it_worse(club), make_it_worse)

    clock.advance(SOON)
    assert club.members == 0
    club.check_consent()


def test_what_klaviyo_certainly_did_not_do_holds_nobody_back(klaviyo: Emulator, club: Club) -> None:
    klaviyo.inject(
        Fault("status", operation=UNSUBSCRIBE, status=400, errors=({"source": {"pointer": "/data/type"}},))
    )
    assert club.unsubscribe().error is not None
    assert remove(club).counts() == {"rows_read": COUNT, "accepted": COUNT}


@EVERY_WAY
def test_a_task_that_waits_ends_when_the_list_shows_it_so_that_the_next_may_do_anything(
    klaviyo: Emulator, club: Club, make_it_worse: Way, consent_sync: ConsentSync
) -> None:
    consent_sync.patience = 30.0
    klaviyo.set(subscription_seconds=1.0)
    if make_it_worse is mirror:
        club.sync("mirror")
    run = club.unsubscribe()
    assert (run.counts(), club.members) == ({"rows_read": COUNT, "accepted": COUNT}, 0)
    assert "not_awaited" not in run.report
    assert notes(club) == []
    assert make_it_worse(club).error is None
    club.check_consent()


def test_of_very_many_some_are_waited_for_before_the_others_are_sent(
    klaviyo: Emulator, club: Club, consent_sync: ConsentSync, monkeypatch: pytest.MonkeyPatch
) -> None:
    """People whose outcome is open are in memory."""
    consent_sync.patience = 30.0
    monkeypatch.setattr(terms, "UNSUBSCRIBE", _one_by_one())
    monkeypatch.setattr(unsubscribe, "_MAX_WAITING", 2)
    monkeypatch.setattr(ConsentDelivery, "_width", 1)
    klaviyo.set(subscription_seconds=1.5)
    assert club.unsubscribe().counts() == {"rows_read": COUNT, "accepted": COUNT}
    times = [request.time for request in klaviyo.requests(UNSUBSCRIBE)]
    assert max(times) - min(times) > 1, "all were sent at once"
    klaviyo.set(subscription_seconds=SOON)
    assert club.sync("add").summary["accepted"] == COUNT
    consent_sync.patience = 0.3
    assert club.unsubscribe(run_id="next").counts() == {"rows_read": COUNT, "pending": COUNT}


def test_a_task_that_does_not_wait_says_so(club: Club, caplog: pytest.LogCaptureFixture) -> None:
    run = club.unsubscribe(wait_for_completion=False)
    assert run.report["not_awaited"] == COUNT
    assert "may be on the list for minutes yet" in caplog.text
    assert len(notes(club)) == 1


def test_a_day_later_nobody_is_waited_for(klaviyo: Emulator, clock: KlaviyosClock, club: Club) -> None:
    klaviyo.inject(Fault("job_stuck", operation=UNSUBSCRIBE))
    club.ask()
    clock.advance(DAY - SOON)
    assert were_left_for_later(remove(club), remove)
    clock.advance(2 * SOON)
    assert remove(club).counts() == {"rows_read": COUNT, "accepted": COUNT}
    assert [note.kind for note in notes(club)] == ["removal"], "the dead one is gone"


@pytest.mark.parametrize(
    ("waits", "first", "second"), [(True, "pending", "accepted"), (False, "accepted", "skipped")]
)
def test_days_later_the_list_still_shows_the_outcome(
    clock: KlaviyosClock, club: Club, *, waits: bool, first: str, second: str
) -> None:
    """Else a weekly sync would unsubscribe those again who come back, and a nightly one would not."""
    weekly = {"primary_key": "id", "only_changes": True}
    run = club.unsubscribe(wait_for_completion=waits, **weekly)
    assert run.counts() == {"rows_read": COUNT, first: COUNT}
    clock.advance(7 * DAY)
    assert club.unsubscribe(run_id="next", **weekly).counts() == {"rows_read": COUNT, second: COUNT}

    assert club.sync("add").summary["accepted"] == COUNT
    assert club.unsubscribe(run_id="last", **weekly).counts() == {"rows_read": COUNT, "unchanged": COUNT}
    assert (club.members, writes(club.klaviyo)) == (COUNT, 1)


def test_days_later_a_channel_that_was_in_no_request_is_still_to_be_unsubscribed(
    clock: KlaviyosClock, people: People, club: Club
) -> None:
    weekly = {
        "channels": ["email", "sms"],
        "mapping": BOTH | {"consent.email": "email_ok", "consent.sms": "sms_ok"},
        "primary_key": "id",
        "only_changes": True,
    }
    people.execute("UPDATE people SET email_ok = TRUE, sms_ok = FALSE")
    club.ask(**weekly)
    people.execute("UPDATE people SET sms_ok = TRUE")
    clock.advance(7 * DAY)
    assert club.unsubscribe(run_id="next", **weekly).counts() == {"rows_read": COUNT, "skipped": COUNT}

    assert club.sync("add").summary["accepted"] == COUNT
    run = club.unsubscribe(run_id="last", wait_for_completion=False, **weekly)
    assert run.counts() == {"rows_read": COUNT, "accepted": COUNT}


def test_others_leave_the_list_and_those_who_came_back_leave_it_as_well(
    clock: KlaviyosClock, people: People, club: Club
) -> None:
    """What is seen to have ended holds nobody back, also within the day."""
    club.unsubscribe(wait_for_completion=False, sql="SELECT * FROM people WHERE id <= 2")
    run = remove(club)
    assert run.counts() == {"rows_read": COUNT, "accepted": COUNT - 2, "pending": 2}
    assert set(reasons(run)) == {1, 2}
    clock.advance(SOON)
    assert club.unsubscribe().counts() == {"rows_read": COUNT, "skipped": COUNT}
    assert [note.kind for note in notes(club)] == ["removal"]
    assert club.sync("add").summary["accepted"] == COUNT
    assert remove(club).counts() == {"rows_read": COUNT, "accepted": COUNT}
    club.check_consent()


@pytest.mark.parametrize(
    "mapping", [{"email": "email"}, {"phone_number": "phone"}, {"external_id": "customer"}], ids=str
)
def test_a_strict_mirror_does_not_put_on_the_list_again_who_is_on_the_way_off_it(
    clock: KlaviyosClock, club: Club, mapping: dict[str, str]
) -> None:
    club.ask()
    clock.advance(SOON)
    run = club.sync("mirror", strict=True, mapping=mapping)
    assert run.counts() == {"rows_read": COUNT, "pending": COUNT}
    assert all("left for a later run: " in reason for reason in reasons(run).values())
    assert club.members == 0
    assert club.unsubscribe().counts() == {"rows_read": COUNT, "skipped": COUNT}
    assert club.sync("mirror", strict=True, mapping=mapping).counts() == {
        "rows_read": COUNT,
        "accepted": COUNT,
    }


def test_another_list_is_another_matter(klaviyo: Emulator, club: Club) -> None:
    club.ask()
    other = klaviyo.add_list("Other", club.ids)
    assert club.sync("remove", list_id=other).counts() == {"rows_read": COUNT, "accepted": COUNT}


def test_a_preview_says_who_would_be_left_and_leaves_no_note(club: Club) -> None:
    club.unsubscribe(wait_for_completion=False, preview=True)
    assert notes(club) == []
    assert club.sync("remove", preview=True).counts() == {"rows_read": COUNT, "accepted": COUNT}
    club.ask()
    assert club.sync("remove", preview=True).counts() == {"rows_read": COUNT, "pending": COUNT}
    assert len(notes(club)) == 1


@pytest.mark.parametrize(("first", "second"), [(-2, 0), (2, 0), (0, -2), (0, 2)])
def test_hosts_whose_clocks_are_days_apart_know_of_each_other(
    clock: KlaviyosClock, club: Club, first: float, second: float
) -> None:
    club.clock = ShiftedClock(first * DAY)
    club.ask()
    club.clock = ShiftedClock(second * DAY)
    assert were_left_for_later(remove(club), remove)
    clock.advance(SOON)
    assert club.members == 0
    club.check_consent()


# --- at the same moment ---------------------------------------------------------------------------------------------


def before(monkeypatch: pytest.MonkeyPatch, operation: str, something: Callable[[], object]) -> None:
    """Have something happen once, right before a request leaves that was already checked."""
    exchange, todo = HttpTransport.exchange, [something]

    def late(self: Any, endpoint: Any, *more: Any) -> Any:
        if endpoint.name == operation and todo:
            todo.pop()()
        return exchange(self, endpoint, *more)

    monkeypatch.setattr(HttpTransport, "exchange", late)


@pytest.mark.parametrize("take_off", [remove, mirror_strictly])
def test_who_is_unsubscribed_while_a_removal_is_about_to_leave(
    klaviyo: Emulator, clock: KlaviyosClock, club: Club, monkeypatch: pytest.MonkeyPatch, take_off: Way
) -> None:
    met: list[Run] = []
    before(monkeypatch, "remove_profiles_from_list", lambda: met.append(club.unsubscribe()))
    run = take_off(club)
    assert (run.error, run.summary["removed"], club.members) == (None, COUNT, 0)
    assert met[0].counts() == {"rows_read": COUNT, "pending": COUNT}
    assert "is taking this person off this list" in reasons(met[0])[email_of(1)]
    assert klaviyo.requests(UNSUBSCRIBE) == []
    assert club.unsubscribe().counts() == {"rows_read": COUNT, "skipped": COUNT}
    clock.advance(SOON)
    club.check_consent()


@pytest.mark.parametrize("make_it_worse", [remove, mirror_strictly, unsubscribe_elsewhere])
def test_who_is_taken_off_while_an_unsubscription_is_about_to_leave(
    clock: KlaviyosClock, club: Club, monkeypatch: pytest.MonkeyPatch, make_it_worse: Way
) -> None:
    met: list[Run] = []
    before(monkeypatch, UNSUBSCRIBE, lambda: met.append(make_it_worse(club)))
    club.ask()
    assert were_left_for_later(met[0], make_it_worse)
    clock.advance(SOON)
    assert club.members == 0
    club.check_consent()


# --- how it is kept -------------------------------------------------------------------------------------------------


def notes(club: Club) -> list[Any]:
    root = Path(os.environ["AIRFLOW__KLAVIYO__STORAGE_PATH"]) / "in-flight" / club.list_id
    folder = NoteFolder(store_of(root))
    return [folder.read(each.name) for each in folder]


def test_notes_hold_hashes_and_no_people(club: Club) -> None:
    club.ask(channels=["email", "sms"], mapping=BOTH)
    root = Path(os.environ["AIRFLOW__KLAVIYO__STORAGE_PATH"]) / "in-flight"
    (content,) = [file.read_bytes() for file in root.rglob("*") if file.is_file()]
    for n, profile_id in enumerate(club.ids, 1):
        for value in (email_of(n), phone_of(n), f"c{n}", profile_id):
            assert value.encode() not in content.partition(b"\n")[2]
    assert b"@" not in content.partition(b"\n")[0]


def test_many_requests_leave_few_notes(club: Club, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_flight, "_FEW", 2)
    monkeypatch.setattr(terms, "UNSUBSCRIBE", _one_by_one())
    club.ask()
    assert len(club.klaviyo.requests(UNSUBSCRIBE)) == COUNT
    assert sorted(len(note.people) for note in notes(club)) == [2, 3]
    assert were_left_for_later(remove(club), remove)


def _one_by_one() -> Any:
    from dataclasses import replace

    return replace(terms.UNSUBSCRIBE, max_records=1)


def test_who_has_left_is_in_no_note_while_another_is_waited_for(
    klaviyo: Emulator, clock: KlaviyosClock, club: Club
) -> None:
    klaviyo.inject(Fault("job_fails", match=email_of(3), operation=UNSUBSCRIBE))
    klaviyo.set(subscription_seconds=0.0)
    assert club.unsubscribe().counts() == {"rows_read": COUNT, "accepted": COUNT - 1, "pending": 1}
    (note,) = notes(club)
    assert [person_hash(Identity("email", email_of(3))) in who for who in note.people] == [True]


def test_a_person_can_be_forgotten(club: Club, capsys: pytest.CaptureFixture[str]) -> None:
    club.ask()
    assert main(["state", "forget", "--email", email_of(2).upper(), "--yes"]) == 0
    assert "forgotten in 1 note of" in capsys.readouterr().out
    (note,) = notes(club)
    assert len(note.people) == COUNT - 1
    hashes = {digest for who in note.people for digest in who}
    assert person_hash(Identity("klaviyo_id", club.ids[1])) not in hashes
    assert person_hash(Identity("klaviyo_id", club.ids[2])) in hashes


def test_where_no_other_worker_could_find_notes_nobody_can_have_left_any(
    club: Club, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("AIRFLOW__KLAVIYO__STORAGE_PATH")
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    assert "may run its next try on another machine" in str(club.unsubscribe().error)
    assert remove(club).counts() == {"rows_read": COUNT, "accepted": COUNT}


def test_it_works_in_an_object_store(
    clock: KlaviyosClock, club: Club, s3_storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", s3_storage)
    club.ask()
    for make_it_worse in (remove, unsubscribe_elsewhere):
        assert make_it_worse(club).counts() == {"rows_read": COUNT, "pending": COUNT}
    clock.advance(SOON)
    assert club.unsubscribe().counts() == {"rows_read": COUNT, "skipped": COUNT}
    assert club.sync("add").summary["accepted"] == COUNT
    assert remove(club).counts() == {"rows_read": COUNT, "accepted": COUNT}
    club.check_consent()

"""How people are looked at right before they are subscribed: once, side by side, and never too long ago."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs

import pytest

from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.emulator import Emulator, Fault
from airflow_provider_klaviyo.sync.subscriptions import looks
from airflow_provider_klaviyo.sync.subscriptions.asked import AskedPeople
from airflow_provider_klaviyo.sync.subscriptions.guard import Guard
from tests.integration.conftest import ShiftedClock
from tests.integration.subscriptions.conftest import (
    BOTH,
    SUBSCRIBE,
    ConsentSync,
    People,
    bodies,
    email_of,
    phone_of,
    reasons,
)

pytestmark = pytest.mark.integration

LOOK_UP, ON_LIST = "get_profiles", "get_profiles_for_list"
CHANNELS = {"channels": ("email", "sms"), "mapping": BOTH}


@pytest.fixture
def vip(klaviyo: Emulator) -> str:
    return klaviyo.add_list("VIP")


def asked_for(klaviyo: Emulator, operation: str = LOOK_UP) -> list[str]:
    """The filters of look-ups."""
    return [parse_qs(request.query)["filter"][0] for request in klaviyo.requests(operation)]


def by(field: str, klaviyo: Emulator) -> int:
    return sum(each.startswith(f"any({field},") for each in asked_for(klaviyo))


def test_a_thousand_people_on_two_channels_are_looked_at_once_though_klaviyo_takes_its_time(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync, vip: str, caplog: pytest.LogCaptureFixture
) -> None:
    """0.6 s a page, as in real accounts: one after the other the pages would take longer than a look counts."""
    people.fill(1_000)
    klaviyo.inject(Fault("slow", LOOK_UP, seconds=0.6, count=None))
    run = consent_sync(list_id=vip, **CHANNELS)
    assert run.counts() == {"rows_read": 1_000, "accepted": 1_000}
    assert (by("email", klaviyo), by("phone_number", klaviyo)) == (10, 10)
    assert len(set(asked_for(klaviyo))) == 20
    assert len(klaviyo.requests(SUBSCRIBE)) == 1
    assert "looked at again" not in caplog.text


def test_one_answer_serves_both_channels(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync
) -> None:
    people.fill(300)
    ids = klaviyo.add_profiles([{"email": email_of(n), "phone_number": phone_of(n)} for n in range(1, 301)])
    for each in ids:
        klaviyo.set_consent(each, "sms", "SUBSCRIBED")
    full = klaviyo.add_list("Full", ids)
    klaviyo.set_consent(ids[0], "sms", "UNSUBSCRIBED")
    run = consent_sync(list_id=full, **CHANNELS)
    assert run.counts() == {"rows_read": 300, "accepted": 300}
    assert run.summary["warnings"] == 1
    assert (by("email", klaviyo), by("phone_number", klaviyo)) == (3, 0)
    assert len(asked_for(klaviyo, ON_LIST)) == 3
    assert klaviyo.consent(id=ids[0]) == {"email": "SUBSCRIBED", "sms": "UNSUBSCRIBED"}


def test_a_number_that_no_profile_found_so_far_shows_is_looked_up(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync, vip: str
) -> None:
    """The first one's number is another profile's, the second one's profile has none, the third is new."""
    people.fill(3)
    klaviyo.add_profiles([{"email": email_of(1), "phone_number": phone_of(9)}, {"email": email_of(2)}])
    (other,) = klaviyo.add_profiles([{"phone_number": phone_of(1)}])
    klaviyo.set_consent(other, "sms", "UNSUBSCRIBED")
    run = consent_sync(list_id=vip, **CHANNELS)
    assert run.counts() == {"rows_read": 3, "accepted": 3}
    assert "opted_out" in reasons(run)[email_of(1)]
    numbers = [each for each in asked_for(klaviyo) if each.startswith("any(phone_number,")]
    assert ["".join(numbers).count(phone_of(n)) for n in (1, 2, 3)] == [1, 1, 1]


def test_whom_a_slow_answer_does_not_show_in_time_is_looked_at_again_and_nobody_else(
    klaviyo: Emulator,
    people: People,
    consent_sync: ConsentSync,
    vip: str,
) -> None:
    consent_sync.look_seconds = 2.0
    people.fill(250)
    klaviyo.inject(Fault("slow", LOOK_UP, skip=2, seconds=2.5))
    run = consent_sync(list_id=vip)
    assert run.counts() == {"rows_read": 250, "accepted": 250}
    filters = asked_for(klaviyo)
    assert (len(filters), len(set(filters))) == (4, 3)
    sent = [len(body["data"]["attributes"]["profiles"]["data"]) for body in bodies(klaviyo, SUBSCRIBE)]
    assert sorted(sent) in ([50, 200], [100, 150])


@pytest.mark.parametrize("refusal", [False, True])
def test_those_left_are_sent_whatever_becomes_of_the_others(
    klaviyo: Emulator,
    people: People,
    consent_sync: ConsentSync,
    vip: str,
    monkeypatch: pytest.MonkeyPatch,
    refusal: bool,
) -> None:
    monkeypatch.setattr(looks.Looks, "_learn", lambda *_: None)
    people.fill(250)
    look = looks.Looks.at

    def few(self: Any, everybody: Any) -> Any:
        self._at_once = 100
        return look(self, everybody)

    monkeypatch.setattr(looks.Looks, "at", few)
    if refusal:
        klaviyo.inject(Fault("refuse_records", SUBSCRIBE, match=email_of(50)))
    run = consent_sync(list_id=vip, max_rejected=1)
    assert run.counts() == (
        {"rows_read": 250, "accepted": 249, "rejected": 1} if refusal else {"rows_read": 250, "accepted": 250}
    )
    assert len(klaviyo.members(vip)) == 250 - refusal


def test_who_opts_out_after_a_look_that_is_too_old_by_now_is_not_sent(
    klaviyo: Emulator,
    people: People,
    consent_sync: ConsentSync,
    vip: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    people.fill(3)
    (first,) = klaviyo.add_profiles([{"email": email_of(1)}])
    look, clock = Guard.look, ShiftedClock()

    def looked(*arguments: Any) -> Any:
        seen = look(*arguments)
        if not clock.jumped:
            clock.jumped = 11.0
            klaviyo.set_consent(first, "email", "UNSUBSCRIBED")
        return seen

    monkeypatch.setattr(Guard, "look", looked)
    run = consent_sync(list_id=vip, clock=clock)
    assert run.counts() == {"rows_read": 3, "accepted": 2, "skipped": 1}
    assert len(asked_for(klaviyo)) >= 2


def test_a_key_that_may_not_read_people_costs_one_request(
    people: People, consent_sync: ConsentSync, start_emulator: Any
) -> None:
    scopes = ("accounts:read", "lists:read", "lists:write", "profiles:write", "subscriptions:write")
    klaviyo = start_emulator(key="pk_x", keys={"pk_x": scopes})
    klaviyo.add_list("VIP")
    people.fill(1_000)
    run = consent_sync(list_name="VIP")
    assert "profiles:read" in str(run.error)
    assert run.counts() == {"rows_read": 1_000, "pending": 1_000}
    assert len(klaviyo.requests(LOOK_UP)) == 1


def test_who_opts_out_between_a_look_that_was_late_and_the_next_is_not_sent(
    klaviyo: Emulator,
    people: People,
    consent_sync: ConsentSync,
    vip: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who was shown in time goes; the others are asked for anew, and say something else by then."""
    consent_sync.look_seconds = 2.0
    people.fill(200)
    known = klaviyo.add_profiles([{"email": email_of(n)} for n in range(1, 201)])
    klaviyo.inject(Fault("slow", LOOK_UP, skip=1, seconds=2.5))
    look = Guard.look

    def looked(*arguments: Any) -> Any:
        seen = look(*arguments)
        if seen.left:
            for each in known[100:]:
                klaviyo.set_consent(each, "email", "UNSUBSCRIBED")
        return seen

    monkeypatch.setattr(Guard, "look", looked)
    run = consent_sync(list_id=vip)
    assert run.counts() == {"rows_read": 200, "accepted": 100, "skipped": 100}


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 429, "retry_after": 1, "count": 2},
        {"kind": "status", "status": 503, "count": 3},
        {"kind": "reset_after", "count": 2},
        {"kind": "not_json", "count": 2},
    ],
    ids=lambda fault: str(fault.get("status", fault["kind"])),
)
def test_look_ups_that_fail_in_the_middle_let_nobody_through_unseen(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync, vip: str, fault: dict[str, Any]
) -> None:
    people.fill(400)
    known = klaviyo.add_profiles([{"email": email_of(n)} for n in range(1, 401)])
    for each in known[::4]:
        klaviyo.set_consent(each, "email", "UNSUBSCRIBED")
    klaviyo.inject(Fault(operation=LOOK_UP, skip=1, **fault))
    run = consent_sync(list_id=vip)
    assert run.counts() == {"rows_read": 400, "accepted": 300, "skipped": 100}


def test_who_opts_out_while_it_is_noted_that_they_are_sent_is_not_when_that_takes_too_long(
    klaviyo: Emulator,
    people: People,
    consent_sync: ConsentSync,
    vip: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    people.fill(3)
    (first,) = klaviyo.add_profiles([{"email": email_of(1)}])
    mark, clock = AskedPeople.mark_in_doubt, ShiftedClock()

    def marked(*arguments: Any) -> Any:
        ticket = mark(*arguments)
        if not clock.jumped:
            clock.jumped = 11.0
            klaviyo.set_consent(first, "email", "UNSUBSCRIBED")
        return ticket

    monkeypatch.setattr(AskedPeople, "mark_in_doubt", marked)
    double = klaviyo.add_list("Double", opt_in_process="double_opt_in")
    run = consent_sync(list_id=double, clock=clock)
    assert run.counts() == {"rows_read": 3, "accepted": 2, "skipped": 1}
    assert len(klaviyo.requests(SUBSCRIBE)) == 1


def test_a_turn_is_not_held_by_who_cannot_look(
    klaviyo: Emulator,
    people: People,
    consent_sync: ConsentSync,
    vip: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The account's look-ups are held back for longer than a look may wait: meanwhile others may have the turn."""
    consent_sync.look_seconds = 0.5
    turn, turns = KlaviyoClient.turn, []

    @contextmanager
    def counted(*arguments: Any, **more: Any) -> Any:
        with turn(*arguments, **more) as taken:
            turns.append(more["hold"])
            yield taken

    monkeypatch.setattr(KlaviyoClient, "turn", counted)
    people.fill(150)
    klaviyo.inject(Fault("status", LOOK_UP, skip=1, status=429, retry_after=2))
    run = consent_sync(list_id=vip)
    assert run.counts() == {"rows_read": 150, "accepted": 150}
    assert len(turns) > len(klaviyo.requests(SUBSCRIBE))


def test_several_rows_of_one_number_ask_for_it_once(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync, vip: str
) -> None:
    people.fill(300)
    people.execute("UPDATE people SET phone = '+1415555' || to_char(id % 150, 'FM0000')")
    run = consent_sync(list_id=vip, **CHANNELS)
    assert run.counts() == {"rows_read": 300, "accepted": 300}
    numbers = "".join(each for each in asked_for(klaviyo) if each.startswith("any(phone_number,"))
    assert [numbers.count(phone_of(n)) for n in range(150)] == [1] * 150

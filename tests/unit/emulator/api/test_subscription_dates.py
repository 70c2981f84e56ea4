"""History: consent that was given earlier, and the date that an account has already."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator, ManualClock

RECORDS = "/data/attributes/profiles/data"
ANN, BOB = {"email": "ann@mail.com"}, {"email": "bob@mail.com"}
PHONE = "+12025550123"
JANUARY, MARCH, MAY = (f"2026-0{month}-01T10:00:00+00:00" for month in (1, 3, 5))
AT = {JANUARY: 1_767_261_600.0, MARCH: 1_772_359_200.0, MAY: 1_777_629_600.0}


def history(when: str, *groups: str, **person: Any) -> dict[str, Any]:
    wish = {"marketing": {"consent": "SUBSCRIBED", "consented_at": when}}
    return {"subscriptions": dict.fromkeys(groups or ("email",), wish), **person}


def marketing(emulator: Emulator, group: str = "email") -> dict[str, Any]:
    found = emulator.profile(**ANN)
    assert found is not None
    return emulator.subscriptions(found["id"])[group]["marketing"]


@pytest.fixture
def ann(emulator: Emulator) -> str:
    return emulator.add_profiles([ANN | {"phone_number": PHONE}])[0]


@pytest.fixture
def vip(emulator: Emulator) -> str:
    return emulator.add_list("VIP")


@pytest.mark.parametrize("group", ["email", "sms"])
def test_consent_later_than_a_subscription_refuses_the_whole_request(
    emulator: Emulator, caller: Any, clock: ManualClock, ann: str, vip: str, group: str
) -> None:
    emulator.set_consent(ann, group, "SUBSCRIBED", at=AT[MARCH])
    person = history(MAY, group, **ANN, phone_number=PHONE)
    response = caller.subscribe(history(MAY, **BOB), person, list_id=vip, historical_import=True)
    assert response.status_code == 400
    where = f"{RECORDS}/1/attributes/subscriptions/{group}/marketing/consented_at"
    words = f"backdated consent date [{MAY}] is after current subscription date [{MARCH}]"
    assert caller.errors_of(response) == [(where, words)]
    clock.advance(10)
    assert (emulator.count(), emulator.members(vip)) == (1, [])


@pytest.mark.parametrize("when", [JANUARY, MARCH])
def test_with_the_same_or_an_earlier_date_the_person_joins_and_keeps_the_date_and_the_source(
    emulator: Emulator, caller: Any, clock: ManualClock, ann: str, vip: str, when: str
) -> None:
    emulator.set_consent(ann, "email", "SUBSCRIBED", at=AT[MARCH], source="Form")
    sent = caller.subscribe(history(when, **ANN), list_id=vip, historical_import=True, custom_source="Shop")
    assert sent.status_code == 202
    clock.advance(10)
    assert [each["email"] for each in emulator.members(vip)] == ["ann@mail.com"]
    shown = marketing(emulator)
    assert (shown["consent_timestamp"], shown["custom_method_detail"]) == (MARCH, "Form")


@pytest.mark.parametrize("group", ["email", "sms"])
def test_consent_earlier_than_an_unsubscription_refuses_the_whole_request(
    emulator: Emulator, caller: Any, ann: str, vip: str, group: str
) -> None:
    emulator.set_consent(ann, group, "UNSUBSCRIBED", at=AT[MARCH])
    person = history(JANUARY, group, **ANN, phone_number=PHONE)
    response = caller.subscribe(person, list_id=vip, historical_import=True)
    where = f"{RECORDS}/0/attributes/subscriptions/{group}/marketing/consented_at"
    words = f"backdated consent date [{JANUARY}] is before current unsubscription date [{MARCH}]"
    assert (response.status_code, caller.errors_of(response)) == (400, [(where, words)])


def test_consent_later_than_an_unsubscription_counts(
    emulator: Emulator, caller: Any, clock: ManualClock, ann: str, vip: str
) -> None:
    emulator.set_consent(ann, "email", "UNSUBSCRIBED", at=AT[MARCH])
    assert caller.subscribe(history(MAY, **ANN), list_id=vip, historical_import=True).status_code == 202
    clock.advance(10)
    assert (marketing(emulator)["consent"], marketing(emulator)["suppression"]) == ("SUBSCRIBED", [])


@pytest.mark.parametrize("opt_in", ["single_opt_in", "double_opt_in"])
def test_history_skips_the_confirmation_and_keeps_date_and_source(
    emulator: Emulator, caller: Any, clock: ManualClock, opt_in: Any
) -> None:
    target = emulator.add_list("Any", opt_in_process=opt_in)
    caller.subscribe(history(JANUARY, **ANN), list_id=target, historical_import=True, custom_source="Till")
    clock.advance(10)
    shown = marketing(emulator)
    assert (shown["consent"], shown["consent_timestamp"]) == ("SUBSCRIBED", JANUARY)
    assert shown["custom_method_detail"] == "Till"
    assert len(emulator.members(target)) == 1
    assert emulator.confirmations() == {}


def test_history_may_show_long_after_its_request_and_nothing_else_does(
    emulator: Emulator, caller: Any, clock: ManualClock, vip: str
) -> None:
    emulator.set(history_seconds=900.0)
    caller.subscribe(history(JANUARY, **ANN), list_id=vip, historical_import=True)
    caller.subscribe(BOB, list_id=vip)
    clock.advance(899)
    assert [each["email"] for each in emulator.members(vip)] == ["bob@mail.com"]
    clock.advance(1)
    assert len(emulator.members(vip)) == 2


def test_whoever_unsubscribes_before_history_shows_stays_unsubscribed(
    emulator: Emulator, caller: Any, clock: ManualClock, ann: str, vip: str
) -> None:
    emulator.set(history_seconds=900.0)
    caller.subscribe(history(JANUARY, **ANN), list_id=vip, historical_import=True)
    emulator.set_consent(ann, "email", "UNSUBSCRIBED")
    clock.advance(1_000)
    assert (marketing(emulator)["consent"], emulator.members(vip)) == ("UNSUBSCRIBED", [])
    assert emulator.incidents() == []


class TestPlusAddresses:
    def test_klaviyo_suppresses_whoever_looks_made_up(
        self, emulator: Emulator, caller: Any, clock: ManualClock, vip: str
    ) -> None:
        emulator.set(plus_address_seconds=5.0)
        assert caller.bulk_import({"email": "me+1@mail.com"}, ANN).status_code == 202
        caller.subscribe({"email": "me+2@mail.com"}, list_id=vip)
        clock.advance(20)
        found = {
            each["email"]: emulator.subscriptions(each["id"])["email"]["marketing"]["suppression"]
            for each in emulator.profiles()
        }
        assert {email for email, entries in found.items() if entries} == {"me+1@mail.com", "me+2@mail.com"}
        assert [entry["reason"] for entry in found["me+1@mail.com"]] == ["USER_SUPPRESSED"]

    def test_an_account_that_was_not_told_to_suppresses_nobody(
        self, emulator: Emulator, caller: Any, clock: ManualClock, vip: str
    ) -> None:
        caller.subscribe({"email": "me+2@mail.com"}, list_id=vip)
        clock.advance(86_400)
        (person,) = emulator.profiles()
        assert emulator.subscriptions(person["id"])["email"]["marketing"]["suppression"] == []

"""Several rows of one person that ask for different things: an opt-out is never a duplicate."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator, Fault
from tests.integration.subscriptions.conftest import (
    BOTH,
    UNSUBSCRIBE,
    ConsentSync,
    profiles_of,
    sent,
    writes,
)

pytestmark = pytest.mark.integration

A, B = "a@shop.io", "b@shop.io"
ONE, TWO = "+14155550001", "+14155550002"
WISHES = BOTH | {"consent.email": "email_ok", "consent.sms": "sms_ok"}
PAIR: list[dict[str, object]] = [
    {"id": "1", "email": A, "phone": ONE, "email_ok": "1", "sms_ok": "0"},
    {"id": "2", "email": A, "phone": ONE, "email_ok": "0", "sms_ok": "1"},
]
UNSUBSCRIBED = {"email": "UNSUBSCRIBED", "sms": "UNSUBSCRIBED"}


def subscribed(klaviyo: Emulator, *people: dict[str, object]) -> list[str]:
    """People whom Klaviyo has, subscribed to everything."""
    ids = klaviyo.add_profiles(list(people))
    for each in ids:
        klaviyo.set_consent(each, "email", "SUBSCRIBED")
        klaviyo.set_consent(each, "sms", "SUBSCRIBED")
    return ids


@pytest.fixture
def leave(consent_sync: ConsentSync, words: Any) -> Any:
    """Unsubscribe people on both channels as rows say."""

    def run(*rows: dict[str, object], **parameters: Any) -> Any:
        settings = {
            "mode": "unsubscribe",
            "sql": words(*rows),
            "mapping": WISHES,
            "channels": ("email", "sms"),
            "max_rejected": 1.0,
        }
        return consent_sync(**(settings | parameters))

    return run


# --- from everything ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 50])
@pytest.mark.parametrize("match_by", [None, "email", "phone_number"])
def test_each_row_of_a_person_is_heard(
    klaviyo: Emulator, leave: Any, chunks: Any, size: int, match_by: str | None
) -> None:
    chunks(size)
    (person,) = subscribed(klaviyo, {"email": A, "phone_number": ONE})
    run = leave(*PAIR, globally=True, match_by=match_by)
    assert run.counts() == {"rows_read": 2, "accepted": 2}
    assert klaviyo.consent(id=person) == UNSUBSCRIBED
    assert run.report["unsubscribed"] == 1


@pytest.mark.parametrize("channels", [("sms",), ("email", "sms")])
def test_a_person_with_two_numbers_in_two_rows_gets_messages_on_neither(
    klaviyo: Emulator, leave: Any, channels: Any
) -> None:
    subscribed(klaviyo, {"email": A, "phone_number": ONE}, {"phone_number": TWO})
    rows: list[dict[str, object]] = [{"email": A, "phone": ONE}, {"email": A, "phone": TWO}]
    run = leave(*rows, globally=True, channels=channels, mapping=BOTH)
    assert run.counts() == {"rows_read": 2, "accepted": 2}
    assert [klaviyo.consent(phone_number=number)["sms"] for number in (ONE, TWO)] == ["UNSUBSCRIBED"] * 2  # type: ignore[index]


def test_a_number_that_klaviyo_does_not_know_takes_nobodys_place(klaviyo: Emulator, leave: Any) -> None:
    """The account keeps the person's own number, and both are unsubscribed."""
    (person,) = subscribed(klaviyo, {"email": A, "phone_number": ONE})
    rows: list[dict[str, object]] = [{"email": A, "phone": ONE}, {"email": A, "phone": TWO}]
    assert leave(*rows, globally=True, mapping=BOTH).counts() == {"rows_read": 2, "accepted": 2}
    assert klaviyo.profile(id=person)["phone_number"] == ONE  # type: ignore[index]
    assert klaviyo.consent(id=person) == UNSUBSCRIBED
    assert klaviyo.consent(phone_number=TWO)["sms"] == "UNSUBSCRIBED"  # type: ignore[index]


def test_a_row_that_asks_for_nothing_new_is_a_duplicate(klaviyo: Emulator, leave: Any) -> None:
    rows: list[dict[str, object]] = [
        {"email": A, "phone": ONE, "email_ok": "1", "sms_ok": "1"},
        {"email": "A@shop.io", "phone": "+1 415 555 0001", "email_ok": "1", "sms_ok": "1"},
        {"email": A, "phone": ONE, "email_ok": "1", "sms_ok": None},
    ]
    run = leave(*rows, globally=True)
    assert run.counts() == {"rows_read": 3, "accepted": 1, "skipped": 2}
    assert all("of this run" in line["reason"] for line in run.rejects)
    assert len(profiles_of(klaviyo, UNSUBSCRIBE)) == 1


def test_no_address_is_named_twice_in_all_requests(klaviyo: Emulator, leave: Any) -> None:
    rows = [
        *PAIR,
        {"id": "3", "email": B, "phone": ONE, "email_ok": "1", "sms_ok": "1"},
        {"id": "4", "email": B, "phone": TWO, "email_ok": "1", "sms_ok": "1"},
    ]
    assert leave(*rows, globally=True).counts() == {"rows_read": 4, "accepted": 4}
    assert sent(klaviyo, UNSUBSCRIBE) == {("email", A), ("email", B), ("sms", ONE), ("sms", TWO)}
    named = [
        value
        for record in profiles_of(klaviyo, UNSUBSCRIBE)
        for name, value in record["attributes"].items()
        if name != "subscriptions"
    ]
    assert len(named) == len(set(named)) == 4


def test_what_klaviyo_refuses_is_told_of_the_row_that_asked_for_it(klaviyo: Emulator, leave: Any) -> None:
    """The number is refused: the row that asks for it alone is rejected, the others go without."""
    klaviyo.inject(
        Fault("refuse_records", operation=UNSUBSCRIBE, match=ONE, field="phone_number", count=None)
    )
    rows = [*PAIR, {"id": "3", "email": A, "phone": ONE, "email_ok": "1", "sms_ok": "1"}]
    run = leave(*rows, {"id": "4", "email": B, "email_ok": "1"}, globally=True)
    assert run.counts() == {"rows_read": 4, "accepted": 2, "rejected": 1, "skipped": 1}
    assert sent(klaviyo, UNSUBSCRIBE) >= {("email", A), ("email", B)}


def test_a_query_that_breaks_off_unsubscribes_who_was_read(
    klaviyo: Emulator, leave: Any, words: Any, chunks: Any
) -> None:
    chunks(1)
    sql = words(*PAIR, {"id": "9", "email": B}).replace("FROM words", "FROM (SELECT * FROM words) w")
    sql = f"SELECT *, 1 / (id::int - 9) AS x FROM ({sql}) AS sorted"
    run = leave(*PAIR, {"id": "9", "email": B}, globally=True, sql=sql)
    assert "division by zero" in str(run.error)
    assert run.counts() == {"rows_read": 2, "accepted": 2}


def test_only_changes_keeps_a_row_when_all_that_it_asks_for_has_happened(
    klaviyo: Emulator, leave: Any
) -> None:
    nightly = {"globally": True, "primary_key": "id", "only_changes": True}
    rows = [*PAIR, {"id": "3", "email": A, "phone": TWO, "email_ok": "1", "sms_ok": "1"}]
    assert leave(*rows, **nightly).counts() == {"rows_read": 3, "accepted": 3}
    before = writes(klaviyo)
    assert leave(*rows, **nightly, run_id="next").counts() == {"rows_read": 3, "unchanged": 3}
    assert writes(klaviyo) == before

    more = {"id": "4", "email": A, "phone": "+14155550003", "email_ok": "1", "sms_ok": "1"}
    assert leave(*rows, more, **nightly, run_id="last").counts() == {
        "rows_read": 4,
        "unchanged": 3,
        "accepted": 1,
    }


def test_a_row_of_which_a_part_was_refused_is_tried_again(klaviyo: Emulator, leave: Any) -> None:
    nightly = {"globally": True, "primary_key": "id", "only_changes": True}
    rows: list[dict[str, object]] = [
        {"id": "1", "email": A, "phone": ONE},
        {"id": "2", "email": A, "phone": TWO},
    ]
    fault = klaviyo.inject(Fault("refuse_records", operation=UNSUBSCRIBE, match=TWO, count=None))
    run = leave(*rows, mapping=BOTH, **nightly)
    assert run.counts() == {"rows_read": 2, "accepted": 2}
    assert [line["outcome"] for line in run.rejects] == ["warning"]
    klaviyo.remove_fault(fault)
    again = leave(*rows, mapping=BOTH, **nightly, run_id="next")
    assert again.counts() == {"rows_read": 2, "unchanged": 1, "accepted": 1}
    assert klaviyo.consent(phone_number=TWO)["sms"] == "UNSUBSCRIBED"  # type: ignore[index]


# --- from a list ----------------------------------------------------------------------------------------------------


class Club:
    """A list of people who are subscribed to everything."""

    def __init__(self, klaviyo: Emulator, *people: dict[str, object]) -> None:
        self.klaviyo = klaviyo
        self.ids = subscribed(klaviyo, *people)
        self.list_id = klaviyo.add_list("Club", self.ids)

    def left(self, profile_id: str) -> set[str]:
        """The channels that somebody was unsubscribed on from the list, which they have left then."""
        profile = self.klaviyo.profile(id=profile_id) or {}
        addresses = {profile.get("email"), profile.get("phone_number")}
        channels = {channel for channel, address in sent(self.klaviyo, UNSUBSCRIBE) if address in addresses}
        is_member = profile_id in {member["id"] for member in self.klaviyo.members(self.list_id)}
        assert is_member is not bool(channels)
        return channels


@pytest.mark.parametrize("size", [1, 50])
@pytest.mark.parametrize("match_by", [None, "phone_number"])
def test_rows_of_one_member_are_one_request_for_all_that_they_ask(
    klaviyo: Emulator, leave: Any, chunks: Any, size: int, match_by: str | None
) -> None:
    chunks(size)
    club = Club(klaviyo, {"email": A, "phone_number": ONE}, {"email": B})
    run = leave(*PAIR, list_id=club.list_id, match_by=match_by)
    assert run.counts() == {"rows_read": 2, "accepted": 2}
    assert club.left(club.ids[0]) == {"email", "sms"}
    assert club.left(club.ids[1]) == set()
    assert len(profiles_of(klaviyo, UNSUBSCRIBE)) == 1


def test_rows_that_share_no_identifier_may_be_about_one_member(klaviyo: Emulator, leave: Any) -> None:
    """Hundreds of rows lie between them, so that they would not be in one request."""
    others: list[dict[str, object]] = [{"email": f"p{n}@shop.io", "email_ok": "t"} for n in range(250)]
    club = Club(klaviyo, {"email": A, "phone_number": ONE}, *({"email": each["email"]} for each in others))
    run = leave({"email": A, "email_ok": "t"}, *others, {"phone": ONE, "sms_ok": "t"}, list_id=club.list_id)
    assert run.counts() == {"rows_read": 252, "accepted": 252}
    assert club.left(club.ids[0]) == {"email", "sms"}
    assert klaviyo.members(club.list_id) == []


@pytest.mark.parametrize("channels", [("sms",), ("email", "sms")])
def test_both_numbers_of_a_person_leave_the_list(klaviyo: Emulator, leave: Any, channels: Any) -> None:
    """The second one is a profile of its own, of which the list shows no address that would be somebody else's."""
    club = Club(klaviyo, {"email": A, "phone_number": ONE}, {"phone_number": TWO})
    rows: list[dict[str, object]] = [{"email": A, "phone": ONE}, {"email": A, "phone": TWO}]
    run = leave(*rows, list_id=club.list_id, channels=channels, mapping=BOTH)
    assert run.counts() == {"rows_read": 2, "accepted": 2}
    assert run.summary["warnings"] == 0
    assert [club.left(each) for each in club.ids] == [set(channels), {"sms"}]


def test_the_number_of_a_member_who_has_another_address_stays_that_members(
    klaviyo: Emulator, leave: Any
) -> None:
    club = Club(klaviyo, {"email": A, "phone_number": ONE}, {"email": B, "phone_number": TWO})
    run = leave({"email": A, "phone": TWO}, list_id=club.list_id, mapping=BOTH)
    assert run.counts() == {"rows_read": 1, "accepted": 1}
    assert [line["outcome"] for line in run.rejects] == ["warning"]
    assert [club.left(each) for each in club.ids] == [{"email"}, set()]


@pytest.mark.parametrize("channels", [("sms",), ("email", "sms")])
def test_a_row_that_asks_in_vain_does_not_make_another_a_duplicate(
    klaviyo: Emulator, leave: Any, channels: Any
) -> None:
    club = Club(klaviyo, {"email": A, "phone_number": ONE})
    rows: list[dict[str, object]] = [
        {"email": B, "phone": ONE, "sms_ok": "t"},
        {"email": A, "phone": ONE, "sms_ok": "t"},
    ]
    mapping = (
        BOTH | {"consent.sms": "sms_ok"} | ({"consent.email": "email_ok"} if "email" in channels else {})
    )
    run = leave(*rows, list_id=club.list_id, mapping=mapping, channels=channels)
    assert run.counts() == {"rows_read": 2, "accepted": 1, "skipped": 1}
    assert club.left(club.ids[0]) == {"sms"}


def test_a_preview_shows_who_would_be_unsubscribed_from_the_list(klaviyo: Emulator, leave: Any) -> None:
    club = Club(klaviyo, {"email": A, "phone_number": ONE})
    rows = [*PAIR, {"id": "3", "email": B, "phone": TWO, "email_ok": "1", "sms_ok": "1"}]
    shown = leave(*rows, list_id=club.list_id, preview=True)
    assert writes(klaviyo) == 0
    assert shown.counts() == {"rows_read": 3, "accepted": 2, "skipped": 1}
    assert leave(*rows, list_id=club.list_id).counts() == shown.counts()


def test_a_query_that_breaks_off_unsubscribes_nobody_from_a_list(
    klaviyo: Emulator, leave: Any, words: Any, chunks: Any
) -> None:
    """A row that was not read may ask for another channel, and who has left the list cannot be asked for it."""
    chunks(1)
    club = Club(klaviyo, {"email": A, "phone_number": ONE})
    sql = f"SELECT *, 1 / (id::int - 2) AS x FROM ({words(*PAIR)}) AS sorted"
    run = leave(*PAIR, list_id=club.list_id, sql=sql)
    assert run.counts() == {"rows_read": 1, "pending": 1}
    assert "nobody is sent before every row is read" in run.rejects[0]["reason"]
    assert leave(*PAIR, list_id=club.list_id, run_id="next").counts() == {"rows_read": 2, "accepted": 2}


def test_a_lost_answer_is_waited_for_on_behalf_of_all_rows(klaviyo: Emulator, leave: Any) -> None:
    klaviyo.set(subscription_seconds=0.5)
    klaviyo.inject(Fault("reset_after", operation=UNSUBSCRIBE))
    club = Club(klaviyo, {"email": A, "phone_number": ONE}, {"phone_number": TWO})
    rows = [*PAIR, {"id": "3", "email": A, "phone": TWO, "email_ok": "1", "sms_ok": "1"}]
    nightly = {"list_id": club.list_id, "primary_key": "id", "only_changes": True}
    assert leave(*rows, **nightly).counts() == {"rows_read": 3, "accepted": 3}
    assert leave(*rows, **nightly, run_id="next").counts() == {"rows_read": 3, "unchanged": 3}
    assert writes(klaviyo) == 1


def test_a_row_is_pending_while_anything_that_it_asks_for_is(
    klaviyo: Emulator, leave: Any, consent_sync: ConsentSync
) -> None:
    consent_sync.patience = 0.2
    klaviyo.set(subscription_seconds=60.0)
    club = Club(klaviyo, {"email": A, "phone_number": ONE}, {"phone_number": TWO})
    rows = [*PAIR, {"id": "3", "email": A, "phone": TWO, "email_ok": "1", "sms_ok": "1"}]
    run = leave(*rows, list_id=club.list_id)
    assert run.counts() == {"rows_read": 3, "pending": 3}
    assert sorted(line["row_number"] for line in run.rejects) == [1, 2, 3]
    again = leave(*rows, list_id=club.list_id, try_number=2)
    assert again.counts() == {"rows_read": 3, "pending": 3}
    assert writes(klaviyo) == 1

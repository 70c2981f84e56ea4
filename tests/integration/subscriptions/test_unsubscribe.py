"""Unsubscribing, in the words of people whose consent it is."""

from __future__ import annotations

import logging
import time
from typing import Any

import pytest
import requests

from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.client.lists import remove_members
from airflow_provider_klaviyo.emulator import Emulator, Fault
from airflow_provider_klaviyo.hooks.klaviyo import KlaviyoHook
from airflow_provider_klaviyo.sync.subscriptions import unsubscribe
from tests.integration.subscriptions.conftest import (
    BOTH,
    UNSUBSCRIBE,
    ConsentSync,
    Judge,
    Meanwhile,
    People,
    bodies,
    email_of,
    phone_of,
    profiles_of,
    reasons,
    writes,
)

pytestmark = pytest.mark.integration

NEVER = "NEVER_SUBSCRIBED"


class Club:
    """People who are subscribed and on a list."""

    def __init__(self, klaviyo: Emulator, count: int) -> None:
        self.klaviyo = klaviyo
        numbers = range(1, count + 1)
        self.ids = klaviyo.add_profiles(
            [{"email": email_of(n), "phone_number": phone_of(n)} for n in numbers]
        )
        for each in self.ids:
            klaviyo.set_consent(each, "email", "SUBSCRIBED")
            klaviyo.set_consent(each, "sms", "SUBSCRIBED")
        self.list_id = klaviyo.add_list("Club", self.ids)

    @property
    def members(self) -> int:
        return len(self.klaviyo.members(self.list_id))


@pytest.fixture
def club(klaviyo: Emulator) -> Club:
    return Club(klaviyo, 5)


@pytest.fixture
def leave(consent_sync: ConsentSync, club: Club) -> Any:
    def run(**parameters: Any) -> Any:
        return consent_sync(**({"mode": "unsubscribe", "list_id": club.list_id} | parameters))

    return run


@pytest.fixture
def impatient(consent_sync: ConsentSync) -> None:
    consent_sync.patience = 1.0


def test_members_are_unsubscribed_from_the_list_and_nobody_else_from_anything(
    klaviyo: Emulator, people: People, club: Club, leave: Any
) -> None:
    people.fill(7)
    (stranger,) = klaviyo.add_profiles([{"email": email_of(6)}])
    klaviyo.set_consent(stranger, "email", "SUBSCRIBED")

    run = leave()

    assert run.counts() == {"rows_read": 7, "accepted": 5, "skipped": 2}
    assert all(reason.startswith("not_on_list: ") for reason in reasons(run).values())
    assert set(reasons(run)) == {email_of(6), email_of(7)}
    assert club.members == 0
    assert klaviyo.consent(email=email_of(1)) == {"email": "SUBSCRIBED", "sms": "SUBSCRIBED"}
    assert klaviyo.consent(email=email_of(6)) == {"email": "SUBSCRIBED", "sms": NEVER}
    assert klaviyo.consent(email=email_of(7)) is None
    assert run.report["unsubscribed"] == 5
    assert leave().counts() == {"rows_read": 7, "skipped": 7}


def test_a_hundred_people_are_one_request_and_one_more_are_two(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync
) -> None:
    big = Club(klaviyo, 201)
    people.fill(201)
    assert consent_sync(mode="unsubscribe", list_id=big.list_id).summary["accepted"] == 201
    assert sorted(request.records for request in klaviyo.requests(UNSUBSCRIBE)) == [1, 100, 100]


def test_without_a_list_people_are_unsubscribed_from_everything_on_the_channels_named(
    klaviyo: Emulator, people: People, club: Club, leave: Any, caplog: pytest.LogCaptureFixture
) -> None:
    people.fill(6)
    klaviyo.inject(Fault("reset_after", operation=UNSUBSCRIBE))
    run = leave(list_id=None, globally=True)
    assert run.counts() == {"rows_read": 6, "accepted": 6}
    assert "from everything" in caplog.text
    assert klaviyo.consent(email=email_of(1)) == {"email": "UNSUBSCRIBED", "sms": "SUBSCRIBED"}
    assert len(klaviyo.requests(UNSUBSCRIBE)) == 2, "this call may be repeated"
    assert leave(list_id=None, globally=True, channels=("email", "sms"), mapping=BOTH).error is None
    assert klaviyo.consent(email=email_of(1)) == {"email": "UNSUBSCRIBED", "sms": "UNSUBSCRIBED"}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"list_id": None}, "globally=True"),
        ({"globally": True}, "without a list"),
        (
            {"custom_source": "x", "historical_import": True},
            "historical_import, custom_source: for mode='subscribe'",
        ),
        ({"resubscribe": True}, "resubscribe: for mode='subscribe'"),
        ({"ask_again_after": 0}, "ask_again_after: for mode='subscribe'"),
        ({"mapping": {"external_id": "id", "email": "email"}}, "external_id"),
        ({"mapping": {"email": "email", "consented_at": "agreed_at"}}, "consented_at"),
        ({"channels": ["sms"]}, "nothing is mapped to phone_number"),
    ],
)
def test_what_cannot_work_is_said_before_the_first_row(
    klaviyo: Emulator, people: People, leave: Any, settings: dict[str, Any], words: str
) -> None:
    people.fill(1)
    run = leave(**settings)
    assert words in str(run.error)
    assert writes(klaviyo) == 0


def test_the_setting_that_cannot_be_read_is_said(
    people: People, leave: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    people.fill(1)
    leave()
    assert "account-wide setting" in caplog.text


# --- whose address is whose -----------------------------------------------------------------------------------------


def test_the_number_of_somebody_who_is_not_on_the_list_is_not_sent_along(
    klaviyo: Emulator, people: People, club: Club, leave: Any
) -> None:
    people.fill(2)
    (stranger,) = klaviyo.add_profiles([{"phone_number": "+14155559999"}])
    klaviyo.set_consent(stranger, "sms", "SUBSCRIBED")
    people.execute("UPDATE people SET phone = '+14155559999' WHERE id = 1")
    people.execute("UPDATE people SET phone = '+14155558888' WHERE id = 2")

    run = leave(channels=("email", "sms"), mapping=BOTH)

    assert run.counts() == {"rows_read": 2, "accepted": 2}
    assert run.summary["warnings"] == 2
    assert klaviyo.consent(id=stranger) == {"email": NEVER, "sms": "SUBSCRIBED"}
    assert club.members == 3


def test_two_rows_of_one_member_are_one_request_for_it(
    klaviyo: Emulator, people: People, club: Club, leave: Any
) -> None:
    """By address and by number: the second would find nobody on the list any more."""
    people.add({"id": 1, "email": email_of(1)}, {"id": 2, "phone": phone_of(1)})
    run = leave(channels=("email", "sms"), mapping=BOTH)
    assert run.counts() == {"rows_read": 2, "accepted": 2}
    (record,) = profiles_of(klaviyo, UNSUBSCRIBE)
    assert set(record["attributes"]["subscriptions"]) == {"email", "sms"}


def test_the_other_identifier_of_somebody_who_was_sent_is_not_sent_either(
    klaviyo: Emulator, people: People, club: Club, leave: Any, impatient: None
) -> None:
    klaviyo.set(subscription_seconds=60.0)
    both = {"channels": ("email", "sms"), "mapping": BOTH}
    people.add({"id": 1, "email": email_of(1)})
    assert leave(**both).counts() == {"rows_read": 1, "pending": 1}
    people.execute("UPDATE people SET email = NULL, phone = %s", [(phone_of(1),)])
    assert leave(**both).counts() == {"rows_read": 1, "pending": 1}
    assert writes(klaviyo) == 1


def test_an_address_in_other_letters_is_the_same_member(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync
) -> None:
    ids = klaviyo.add_profiles([{"email": "Ada@Shop.io"}, {"email": "bob@shop.io"}], keep_case=True)
    odd = klaviyo.add_list("Odd", ids)
    people.add({"id": 1, "email": "Ada@Shop.io"}, {"id": 2, "email": "BOB@shop.io"})
    run = consent_sync(mode="unsubscribe", list_id=odd)
    assert run.counts() == {"rows_read": 2, "accepted": 2}
    assert klaviyo.members(odd) == []


def test_booleans_choose_the_channels_of_a_row(
    klaviyo: Emulator, people: People, club: Club, leave: Any
) -> None:
    for number, (email_ok, sms_ok) in enumerate([(True, False), (False, None)], 1):
        person = {"id": number, "email": email_of(number), "phone": phone_of(number)}
        people.add({**person, "email_ok": email_ok, "sms_ok": sms_ok})
    mapping = {**BOTH, "consent.email": "email_ok", "consent.sms": "sms_ok"}
    run = leave(channels=("email", "sms"), mapping=mapping)
    assert run.counts() == {"rows_read": 2, "accepted": 1, "skipped": 1}
    (body,) = bodies(klaviyo, UNSUBSCRIBE)
    (record,) = body["data"]["attributes"]["profiles"]["data"]
    assert set(record["attributes"]["subscriptions"]) == {"email"}


# --- answers that are lost ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["reset_after", "not_json"])
@pytest.mark.parametrize("seconds", [0.0, 1.0])
def test_an_unsubscribe_that_was_processed_though_its_answer_was_lost(
    klaviyo: Emulator, people: People, club: Club, leave: Any, kind: str, seconds: float
) -> None:
    klaviyo.set(subscription_seconds=seconds)
    klaviyo.inject(Fault(kind, operation=UNSUBSCRIBE))
    people.fill(5)
    run = leave()
    assert run.error is None
    assert run.counts() == {"rows_read": 5, "accepted": 5}
    assert writes(klaviyo) == 1


@pytest.mark.parametrize("status", [403, 404, 401, 410])
def test_what_a_proxy_says_after_passing_it_on_is_no_leave_to_send_it_again(
    klaviyo: Emulator, people: People, club: Club, leave: Any, status: int
) -> None:
    klaviyo.set(subscription_seconds=1.0)
    klaviyo.inject(Fault("status_after", UNSUBSCRIBE, status=status, body="html"))
    people.fill(5)
    first = leave()
    assert str(status) in str(first.error)
    assert first.counts() == {"rows_read": 5, "pending": 5}
    assert leave(run_id="next").counts() == {"rows_read": 5, "accepted": 5}
    assert writes(klaviyo) == 1


def test_who_leaves_the_list_while_a_request_waits_for_its_turn_is_not_sent(
    klaviyo: Emulator, people: People, club: Club, leave: Any, while_waiting: Meanwhile
) -> None:
    people.fill(5)
    while_waiting(lambda: remove(klaviyo, club.list_id, club.ids[1]))
    assert leave().counts() == {"rows_read": 5, "accepted": 4, "skipped": 1}


@pytest.mark.parametrize("kind", ["reset_before", "status"])
def test_one_that_may_yet_be_processed_is_not_sent_again(
    klaviyo: Emulator, people: People, club: Club, leave: Any, impatient: None, kind: str
) -> None:
    klaviyo.inject(Fault(kind, operation=UNSUBSCRIBE))
    people.fill(5)
    for try_number in (1, 2):
        run = leave(try_number=try_number)
        assert run.counts() == {"rows_read": 5, "pending": 5}
        assert "does not show the outcome yet" in reasons(run)[email_of(1)]
    assert writes(klaviyo) == 1


def test_who_left_between_two_tries_counts_as_accepted_in_the_second(
    klaviyo: Emulator, people: People, club: Club, leave: Any, impatient: None
) -> None:
    klaviyo.set(subscription_seconds=3.0)
    klaviyo.inject(Fault("reset_after", operation=UNSUBSCRIBE))
    people.fill(5)
    assert leave().counts() == {"rows_read": 5, "pending": 5}
    time.sleep(2.0)
    assert leave(try_number=2).counts() == {"rows_read": 5, "accepted": 5}
    assert writes(klaviyo) == 1


def test_nobody_is_sent_again_while_klaviyo_works_it_off(
    klaviyo: Emulator, people: People, club: Club, leave: Any
) -> None:
    """The next run starts before Klaviyo is done: everybody still looks like a member."""
    klaviyo.set(subscription_seconds=2.0)
    people.fill(5)
    assert leave(wait_for_completion=False).counts() == {"rows_read": 5, "accepted": 5}
    assert club.members == 5
    second = leave(run_id="next")
    assert second.counts() == {"rows_read": 5, "accepted": 5}
    assert leave(run_id="last").counts() == {"rows_read": 5, "skipped": 5}
    assert writes(klaviyo) == 1


def test_a_refused_member_is_rejected_alone_and_membership_is_read_again(
    klaviyo: Emulator, people: People, club: Club, leave: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    people.fill(5)
    klaviyo.inject(Fault("refuse_records", operation=UNSUBSCRIBE, match=email_of(2)))
    original = unsubscribe.UnsubscribeDelivery._send

    def send(self: Any, part: Any, doubt: Any) -> bool:
        try:
            return bool(original(self, part, doubt))
        except Exception:
            members = klaviyo.members(club.list_id)
            gone = next(member for member in members if member["email"] == email_of(4))
            remove(klaviyo, club.list_id, gone["id"])
            raise

    monkeypatch.setattr(unsubscribe.UnsubscribeDelivery, "_send", send)
    run = leave(max_rejected=1)
    assert run.counts() == {"rows_read": 5, "accepted": 3, "skipped": 1, "rejected": 1}


def remove(klaviyo: Emulator, list_id: str, profile_id: str) -> None:
    requests.delete(
        f"{klaviyo.url}/api/lists/{list_id}/relationships/profiles",
        json={"data": [{"type": "profile", "id": profile_id}]},
        headers={"Authorization": f"Klaviyo-API-Key {klaviyo.api_key}", "revision": "2026-07-15"},
        timeout=10,
    ).raise_for_status()


def test_a_membership_that_cannot_be_read_sends_nobody(
    klaviyo: Emulator, people: People, club: Club, leave: Any
) -> None:
    people.fill(5)
    klaviyo.inject(Fault("not_json", operation="get_profiles_for_list", body='{"data": {}}', count=None))
    run = leave(timeout=3)
    assert run.counts() == {"rows_read": 5, "pending": 5}
    assert writes(klaviyo) == 0


# --- the next run ---------------------------------------------------------------------------------------------------


def test_only_changes_knows_who_has_left(klaviyo: Emulator, people: People, club: Club, leave: Any) -> None:
    nightly = {"primary_key": "id", "only_changes": True}
    people.fill(5)
    assert leave(**nightly).counts() == {"rows_read": 5, "accepted": 5}
    before = len(klaviyo.requests("get_profiles_for_list"))
    assert leave(**nightly).counts() == {"rows_read": 5, "unchanged": 5}
    assert len(klaviyo.requests("get_profiles_for_list")) == before


def test_a_preview_writes_nothing_and_keeps_nothing(
    klaviyo: Emulator, people: People, club: Club, leave: Any
) -> None:
    people.fill(6)
    for _ in range(2):
        assert leave(preview=True).counts() == {"rows_read": 6, "accepted": 5, "skipped": 1}
    assert writes(klaviyo) == 0
    assert leave().counts() == {"rows_read": 6, "accepted": 5, "skipped": 1}


def test_the_account_wide_setting_is_klaviyos_affair(
    judge: Judge, klaviyo: Emulator, people: People, club: Club, leave: Any
) -> None:
    klaviyo.set(list_unsubscribes_are_global=True)
    people.fill(1)
    assert leave().counts() == {"rows_read": 1, "accepted": 1}
    assert klaviyo.consent(email=email_of(1))["email"] == "UNSUBSCRIBED"  # type: ignore[index]


def test_who_leaves_the_list_while_a_request_waits_to_be_repeated_is_not_sent(
    klaviyo: Emulator, people: People, club: Club, leave: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    people.fill(2)
    klaviyo.inject(Fault("status", UNSUBSCRIBE, status=429, retry_after=1))
    wait = KlaviyoClient.wait_to_repeat

    def meanwhile(*arguments: Any) -> None:
        with KlaviyoHook().get_client() as client:
            remove_members(client, club.list_id, [club.ids[0]])
        wait(*arguments)

    monkeypatch.setattr(KlaviyoClient, "wait_to_repeat", meanwhile)
    run = leave()
    assert run.counts() == {"rows_read": 2, "accepted": 1, "skipped": 1}
    assert klaviyo.consent(email=email_of(1))["email"] == "SUBSCRIBED"


def test_a_channel_that_was_in_no_request_is_not_called_unsubscribed(
    klaviyo: Emulator, people: People, club: Club, leave: Any
) -> None:
    klaviyo.set(subscription_seconds=1.0)
    wishes = BOTH | {"consent.email": "email_ok", "consent.sms": "sms_ok"}
    person = {"id": 1, "email": email_of(1), "phone": phone_of(1), "email_ok": True}
    people.add({**person, "sms_ok": False})
    first = leave(channels=["email", "sms"], mapping=wishes, wait_for_completion=False)
    assert first.counts() == {"rows_read": 1, "accepted": 1}
    people.execute("UPDATE people SET sms_ok = TRUE")

    again = leave(channels=["email", "sms"], mapping=wishes)

    assert again.counts() == {"rows_read": 1, "accepted": 1}
    (line,) = again.rejects
    assert (line["outcome"], line["field"]) == ("warning", "phone_number")
    assert "not_on_list" in line["reason"]
    assert all("sms" not in str(body) for body in bodies(klaviyo, UNSUBSCRIBE))

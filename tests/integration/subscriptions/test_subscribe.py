"""Subscribing, in the words of people whose consent it is."""

from __future__ import annotations

import json
import logging
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.emulator import Emulator, Fault
from airflow_provider_klaviyo.emulator.account.consent_audit import IncidentKind
from tests.integration.conftest import StartEmulator
from tests.integration.subscriptions.conftest import (
    BOTH,
    SUBSCRIBE,
    ConsentSync,
    Judge,
    Meanwhile,
    People,
    bodies,
    email_of,
    phone_of,
    reasons,
    writes,
)

pytestmark = pytest.mark.integration

NEVER = "NEVER_SUBSCRIBED"
AGREED = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def vip(klaviyo: Emulator) -> str:
    return klaviyo.add_list("VIP")


@pytest.fixture
def double(klaviyo: Emulator) -> str:
    return klaviyo.add_list("Newsletter", opt_in_process="double_opt_in")


# --- what it is for -------------------------------------------------------------------------------------------------


def test_people_are_subscribed_and_on_the_list(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync, vip: str
) -> None:
    emails = people.fill(3)

    run = consent_sync(list_name="VIP", custom_source="Checkout")

    assert run.error is None
    assert run.counts() == {"rows_read": 3, "accepted": 3}
    assert run.summary["list_id"] == vip
    assert [klaviyo.consent(email=email) for email in emails] == [{"email": "SUBSCRIBED", "sms": NEVER}] * 3
    assert sorted(member["email"] for member in klaviyo.members(vip)) == emails
    person = klaviyo.profile(email=emails[0])
    assert person is not None
    assert klaviyo.subscriptions(person["id"])["email"]["marketing"]["custom_method_detail"] == "Checkout"
    assert (run.report["subscribed"], run.report["confirmation_requested"]) == (3, 0)


@pytest.mark.parametrize(
    ("channels", "mapping", "expected"),
    [
        (("email",), {"email": "email"}, {"email": "SUBSCRIBED", "sms": NEVER}),
        ("sms", {"phone_number": "phone"}, {"email": NEVER, "sms": "SUBSCRIBED"}),
        (["email", "sms"], BOTH, {"email": "SUBSCRIBED", "sms": "SUBSCRIBED"}),
    ],
    ids=["email", "sms", "both"],
)
def test_only_the_channels_that_are_named(
    klaviyo: Emulator,
    people: People,
    consent_sync: ConsentSync,
    vip: str,
    channels: Any,
    mapping: dict[str, str],
    expected: dict[str, str],
) -> None:
    people.fill(1)
    run = consent_sync(list_id=vip, channels=channels, mapping=mapping)
    assert run.counts() == {"rows_read": 1, "accepted": 1}
    (profile,) = klaviyo.profiles()
    assert {name for name in ("email", "phone_number") if profile.get(name)} == set(mapping)
    assert klaviyo.consent(id=profile["id"]) == expected


def test_booleans_narrow_the_channels_of_a_row_and_never_unsubscribe(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync, vip: str
) -> None:
    wishes = [(True, False), (None, True), (False, None), (True, True)]
    for number, (email_ok, sms_ok) in enumerate(wishes, 1):
        person = {"id": number, "email": email_of(number), "phone": phone_of(number)}
        people.add({**person, "email_ok": email_ok, "sms_ok": sms_ok})
    (third,) = klaviyo.add_profiles([{"email": email_of(3)}])
    klaviyo.set_consent(third, "email", "SUBSCRIBED")

    run = consent_sync(
        list_id=vip,
        channels=("email", "sms"),
        mapping={**BOTH, "consent.email": "email_ok", "consent.sms": "sms_ok"},
        match_by="phone_number",
    )

    assert run.counts() == {"rows_read": 4, "accepted": 3, "skipped": 1}
    assert reasons(run)[phone_of(3)].startswith("no_consent: ")
    assert klaviyo.consent(phone_number=phone_of(1)) == {"email": "SUBSCRIBED", "sms": NEVER}
    assert klaviyo.consent(phone_number=phone_of(2)) == {"email": NEVER, "sms": "SUBSCRIBED"}
    assert klaviyo.consent(email=email_of(3)) == {"email": "SUBSCRIBED", "sms": NEVER}
    assert klaviyo.profile(email=email_of(2)) is None


def test_a_number_that_was_a_float_once_asks_nobody_else(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync, vip: str
) -> None:
    numbers = ["+491711234567.0", "+491711234568.00", "+491711234569.5", "4.9171123457E+11"]
    for number, phone in enumerate(numbers, 1):
        people.add({"id": number, "phone": phone})

    run = consent_sync(
        list_id=vip, channels="sms", mapping={"phone_number": "phone"}, primary_key="id", max_rejected=2
    )

    assert run.counts() == {"rows_read": 4, "accepted": 2, "rejected": 2}
    asked = {member["phone_number"] for member in klaviyo.members(vip)}
    assert asked == {"+491711234567", "+491711234568"}
    assert "fraction" in reasons(run)[3]
    assert "exponent" in reasons(run)[4]


def test_a_bad_number_beside_a_good_address_the_address_still_goes(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync, vip: str
) -> None:
    people.add({"id": 1, "email": email_of(1), "phone": "12"}, {"id": 2, "email": email_of(2)})
    both = {"list_id": vip, "channels": ("email", "sms"), "mapping": BOTH}

    assert consent_sync(**both, on_invalid="reject", max_rejected=1).counts() == {
        "rows_read": 2,
        "accepted": 1,
        "rejected": 1,
    }
    run = consent_sync(**both)

    assert run.counts() == {"rows_read": 2, "accepted": 1, "unchanged": 1}
    assert run.summary["warnings"] == 2
    assert klaviyo.consent(email=email_of(1)) == {"email": "SUBSCRIBED", "sms": NEVER}


def test_a_thousand_people_are_one_request_and_one_more_are_two(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync, vip: str
) -> None:
    people.fill(1_001)
    assert consent_sync(list_id=vip, sql=f"{people_sql(1_000)}").counts() == {
        "rows_read": 1_000,
        "accepted": 1_000,
    }
    assert len(klaviyo.requests(SUBSCRIBE)) == 1
    assert consent_sync(list_id=vip, resubscribe=True).summary["accepted"] == 1_001
    assert len(klaviyo.requests(SUBSCRIBE)) == 3


def people_sql(count: int) -> str:
    return f"SELECT * FROM people ORDER BY id LIMIT {count}"


def test_history_needs_no_list_and_asks_nobody(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync, double: str
) -> None:
    people.add({"id": 1, "email": email_of(1), "agreed_at": AGREED})
    past = {"historical_import": True, "mapping": {"email": "email", "consented_at": "agreed_at"}}

    assert consent_sync(**past).counts() == {"rows_read": 1, "accepted": 1}
    assert consent_sync(**past, list_id=double, state_key="other").counts() == {"rows_read": 1, "accepted": 1}

    profile = klaviyo.profile(email=email_of(1))
    assert profile is not None
    marketing = klaviyo.subscriptions(profile["id"])["email"]["marketing"]
    assert marketing["consent_timestamp"] == "2026-03-01T12:00:00+00:00"
    assert klaviyo.confirmations() == {}


def test_consented_at_is_found_by_its_name_and_read_in_the_time_zone(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync
) -> None:
    people.fill(1)
    sql = "SELECT email, TIMESTAMP '2026-03-01 12:00' AS consented_at FROM people"
    for mapping in (None, {"email": "email"}):
        run = consent_sync(
            sql=sql, mapping=mapping, historical_import=True, timezone="Europe/Berlin", resubscribe=True
        )
        assert run.counts() == {"rows_read": 1, "accepted": 1}
    profile = klaviyo.profile(email=email_of(1))
    assert profile is not None
    marketing = klaviyo.subscriptions(profile["id"])["email"]["marketing"]
    assert marketing["consent_timestamp"] == "2026-03-01T11:00:00+00:00"


def test_a_date_of_birth_goes_with_sms_where_the_account_asks_for_it(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync, vip: str
) -> None:
    klaviyo.set(age_gate=18)
    people.add(
        {"id": 1, "phone": phone_of(1), "born": date(1990, 1, 31)},
        {"id": 2, "phone": phone_of(2), "born": date(2020, 1, 31)},
        {"id": 3, "phone": phone_of(3)},
    )
    mapping = {"phone_number": "phone", "age_gated_date_of_birth": "born"}
    run = consent_sync(list_id=vip, channels=["sms"], mapping=mapping, max_rejected=2)
    assert run.counts() == {"rows_read": 3, "accepted": 1, "rejected": 2}
    assert klaviyo.consent(phone_number=phone_of(1)) == {"email": NEVER, "sms": "SUBSCRIBED"}


@pytest.mark.parametrize("pointers", ["all", "one"])
def test_beside_a_number_that_klaviyo_refuses_the_address_still_goes(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync, vip: str, pointers: str
) -> None:
    klaviyo.set(sms_regions=frozenset({"US"}), pointers=pointers)
    people.fill(5)
    people.execute("UPDATE people SET phone = '+4915123456789' WHERE id = 3")
    run = consent_sync(list_id=vip, channels=("email", "sms"), mapping=BOTH)
    assert run.counts() == {"rows_read": 5, "accepted": 5}
    ((outcome, field, reason),) = [(each["outcome"], each["field"], each["reason"]) for each in run.rejects]
    assert (outcome, field) == ("warning", "phone_number")
    assert "region" in reason
    assert klaviyo.consent(email=email_of(3)) == {"email": "SUBSCRIBED", "sms": NEVER}
    assert klaviyo.consent(phone_number=phone_of(4)) == {"email": "SUBSCRIBED", "sms": "SUBSCRIBED"}


def test_two_objections_to_one_channel_cost_that_channel_only(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync, vip: str
) -> None:
    at = "/data/attributes/profiles/data/1/attributes"
    told = {"id": "1", "status": 400, "code": "invalid", "title": "No.", "detail": "Not with this number."}
    errors = tuple(
        told | {"source": {"pointer": f"{at}/{field}"}} for field in ("phone_number", "subscriptions/sms")
    )
    klaviyo.inject(Fault("status", SUBSCRIBE, status=400, errors=errors))
    people.fill(3)
    run = consent_sync(list_id=vip, channels=("email", "sms"), mapping=BOTH)
    assert run.counts() == {"rows_read": 3, "accepted": 3}
    assert run.summary["warnings"] == 1
    assert klaviyo.consent(email=email_of(2)) == {"email": "SUBSCRIBED", "sms": NEVER}


@pytest.mark.parametrize(
    ("pointers", "parameters"),
    [
        ("none", {}),
        ("all", {"on_invalid": "reject"}),
        ("all", {"match_by": "phone_number"}),
        ("all", {"channels": "sms"}),
    ],
    ids=["not told which", "on_invalid", "match_by", "sms only"],
)
def test_a_person_with_a_number_that_klaviyo_refuses_is_rejected_alone(
    klaviyo: Emulator,
    people: People,
    consent_sync: ConsentSync,
    vip: str,
    pointers: str,
    parameters: dict[str, Any],
) -> None:
    klaviyo.set(sms_regions=frozenset({"US"}), pointers=pointers)
    people.fill(5)
    people.execute("UPDATE people SET phone = '+4915123456789' WHERE id = 3")
    settings = {"channels": ("email", "sms"), "mapping": BOTH, "max_rejected": 1} | parameters
    run = consent_sync(list_id=vip, **settings)
    assert run.counts() == {"rows_read": 5, "accepted": 4, "rejected": 1}
    (reason,) = reasons(run).values()
    assert ("Invalid input" if pointers == "none" else "region") in reason
    assert klaviyo.consent(email=email_of(3)) is None


def test_a_field_that_klaviyo_left_out_is_a_warning(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync, vip: str
) -> None:
    people.fill(1)
    headers = {"X-Klaviyo-Partial-Failure": "phone_number"}
    klaviyo.inject(Fault("slow", operation=SUBSCRIBE, headers=headers))
    run = consent_sync(list_id=vip, channels=("email", "sms"), mapping=BOTH)
    assert run.counts() == {"rows_read": 1, "accepted": 1}
    assert [(line["outcome"], line["field"]) for line in run.rejects] == [("warning", "phone_number")]


def test_by_an_id_of_the_shop_the_profile_is_found_and_subscribed(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync, vip: str
) -> None:
    people.fill(3)
    first, second = klaviyo.add_profiles(
        [{"external_id": "1", "email": "old@shop.io"}, {"external_id": "2", "email": "two@shop.io"}]
    )
    klaviyo.set_consent(second, "email", "UNSUBSCRIBED")
    mapping = {"external_id": "id", "email": "email"}

    run = consent_sync(list_id=vip, mapping=mapping, match_by="external_id")

    assert run.counts() == {"rows_read": 3, "accepted": 2, "skipped": 1}
    assert {row["key"] for row in run.rejects} == {2}
    assert klaviyo.consent(id=first)["email"] == "SUBSCRIBED"  # type: ignore[index]
    assert klaviyo.consent(email=email_of(2)) is None


def test_columns_that_are_not_consent_are_left_alone_and_said_once(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync, vip: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    people.add({"id": 1, "email": email_of(1), "first_name": "Ada"})
    assert consent_sync(list_id=vip, mapping=None).counts() == {"rows_read": 1, "accepted": 1}
    assert caplog.text.count("Columns left alone: id, phone, email_ok") == 1
    (person,) = klaviyo.profiles()
    assert "first_name" not in person


# --- the guard ------------------------------------------------------------------------------------------------------


def test_whoever_unsubscribed_or_was_suppressed_is_left_alone(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync, vip: str
) -> None:
    people.fill(9)
    other = klaviyo.add_list("Other")
    ids = klaviyo.add_profiles([{"email": email_of(n)} for n in range(1, 9)])
    klaviyo.set_consent(ids[0], "email", "UNSUBSCRIBED")
    every = ("USER_SUPPRESSED", "SPAM_COMPLAINT", "HARD_BOUNCE", "INVALID_EMAIL")
    for place, reason in enumerate(every, 1):
        klaviyo.set_consent(ids[place], "email", "SUBSCRIBED")
        klaviyo.suppress(ids[place], reason)
    klaviyo.suppress(ids[5], "UNSUBSCRIBE", list_id=vip)
    klaviyo.suppress(ids[6], "UNSUBSCRIBE", list_id=other)
    before = {each: klaviyo.subscriptions(each) for each in ids[:6]}

    run = consent_sync(list_id=vip)

    assert run.counts() == {"rows_read": 9, "accepted": 3, "skipped": 6}
    assert set(reasons(run)) == {email_of(n) for n in range(1, 7)}
    assert all(reason.startswith("opted_out: ") for reason in reasons(run).values())
    assert {each: klaviyo.subscriptions(each) for each in ids[:6]} == before


def test_a_first_trial_with_plus_addresses_skips_everybody_and_says_for_what(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync, vip: str
) -> None:
    """Klaviyo itself suppresses such profiles soon after the API has made them."""
    klaviyo.set(plus_address_seconds=0.0)
    for number in (1, 2):
        people.add({"id": number, "email": f"me+{number}@shop.io"})
    klaviyo.add_profiles([{"email": f"me+{number}@shop.io"} for number in (1, 2)])
    run = consent_sync(list_id=vip)
    assert run.counts() == {"rows_read": 2, "skipped": 2}
    assert set(reasons(run).values()) == {"opted_out: suppressed (USER_SUPPRESSED)"}


def test_one_channel_that_objects_leaves_the_others(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync, vip: str
) -> None:
    people.fill(3)
    ids = klaviyo.add_profiles([{"email": email_of(n), "phone_number": phone_of(n)} for n in (1, 2, 3)])
    klaviyo.set_consent(ids[0], "sms", "UNSUBSCRIBED")
    klaviyo.suppress(ids[1], "HARD_BOUNCE")
    klaviyo.set_consent(ids[2], "sms", "UNSUBSCRIBED")
    klaviyo.set_consent(ids[2], "email", "UNSUBSCRIBED")

    run = consent_sync(list_id=vip, channels=("email", "sms"), mapping=BOTH)

    assert run.counts() == {"rows_read": 3, "accepted": 2, "skipped": 1}
    assert run.summary["warnings"] == 2
    assert klaviyo.consent(id=ids[0]) == {"email": "SUBSCRIBED", "sms": "UNSUBSCRIBED"}
    assert klaviyo.consent(id=ids[1]) == {"email": NEVER, "sms": "SUBSCRIBED"}
    assert klaviyo.consent(id=ids[2]) == {"email": "UNSUBSCRIBED", "sms": "UNSUBSCRIBED"}


def test_the_number_of_another_profile_is_looked_up_too(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync, vip: str
) -> None:
    """E-mail and number lead to two profiles, and only one of them has opted out."""
    people.fill(1)
    by_email, by_phone = klaviyo.add_profiles([{"email": email_of(1)}, {"phone_number": phone_of(1)}])
    klaviyo.set_consent(by_phone, "sms", "UNSUBSCRIBED")

    run = consent_sync(list_id=vip, channels=("email", "sms"), mapping=BOTH)

    assert run.counts() == {"rows_read": 1, "accepted": 1}
    assert klaviyo.consent(id=by_email)["email"] == "SUBSCRIBED"  # type: ignore[index]
    assert klaviyo.consent(id=by_phone)["sms"] == "UNSUBSCRIBED"  # type: ignore[index]


@pytest.mark.parametrize(
    ("stored", "given"),
    [
        ("ada@shop.io", "ADA@Shop.io"),
        ("Ada@Shop.io", "Ada@Shop.io"),
        ("ada@shop.io", " ada@shop.io "),
        ("ada+x@shop.io", "Ada+X@shop.io"),
    ],
)
def test_an_address_in_other_letters_is_the_same_person(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync, vip: str, stored: str, given: str
) -> None:
    people.add({"id": 1, "email": given})
    (person,) = klaviyo.add_profiles([{"email": stored}], keep_case=True)
    klaviyo.set_consent(person, "email", "UNSUBSCRIBED")
    assert consent_sync(list_id=vip).counts() == {"rows_read": 1, "skipped": 1}


def test_a_hundred_long_addresses_fit_no_single_filter(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync, vip: str
) -> None:
    long = "x" * 40
    emails = [f"{long}+{n}@{'y' * 40}.shop.io" for n in range(150)]
    people.execute("INSERT INTO people (email) VALUES (%s)", [(email,) for email in emails])
    ids = klaviyo.add_profiles([{"email": email} for email in emails])
    for each in ids[::2]:
        klaviyo.set_consent(each, "email", "UNSUBSCRIBED")
    run = consent_sync(list_id=vip, sql="SELECT email FROM people")
    assert run.counts() == {"rows_read": 150, "accepted": 75, "skipped": 75}


def profile(email: str = email_of(1), **marketing: Any) -> dict[str, Any]:
    free = {"consent": NEVER, "can_receive_email_marketing": True, "suppression": [], "list_suppressions": []}
    return {
        "type": "profile",
        "id": "01J0000000000000000000000A",
        "attributes": {"email": email, "subscriptions": {"email": {"marketing": free | marketing}}},
    }


def find(klaviyo: Emulator, answer: dict[str, Any], count: int | None = 1) -> None:
    """Have so many look-ups, or all, find this profile."""
    body = json.dumps({"data": [answer], "links": {"next": None}})
    klaviyo.inject(Fault("not_json", operation="get_profiles", body=body, count=count))


def without(*path: str) -> dict[str, Any]:
    found = profile()
    parent: Any = found["attributes"]
    for name in path[:-1]:
        parent = parent[name]
    del parent[path[-1]]
    return found


@pytest.mark.parametrize(
    "answer",
    [profile(suppression=None, list_suppressions=None), profile(list_suppressions=None)],
    ids=json.dumps,
)
def test_the_null_of_the_schema_is_no_suppression(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync, vip: str, answer: dict[str, Any]
) -> None:
    people.fill(2)
    find(klaviyo, answer, count=None)
    assert consent_sync(list_id=vip).counts() == {"rows_read": 2, "accepted": 2}


def test_who_opts_out_while_a_request_waits_to_be_repeated_is_not_sent(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync, vip: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    people.fill(2)
    first, _ = klaviyo.add_profiles([{"email": email_of(1)}, {"email": email_of(2)}])
    klaviyo.inject(Fault("status", SUBSCRIBE, status=503, body="html"))
    wait = KlaviyoClient.wait_to_repeat

    def meanwhile(*arguments: Any) -> None:
        klaviyo.set_consent(first, "email", "UNSUBSCRIBED")
        wait(*arguments)

    monkeypatch.setattr(KlaviyoClient, "wait_to_repeat", meanwhile)
    assert consent_sync(list_id=vip).counts() == {"rows_read": 2, "accepted": 1, "skipped": 1}
    assert len(klaviyo.requests(SUBSCRIBE)) == 2


def test_who_opts_out_while_a_request_waits_for_its_turn_is_not_sent(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync, vip: str, while_waiting: Meanwhile
) -> None:
    people.fill(2)
    (first,) = klaviyo.add_profiles([{"email": email_of(1)}])
    while_waiting(lambda: klaviyo.set_consent(first, "email", "UNSUBSCRIBED"))
    assert consent_sync(list_id=vip).counts() == {"rows_read": 2, "accepted": 1, "skipped": 1}


def test_another_channel_and_a_full_refresh_ask_nobody_a_second_time(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync
) -> None:
    asking = klaviyo.add_list("Newsletter 2", opt_in_process="double_opt_in")
    people.fill(3)
    consent_sync(list_id=asking, mapping=BOTH)
    again = consent_sync(list_id=asking, mapping=BOTH, channels=["email", "sms"])
    assert "channels was email and is now email, sms" in str(again.error)
    consent_sync(list_id=asking, mapping=BOTH, channels=["email", "sms"], full_refresh=True)
    assert {(channel, count) for (_, channel, _), count in klaviyo.confirmations().items()} == {
        ("email", 1),
        ("sms", 1),
    }


@pytest.mark.parametrize(
    "answer",
    [
        without("subscriptions"),
        without("subscriptions", "email"),
        without("subscriptions", "email", "marketing"),
        without("subscriptions", "email", "marketing", "consent"),
        without("subscriptions", "email", "marketing", "suppression"),
        without("subscriptions", "email", "marketing", "list_suppressions"),
        profile(consent=None),
        profile(suppression=None, can_receive_email_marketing=False),
        profile(suppression={}),
        profile(suppression=["HARD_BOUNCE"]),
        profile(list_suppressions=[{"reason": "UNSUBSCRIBE"}]),
        profile(list_suppressions="none"),
    ],
    ids=json.dumps,
)
def test_consent_that_cannot_be_read_is_no_consent(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync, vip: str, answer: dict[str, Any]
) -> None:
    people.fill(2)
    find(klaviyo, answer)

    run = consent_sync(list_id=vip)

    assert run.counts() == {"rows_read": 2, "accepted": 1, "pending": 1}
    assert list(reasons(run)) == [email_of(1)]
    assert klaviyo.consent(email=email_of(1)) is None


@pytest.mark.parametrize("reason", ["UNSUBSCRIBE", "SPAM_COMPLAINT", "USER_SUPPRESSED"])
@pytest.mark.parametrize("channels", [("sms",), ("email", "sms")], ids=["sms", "both"])
def test_consent_to_sms_lifts_no_opt_out_of_e_mail(
    klaviyo: Emulator,
    people: People,
    consent_sync: ConsentSync,
    vip: str,
    channels: tuple[str, ...],
    reason: str,
) -> None:
    people.fill(3)
    first, second, third = klaviyo.add_profiles(
        [{"email": email_of(n), "phone_number": phone_of(n)} for n in (1, 2, 3)]
    )
    klaviyo.suppress(first, reason)
    klaviyo.suppress(second, "UNSUBSCRIBE", list_id=vip)
    klaviyo.suppress(third, "HARD_BOUNCE")
    before = {each: klaviyo.subscriptions(each) for each in (first, second)}

    run = consent_sync(list_id=vip, channels=channels, mapping=BOTH, match_by="phone_number")

    assert run.counts() == {"rows_read": 3, "accepted": 1, "skipped": 2}
    assert all("opted_out: " in reason for key, reason in reasons(run).items() if key != phone_of(3))
    assert {each: klaviyo.subscriptions(each) for each in before} == before
    assert klaviyo.consent(id=third) == {"email": NEVER, "sms": "SUBSCRIBED"}


def test_who_has_sms_and_is_on_the_list_needs_nothing_whatever_stands_against_e_mail(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync
) -> None:
    people.fill(2)
    ids = klaviyo.add_profiles([{"email": email_of(n), "phone_number": phone_of(n)} for n in (1, 2)])
    for each in ids:
        klaviyo.set_consent(each, "sms", "SUBSCRIBED")
        klaviyo.set_consent(each, "email", "UNSUBSCRIBED")
    half = klaviyo.add_list("Half", ids[:1])
    run = consent_sync(list_id=half, channels="sms", mapping={"phone_number": "phone"})
    assert run.counts() == {"rows_read": 2, "unchanged": 1, "skipped": 1}
    assert list(reasons(run)) == [phone_of(2)]


@pytest.mark.parametrize(("days", "is_sent"), [(-1, True), (1, False)])
def test_newer_consent_to_sms_overrules_an_older_opt_out_of_e_mail_only(
    judge: Judge,
    klaviyo: Emulator,
    people: People,
    consent_sync: ConsentSync,
    vip: str,
    days: int,
    is_sent: bool,
) -> None:
    judge.permits_resubscriptions = is_sent
    people.add({"id": 1, "phone": phone_of(1), "agreed_at": AGREED})
    (person,) = klaviyo.add_profiles([{"email": email_of(1), "phone_number": phone_of(1)}])
    klaviyo.suppress(person, "UNSUBSCRIBE", at=(AGREED + timedelta(days=days)).timestamp())
    run = consent_sync(
        list_id=vip,
        channels="sms",
        mapping={"phone_number": "phone", "consented_at": "agreed_at"},
        resubscribe="newer_consent",
    )
    assert run.counts() == {"rows_read": 1, ("accepted" if is_sent else "skipped"): 1}


@pytest.mark.parametrize("email", [None, {"marketing": None}, {"marketing": {"consent": NEVER}}])
def test_sms_waits_where_the_suppressions_of_the_address_cannot_be_read(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync, vip: str, email: Any
) -> None:
    people.fill(1)
    attributes = {
        "email": email_of(1),
        "phone_number": phone_of(1),
        "subscriptions": {"email": email, "sms": {"marketing": {"consent": NEVER}}},
    }
    find(klaviyo, {"type": "profile", "id": "01J0000000000000000000000A", "attributes": attributes})
    run = consent_sync(list_id=vip, channels="sms", mapping={"phone_number": "phone"})
    assert run.counts() == {"rows_read": 1, "pending": 1}
    assert writes(klaviyo) == 0


def test_a_new_word_of_consent_skips_the_person_and_names_the_word(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync, vip: str, caplog: pytest.LogCaptureFixture
) -> None:
    people.fill(2)
    find(klaviyo, profile(consent="PENDING_REVIEW"))
    run = consent_sync(list_id=vip)
    assert run.error is None
    assert run.counts() == {"rows_read": 2, "accepted": 1, "skipped": 1}
    assert "PENDING_REVIEW" in reasons(run)[email_of(1)]
    said = next(line for line in caplog.records if "PENDING_REVIEW" in line.getMessage())
    assert said.levelname == "WARNING"
    assert klaviyo.consent(email=email_of(1)) is None


def test_who_was_asked_is_skipped_for_that_whatever_klaviyo_calls_who_has_not_answered(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync, double: str
) -> None:
    people.fill(1)
    consent_sync(list_id=double)
    find(klaviyo, profile(consent="AWAITING_CONFIRMATION"), count=None)
    for _ in range(2):
        run = consent_sync(list_id=double)
        assert run.error is None
        assert run.counts() == {"rows_read": 1, "skipped": 1}
        assert reasons(run)[email_of(1)].startswith("already_asked: ")


def test_a_new_word_on_one_channel_leaves_the_other(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync, vip: str
) -> None:
    people.fill(1)
    answer = profile(consent="PENDING_REVIEW")
    answer["attributes"]["subscriptions"]["sms"] = {"marketing": {"consent": NEVER}}
    find(klaviyo, answer, count=None)
    run = consent_sync(list_id=vip, channels=("email", "sms"), mapping=BOTH)
    assert run.counts() == {"rows_read": 1, "accepted": 1}
    assert run.summary["warnings"] == 1
    assert klaviyo.consent(phone_number=phone_of(1)) == {"email": NEVER, "sms": "SUBSCRIBED"}


@pytest.mark.parametrize(
    "body", ['{"data": null}', '{"data": {}}', '{"data": ["x"]}', '{"data": [{"type": "profile"}]}', "<html>"]
)
def test_an_answer_that_cannot_be_read_ends_the_run_and_nobody_is_sent(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync, vip: str, body: str
) -> None:
    people.fill(2)
    klaviyo.inject(Fault("not_json", operation="get_profiles", body=body, count=None))
    run = consent_sync(list_id=vip, timeout=3)
    assert run.counts() == {"rows_read": 2, "pending": 2}
    assert writes(klaviyo) == 0


def test_a_profile_that_shows_another_of_its_addresses_is_not_overlooked(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync, vip: str
) -> None:
    people.fill(1)
    find(klaviyo, profile("other@shop.io", consent="UNSUBSCRIBED"), count=None)
    assert consent_sync(list_id=vip).counts() == {"rows_read": 1, "skipped": 1}
    assert writes(klaviyo) == 0


def test_a_profile_that_hides_behind_another_of_its_addresses_is_not_overlooked(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync, vip: str
) -> None:
    """Both rows find one profile, which shows the first one's address."""
    people.fill(2)
    find(klaviyo, profile(email_of(1), consent="UNSUBSCRIBED"), count=None)
    assert consent_sync(list_id=vip).counts() == {"rows_read": 2, "skipped": 2}
    assert writes(klaviyo) == 0


@pytest.mark.parametrize("following", [{"href": "https://a.klaviyo.com/?page[cursor]=x"}, True, "here"])
def test_a_next_page_that_cannot_be_found_ends_the_run_and_nobody_is_sent(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync, vip: str, following: object
) -> None:
    people.fill(2)
    body = json.dumps({"data": [], "links": {"next": following}})
    klaviyo.inject(Fault("not_json", operation="get_profiles", body=body, count=None))
    run = consent_sync(list_id=vip)
    assert "more pages" in str(run.error)
    assert run.counts() == {"rows_read": 2, "pending": 2}
    assert writes(klaviyo) == 0


@pytest.mark.parametrize("status", [403, 400])
def test_a_refused_look_up_sends_nobody(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync, vip: str, status: int
) -> None:
    people.fill(2)
    klaviyo.inject(Fault("status", operation="get_profiles", status=status, count=None))
    run = consent_sync(list_id=vip)
    assert run.error is not None
    assert run.counts() == {"rows_read": 2, "pending": 2}
    assert writes(klaviyo) == 0


def test_consent_is_read_again_when_a_request_is_sent_again(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync, vip: str, before_it_leaves: Meanwhile
) -> None:
    """Klaviyo refuses the first request for one bad record; meanwhile somebody else opts out."""
    people.fill(3)
    (second,) = klaviyo.add_profiles([{"email": email_of(2)}])
    klaviyo.inject(Fault("refuse_records", operation=SUBSCRIBE, match=email_of(1), count=1))
    before_it_leaves(lambda: klaviyo.set_consent(second, "email", "UNSUBSCRIBED"))
    run = consent_sync(list_id=vip, max_rejected=1)
    assert run.counts() == {"rows_read": 3, "accepted": 1, "skipped": 1, "rejected": 1}


# --- new consent ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("has_history", [True, False])
def test_consent_newer_than_the_opt_out_counts_and_bounces_stay(
    judge: Judge, klaviyo: Emulator, people: People, consent_sync: ConsentSync, vip: str, has_history: bool
) -> None:
    judge.permits_resubscriptions = True
    ids = klaviyo.add_profiles([{"email": email_of(n)} for n in range(1, 7)])
    for number in range(1, 8):
        people.add({"id": number, "email": email_of(number), "agreed_at": AGREED})
    earlier, later = (AGREED + timedelta(days=days) for days in (-9, 9))
    klaviyo.set_consent(ids[0], "email", "UNSUBSCRIBED", at=earlier.timestamp())
    klaviyo.set_consent(ids[1], "email", "UNSUBSCRIBED", at=later.timestamp())
    klaviyo.suppress(ids[2], "HARD_BOUNCE", at=earlier.timestamp())
    klaviyo.suppress(ids[3], "USER_SUPPRESSED", at=earlier.timestamp())
    klaviyo.suppress(ids[4], "UNSUBSCRIBE", list_id=vip, at=later.timestamp())
    klaviyo.set_consent(ids[5], "email", "UNSUBSCRIBED", at=earlier.timestamp())
    klaviyo.suppress(ids[5], "INVALID_EMAIL", at=earlier.timestamp())
    for each in (ids[0], ids[3], ids[5]):  # the moments of recording them
        marketing = klaviyo.subscriptions(each)["email"]["marketing"]
        assert marketing is not None
    mapping = {"email": "email", "consented_at": "agreed_at"}

    run = consent_sync(
        list_id=vip, mapping=mapping, resubscribe="newer_consent", historical_import=has_history
    )

    assert set(reasons(run)) == {email_of(n) for n in (1, 2, 3, 5, 6)} - subscribed(klaviyo)
    assert subscribed(klaviyo) >= {email_of(4), email_of(7)}
    assert not subscribed(klaviyo) & {email_of(2), email_of(3), email_of(5), email_of(6)}


def subscribed(klaviyo: Emulator) -> set[str]:
    return {
        person["email"]
        for person in klaviyo.profiles()
        if (klaviyo.consent(id=person["id"]) or {})["email"] == "SUBSCRIBED"
    }


def test_resubscribe_true_subscribes_everybody_and_says_so(
    judge: Judge,
    klaviyo: Emulator,
    people: People,
    consent_sync: ConsentSync,
    vip: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    judge.permits_resubscriptions = True
    people.fill(1)
    (person,) = klaviyo.add_profiles([{"email": email_of(1)}])
    klaviyo.set_consent(person, "email", "UNSUBSCRIBED")
    assert consent_sync(list_id=vip, resubscribe="true").counts() == {"rows_read": 1, "accepted": 1}
    assert klaviyo.requests("get_profiles") == []
    assert "opted out" in caplog.text
    assert len(klaviyo.incidents(IncidentKind.RESUBSCRIBED)) == 1


# --- confirmations --------------------------------------------------------------------------------------------------


def test_nobody_is_asked_twice_in_ten_runs(
    klaviyo: Emulator,
    people: People,
    consent_sync: ConsentSync,
    double: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    people.fill(4)
    first = consent_sync(list_id=double)
    assert first.counts() == {"rows_read": 4, "accepted": 4}
    assert first.report["confirmation_requested"] == 4
    assert first.report["subscribed"] == 0
    assert "4 people were asked for a confirmation" in caplog.text
    assert subscribed(klaviyo) == set()
    klaviyo.confirm(email=email_of(1), list_id=double)
    (gone,) = klaviyo.add_profiles([{"email": email_of(2)}])
    klaviyo.set_consent(gone, "email", "UNSUBSCRIBED")

    for _ in range(9):
        run = consent_sync(list_id=double)
        assert run.error is None
        assert run.counts() == {"rows_read": 4, "unchanged": 1, "skipped": 3}

    assert reasons(run)[email_of(2)].startswith("opted_out: ")
    assert reasons(run)[email_of(3)].startswith("already_asked: ")
    assert set(klaviyo.confirmations().values()) == {1}


def test_who_is_subscribed_by_e_mail_is_asked_by_sms_only(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync
) -> None:
    people.fill(2)
    members = klaviyo.add_profiles([{"email": email_of(n)} for n in (1, 2)])
    (other,) = klaviyo.add_profiles([{"phone_number": phone_of(2)}])
    for each in members:
        klaviyo.set_consent(each, "email", "SUBSCRIBED")
    klaviyo.set_consent(other, "sms", "SUBSCRIBED")
    double = klaviyo.add_list("Asking", [*members, other], opt_in_process="double_opt_in")
    run = consent_sync(list_id=double, channels=("email", "sms"), mapping=BOTH)
    assert run.counts() == {"rows_read": 2, "accepted": 1, "unchanged": 1}
    assert [(channel, count) for (_, channel, _), count in klaviyo.confirmations().items()] == [("sms", 1)]


@pytest.mark.parametrize("has_key", [True, False])
def test_asking_is_remembered_by_the_address_whatever_the_row_is_called(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync, double: str, has_key: bool
) -> None:
    key: dict[str, Any] = {"primary_key": "id", "only_changes": True} if has_key else {}
    people.fill(1)
    consent_sync(list_id=double, **key)
    people.execute("UPDATE people SET email = 'new@shop.io'")
    assert consent_sync(list_id=double, **key).counts() == {"rows_read": 1, "accepted": 1}
    people.execute("UPDATE people SET email = 'P1@shop.io', id = 7")
    assert consent_sync(list_id=double, **key).counts() == {"rows_read": 1, "skipped": 1}
    assert set(klaviyo.confirmations().values()) == {1}


def test_a_channel_that_comes_later_is_asked_for_and_the_other_is_not_again(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync, double: str
) -> None:
    people.fill(1)
    people.execute("UPDATE people SET email_ok = TRUE, sms_ok = FALSE")
    settings: dict[str, Any] = {
        "list_id": double,
        "channels": ("email", "sms"),
        "mapping": {**BOTH, "consent.email": "email_ok", "consent.sms": "sms_ok"},
    }
    consent_sync(**settings)
    people.execute("UPDATE people SET sms_ok = TRUE")
    run = consent_sync(**settings)
    assert run.counts() == {"rows_read": 1, "accepted": 1}
    assert run.summary["warnings"] == 1
    assert klaviyo.confirmations() == {
        (email_of(1), "email", double): 1,
        (phone_of(1), "sms", double): 1,
    }


def test_after_a_while_people_may_be_asked_again(
    judge: Judge, klaviyo: Emulator, people: People, consent_sync: ConsentSync, double: str
) -> None:
    judge.most_messages = 2
    people.fill(1)
    consent_sync(list_id=double, ask_again_after=3_600)
    assert consent_sync(list_id=double, ask_again_after=3_600).counts() == {"rows_read": 1, "skipped": 1}
    assert consent_sync(list_id=double, ask_again_after=0).counts() == {"rows_read": 1, "accepted": 1}
    assert consent_sync(list_id=double, full_refresh=True).counts() == {"rows_read": 1, "skipped": 1}


@pytest.mark.parametrize("kind", ["reset_after", "reset_before", "status", "not_json"])
def test_a_lost_answer_asks_nobody_again(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync, double: str, kind: str
) -> None:
    people.fill(2)
    klaviyo.inject(Fault(kind, operation=SUBSCRIBE))
    first = consent_sync(list_id=double)
    assert first.counts() == {"rows_read": 2, "pending": 2}
    again = consent_sync(list_id=double, try_number=2)
    assert again.counts() == {"rows_read": 2, "skipped": 2}
    assert "may have been asked" in reasons(again)[email_of(1)]
    assert len(klaviyo.requests(SUBSCRIBE)) == 1


def test_who_was_refused_or_throttled_was_not_asked(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync, double: str
) -> None:
    people.fill(3)
    klaviyo.inject(Fault("status", operation=SUBSCRIBE, status=429, retry_after=1))
    klaviyo.inject(Fault("refuse_records", operation=SUBSCRIBE, match=email_of(2), skip=1))
    assert consent_sync(list_id=double, max_rejected=1).counts() == {
        "rows_read": 3,
        "accepted": 2,
        "rejected": 1,
    }
    assert consent_sync(list_id=double).counts() == {"rows_read": 3, "accepted": 1, "skipped": 2}
    assert set(klaviyo.confirmations().values()) == {1}


def test_a_request_that_is_wholly_refused_has_asked_nobody(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync, double: str
) -> None:
    people.fill(2)
    klaviyo.inject(Fault("status", operation=SUBSCRIBE, status=403))
    assert consent_sync(list_id=double).counts() == {"rows_read": 2, "pending": 2}
    assert consent_sync(list_id=double, try_number=2).counts() == {"rows_read": 2, "accepted": 2}


def test_without_a_list_the_accounts_default_may_ask_so_it_is_remembered(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync
) -> None:
    people.fill(2)
    klaviyo.add_profiles([{"email": email_of(1)}])
    run = consent_sync(globally=True, max_rejected=1)
    assert run.counts() == {"rows_read": 2, "accepted": 1, "rejected": 1}
    assert "name a list" in reasons(run)[email_of(2)]
    assert consent_sync(globally=True, max_rejected=1).counts() == {
        "rows_read": 2,
        "skipped": 1,
        "rejected": 1,
    }
    assert klaviyo.confirmations() == {(email_of(1), "email", None): 1}


def test_two_people_who_share_a_number_get_one_message(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync, double: str
) -> None:
    people.fill(2)
    people.execute("UPDATE people SET phone = %s", [(phone_of(1),)])
    run = consent_sync(list_id=double, channels=("email", "sms"), mapping=BOTH)
    assert run.counts() == {"rows_read": 2, "accepted": 2}
    assert run.summary["warnings"] == 1
    assert klaviyo.confirmations() == {
        (email_of(1), "email", double): 1,
        (phone_of(1), "sms", double): 1,
        (email_of(2), "email", double): 1,
    }


# --- the next run ---------------------------------------------------------------------------------------------------


def test_whoever_is_subscribed_and_on_the_list_is_unchanged(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync, vip: str
) -> None:
    people.fill(4)
    ids = klaviyo.add_profiles([{"email": email_of(n), "phone_number": phone_of(n)} for n in (1, 2, 3)])
    klaviyo.set_consent(ids[0], "email", "SUBSCRIBED")
    klaviyo.set_consent(ids[1], "email", "SUBSCRIBED")
    klaviyo.set_consent(ids[1], "sms", "SUBSCRIBED")
    klaviyo.set_consent(ids[2], "sms", "SUBSCRIBED")
    half = klaviyo.add_list("Half", [ids[0], ids[1]])

    both = consent_sync(list_id=half, channels=("email", "sms"), mapping=BOTH)

    assert both.counts() == {"rows_read": 4, "accepted": 3, "unchanged": 1}
    sent = [set(each["attributes"]["subscriptions"]) for each in records(klaviyo)]
    assert sent == [{"sms"}, {"email", "sms"}, {"email", "sms"}]
    before = writes(klaviyo)
    assert consent_sync(list_id=half, channels=("email", "sms"), mapping=BOTH).counts() == {
        "rows_read": 4,
        "unchanged": 4,
    }
    assert writes(klaviyo) == before


def records(klaviyo: Emulator) -> list[Any]:
    return [
        each for body in bodies(klaviyo, SUBSCRIBE) for each in body["data"]["attributes"]["profiles"]["data"]
    ]


def test_a_row_that_was_sent_in_part_is_tried_again(
    judge: Judge, klaviyo: Emulator, people: People, consent_sync: ConsentSync, vip: str
) -> None:
    """Only the address of somebody who had opted out of SMS was sent."""
    judge.permits_resubscriptions = True
    people.fill(2)
    first, _ = klaviyo.add_profiles([{"phone_number": phone_of(n)} for n in (1, 2)])
    klaviyo.set_consent(first, "sms", "UNSUBSCRIBED")
    settings = {
        "list_id": vip,
        "channels": ("email", "sms"),
        "mapping": BOTH,
        "only_changes": True,
        "primary_key": "id",
    }
    assert consent_sync(**settings).counts() == {"rows_read": 2, "accepted": 2}
    assert consent_sync(**settings, run_id="next").counts() == {"rows_read": 2, "unchanged": 1, "skipped": 1}
    again = consent_sync(**settings, run_id="last", resubscribe=True)
    assert again.counts() == {"rows_read": 2, "accepted": 1, "unchanged": 1}
    assert klaviyo.consent(phone_number=phone_of(1))["sms"] == "SUBSCRIBED"  # type: ignore[index]


def test_a_row_of_which_klaviyo_left_a_field_out_is_tried_again(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync, vip: str
) -> None:
    people.fill(2)
    people.execute("UPDATE people SET phone = NULL WHERE id = 2")
    headers = {"X-Klaviyo-Partial-Failure": "phone_number"}
    klaviyo.inject(Fault("slow", operation=SUBSCRIBE, headers=headers))
    settings = {
        "list_id": vip,
        "channels": ("email", "sms"),
        "mapping": BOTH,
        "only_changes": True,
        "primary_key": "id",
        "resubscribe": True,
    }
    assert consent_sync(**settings).counts() == {"rows_read": 2, "accepted": 2}
    again = consent_sync(**settings, run_id="next")
    assert again.counts() == {"rows_read": 2, "accepted": 1, "unchanged": 1}


def test_only_changes_costs_nothing_and_leaves_alone_who_opted_out_since(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync, vip: str
) -> None:
    people.fill(20)
    nightly = {"list_id": vip, "primary_key": "id", "only_changes": True}
    assert consent_sync(**nightly).counts() == {"rows_read": 20, "accepted": 20}
    person = klaviyo.profile(email=email_of(3))
    assert person is not None
    klaviyo.set_consent(person["id"], "email", "UNSUBSCRIBED")
    before = writes(klaviyo), len(klaviyo.requests("get_profiles"))

    assert consent_sync(**nightly).counts() == {"rows_read": 20, "unchanged": 20}

    assert (writes(klaviyo), len(klaviyo.requests("get_profiles"))) == before
    assert klaviyo.consent(email=email_of(3))["email"] == "UNSUBSCRIBED"  # type: ignore[index]
    people.fill(21)
    people.execute("DELETE FROM people WHERE ctid NOT IN (SELECT min(ctid) FROM people GROUP BY id)")
    assert consent_sync(**nightly).counts() == {"rows_read": 21, "accepted": 1, "unchanged": 20}


def test_who_confirmed_costs_nothing_from_the_second_run_after(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync, double: str
) -> None:
    people.fill(1)
    nightly = {"list_id": double, "primary_key": "id", "only_changes": True}
    consent_sync(**nightly)
    klaviyo.confirm(email=email_of(1))
    assert consent_sync(**nightly).counts() == {"rows_read": 1, "unchanged": 1}
    before = len(klaviyo.requests("get_profiles"))
    assert consent_sync(**nightly).counts() == {"rows_read": 1, "unchanged": 1}
    assert len(klaviyo.requests("get_profiles")) == before


# --- what cannot work -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"list_name": None}, "without a list Klaviyo stores nobody"),
        ({"channels": ()}, "channels is empty"),
        ({"channels": ["fax"]}, "'fax'"),
        ({"channels": ["email", "email"]}, "twice"),
        ({"mode": "upsert"}, "'upsert'"),
        ({"list_id": "X"}, "both given"),
        ({"globally": True}, "without a list"),
        ({"channels": ["sms"]}, "nothing is mapped to phone_number"),
        ({"mapping": {"email": "email", "first_name": "first_name"}}, "KlaviyoSyncProfilesOperator"),
        ({"mapping": {"email": "email", "properties.Tier": "id"}}, "KlaviyoSyncProfilesOperator"),
        ({"mapping": {"email": "email", "consent.sms": "sms_ok"}}, "channels has no sms"),
        ({"mapping": {"email": "e_mail"}}, "did you mean 'email'"),
        ({"mapping": {"email": "email", "consented_at": "agreed_at"}}, "historical_import=True only"),
        ({"historical_import": True}, "needs the moment of everybody's consent"),
        ({"resubscribe": "newer_consent"}, "needs the moment of everybody's consent"),
        ({"resubscribe": "sometimes"}, "resubscribe must be"),
        ({"list_name": "Nobody's"}, "creates none"),
        ({"list_name": None, "list_id": "XxXxXx"}, "no list with the id"),
        ({"list_name": "Twice"}, "2 lists named"),
        ({"ask_again_after": -1}, "ask_again_after"),
        ({"match_by": "external_id"}, "nothing is mapped to external_id"),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else None,
)
def test_what_cannot_work_is_said_before_the_first_row(
    klaviyo: Emulator,
    people: People,
    consent_sync: ConsentSync,
    vip: str,
    settings: dict[str, Any],
    words: str,
) -> None:
    people.fill(1)
    klaviyo.add_list("Twice")
    klaviyo.add_list("Twice")
    run = consent_sync(**({"list_name": "VIP"} | settings))
    assert words in str(run.error)
    assert not run.summary or run.summary["rows_read"] == 0
    assert writes(klaviyo) == 0


def test_rows_without_a_good_moment_of_consent_are_rejected(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync
) -> None:
    future = datetime.now(UTC) + timedelta(hours=1)
    people.add(
        {"id": 1, "email": email_of(1), "agreed_at": AGREED},
        {"id": 2, "email": email_of(2), "agreed_at": future},
        {"id": 3, "email": email_of(3)},
    )
    mapping = {"email": "email", "consented_at": "agreed_at"}
    run = consent_sync(historical_import=True, mapping=mapping, max_rejected=2)
    assert run.counts() == {"rows_read": 3, "accepted": 1, "rejected": 2}
    assert "not in the past" in reasons(run)[email_of(2)]
    assert "needs the moment of consent" in reasons(run)[email_of(3)]
    assert subscribed(klaviyo) == {email_of(1)}


def test_a_key_without_the_scope_stops_at_once_and_names_all_of_them(
    people: People, consent_sync: ConsentSync, start_emulator: StartEmulator
) -> None:
    klaviyo = start_emulator(key="pk_x", keys={"pk_x": ("lists:read", "accounts:read", "profiles:read")})
    klaviyo.add_list("VIP")
    people.fill(1)
    run = consent_sync(list_name="VIP")
    assert (
        "needs a key with all of: accounts:read, lists:read, lists:write, profiles:read, profiles:write, "
        "subscriptions:write" in str(run.error)
    )


def test_a_preview_reads_and_writes_nothing(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync, double: str
) -> None:
    people.fill(3)
    (gone,) = klaviyo.add_profiles([{"email": email_of(2)}])
    klaviyo.set_consent(gone, "email", "UNSUBSCRIBED")
    for _ in range(2):
        run = consent_sync(list_id=double, preview=True)
        assert run.counts() == {"rows_read": 3, "accepted": 2, "skipped": 1}
        assert run.report["confirmation_requested"] == 0
    assert writes(klaviyo) == 0
    assert consent_sync(list_id=double).counts() == {"rows_read": 3, "accepted": 2, "skipped": 1}


def test_logs_hold_no_addresses(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync, vip: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    people.fill(5)
    people.add({"id": 9, "email": "not an address@", "phone": "12"})
    klaviyo.inject(Fault("status", operation=SUBSCRIBE, status=500))
    klaviyo.inject(Fault("refuse_records", operation=SUBSCRIBE, match=email_of(2), skip=1))
    consent_sync(list_id=vip, channels=("email", "sms"), mapping=BOTH, max_rejected=9)
    assert "shop.io" not in caplog.text
    assert "5555" not in caplog.text

"""What counts as consent, and what does not."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from airflow_provider_klaviyo.records.subscriptions.consent import Consent, ConsentUnreadable, read_consent

WHEN = "2026-03-01T12:00:00+00:00"
BEFORE, AFTER = (dt.datetime(2026, 3, day, 12, tzinfo=dt.UTC) for day in (1, 2))


NOTHING = Consent()


def email(**marketing: Any) -> dict[str, Any]:
    free = {"consent": "NEVER_SUBSCRIBED", "suppression": [], "list_suppressions": []}
    return {"email": {"marketing": free | marketing}, "sms": {"marketing": {"consent": "NEVER_SUBSCRIBED"}}}


def suppressed(*reasons: str) -> list[dict[str, str]]:
    return [{"reason": reason, "timestamp": WHEN} for reason in reasons]


def read(
    subscriptions: object, channel: str, list_id: str | None, address: str | None = "a@shop.io"
) -> Consent:
    return read_consent({"email": address, "subscriptions": subscriptions}, channel, list_id)


def test_nobody_objects_who_never_said_anything() -> None:
    for channel in ("email", "sms"):
        assert read(email(), channel, "L") == NOTHING


def test_suppressions_object_whatever_their_reason_and_for_their_list_only() -> None:
    entries = suppressed("HARD_BOUNCE", "UNSUBSCRIBE", "NEW_ONE")
    consent = read(email(consent="SUBSCRIBED", suppression=entries), "email", None)
    assert [objection.what for objection in consent.objections] == [
        "suppressed (HARD_BOUNCE)",
        "suppressed (UNSUBSCRIBE)",
        "suppressed (NEW_ONE)",
    ]
    assert [objection.is_older_than(AFTER) for objection in consent.objections] == [False, True, False]
    listed = email(list_suppressions=[{"list_id": "L", "reason": "UNSUBSCRIBE", "timestamp": WHEN}])
    assert len(read(listed, "email", "L").objections) == 1
    assert read(listed, "email", "M").objections == ()
    assert read(listed, "email", None).objections == ()


@pytest.mark.parametrize(
    ("moments", "is_overruled"),
    [
        ({"consent_timestamp": WHEN}, True),
        ({"last_updated": WHEN}, True),
        ({"consent_timestamp": WHEN, "last_updated": "2026-03-05T00:00:00Z"}, False),
        ({"consent_timestamp": "2026-03-01T12:00:00.000001"}, True),
        ({"consent_timestamp": None}, False),
        ({"consent_timestamp": "yesterday"}, False),
        ({"consent_timestamp": "yesterday", "last_updated": WHEN}, False),
        ({}, False),
    ],
    ids=str,
)
def test_newer_consent_must_be_newer_than_every_moment_that_is_known(
    moments: dict[str, Any], is_overruled: bool
) -> None:
    (objection,) = read(email(consent="UNSUBSCRIBED", **moments), "email", None).objections
    assert objection.is_older_than(AFTER) is is_overruled
    assert not objection.is_older_than(BEFORE)
    assert not objection.is_older_than(None)


@pytest.mark.parametrize(
    "subscriptions",
    [
        None,
        [],
        {},
        {"email": None},
        {"email": {"marketing": None}},
        {"email": {"marketing": {"suppression": [], "list_suppressions": []}}},
        email(consent=True),
        email(consent=" "),
        email(suppression=None),
        email(suppression={"reason": "HARD_BOUNCE"}),
        email(suppression=[None]),
        email(list_suppressions=[{"list_id": 7, "reason": "UNSUBSCRIBE"}]),
    ],
    ids=repr,
)
def test_what_cannot_be_read_is_no_consent(subscriptions: object) -> None:
    with pytest.raises(ConsentUnreadable):
        read(subscriptions, "email", "L")


def test_the_nulls_of_the_schema_are_nothing_that_stands_against_anybody() -> None:
    mailable = email(suppression=None, list_suppressions=None, can_receive_email_marketing=True)
    assert read(mailable, "email", "L").objections == ()
    for nothing in ({"sms": None}, {"sms": {"marketing": None}}):
        assert read(mailable | nothing, "sms", "L") == NOTHING
    for nothing in ({"email": None}, {"email": {"marketing": None}}):
        assert read(nothing, "email", "L", address=None) == NOTHING
    with pytest.raises(ConsentUnreadable):
        read({}, "sms", "L")
    with pytest.raises(ConsentUnreadable):
        read({}, "email", "L", address=None)


def test_sms_has_no_suppressions_in_the_schema_and_they_count_where_they_are() -> None:
    told = email() | {"sms": {"marketing": {"consent": "SUBSCRIBED", "suppression": suppressed("X")}}}
    assert len(read(told, "sms", None).objections) == 1


def test_what_subscribing_to_sms_would_lift_counts_there_too_and_nothing_else() -> None:
    reasons = ("UNSUBSCRIBE", "SPAM_COMPLAINT", "USER_SUPPRESSED", "HARD_BOUNCE", "INVALID_EMAIL", "NEW_ONE")
    consent = read(email(consent="UNSUBSCRIBED", suppression=suppressed(*reasons)), "sms", None)
    assert consent.objections == ()
    assert [each.what.partition(" by ")[0] for each in consent.lifted] == [
        "suppressed (UNSUBSCRIBE)",
        "suppressed (SPAM_COMPLAINT)",
        "suppressed (USER_SUPPRESSED)",
        "suppressed (NEW_ONE)",
    ]
    assert [each.is_older_than(AFTER) for each in consent.lifted] == [True, True, True, False]
    listed = email(list_suppressions=[{"list_id": "L", "reason": "UNSUBSCRIBE", "timestamp": WHEN}])
    assert [len(read(listed, "sms", list_id).lifted) for list_id in ("L", "M", None)] == [1, 0, 0]
    assert read(email(suppression=suppressed(*reasons)), "email", None).lifted == ()


SMS = {"sms": {"marketing": {"consent": "NEVER_SUBSCRIBED"}}}


@pytest.mark.parametrize(
    "subscriptions",
    [
        SMS,
        SMS | {"email": None},
        SMS | {"email": {"marketing": {"consent": "NEVER_SUBSCRIBED", "list_suppressions": []}}},
        email(suppression=None),
        email(suppression="none"),
    ],
    ids=repr,
)
def test_sms_waits_where_suppressions_of_the_address_cannot_be_read(subscriptions: object) -> None:
    with pytest.raises(ConsentUnreadable):
        read(subscriptions, "sms", "L")


def test_without_an_address_nothing_of_e_mail_stands_against_sms() -> None:
    for nothing in (SMS, SMS | {"email": None}, SMS | {"email": {"marketing": None}}):
        assert read(nothing, "sms", "L", address=None) == NOTHING
    assert len(read(email(suppression=suppressed("UNSUBSCRIBE")), "sms", "L", address=None).lifted) == 1


def test_a_consent_to_e_mail_that_cannot_be_read_is_no_matter_of_sms() -> None:
    assert read(email(consent=None), "sms", "L") == NOTHING


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("PENDING_CONFIRMATION", "PENDING_CONFIRMATION"),
        ("subscribed", "subscribed"),
        ("SUBSCRIBED ", "SUBSCRIBED "),
        ("a@shop.io\n", "a?shop?io?"),
        ("X" * 99, "X" * 40),
    ],
)
def test_a_word_that_is_new_is_told_as_it_is_and_never_passes_for_consent(told: str, shown: str) -> None:
    consent = read(email(consent=told), "email", "L")
    assert (consent.word, consent.is_known, consent.is_subscribed) == (shown, False, False)


@pytest.mark.parametrize(
    ("moments", "since"),
    [
        ({"consent_timestamp": WHEN, "last_updated": "2026-03-05T00:00:00Z"}, BEFORE),
        ({"consent_timestamp": None, "last_updated": WHEN}, BEFORE),
        ({"consent_timestamp": None}, None),
    ],
    ids=str,
)
def test_a_subscription_counts_from_its_date_or_from_when_it_was_recorded(
    moments: dict[str, Any], since: dt.datetime | None
) -> None:
    assert read(email(consent="SUBSCRIBED", **moments), "email", "L").since == since

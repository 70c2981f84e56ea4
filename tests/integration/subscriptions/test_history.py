"""Consent that was given earlier, brought to a Klaviyo that knows dates of its own."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator, Fault
from tests.integration.subscriptions.conftest import (
    BOTH,
    SUBSCRIBE,
    ConsentSync,
    Judge,
    Meanwhile,
    People,
    email_of,
    phone_of,
    reasons,
    writes,
)

pytestmark = pytest.mark.integration

AGREED = datetime(2026, 3, 1, 12, tzinfo=UTC)
BEFORE, AFTER = AGREED - timedelta(days=30), AGREED + timedelta(days=30)
EVERY_WAY = pytest.mark.parametrize("resubscribe", [False, "newer_consent", True])
DATE = "attributes/subscriptions/email/marketing/consented_at"


@pytest.fixture
def vip(klaviyo: Emulator) -> str:
    return klaviyo.add_list("VIP")


@pytest.fixture
def history(consent_sync: ConsentSync, vip: str) -> Callable[..., Any]:
    def run(**parameters: Any) -> Any:
        mapping = {"email": "email", "consented_at": "agreed_at"}
        return consent_sync(**({"list_id": vip, "mapping": mapping, "historical_import": True} | parameters))

    return run


def since(klaviyo: Emulator, number: int, channel: str = "email") -> object:
    person = klaviyo.profile(email=email_of(number))
    assert person is not None
    return klaviyo.subscriptions(person["id"])[channel]["marketing"]["consent_timestamp"]


def members(klaviyo: Emulator, list_id: str) -> set[str]:
    return {each["email"] for each in klaviyo.members(list_id)}


@EVERY_WAY
@pytest.mark.parametrize("pointers", ["all", "one", "none"])
def test_whoever_is_subscribed_since_an_earlier_date_joins_the_list_and_keeps_it(
    klaviyo: Emulator, people: People, history: Any, vip: str, resubscribe: Any, pointers: Any
) -> None:
    klaviyo.set(pointers=pointers)
    people.fill(5)
    people.execute("UPDATE people SET agreed_at = '2026-03-01 12:00+00'")
    ids = klaviyo.add_profiles([{"email": email_of(n)} for n in (1, 2, 3)])
    for each, at in zip(ids, (BEFORE, AGREED, AFTER), strict=True):
        klaviyo.set_consent(each, "email", "SUBSCRIBED", at=at.timestamp())

    run = history(resubscribe=resubscribe)

    assert run.error is None
    assert run.counts() == {"rows_read": 5, "accepted": 5}
    assert members(klaviyo, vip) == {email_of(n) for n in range(1, 6)}
    assert [since(klaviyo, n) for n in (1, 2, 3, 4)] == [
        each.isoformat() for each in (BEFORE, AGREED, AFTER, AGREED)
    ]
    assert len(klaviyo.requests(SUBSCRIBE)) == 1
    again = history(resubscribe=resubscribe)
    assert again.counts() == {"rows_read": 5, ("accepted" if resubscribe is True else "unchanged"): 5}


def test_every_channel_keeps_the_date_that_it_has(
    klaviyo: Emulator, people: People, history: Any, vip: str
) -> None:
    people.add({"id": 1, "email": email_of(1), "phone": phone_of(1), "agreed_at": AGREED})
    (person,) = klaviyo.add_profiles([{"email": email_of(1), "phone_number": phone_of(1)}])
    klaviyo.set_consent(person, "email", "SUBSCRIBED", at=BEFORE.timestamp())
    klaviyo.set_consent(person, "sms", "SUBSCRIBED", at=(BEFORE - timedelta(days=9)).timestamp() + 0.25)
    run = history(mapping={**BOTH, "consented_at": "agreed_at"}, channels=("email", "sms"))
    assert run.counts() == {"rows_read": 1, "accepted": 1}
    assert members(klaviyo, vip) == {email_of(1)}
    assert since(klaviyo, 1) == BEFORE.isoformat()
    assert str(since(klaviyo, 1, "sms")).startswith((BEFORE - timedelta(days=9)).isoformat()[:19])


@EVERY_WAY
def test_consent_from_before_an_unsubscription_is_an_opt_out_and_never_a_reject(
    judge: Judge, klaviyo: Emulator, people: People, history: Any, vip: str, resubscribe: Any
) -> None:
    judge.permits_resubscriptions = (
        resubscribe is True
    )  # SMS lifts the suppression of the first one's address
    for number in (1, 2, 3):
        people.add({"id": number, "email": email_of(number), "phone": phone_of(number), "agreed_at": AGREED})
    first, second = klaviyo.add_profiles(
        [{"email": email_of(n), "phone_number": phone_of(n)} for n in (1, 2)]
    )
    klaviyo.set_consent(first, "email", "UNSUBSCRIBED", at=AFTER.timestamp())
    klaviyo.set_consent(second, "sms", "UNSUBSCRIBED", at=AFTER.timestamp())
    run = history(
        mapping={**BOTH, "consented_at": "agreed_at"}, channels=("email", "sms"), resubscribe=resubscribe
    )
    assert run.error is None
    assert run.summary["rejected"] == 0
    assert "opted_out: " in reasons(run)[email_of(1)]
    assert klaviyo.consent(id=first)["email"] == "UNSUBSCRIBED"  # type: ignore[index]
    assert klaviyo.consent(id=second) == {"email": "SUBSCRIBED", "sms": "UNSUBSCRIBED"}
    assert klaviyo.consent(email=email_of(3)) == {"email": "SUBSCRIBED", "sms": "SUBSCRIBED"}
    assert len(klaviyo.requests(SUBSCRIBE)) == 1


@pytest.mark.parametrize("resubscribe", ["newer_consent", True])
def test_consent_from_after_an_opt_out_counts_where_that_is_permitted(
    judge: Judge, klaviyo: Emulator, people: People, history: Any, vip: str, resubscribe: Any
) -> None:
    judge.permits_resubscriptions = True
    people.add({"id": 1, "email": email_of(1), "agreed_at": AGREED})
    (person,) = klaviyo.add_profiles([{"email": email_of(1)}])
    klaviyo.suppress(person, "UNSUBSCRIBE", at=BEFORE.timestamp())
    if resubscribe is True:
        klaviyo.set_consent(person, "email", "UNSUBSCRIBED", at=BEFORE.timestamp())
    assert history(resubscribe=resubscribe).counts() == {"rows_read": 1, "accepted": 1}
    assert members(klaviyo, vip) == {email_of(1)}


# --- between the look and the request -------------------------------------------------------------------------------


@EVERY_WAY
def test_who_subscribes_in_between_keeps_that_date_and_joins_all_the_same(
    klaviyo: Emulator,
    people: People,
    history: Any,
    vip: str,
    before_it_leaves: Meanwhile,
    resubscribe: Any,
) -> None:
    people.fill(3)
    people.execute("UPDATE people SET agreed_at = '2026-03-01 12:00+00'")
    (person,) = klaviyo.add_profiles([{"email": email_of(2)}])
    before_it_leaves(lambda: klaviyo.set_consent(person, "email", "SUBSCRIBED", at=BEFORE.timestamp()))
    run = history(resubscribe=resubscribe)
    assert run.error is None
    assert run.counts() == {"rows_read": 3, "accepted": 3}
    assert members(klaviyo, vip) == {email_of(n) for n in (1, 2, 3)}
    assert since(klaviyo, 2) == BEFORE.isoformat()
    assert len(klaviyo.requests(SUBSCRIBE)) == 2


@EVERY_WAY
@pytest.mark.parametrize("on_invalid", ["drop_field", "reject"])
def test_who_unsubscribes_in_between_is_skipped(
    klaviyo: Emulator,
    people: People,
    history: Any,
    vip: str,
    before_it_leaves: Meanwhile,
    resubscribe: Any,
    on_invalid: str,
) -> None:
    people.fill(3)
    people.execute("UPDATE people SET agreed_at = '2026-03-01 12:00+00'")
    (person,) = klaviyo.add_profiles([{"email": email_of(2)}])
    before_it_leaves(lambda: klaviyo.set_consent(person, "email", "UNSUBSCRIBED"))
    run = history(resubscribe=resubscribe, on_invalid=on_invalid)
    assert run.error is None
    assert run.counts() == {"rows_read": 3, "accepted": 2, "skipped": 1}
    assert reasons(run)[email_of(2)].startswith("opted_out: ")
    assert klaviyo.consent(id=person)["email"] == "UNSUBSCRIBED"  # type: ignore[index]


def conflict(words: str, place: int = 1) -> Fault:
    """Klaviyo refuses the second person's date, once, and shows nothing of that consent."""
    pointer = f"/data/attributes/profiles/data/{place}/{DATE}"
    error = {"code": "invalid", "title": "Invalid input.", "detail": words, "source": {"pointer": pointer}}
    return Fault("status", operation=SUBSCRIBE, status=400, errors=(error,))


@EVERY_WAY
def test_a_date_that_klaviyo_knows_and_does_not_show_is_waited_for(
    klaviyo: Emulator, people: People, history: Any, vip: str, resubscribe: Any
) -> None:
    people.fill(3)
    people.execute("UPDATE people SET agreed_at = '2026-03-01 12:00+00'")
    klaviyo.inject(conflict("backdated consent date [b] is after current subscription date [a]"))
    changes = {"only_changes": True, "primary_key": "id"}
    run = history(resubscribe=resubscribe, **changes)
    assert run.counts() == {"rows_read": 3, "accepted": 2, "pending": 1}
    assert "does not show" in reasons(run)[2]
    assert len(klaviyo.requests(SUBSCRIBE)) == 2
    assert history(resubscribe=resubscribe, **changes).counts() == {
        "rows_read": 3,
        "accepted": 1,
        "unchanged": 2,
    }
    assert len(klaviyo.members(vip)) == 3


@EVERY_WAY
def test_an_unsubscription_that_klaviyo_knows_and_does_not_show_is_an_opt_out(
    klaviyo: Emulator, people: People, history: Any, vip: str, resubscribe: Any
) -> None:
    people.fill(3)
    people.execute("UPDATE people SET agreed_at = '2026-03-01 12:00+00'")
    klaviyo.inject(conflict("backdated consent date [a] is before current unsubscription date [b]"))
    run = history(resubscribe=resubscribe)
    assert run.error is None
    assert run.counts() == {"rows_read": 3, "accepted": 2, "skipped": 1}
    assert reasons(run)[email_of(2)].startswith("opted_out: ")
    assert klaviyo.consent(email=email_of(2)) is None


@pytest.mark.parametrize("match_by", ["email", "phone_number"])
def test_a_date_that_is_not_shown_leaves_the_other_channel(
    klaviyo: Emulator, people: People, history: Any, vip: str, match_by: str
) -> None:
    people.fill(2)
    people.execute("UPDATE people SET agreed_at = '2026-03-01 12:00+00'")
    klaviyo.inject(conflict("backdated consent date [b] is after current subscription date [a]"))
    run = history(mapping={**BOTH, "consented_at": "agreed_at"}, channels=("email", "sms"), match_by=match_by)
    assert run.counts() == {"rows_read": 2, "accepted": 2}
    assert run.summary["warnings"] == 1
    assert klaviyo.consent(phone_number=phone_of(2))["sms"] == "SUBSCRIBED"  # type: ignore[index]


def test_a_date_that_klaviyo_cannot_read_rejects_the_row(
    klaviyo: Emulator, people: People, history: Any, vip: str
) -> None:
    people.fill(2)
    people.execute("UPDATE people SET agreed_at = '2026-03-01 12:00+00'")
    klaviyo.inject(conflict("The email channel does not have a valid consented_at timestamp"))
    run = history(max_rejected=1)
    assert run.counts() == {"rows_read": 2, "accepted": 1, "rejected": 1}


# --- history that shows late ----------------------------------------------------------------------------------------


def test_while_history_does_not_show_it_is_sent_again_and_does_no_harm(
    klaviyo: Emulator, people: People, history: Any
) -> None:
    klaviyo.set(history_seconds=900.0)
    double = klaviyo.add_list("Newsletter", opt_in_process="double_opt_in")
    people.fill(3)
    people.execute("UPDATE people SET agreed_at = '2026-03-01 12:00+00'")
    (gone,) = klaviyo.add_profiles([{"email": email_of(3)}])
    assert history(list_id=double).counts() == {"rows_read": 3, "accepted": 3}
    klaviyo.set_consent(gone, "email", "UNSUBSCRIBED")
    assert history(list_id=double).counts() == {"rows_read": 3, "accepted": 2, "skipped": 1}
    assert klaviyo.confirmations() == {}


def test_a_preview_of_history_shows_the_date_that_would_be_sent(
    klaviyo: Emulator, people: People, history: Any
) -> None:
    people.add({"id": 1, "email": email_of(1), "agreed_at": AGREED})
    (person,) = klaviyo.add_profiles([{"email": email_of(1)}])
    klaviyo.set_consent(person, "email", "SUBSCRIBED", at=BEFORE.timestamp())
    run = history(preview=True)
    assert run.counts() == {"rows_read": 1, "accepted": 1}
    assert writes(klaviyo) == 0

"""Subscribing and unsubscribing: refused as a whole, or worked off a little later for everybody."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from airflow_provider_klaviyo.emulator import Emulator, Fault, FaultKind, IncidentKind, ManualClock, Settings

SUBSCRIBE = "/api/profile-subscription-bulk-create-jobs"
RECORDS = "/data/attributes/profiles/data"
ANN, BOB = {"email": "ann@mail.com"}, {"email": "bob@mail.com"}
PHONE = "+12025550123"
YES = {"marketing": {"consent": "SUBSCRIBED"}}
THEN = "2025-01-31T10:00:00+01:00"


def _emails(emulator: Emulator, list_id: str) -> list[str]:
    return [each["email"] for each in emulator.members(list_id)]


def _email_consent(emulator: Emulator, **identifier: str) -> str | None:
    consent = emulator.consent(**identifier)
    return None if consent is None else consent["email"]


def _reasons(emulator: Emulator, profile_id: str) -> list[str]:
    marketing = emulator.subscriptions(profile_id)["email"]["marketing"]
    return [each["reason"] for each in marketing["suppression"]]


def _historical(**person: Any) -> dict[str, Any]:
    channels = {"email": {"marketing": {"consent": "SUBSCRIBED", "consented_at": THEN}}}
    return {"subscriptions": channels, **person}


@pytest.fixture
def ann(emulator: Emulator) -> str:
    return emulator.add_profiles([ANN])[0]


@pytest.fixture
def vip(emulator: Emulator) -> str:
    return emulator.add_list("VIP")


@pytest.fixture
def double(emulator: Emulator) -> str:
    return emulator.add_list("Double", opt_in_process="double_opt_in")


class TestSubscribing:
    def test_a_new_person_is_stored_subscribed_and_put_on_the_list_a_little_later(
        self, emulator: Emulator, caller: Any, clock: ManualClock, vip: str
    ) -> None:
        response = caller.subscribe(
            ANN | {"phone_number": PHONE}, list_id=vip, custom_source="Checkout", historical_import=None
        )
        assert (response.status_code, response.content) == (202, b"")
        clock.advance(1)
        assert emulator.count() == 0
        clock.advance(1)
        (person,) = emulator.members(vip)
        assert (person["email"], person["phone_number"]) == ("ann@mail.com", PHONE)
        assert emulator.consent(email="ann@mail.com") == {"email": "SUBSCRIBED", "sms": "SUBSCRIBED"}
        marketing = emulator.subscriptions(person["id"])["email"]["marketing"]
        assert marketing == {
            "can_receive_email_marketing": True,
            "consent": "SUBSCRIBED",
            "consent_timestamp": "2026-09-21T14:13:22+00:00",
            "method": "API",
            "method_detail": "",
            "last_updated": "2026-09-21T14:13:22+00:00",
            "custom_method_detail": "Checkout",
            "double_optin": False,
            "suppression": [],
            "list_suppressions": [],
        }

    def test_only_the_channels_that_are_named_are_subscribed(
        self, emulator: Emulator, caller: Any, clock: ManualClock, vip: str
    ) -> None:
        caller.subscribe({**ANN, "phone_number": PHONE, "subscriptions": {"email": YES}}, list_id=vip)
        clock.advance(2)
        assert emulator.consent(phone_number=PHONE) == {"email": "SUBSCRIBED", "sms": "NEVER_SUBSCRIBED"}

    def test_somebody_new_comes_to_nothing_without_a_list_and_without_history(
        self, emulator: Emulator, caller: Any, clock: ManualClock
    ) -> None:
        emulator.set(default_opt_in="single_opt_in")
        assert caller.subscribe(ANN).status_code == 202
        clock.advance(1_000)
        assert emulator.count() == 0
        assert [each.person for each in emulator.incidents("never_stored")] == ["ann@mail.com"]

    @pytest.mark.parametrize(
        ("process", "consent"), [("single_opt_in", "SUBSCRIBED"), ("double_opt_in", "NEVER_SUBSCRIBED")]
    )
    def test_without_a_list_the_accounts_opt_in_process_counts(
        self, emulator: Emulator, caller: Any, clock: ManualClock, ann: str, process: str, consent: str
    ) -> None:
        emulator.set(default_opt_in=process)
        caller.subscribe(ANN)
        clock.advance(2)
        assert _email_consent(emulator, email="ann@mail.com") == consent

    @pytest.mark.parametrize("has_list", [True, False])
    def test_history_needs_no_confirmation_and_keeps_its_date(
        self, emulator: Emulator, caller: Any, clock: ManualClock, double: str, has_list: bool
    ) -> None:
        caller.subscribe(_historical(**ANN), list_id=double if has_list else None, historical_import=True)
        clock.advance(2)
        (person,) = emulator.profiles()
        marketing = emulator.subscriptions(person["id"])["email"]["marketing"]
        assert marketing["consent_timestamp"] == "2025-01-31T09:00:00+00:00"
        assert marketing["last_updated"] == "2026-09-21T14:13:22+00:00"
        assert _emails(emulator, double) == (["ann@mail.com"] if has_list else [])
        assert emulator.confirmations() == {}

    def test_the_identifiers_of_two_people_subscribe_each_to_their_own(
        self, emulator: Emulator, caller: Any, clock: ManualClock, ann: str, vip: str
    ) -> None:
        emulator.add_profiles([{"phone_number": PHONE}])
        caller.subscribe(ANN | {"phone_number": PHONE}, list_id=vip)
        clock.advance(2)
        assert emulator.consent(email="ann@mail.com") == {"email": "SUBSCRIBED", "sms": "NEVER_SUBSCRIBED"}
        assert emulator.consent(phone_number=PHONE) == {"email": "NEVER_SUBSCRIBED", "sms": "SUBSCRIBED"}
        assert len(emulator.members(vip)) == 2

    def test_an_id_finds_the_profile_and_its_identifiers_are_set(
        self, emulator: Emulator, caller: Any, clock: ManualClock, vip: str
    ) -> None:
        (known,) = emulator.add_profiles([{"external_id": "c1"}])
        caller.subscribe(ANN | {"id": known}, list_id=vip)
        clock.advance(2)
        assert emulator.members(vip) == [{"id": known, "email": "ann@mail.com", "external_id": "c1"}]

    def test_fake_addresses_come_to_nothing(
        self, emulator: Emulator, caller: Any, clock: ManualClock, vip: str, double: str
    ) -> None:
        emulator.set(fake_domains=["example.com"])
        for list_id in (vip, double):
            caller.subscribe({"email": "a@example.com"}, list_id=list_id)
            caller.unsubscribe({"email": "a@example.com"}, list_id=list_id)
        clock.advance(2)
        assert (emulator.count(), emulator.confirmations()) == (0, {})

    def test_what_was_imported_by_then_counts(
        self, emulator: Emulator, caller: Any, clock: ManualClock, vip: str
    ) -> None:
        """The import ends before the unsubscription is worked off, though both are looked at later only."""
        emulator.set(job_seconds=1)
        caller.bulk_import(ANN, lists=(vip,))
        caller.unsubscribe(ANN, list_id=vip)
        clock.advance(100)
        assert _email_consent(emulator, email="ann@mail.com") == "NEVER_SUBSCRIBED"
        assert (emulator.members(vip), emulator.accidental_unsubscribes()["email"]) == ([], 0)

    def test_open_tracking_and_transactional_messages_are_consents_of_their_own(
        self, emulator: Emulator, caller: Any, clock: ManualClock, ann: str, vip: str
    ) -> None:
        consent = {"consent": "SUBSCRIBED"}
        channels = {"email": {"open_tracking": consent}, "sms": {"transactional": consent}}
        caller.subscribe({**ANN, "phone_number": PHONE, "subscriptions": channels}, list_id=vip)
        clock.advance(2)
        shown = emulator.subscriptions(ann)
        assert emulator.consent(email="ann@mail.com") == dict.fromkeys(("email", "sms"), "NEVER_SUBSCRIBED")
        assert shown["email"]["open_tracking"]["can_receive"]
        assert shown["sms"]["transactional"]["consent"] == "SUBSCRIBED"


class TestDoubleOptIn:
    def test_nobody_is_stored_or_joins_until_they_confirm(
        self, emulator: Emulator, caller: Any, clock: ManualClock, double: str
    ) -> None:
        caller.subscribe(ANN | {"phone_number": PHONE}, list_id=double)
        clock.advance(1_000)
        assert (emulator.count(), emulator.members(double)) == (0, [])
        assert emulator.confirmations() == {
            ("ann@mail.com", "email", double): 1,
            (PHONE, "sms", double): 1,
        }
        assert emulator.confirm(email="Ann@mail.com", list_id=double) == 1
        assert emulator.confirm(email="ann@mail.com") == 0
        (person,) = emulator.members(double)
        assert emulator.subscriptions(person["id"])["email"]["marketing"]["double_optin"] is True
        assert emulator.consent(email="ann@mail.com") == {"email": "SUBSCRIBED", "sms": "NEVER_SUBSCRIBED"}

    def test_whoever_was_asked_by_address_is_one_person_with_the_number_that_confirms(
        self, emulator: Emulator, caller: Any, clock: ManualClock, ann: str, double: str
    ) -> None:
        caller.subscribe(ANN | {"phone_number": PHONE}, list_id=double)
        clock.advance(2)
        assert emulator.confirm(phone_number=PHONE) == 1
        assert emulator.consent(email="ann@mail.com") == {"email": "NEVER_SUBSCRIBED", "sms": "SUBSCRIBED"}

    def test_every_request_asks_again_until_somebody_confirms(
        self, emulator: Emulator, caller: Any, clock: ManualClock, ann: str, double: str
    ) -> None:
        for _ in range(3):
            caller.subscribe(ANN, list_id=double)
            clock.advance(86_400)
        assert emulator.confirmations() == {("ann@mail.com", "email", double): 3}
        emulator.confirm(email="ann@mail.com")
        caller.subscribe(ANN, list_id=double)
        clock.advance(2)
        assert emulator.stats()["consent"]["confirmation_messages"] == {
            "sent": 3,
            "people": 1,
            "most_to_one": 3,
        }

    def test_whoever_is_subscribed_already_is_asked_for_another_list(
        self, emulator: Emulator, caller: Any, clock: ManualClock, ann: str, double: str
    ) -> None:
        emulator.set_consent(ann, "email", "SUBSCRIBED")
        caller.subscribe(ANN)
        caller.subscribe(ANN, list_id=double)
        clock.advance(2)
        assert emulator.confirmations() == {("ann@mail.com", "email", double): 1}

    def test_asking_somebody_who_opted_out_is_an_incident_and_lifts_nothing(
        self, emulator: Emulator, caller: Any, clock: ManualClock, ann: str, double: str
    ) -> None:
        emulator.set_consent(ann, "email", "UNSUBSCRIBED")
        caller.subscribe(ANN, list_id=double)
        clock.advance(2)
        assert [each.kind for each in emulator.incidents()] == [IncidentKind.ASKED]
        assert _reasons(emulator, ann) == ["UNSUBSCRIBE"]
        emulator.confirm(email="ann@mail.com")
        assert _reasons(emulator, ann) == []
        assert emulator.resubscriptions()["email"] == {"global": 0, "list": 0}

    def test_a_person_can_confirm_over_http(
        self, emulator: Emulator, caller: Any, clock: ManualClock, double: str
    ) -> None:
        caller.subscribe(ANN, list_id=double)
        clock.advance(2)
        (asked,) = caller.get("/_emulator/confirmations").json()["confirmations"]
        assert asked == {
            "person": "ann@mail.com",
            "channel": "email",
            "list_id": double,
            "messages": 1,
            "is_open": True,
        }
        assert caller.post("/_emulator/confirmations", ANN).json() == {"confirmed": 1}
        assert caller.post("/_emulator/confirmations", {"name": "Ann"}).status_code == 400
        assert _emails(emulator, double) == ["ann@mail.com"]


class TestResubscribing:
    @pytest.mark.parametrize(
        ("reason", "is_lifted"),
        [
            ("UNSUBSCRIBE", True),
            ("SPAM_COMPLAINT", True),
            ("USER_SUPPRESSED", True),
            ("HARD_BOUNCE", False),
            ("INVALID_EMAIL", False),
        ],
    )
    def test_subscribing_lifts_suppressions_but_not_of_addresses_that_do_not_work(
        self,
        emulator: Emulator,
        caller: Any,
        clock: ManualClock,
        ann: str,
        vip: str,
        reason: str,
        is_lifted: bool,
    ) -> None:
        emulator.suppress(ann, reason)
        caller.subscribe(ANN, list_id=vip)
        clock.advance(2)
        assert _reasons(emulator, ann) == ([] if is_lifted else [reason])
        marketing = emulator.subscriptions(ann)["email"]["marketing"]
        assert (marketing["consent"], marketing["can_receive_email_marketing"]) == ("SUBSCRIBED", is_lifted)
        assert emulator.resubscriptions()["email"] == {"global": 1, "list": 0}

    def test_subscribing_to_a_list_lifts_the_suppression_for_that_list_only(
        self, emulator: Emulator, caller: Any, clock: ManualClock, ann: str, vip: str
    ) -> None:
        for list_id in (vip, "Other1"):
            emulator.suppress(ann, "UNSUBSCRIBE", list_id)
        caller.subscribe(ANN, list_id=vip)
        clock.advance(2)
        marketing = emulator.subscriptions(ann)["email"]["marketing"]
        assert [each["list_id"] for each in marketing["list_suppressions"]] == ["Other1"]
        assert emulator.resubscriptions()["email"] == {"global": 0, "list": 1}

    def test_people_are_counted_by_channel(
        self, emulator: Emulator, caller: Any, clock: ManualClock, ann: str, vip: str
    ) -> None:
        emulator.add_profiles([ANN | {"phone_number": PHONE}])
        emulator.set_consent(ann, "sms", "UNSUBSCRIBED")
        caller.subscribe(ANN | {"phone_number": PHONE}, BOB, list_id=vip)
        clock.advance(2)
        assert emulator.resubscriptions() == {
            "email": {"global": 0, "list": 0},
            "sms": {"global": 1, "list": 0},
        }
        (incident,) = caller.get("/_emulator/incidents", kind="resubscribed").json()["incidents"]
        assert (incident["person"], incident["channel"], incident["list_id"]) == (PHONE, "sms", vip)

    @pytest.mark.parametrize("reason", ["UNSUBSCRIBE", "SPAM_COMPLAINT", "USER_SUPPRESSED", "HARD_BOUNCE"])
    def test_an_sms_subscription_lifts_the_same_suppressions_of_email(
        self, emulator: Emulator, caller: Any, clock: ManualClock, ann: str, vip: str, reason: str
    ) -> None:
        emulator.suppress(ann, reason)
        emulator.suppress(ann, "UNSUBSCRIBE", vip)
        caller.subscribe({**ANN, "phone_number": PHONE, "subscriptions": {"sms": YES}}, list_id=vip)
        clock.advance(2)
        is_lifted = reason != "HARD_BOUNCE"
        assert emulator.consent(email="ann@mail.com") == {"email": "NEVER_SUBSCRIBED", "sms": "SUBSCRIBED"}
        assert _reasons(emulator, ann) == ([] if is_lifted else [reason])
        assert emulator.resubscriptions() == {
            "email": {"global": int(is_lifted), "list": 1},
            "sms": {"global": 0, "list": 0},
        }
        assert {(each.person, each.channel) for each in emulator.incidents()} == {("ann@mail.com", "email")}

    def test_an_unsubscription_from_email_stands_though_its_suppression_is_lifted(
        self, emulator: Emulator, caller: Any, clock: ManualClock, ann: str, vip: str
    ) -> None:
        emulator.set_consent(ann, "email", "UNSUBSCRIBED")
        caller.subscribe({**ANN, "phone_number": PHONE, "subscriptions": {"sms": YES}}, list_id=vip)
        clock.advance(2)
        assert emulator.consent(email="ann@mail.com") == {"email": "UNSUBSCRIBED", "sms": "SUBSCRIBED"}
        assert _reasons(emulator, ann) == []

    def test_asking_by_sms_whoever_is_suppressed_is_an_incident_too(
        self, emulator: Emulator, caller: Any, clock: ManualClock, ann: str, double: str
    ) -> None:
        emulator.suppress(ann, "USER_SUPPRESSED")
        caller.subscribe({**ANN, "phone_number": PHONE, "subscriptions": {"sms": YES}}, list_id=double)
        clock.advance(2)
        assert [each.kind for each in emulator.incidents()] == [IncidentKind.ASKED]

    def test_an_address_that_is_stored_with_capitals_is_the_same_person_to_a_write_only(
        self, emulator: Emulator, caller: Any, clock: ManualClock, vip: str
    ) -> None:
        (ann,) = emulator.add_profiles([{"email": "Ann@Mail.com"}], keep_case=True)
        emulator.set_consent(ann, "email", "UNSUBSCRIBED")
        assert caller.data("/api/profiles", filter='equals(email,"ann@mail.com")') == []
        assert len(caller.data("/api/profiles", filter='equals(email,"Ann@Mail.com")')) == 1
        caller.subscribe(ANN, list_id=vip)
        clock.advance(2)
        assert emulator.members(vip) == [{"id": ann, "email": "ann@mail.com"}]
        assert emulator.resubscriptions()["email"]["global"] == 1
        assert len(caller.data("/api/profiles", filter='equals(email,"ann@mail.com")')) == 1

    def test_an_import_finds_an_address_with_capitals_too(
        self, emulator: Emulator, caller: Any, clock: ManualClock
    ) -> None:
        people = [{"email": "Ann@Mail.com"}, {"email": "Ann@Mail.com", "title": "Dr."}]
        ids = emulator.add_profiles(people, keep_case=True)
        assert emulator.profiles() == [{"id": ids[0], "email": "Ann@Mail.com", "title": "Dr."}]
        caller.bulk_import(ANN | {"title": "Prof."})
        clock.advance(4)
        assert emulator.profiles() == [{"id": ids[0], "email": "ann@mail.com", "title": "Prof."}]


class TestTheHalfHour:
    def _turn(self, caller: Any, clock: ManualClock, vip: str, pause: float) -> None:
        for act in (caller.subscribe, caller.unsubscribe, caller.subscribe):
            assert act(ANN, list_id=vip).status_code == 202
            clock.advance(pause)

    @pytest.mark.parametrize(
        ("pause", "seconds", "members"),
        [(600, 1_800, []), (899, 1_800, []), (900, 1_800, ["ann@mail.com"]), (600, 0, ["ann@mail.com"])],
    )
    def test_a_third_turn_within_half_an_hour_is_ignored(
        self,
        emulator: Emulator,
        caller: Any,
        clock: ManualClock,
        vip: str,
        pause: float,
        seconds: float,
        members: list[str],
    ) -> None:
        emulator.set(toggle_seconds=seconds)
        self._turn(caller, clock, vip, pause)
        assert _emails(emulator, vip) == members
        assert len(emulator.incidents(IncidentKind.TURNED_TOO_OFTEN)) == (not members)

    def test_what_a_test_sets_up_is_no_turn(
        self, emulator: Emulator, caller: Any, clock: ManualClock, ann: str, vip: str
    ) -> None:
        emulator.set_consent(ann, "email", "SUBSCRIBED")
        caller.unsubscribe(ANN)
        caller.subscribe(ANN, list_id=vip)
        clock.advance(2)
        assert _emails(emulator, vip) == ["ann@mail.com"]


class TestUnsubscribing:
    def test_a_member_leaves_the_list_and_stays_subscribed_to_others(
        self, emulator: Emulator, caller: Any, clock: ManualClock, ann: str, vip: str
    ) -> None:
        caller.subscribe(ANN, list_id=vip)
        clock.advance(3_600)
        response = caller.unsubscribe(ANN, list_id=vip)
        assert (response.status_code, response.content) == (202, b"")
        clock.advance(1)
        assert _emails(emulator, vip) == ["ann@mail.com"]
        clock.advance(1)
        assert emulator.members(vip) == []
        marketing = emulator.subscriptions(ann)["email"]["marketing"]
        assert (marketing["consent"], marketing["suppression"]) == ("SUBSCRIBED", [])
        assert marketing["list_suppressions"] == [
            {"list_id": vip, "reason": "UNSUBSCRIBE", "timestamp": "2026-09-21T15:13:22+00:00"}
        ]
        assert emulator.accidental_unsubscribes() == {"email": 0, "sms": 0}

    def test_whoever_is_not_on_the_list_is_unsubscribed_from_everything(
        self, emulator: Emulator, caller: Any, clock: ManualClock, ann: str, vip: str
    ) -> None:
        emulator.add_list("Other", [ann])
        emulator.set_consent(ann, "email", "SUBSCRIBED")
        caller.unsubscribe(ANN, BOB, list_id=vip)
        clock.advance(2)
        for person in (ANN, BOB):
            assert _email_consent(emulator, **person) == "UNSUBSCRIBED"
        assert _reasons(emulator, ann) == ["UNSUBSCRIBE"]
        assert emulator.accidental_unsubscribes() == {"email": 2, "sms": 0}
        assert emulator.stats()["consent"]["unsubscribed_globally"]["email"] == 2

    def test_whoever_is_taken_off_the_list_before_it_is_worked_off_is_unsubscribed_from_everything(
        self, emulator: Emulator, caller: Any, clock: ManualClock, ann: str
    ) -> None:
        vip = emulator.add_list("VIP", [ann])
        emulator.set_consent(ann, "email", "SUBSCRIBED")
        caller.unsubscribe(ANN, list_id=vip)
        named = {"data": [{"type": "profile", "id": ann}]}
        assert caller.call("DELETE", f"/api/lists/{vip}/relationships/profiles", named).status_code == 204
        assert _email_consent(emulator, **ANN) == "SUBSCRIBED"
        clock.advance(2)
        assert _email_consent(emulator, **ANN) == "UNSUBSCRIBED"
        assert emulator.accidental_unsubscribes()["email"] == 1

    def test_the_same_call_twice_unsubscribes_members_from_everything(
        self, emulator: Emulator, caller: Any, clock: ManualClock, ann: str
    ) -> None:
        vip = emulator.add_list("VIP", [ann])
        emulator.set_consent(ann, "email", "SUBSCRIBED")
        consents = []
        for _ in range(2):
            caller.unsubscribe(ANN, list_id=vip)
            clock.advance(2)
            consents.append((_email_consent(emulator, **ANN), emulator.accidental_unsubscribes()["email"]))
        assert consents == [("SUBSCRIBED", 0), ("UNSUBSCRIBED", 1)]

    def test_without_a_list_everybody_is_unsubscribed_from_everything_and_stays_on_lists(
        self, emulator: Emulator, caller: Any, clock: ManualClock, ann: str
    ) -> None:
        vip = emulator.add_list("VIP", [ann])
        caller.unsubscribe(ANN, BOB)
        clock.advance(2)
        assert [_email_consent(emulator, **each) for each in (ANN, BOB)] == ["UNSUBSCRIBED"] * 2
        assert _emails(emulator, vip) == ["ann@mail.com"]
        assert emulator.accidental_unsubscribes()["email"] == 0

    def test_channels_that_are_not_named_stay(
        self, emulator: Emulator, caller: Any, clock: ManualClock, ann: str
    ) -> None:
        emulator.add_profiles([ANN | {"phone_number": PHONE}])
        for channel in ("email", "sms"):
            emulator.set_consent(ann, channel, "SUBSCRIBED")
        caller.unsubscribe({"phone_number": PHONE})
        clock.advance(2)
        assert emulator.consent(email="ann@mail.com") == {"email": "SUBSCRIBED", "sms": "UNSUBSCRIBED"}
        assert _reasons(emulator, ann) == []

    def test_an_account_may_make_every_unsubscription_a_global_one(
        self, emulator: Emulator, caller: Any, clock: ManualClock, ann: str
    ) -> None:
        emulator.set(list_unsubscribes_are_global=True)
        vip = emulator.add_list("VIP", [ann])
        caller.unsubscribe(ANN, list_id=vip)
        clock.advance(2)
        assert (emulator.members(vip), _email_consent(emulator, **ANN)) == ([], "UNSUBSCRIBED")
        assert emulator.accidental_unsubscribes()["email"] == 0

    def test_a_list_that_is_gone_by_then_has_no_members(
        self, emulator: Emulator, caller: Any, clock: ManualClock, ann: str
    ) -> None:
        vip = emulator.add_list("VIP", [ann])
        caller.unsubscribe(ANN, list_id=vip)
        caller.call("DELETE", f"/api/lists/{vip}")
        clock.advance(2)
        assert _email_consent(emulator, **ANN) == "UNSUBSCRIBED"


class TestRefusals:
    def test_one_bad_record_sinks_the_whole_request(
        self, emulator: Emulator, caller: Any, clock: ManualClock, vip: str
    ) -> None:
        people = [
            ANN,
            {"email": "nobody", "phone_number": "12"},
            {"subscriptions": {"sms": YES}, "email": "bob@mail.com"},
            {"subscriptions": {"email": YES}},
            ANN,
            {"email": "c@mail.com", "first_name": "C"},
            {"email": "d@mail.com", "subscriptions": {}},
        ]
        response = caller.subscribe(*people, list_id=vip)
        assert response.status_code == 400
        assert caller.errors_of(response) == [
            (f"{RECORDS}/1/attributes/email", "Invalid email address"),
            (
                f"{RECORDS}/1/attributes/phone_number",
                "Invalid phone number format (Example of a valid format: +12345678901)",
            ),
            (
                f"{RECORDS}/2/attributes/phone_number",
                "'phone_number' must not be empty when the sms channel is included",
            ),
            (
                f"{RECORDS}/3/attributes/email",
                "'email' must not be empty when the email channel is included",
            ),
            (f"{RECORDS}/4/attributes/email", "The email occurs more than once in this request."),
            (
                f"{RECORDS}/5/attributes/first_name",
                "'first_name' is not a valid field for the resource 'profile'.",
            ),
            (f"{RECORDS}/6/attributes/subscriptions", "At least one channel must be included."),
        ]
        clock.advance(10)
        assert (emulator.count(), emulator.members(vip)) == (0, [])

    def test_a_list_that_does_not_exist_blames_no_record(self, caller: Any) -> None:
        for act in (caller.subscribe, caller.unsubscribe):
            response = act(ANN, list_id="NoList")
            assert response.status_code == 400
            assert caller.errors_of(response) == [
                ("/data/relationships/list/data/id", "List not found with id NoList.")
            ]

    @pytest.mark.parametrize(
        ("act", "limit"), [("subscribe", 1_000), ("unsubscribe", 100)], ids=["subscribe", "unsubscribe"]
    )
    def test_a_request_takes_so_many_people(self, caller: Any, act: str, limit: int) -> None:
        people = [{"email": f"p{number}@mail.com"} for number in range(limit + 1)]
        statuses = [getattr(caller, act)(*some).status_code for some in ([], people[:limit], people)]
        assert statuses == [400, 202, 400]

    def test_unsubscribing_takes_neither_ids_nor_history(self, caller: Any, ann: str) -> None:
        assert caller.unsubscribe(ANN | {"id": ann}).status_code == 400
        body = caller.consent_body("UNSUBSCRIBED", ANN, historical_import=True)
        assert caller.post("/api/profile-subscription-bulk-delete-jobs", body).status_code == 400

    def test_an_id_that_nobody_has_is_refused(self, caller: Any) -> None:
        response = caller.subscribe(ANN | {"id": "01GDDKASAP8TKDDA2GRZDSVP4H"})
        assert [pointer for pointer, _ in caller.errors_of(response)] == [f"{RECORDS}/0/id"]

    @pytest.mark.parametrize(
        "subscriptions",
        [
            {"email": {"marketing": {"consent": "subscribed"}}},
            {"email": {"marketing": {"consent": "UNSUBSCRIBED"}}},
            {"email": {"marketing": {"consent": True}}},
            {"email": {"marketing": {"consent": "SUBSCRIBED", "why": "x"}}},
            {"email": {"marketing": {}}},
            {"email": {"marketing": "SUBSCRIBED"}},
            {"email": {}},
            {"email": {"newsletter": {"consent": "SUBSCRIBED"}}},
            {"email": YES, "fax": YES},
            {"email": YES, "whatsapp": YES},
            {"email": YES, "push": YES},
            {"email": {"open_tracking": {"consent": "SUBSCRIBED", "consented_at": THEN}}},
            ["email"],
            None,
        ],
        ids=str,
    )
    def test_consent_is_spelt_exactly(self, caller: Any, vip: str, subscriptions: Any) -> None:
        response = caller.subscribe(ANN | {"subscriptions": subscriptions}, list_id=vip)
        assert response.status_code == 400, response.text
        assert all(pointer.startswith(f"{RECORDS}/0/") for pointer, _ in caller.errors_of(response))

    @pytest.mark.parametrize(
        ("consented_at", "detail"),
        [
            (None, "'consented_at' is required for each channel of a historical import."),
            ("2025-01-31", "The email channel does not have a valid consented_at timestamp"),
            ("2025-01-31T10:00:00", "The email channel does not have a valid consented_at timestamp"),
            ("2025-02-31T10:00:00Z", "The email channel does not have a valid consented_at timestamp"),
            (1_700_000_000, "The email channel does not have a valid consented_at timestamp"),
            ("2026-09-21T14:13:20Z", "'consented_at' must be in the past."),
            ("2026-09-21T14:13:19.5Z", None),
        ],
    )
    def test_history_needs_a_time_in_the_past_with_an_offset(
        self, caller: Any, vip: str, consented_at: Any, detail: str | None
    ) -> None:
        marketing = {"consent": "SUBSCRIBED"} | (
            {} if consented_at is None else {"consented_at": consented_at}
        )
        person = ANN | {"subscriptions": {"email": {"marketing": marketing}}}
        response = caller.subscribe(person, list_id=vip, historical_import=True)
        pointer = f"{RECORDS}/0/attributes/subscriptions/email/marketing/consented_at"
        if detail is None:
            assert response.status_code == 202, response.text
        else:
            assert caller.errors_of(response) == [(pointer, detail)]

    def test_history_is_dated_on_every_channel(self, caller: Any, vip: str) -> None:
        dated = {"marketing": {"consent": "SUBSCRIBED", "consented_at": THEN}}
        person = {**ANN, "phone_number": PHONE, "subscriptions": {"email": dated, "sms": YES}}
        (error,) = caller.errors_of(caller.subscribe(person, list_id=vip, historical_import=True))
        assert error[0] == f"{RECORDS}/0/attributes/subscriptions/sms/marketing/consented_at"

    def test_a_time_of_consent_is_for_history_only(self, caller: Any, vip: str) -> None:
        assert caller.subscribe(_historical(**ANN), list_id=vip).status_code == 400

    def test_sms_is_for_the_regions_of_the_sending_numbers(
        self, emulator: Emulator, caller: Any, vip: str
    ) -> None:
        emulator.set(sms_regions=["US"])
        people = [{"phone_number": PHONE}, {"phone_number": "+4915112345678"}]
        for act in (caller.subscribe, caller.unsubscribe):
            assert caller.errors_of(act(*people, list_id=vip)) == [
                (
                    f"{RECORDS}/1/attributes/phone_number",
                    "Phone number is valid but is not in a supported region for this account.",
                )
            ]
        silent = people[1] | ANN | {"subscriptions": {"email": YES}}
        assert caller.subscribe(silent, list_id=vip).status_code == 202

    def test_sms_must_be_set_up(self, emulator: Emulator, caller: Any, vip: str) -> None:
        emulator.set(sms=False)
        (error,) = caller.errors_of(caller.subscribe({"phone_number": PHONE}, list_id=vip))
        assert error == (
            f"{RECORDS}/0/attributes/subscriptions/sms",
            "SMS configuration is required to subscribe phone number only profiles.",
        )

    @pytest.mark.parametrize(
        ("born", "status"),
        [
            (None, 400),
            ("2008-09-22", 400),
            ("2008-09-21", 202),
            ("1990-01-31", 202),
            ("31.01.1990", 400),
            ("1990-02-31", 400),
            ("2027-01-01", 400),
            (1990, 400),
        ],
    )
    def test_an_age_gated_account_asks_for_the_date_of_birth(
        self, emulator: Emulator, caller: Any, vip: str, born: Any, status: int
    ) -> None:
        emulator.set(age_gate=18)
        person = {"phone_number": PHONE} | ({} if born is None else {"age_gated_date_of_birth": born})
        assert caller.subscribe(person, list_id=vip).status_code == status
        assert caller.subscribe(ANN, list_id=vip).status_code == 202
        assert caller.unsubscribe({"phone_number": PHONE}, list_id=vip).status_code == 202

    @pytest.mark.parametrize(
        "change",
        [
            {"relationships": {"lists": {"data": [{"type": "list", "id": "VIP"}]}}},
            {"relationships": {"list": {"data": [{"type": "list", "id": "VIP"}]}}},
            {"relationships": {"list": {"data": {"type": "segment", "id": "VIP"}}}},
            {"relationships": {"list": {"data": {"type": "list"}}}},
            {"relationships": {"list": {}}},
            {"relationships": {"list": {"data": None}}},
            {"relationships": []},
            {"type": "profile-bulk-import-job"},
            {"attributes": []},
            {"attributes": {}},
            {"attributes": {"profiles": []}},
            {"attributes": {"profiles": {"data": {}}}},
            {"attributes": {"profiles": {"data": [7]}}},
            {"attributes": {"profiles": {"data": [{"type": "profile"}]}}},
            {"meta": {}},
        ],
        ids=str,
    )
    def test_a_body_is_read_strictly(self, caller: Any, change: dict[str, Any]) -> None:
        body = caller.consent_body("SUBSCRIBED", ANN)
        body["data"] |= change
        assert caller.post(SUBSCRIBE, body).status_code == 400

    @pytest.mark.parametrize(
        "more",
        [{"custom_source": 1}, {"historical_import": "true"}, {"list_id": "VIP"}, {"lists": []}],
        ids=str,
    )
    def test_attributes_of_a_request_are_checked(self, caller: Any, more: dict[str, Any]) -> None:
        assert caller.subscribe(ANN, **more).status_code == 400

    @pytest.mark.parametrize(
        "change", [{"type": "person"}, {"id": 7}, {"id": ""}, {"meta": {}}, {"attributes": None}], ids=str
    )
    def test_a_record_is_read_strictly(self, caller: Any, change: dict[str, Any]) -> None:
        body = caller.consent_body("SUBSCRIBED", ANN)
        body["data"]["attributes"]["profiles"]["data"][0] |= change
        assert caller.post(SUBSCRIBE, body).status_code == 400

    def test_a_key_needs_all_three_scopes(self, emulator: Emulator, caller: Any) -> None:
        emulator.set(keys={emulator.api_key: ["lists:write", "profiles:write"]})
        response = caller.subscribe(ANN)
        assert (response.status_code, "subscriptions:write" in response.text) == (403, True)


class TestFaults:
    def test_a_request_can_be_worked_off_though_its_answer_is_lost(
        self, emulator: Emulator, caller: Any, clock: ManualClock, ann: str
    ) -> None:
        vip = emulator.add_list("VIP", [ann])
        emulator.inject(Fault(FaultKind.RESET_AFTER, operation="bulk_unsubscribe_profiles"))
        with pytest.raises(requests.ConnectionError):
            caller.unsubscribe(ANN, list_id=vip)
        assert _emails(emulator, vip) == ["ann@mail.com"]
        clock.advance(2)
        assert emulator.members(vip) == []
        assert emulator.stats()["writes"]["bulk_unsubscribe_profiles"] == {"requests": 1, "records": 1}

    def test_a_request_can_be_lost(
        self, emulator: Emulator, caller: Any, clock: ManualClock, vip: str
    ) -> None:
        emulator.inject(Fault(FaultKind.RESET_BEFORE, operation="bulk_subscribe_profiles"))
        with pytest.raises(requests.ConnectionError):
            caller.subscribe(ANN, list_id=vip)
        clock.advance(2)
        assert emulator.members(vip) == []

    def test_records_can_be_refused_that_look_good(self, emulator: Emulator, caller: Any, vip: str) -> None:
        emulator.inject(Fault(FaultKind.REFUSE_RECORDS, match="bob", count=None))
        for act in (caller.subscribe, caller.unsubscribe):
            pointers = [pointer for pointer, _ in caller.errors_of(act(ANN, BOB, list_id=vip))]
            assert pointers == [f"{RECORDS}/1/attributes"]

    @pytest.mark.parametrize(
        ("fault", "members"),
        [
            (Fault(FaultKind.JOB_STUCK), []),
            (Fault(FaultKind.JOB_CANCELLED, records=1), ["ann@mail.com"]),
            (Fault(FaultKind.JOB_FAILS, records=1), ["bob@mail.com"]),
            (Fault(FaultKind.JOB_FAILS, match="bob"), ["ann@mail.com"]),
        ],
        ids=["never worked off", "broken off", "fails the first", "fails by name"],
    )
    def test_an_accepted_request_can_come_to_less(
        self, emulator: Emulator, caller: Any, clock: ManualClock, vip: str, fault: Fault, members: list[str]
    ) -> None:
        emulator.inject(fault)
        assert caller.subscribe(ANN, BOB, list_id=vip).status_code == 202
        clock.advance(1_000)
        assert _emails(emulator, vip) == members

    def test_a_400_can_tell_less_than_it_knows(self, emulator: Emulator, caller: Any) -> None:
        emulator.inject(Fault(FaultKind.POINTERS_ONE))
        assert len(caller.errors_of(caller.subscribe({"email": "x"}, {"email": "y"}))) == 1


class TestReading:
    def test_consent_is_shown_on_request_only(
        self, emulator: Emulator, caller: Any, clock: ManualClock, ann: str
    ) -> None:
        vip = emulator.add_list("VIP", [ann])
        emulator.set_consent(ann, "email", "SUBSCRIBED", at=clock.now() - 60, source="Shop")
        emulator.suppress(ann, "HARD_BOUNCE")
        shown = emulator.subscriptions(ann)
        assert shown["email"]["marketing"]["consent_timestamp"] == "2026-09-21T14:12:20+00:00"
        more = {"additional-fields[profile]": "subscriptions"}
        (listed,) = caller.data("/api/profiles", **more)
        single = caller.data(f"/api/profiles/{ann}", **more)
        (member,) = caller.data(f"/api/lists/{vip}/profiles", **more)
        for profile in (listed, single, member):
            assert profile["attributes"]["subscriptions"] == shown
        assert "subscriptions" not in caller.data(f"/api/profiles/{ann}")["attributes"]
        path = "subscriptions.email.marketing.suppression"
        sparse = caller.data(f"/api/profiles/{ann}", **more, **{"fields[profile]": path})
        assert list(sparse["attributes"]["subscriptions"]["email"]["marketing"]) == ["suppression"]

    def test_a_world_is_set_up_and_taken_back(self, emulator: Emulator, ann: str) -> None:
        before = emulator.subscriptions(ann)
        emulator.set_consent(ann, "email", "UNSUBSCRIBED")
        emulator.set_consent(ann, "sms", "SUBSCRIBED")
        emulator.suppress(ann, "SPAM_COMPLAINT")
        emulator.suppress(ann, "USER_SUPPRESSED", "VIP123", channel="sms")
        for channel in ("email", "sms"):
            emulator.set_consent(ann, channel, "NEVER_SUBSCRIBED")
        emulator.unsuppress(ann, "SPAM_COMPLAINT")
        emulator.unsuppress(ann, list_id="VIP123", channel="sms")
        assert emulator.subscriptions(ann) == before
        assert emulator.consent(email="nobody@mail.com") is None

    @pytest.mark.parametrize(
        ("method", "arguments"),
        [
            ("set_consent", ("fax", "SUBSCRIBED")),
            ("set_consent", ("email", "MAYBE")),
            ("suppress", ("BORED",)),
        ],
    )
    def test_a_world_that_makes_no_sense_is_refused(
        self, emulator: Emulator, ann: str, method: str, arguments: tuple[str, ...]
    ) -> None:
        with pytest.raises(ValueError, match="no "):
            getattr(emulator, method)(ann, *arguments)
        with pytest.raises(ValueError, match="no profile"):
            emulator.subscriptions("01GDDKASAP8TKDDA2GRZDSVP4H")
        with pytest.raises(ValueError, match="no suppression"):
            emulator.suppress(ann, channel="sms")

    def test_a_reset_forgets_consent(self, emulator: Emulator, caller: Any, clock: ManualClock) -> None:
        caller.unsubscribe(ANN, list_id=emulator.add_list("VIP"))
        emulator.reset()
        clock.advance(10)
        assert (emulator.count(), emulator.incidents()) == (0, [])


@pytest.mark.parametrize(
    "bad",
    [
        {"subscription_seconds": -1},
        {"history_seconds": -1},
        {"plus_address_seconds": -1},
        {"toggle_seconds": -1},
        {"default_opt_in": "triple_opt_in"},
    ],
    ids=str,
)
def test_settings_check_themselves(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must"):
        Settings(**bad)


def test_ten_thousand_people_are_subscribed_in_a_moment(
    emulator: Emulator, caller: Any, clock: ManualClock, vip: str
) -> None:
    for first in range(0, 10_000, 1_000):
        people = [{"email": f"p{number}@mail.com"} for number in range(first, first + 1_000)]
        assert caller.subscribe(*people, list_id=vip).status_code == 202
    clock.advance(2)
    assert len(emulator.members(vip)) == 10_000

"""Random histories of consent: whatever people, lists, rows and faults do, no rule about consent is ever broken."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Fault
from tests.integration.subscriptions.conftest import (
    BOTH,
    SUBSCRIBE,
    UNSUBSCRIBE,
    ConsentSync,
    Judge,
    Meanwhile,
    People,
    email_of,
    phone_of,
)

pytestmark = [pytest.mark.integration, pytest.mark.slow]

COUNT, STEPS = 12, 14
REASONS = ("HARD_BOUNCE", "INVALID_EMAIL", "SPAM_COMPLAINT", "UNSUBSCRIBE", "USER_SUPPRESSED")
FAULTS = ("reset_after", "reset_before", "status", "status_after", "not_json", "slow")
READS = ("get_profiles", "get_profiles_for_list")


class History:
    """A world that is changed at random, and syncs in between."""

    def __init__(self, seed: int, judge: Judge, people: People, sync: ConsentSync) -> None:
        self.random = random.Random(seed)
        self.judge, self.klaviyo, self.people, self.sync = judge, judge.klaviyo, people, sync
        self.channels = self.random.choice((("email",), ("email", "sms"), ("sms",)))
        self.key = self.random.choice(({}, {"primary_key": "id", "only_changes": True}))
        self.ids = self._profiles()
        some = [each for each in self.ids if self.random.random() < 0.5]
        self.lists = {
            "single": self.klaviyo.add_list("single", some),
            "double": self.klaviyo.add_list("double", some, opt_in_process="double_opt_in"),
        }
        self.people.fill(COUNT)
        for each in self.ids:
            self._change_mind(each)

    def _profiles(self) -> list[str]:
        made = []
        for number in range(1, COUNT + 1):
            email, phone = {"email": email_of(number)}, {"phone_number": phone_of(number)}
            stored = self.random.choice(([], [email], [phone], [email | phone], [email, phone]))
            made += self.klaviyo.add_profiles(stored)
        return made

    def _change_mind(self, profile_id: str) -> None:
        channel = self.random.choice(("email", "sms"))
        match self.random.randrange(6):
            case 0:
                reason = self.random.choice(REASONS)
                self.klaviyo.suppress(profile_id, reason)
            case 1:
                list_id = self.random.choice(list(self.lists.values()))
                self.klaviyo.suppress(profile_id, "UNSUBSCRIBE", list_id=list_id)
            case 2 | 3:
                self.klaviyo.set_consent(profile_id, channel, "UNSUBSCRIBED", at=self._past().timestamp())
            case 4:
                self.klaviyo.set_consent(profile_id, channel, "SUBSCRIBED", at=self._past().timestamp())
            case _:
                number = self.random.randint(1, COUNT)
                self.klaviyo.confirm(email=email_of(number))
                self.klaviyo.confirm(phone_number=phone_of(number))

    def _past(self) -> datetime:
        return datetime.now(UTC) - timedelta(days=self.random.randint(1, 20))

    def _change_rows(self) -> None:
        number = self.random.randint(1, COUNT)
        email, phone = self.random.randint(1, COUNT), self.random.randint(1, COUNT)
        spelled = self.random.choice((email_of(email), email_of(email).upper(), None))
        self.people.execute(
            "UPDATE people SET email = %s, phone = %s WHERE id = %s", [(spelled, phone_of(phone), number)]
        )

    def _break(self) -> None:
        kind = self.random.choice(FAULTS)
        operation = self.random.choice((SUBSCRIBE, UNSUBSCRIBE, *READS))
        if operation in READS and kind == "not_json":
            kind = "reset_before"
        answer: dict[str, Any] = {"status": 404, "body": "html"} if kind == "status_after" else {}
        self.klaviyo.inject(
            Fault(kind, operation=operation, skip=self.random.randrange(3), seconds=0.05, **answer)
        )

    def opt_out_late(self) -> None:
        """Somebody opts out while a request waits for its turn."""
        each = self.random.choice(self.ids) if self.ids else None
        if each and not self._objects(each) and self.random.random() < 0.5:
            self.klaviyo.set_consent(each, "email", "UNSUBSCRIBED")

    def step(self) -> None:
        for each in self.random.sample(self.ids, min(2, len(self.ids))):
            self._change_mind(each)
        if self.random.random() < 0.5:
            self._change_rows()
        if self.random.random() < 0.5:
            self._break()
        objecting = {each: self._email(each) for each in self.ids if self._objects(each)}
        self.people.execute(
            "UPDATE people SET agreed_at = %s WHERE id = %s",
            [(self._past(), number) for number in range(1, COUNT + 1)],
        )
        run = self._run()
        assert not any("consented_at" in line["field"] for line in run.rejects)
        assert run.counts().get("rows_read", 0) in (0, COUNT)
        if "unsubscribe" not in run.summary.get("mode", ""):
            assert {each: self._email(each) for each in objecting} == objecting
        self.judge.check()
        self.klaviyo.clear_faults()

    def _run(self) -> Any:
        terms: dict[str, Any] = {"mapping": BOTH, "channels": self.channels, "max_rejected": 1.0, **self.key}
        terms |= {"match_by": self.random.choice((None, "email", "phone_number"))}
        name, list_id = self.random.choice(list(self.lists.items()))
        if self.random.random() < 0.3:
            terms |= {"mode": "unsubscribe", "list_id": list_id, "channels": ("email",)}
        elif self.random.random() < 0.1:
            terms |= {"globally": True}
            name = "none"
        else:
            terms |= {"list_id": list_id}
            if self.random.random() < 0.3:
                terms |= {"historical_import": True, "mapping": BOTH | {"consented_at": "agreed_at"}}
                name = f"history of {name}"
        return self.sync(**terms, state_key=f"{terms.get('mode')} {name}", timeout=20)

    def _email(self, profile_id: str) -> Any:
        return self.klaviyo.subscriptions(profile_id)["email"]["marketing"]

    def _objects(self, profile_id: str) -> bool:
        marketing = self._email(profile_id)
        return marketing["consent"] == "UNSUBSCRIBED" or bool(marketing["suppression"])


@pytest.mark.parametrize("seed", range(12))
def test_no_history_breaks_a_rule(
    judge: Judge,
    people: People,
    consent_sync: ConsentSync,
    while_waiting: Meanwhile,
    seed: int,
) -> None:
    consent_sync.patience = 0.5
    history = History(seed, judge, people, consent_sync)
    while_waiting(history.opt_out_late)
    for _ in range(STEPS):
        history.step()

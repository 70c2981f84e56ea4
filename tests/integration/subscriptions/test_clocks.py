"""Hosts whose clocks are wrong: what is judged by the time since then is judged by Klaviyo's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator, Fault
from tests.clocks import JUMPS
from tests.integration.conftest import ShiftedClock, StartEmulator
from tests.integration.subscriptions.conftest import (
    SUBSCRIBE,
    UNSUBSCRIBE,
    ConsentSync,
    KlaviyosClock,
    People,
    email_of,
    reasons,
    writes,
)

pytestmark = pytest.mark.integration

DAY = 86_400.0

DAYS_WRONG = pytest.mark.parametrize(
    ("first", "second"), [(0, 0), (-2, 0), (0, -2), (2, 0), (0, 2), (-2, 2), (2, -2)]
)
"""By how many days the clocks of the hosts are wrong that run a sync one after the other."""


@pytest.fixture
def klaviyo(start_emulator: StartEmulator, clock: KlaviyosClock) -> Emulator:
    return start_emulator(clock=clock, rate_limits="off", subscription_seconds=0.0, keep_bodies=50)


@pytest.fixture
def on_a_host(consent_sync: ConsentSync, people: People) -> Any:
    """Runs a sync of two people on a host whose clock is wrong by so many days."""
    consent_sync.patience = 0.3
    people.fill(2)

    def run(days: float, run_id: str, **parameters: Any) -> Any:
        return consent_sync(run_id=run_id, clock=ShiftedClock(days * DAY), **parameters)

    return run


@pytest.fixture
def club(klaviyo: Emulator) -> str:
    return klaviyo.add_list("Club", klaviyo.add_profiles([{"email": email_of(n)} for n in (1, 2)]))


@DAYS_WRONG
def test_nobody_is_unsubscribed_again_within_a_day_of_klaviyos(
    klaviyo: Emulator, clock: KlaviyosClock, club: str, on_a_host: Any, first: float, second: float
) -> None:
    leave = {"mode": "unsubscribe", "list_id": club}
    klaviyo.inject(Fault("reset_before", operation=UNSUBSCRIBE))
    assert on_a_host(first, "first", **leave).counts() == {"rows_read": 2, "pending": 2}
    clock.advance(DAY - 60)
    assert on_a_host(second, "second", **leave).counts() == {"rows_read": 2, "pending": 2}
    assert writes(klaviyo) == 1
    clock.advance(61)
    assert on_a_host(second, "third", **leave).counts() == {"rows_read": 2, "accepted": 2}


@pytest.mark.parametrize("jump", JUMPS)
def test_outcomes_in_doubt_are_waited_for_as_long_when_somebody_sets_the_clock(
    start_emulator: StartEmulator,
    clock: KlaviyosClock,
    consent_sync: ConsentSync,
    people: People,
    jump: float,
) -> None:
    klaviyo = start_emulator(clock=clock, rate_limits="off", subscription_seconds=1.5)
    people.fill(1)
    club = klaviyo.add_list("Club", klaviyo.add_profiles([{"email": email_of(1)}]))
    klaviyo.inject(Fault("reset_after", operation=UNSUBSCRIBE))
    consent_sync.patience = 20.0
    run = consent_sync(mode="unsubscribe", list_id=club, clock=ShiftedClock(jump=jump))
    assert run.counts() == {"rows_read": 1, "accepted": 1}


@pytest.mark.parametrize("jump", JUMPS)
def test_outcomes_that_never_show_are_given_up_in_time_when_somebody_sets_the_clock(
    klaviyo: Emulator, club: str, consent_sync: ConsentSync, people: People, jump: float
) -> None:
    people.fill(2)
    klaviyo.inject(Fault("reset_before", operation=UNSUBSCRIBE))
    consent_sync.patience = 1.0
    run = consent_sync(mode="unsubscribe", list_id=club, clock=ShiftedClock(jump=jump))
    assert run.counts() == {"rows_read": 2, "pending": 2}
    assert run.summary["duration"] < 30


@DAYS_WRONG
def test_nobody_is_asked_again_before_ask_again_after_by_klaviyos_clock(
    klaviyo: Emulator, clock: KlaviyosClock, on_a_host: Any, first: float, second: float
) -> None:
    ask = {"list_id": klaviyo.add_list("News", opt_in_process="double_opt_in"), "ask_again_after": DAY}
    assert on_a_host(first, "first", **ask).counts() == {"rows_read": 2, "accepted": 2}
    clock.advance(DAY - 60)
    run = on_a_host(second, "second", **ask)
    assert run.counts() == {"rows_read": 2, "skipped": 2}
    day = datetime.fromtimestamp(clock.now() - DAY + 60, UTC).date()
    assert str(day) in reasons(run)[email_of(1)]
    clock.advance(61)
    assert on_a_host(second, "third", **ask).counts() == {"rows_read": 2, "accepted": 2}
    assert len(klaviyo.requests(SUBSCRIBE)) == 2


@pytest.mark.parametrize("days", [-2, 0, 2])
def test_what_is_in_the_past_is_for_klaviyos_clock_to_say(
    klaviyo: Emulator, clock: KlaviyosClock, people: People, on_a_host: Any, days: float
) -> None:
    """Consent of an hour ago is imported, consent of tomorrow is not."""
    clock.advance(days * DAY)  # the host is as much behind
    now = datetime.fromtimestamp(clock.now(), UTC)
    people.execute("UPDATE people SET agreed_at = %s WHERE id = 1", [(now - timedelta(hours=1),)])
    people.execute("UPDATE people SET agreed_at = %s WHERE id = 2", [(now + timedelta(days=1),)])
    run = on_a_host(
        0,
        "first",
        list_id=klaviyo.add_list("News"),
        historical_import=True,
        mapping={"email": "email", "consented_at": "agreed_at"},
        max_rejected=1,
    )
    assert run.counts() == {"rows_read": 2, "accepted": 1, "rejected": 1}
    assert "not in the past" in reasons(run)[email_of(2)]

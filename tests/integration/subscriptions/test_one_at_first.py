"""Until Klaviyo has answered a request that changes consent there is one at a time: a wrong key costs one request."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from airflow_provider_klaviyo.emulator import Emulator, Fault
from airflow_provider_klaviyo.sync.subscriptions.looks import CHECKED_FOR
from tests.benchmarks.ceiling_client import RUNS
from tests.benchmarks.ceiling_server import prepare
from tests.integration.conftest import Run, Shop, StartEmulator, run_operator

pytestmark = pytest.mark.integration

LATENCY = 0.3
"""Seconds that every answer takes: long enough for the others to be ready when the first is under way."""

OPERATIONS = {"subscribe": "bulk_subscribe_profiles", "unsubscribe": "bulk_unsubscribe_profiles"}
LOOKS = ("get_profiles", "get_profiles_for_list")
LOOKS_OF_ONE = {"subscribe": 10, "unsubscribe": 1}
ENOUGH = {"subscribe": 4_000, "unsubscribe": 800}
"""People of several requests."""

Consent = Callable[[str], tuple[Emulator, Callable[[], Run]]]


@pytest.fixture
def consent(
    shop: Shop,
    start_emulator: StartEmulator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Consent:
    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", str(tmp_path / "storage"))

    def of(mode: str) -> tuple[Emulator, Callable[[], Run]]:
        emulator = start_emulator(extra={"rate_limit_share": 1}, subscription_seconds=0.0)
        prepare(emulator, mode, ENOUGH[mode])

        def run() -> Run:
            emulator.inject(
                Fault("slow", count=None, seconds=LATENCY)
            )  # after what a test has ordered, which comes first
            return run_operator(RUNS[mode](ENOUGH[mode]))

        return emulator, run

    return of


@pytest.mark.parametrize("mode", OPERATIONS)
def test_a_missing_scope_costs_one_request(consent: Consent, mode: str) -> None:
    klaviyo, run = consent(mode)
    klaviyo.inject(Fault("status", OPERATIONS[mode], status=403, count=None))
    assert "does not permit" in str(run().error)
    assert len(klaviyo.requests(OPERATIONS[mode])) == 1


@pytest.mark.parametrize("mode", OPERATIONS)
def test_nobody_goes_beside_one_that_is_repeated_until_it_is_answered(consent: Consent, mode: str) -> None:
    klaviyo, run = consent(mode)
    klaviyo.inject(Fault("status", OPERATIONS[mode], status=429, count=2, retry_after=0))
    done = run()
    assert done.error is None
    assert done.counts() == {"rows_read": ENOUGH[mode], "accepted": ENOUGH[mode]}
    requests = sorted(klaviyo.requests(OPERATIONS[mode]), key=lambda each: each.time)
    first = next(each for each in requests if each.status < 300)
    before = requests[: requests.index(first) + 1]
    assert all(one.time + one.seconds <= two.time for one, two in pairwise(before))
    assert all(each.time >= first.time + first.seconds for each in requests[len(before) :])


@pytest.mark.parametrize("mode", OPERATIONS)
def test_the_others_are_looked_at_while_the_first_is_under_way(consent: Consent, mode: str) -> None:
    klaviyo, run = consent(mode)
    assert run().error is None
    first = min(klaviyo.requests(OPERATIONS[mode]), key=lambda each: each.time)
    looks = [
        each for each in klaviyo.requests() if each.operation in ("get_profiles", "get_profiles_for_list")
    ]
    assert sum(look.time < first.time + first.seconds for look in looks) > LOOKS_OF_ONE[mode]


def test_who_was_looked_at_too_long_ago_when_the_first_is_answered_is_looked_at_again(
    consent: Consent, caplog: pytest.LogCaptureFixture
) -> None:
    klaviyo, run = consent("subscribe")
    klaviyo.inject(Fault("slow", OPERATIONS["subscribe"], count=1, seconds=CHECKED_FOR + 1))
    done = run()
    assert done.counts() == {"rows_read": ENOUGH["subscribe"], "accepted": ENOUGH["subscribe"]}
    looks = sorted(each.time for each in klaviyo.requests() if each.operation in LOOKS)
    sent = [each.time for each in klaviyo.requests(OPERATIONS["subscribe"])]
    assert all(any(0 < at - look < CHECKED_FOR for look in looks) for at in sent)
    assert len([each for each in caplog.records if "looked at again" in each.getMessage()]) == 1

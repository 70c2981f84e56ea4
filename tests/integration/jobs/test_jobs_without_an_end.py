"""A job that Klaviyo never comes to the end of closes its sync for a day at most, and less for who asks for less."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_klaviyo.cli.program import main
from airflow_provider_klaviyo.emulator import Emulator, Fault
from airflow_provider_klaviyo.exceptions import KlaviyoTimeout
from airflow_provider_klaviyo.sync.delivery.resume import HURRY, PATIENCE
from tests.integration.conftest import Run, ShiftedClock, Shop, StartEmulator, Sync

pytestmark = pytest.mark.integration

KEY = "shop_to_klaviyo.sync_customers"
PEOPLE = 3


@pytest.fixture
def clock() -> ShiftedClock:
    """Klaviyo's."""
    return ShiftedClock()


@pytest.fixture
def klaviyo(start_emulator: StartEmulator, clock: ShiftedClock) -> Emulator:
    return start_emulator(clock=clock)


@pytest.fixture
def nightly(klaviyo: Emulator, shop: Shop, sync: Sync) -> Sync:
    """A sync whose first job never ended."""

    def run(**parameters: Any) -> Run:
        return sync(**({"primary_key": "id", "only_changes": True, "timeout": 2} | parameters))

    shop.fill_with_people(PEOPLE)
    klaviyo.inject(Fault("job_stuck"))
    run(run_id="night 1")
    return run


def jobs(klaviyo: Emulator) -> int:
    return len(klaviyo.requests("bulk_import_profiles"))


def test_the_run_that_started_it_names_the_ways_out(klaviyo: Emulator, shop: Shop, sync: Sync) -> None:
    shop.fill_with_people(PEOPLE)
    klaviyo.inject(Fault("job_stuck"))
    first = sync(primary_key="id", only_changes=True, timeout=2)
    assert isinstance(first.error, KlaviyoTimeout)
    assert first.summary["pending"] == PEOPLE
    for part in ("1 import job has no result yet", "until they are 24 hours old", "full_refresh=True"):
        assert part in str(first.error)


def test_a_sync_without_state_waits_for_no_earlier_job(klaviyo: Emulator, shop: Shop, sync: Sync) -> None:
    shop.fill_with_people(PEOPLE)
    klaviyo.inject(Fault("job_stuck"))
    assert "The next run sends these rows again" in str(sync(timeout=2).error)
    assert sync().summary["accepted"] == PEOPLE


def test_the_next_run_waits_and_names_the_job_its_age_and_the_ways_out(
    nightly: Sync, clock: ShiftedClock
) -> None:
    clock.ahead += PATIENCE - 3_600
    second = nightly(run_id="night 2")
    assert isinstance(second.error, KlaviyoTimeout)
    for part in ("1 import job of an earlier try", "23 hours ago", "full_refresh=True", f"state reset {KEY}"):
        assert part in str(second.error)


def test_a_job_that_took_a_day_is_given_up_and_its_rows_are_sent_again(
    nightly: Sync, klaviyo: Emulator, clock: ShiftedClock
) -> None:
    clock.ahead += PATIENCE
    second = nightly(run_id="night 2", timeout=30)
    assert (second.error, second.summary["accepted"]) == (None, PEOPLE)
    assert jobs(klaviyo) == 2
    assert "Given up" in second.report["notice"]
    assert "24 hours ago) with 3 profiles" in second.report["notice"]

    third = nightly(run_id="night 3", timeout=30)
    assert third.summary["unchanged"] == PEOPLE
    assert "notice" not in third.report


def test_a_full_refresh_waits_for_no_job_that_had_its_time(
    nightly: Sync, klaviyo: Emulator, clock: ShiftedClock
) -> None:
    clock.ahead += HURRY
    second = nightly(run_id="night 2", full_refresh=True, timeout=30)
    assert (second.error, second.summary["accepted"]) == (None, PEOPLE)
    assert "Given up" in second.report["notice"]


def test_a_full_refresh_waits_for_a_job_that_may_be_at_work_as_usual(
    nightly: Sync, klaviyo: Emulator, clock: ShiftedClock
) -> None:
    """What ends after this run would turn people back whom it brings forward."""
    clock.ahead += HURRY - 60
    second = nightly(run_id="night 2", full_refresh=True)
    assert isinstance(second.error, KlaviyoTimeout)
    assert jobs(klaviyo) == 1


def test_a_reset_is_a_way_out_at_once(nightly: Sync, klaviyo: Emulator) -> None:
    assert main(["state", "reset", KEY, "--yes"]) == 0
    assert nightly(run_id="night 2", timeout=30).summary["accepted"] == PEOPLE


def test_who_is_in_a_job_that_was_given_up_stays_on_a_mirrors_list(
    klaviyo: Emulator, warehouse: Any, list_sync: Sync, clock: ShiftedClock
) -> None:
    warehouse.hold("ada@shop.io", "bob@shop.io")
    klaviyo.inject(Fault("job_stuck"))
    list_sync("mirror", run_id="night 1", timeout=2)
    clock.ahead += PATIENCE
    second = list_sync("mirror", run_id="night 2")
    assert second.counts() == {"rows_read": 2, "accepted": 2}
    warehouse.hold("ada@shop.io")
    assert list_sync("mirror", run_id="night 3").summary["removed"] == 1

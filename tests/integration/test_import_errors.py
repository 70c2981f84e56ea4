"""Whom an import error is about: the right row is rejected, and nobody is accepted whom one may mean."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator, Fault
from tests.integration.conftest import Run, Shop, StartEmulator, Sync

pytestmark = pytest.mark.integration

ERRORS = "get_errors_for_bulk_import_profiles_job"
PEOPLE: dict[str, Any] = {
    "mapping": {"email": "email", "external_id": "first_name"},
    "primary_key": "id",
    "max_rejected": 1.0,
}


def outcomes(run: Run) -> dict[int, str]:
    return {line["key"]: line["outcome"] for line in run.rejects}


@pytest.mark.parametrize("only_changes", [False, True])
@pytest.mark.parametrize("named_by", ["full", "pointer", "payload"])
@pytest.mark.parametrize(
    ("rows", "match_by", "refused"),
    [
        ([(1, "a@shop.io", "b@shop.io"), (2, "b@shop.io", "two")], "external_id", "two"),
        ([(1, "a@shop.io", None), (2, None, "a@shop.io")], None, "None None a@shop.io"),
    ],
    ids=["matched by external_id", "matched by whatever a row has"],
)
def test_an_address_that_is_another_rows_external_id_confuses_nobody(
    start_emulator: StartEmulator,
    shop: Shop,
    sync: Sync,
    rows: list[tuple[Any, ...]],
    match_by: str | None,
    refused: str,
    named_by: str,
    only_changes: bool,
) -> None:
    klaviyo = start_emulator(import_errors=named_by)
    shop.fill([(key, email, None, customer, None) for key, email, customer in rows])
    klaviyo.inject(Fault("job_fails", match=refused))
    more = {**PEOPLE, "match_by": match_by, "only_changes": only_changes}
    run = sync(**more)
    assert run.counts() == {"rows_read": 2, "accepted": 1, "rejected": 1}
    assert outcomes(run) == {2: "rejected"}
    again = sync(**more)
    assert again.counts() == {"rows_read": 2, "accepted": 1, "unchanged": 1} if only_changes else True
    assert klaviyo.count() == 2


def test_errors_are_read_of_a_job_that_counts_no_failure(
    start_emulator: StartEmulator, shop: Shop, sync: Sync
) -> None:
    """The others are not acknowledged: the job's counts do not add up with its errors."""
    klaviyo = start_emulator(counts_failures=False)
    shop.fill_with_people(5)
    klaviyo.inject(Fault("job_fails", match="p3@"))
    run = sync(primary_key="id", only_changes=True, max_rejected=1)
    assert run.counts() == {"rows_read": 5, "rejected": 1, "pending": 4}
    assert outcomes(run) == {1: "pending", 2: "pending", 3: "rejected", 4: "pending", 5: "pending"}
    assert "does not add up" in run.rejects[-1]["reason"]
    assert sync(primary_key="id", only_changes=True).counts() == {"rows_read": 5, "accepted": 5}


def test_whom_pointer_and_payload_disagree_about_is_pending_and_tried_again(
    start_emulator: StartEmulator, shop: Shop, sync: Sync
) -> None:
    klaviyo = start_emulator(import_errors="crossed")
    shop.fill_with_people(5)
    klaviyo.inject(Fault("job_fails", match="p3@"))
    run = sync(primary_key="id", only_changes=True)
    assert run.counts() == {"rows_read": 5, "accepted": 3, "pending": 2}
    assert outcomes(run) == {3: "pending", 4: "pending"}
    assert sync(primary_key="id", only_changes=True).counts() == {
        "rows_read": 5,
        "accepted": 2,
        "unchanged": 3,
    }


def test_the_errors_of_a_job_are_asked_for_once(klaviyo: Emulator, shop: Shop, sync: Sync) -> None:
    shop.fill_with_people(10_001)
    assert sync(mapping={"email": "email"}).counts() == {"rows_read": 10_001, "accepted": 10_001}
    assert len(klaviyo.requests(ERRORS)) == len(klaviyo.jobs()) == 2


def test_a_later_run_reads_the_errors_of_a_job_that_a_killed_one_started(
    start_emulator: StartEmulator, shop: Shop, sync: Sync
) -> None:
    klaviyo = start_emulator(counts_failures=False)
    shop.fill_with_people(5)
    klaviyo.inject(Fault("job_fails", match="p3@"))
    klaviyo.inject(Fault("status", "get_bulk_import_profiles_job", status=503, count=None))
    killed = sync(primary_key="id", only_changes=True, timeout=1.5)
    assert killed.counts() == {"rows_read": 5, "pending": 5}
    klaviyo.clear_faults()
    assert sync(primary_key="id", only_changes=True).counts() == {"rows_read": 5, "accepted": 5}
    assert len(klaviyo.jobs()) == 2

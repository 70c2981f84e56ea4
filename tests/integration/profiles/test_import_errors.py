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


# --- errors that name a field ---------------------------------------------------------------------------------------


def warnings(run: Run) -> dict[int, str]:
    return {line["key"]: line["field"] for line in run.rejects if line["outcome"] == "warning"}


@pytest.mark.parametrize("only_changes", [False, True])
def test_a_field_that_an_import_error_names_costs_the_field_and_not_the_row(
    klaviyo: Emulator, shop: Shop, sync: Sync, only_changes: bool
) -> None:
    shop.fill_with_people(20)
    klaviyo.inject(Fault("job_fails", match="p1", field="phone_number", count=None))  # p1 and p10 to p19
    keyed = {"primary_key": "id", "only_changes": only_changes}
    run = sync(**keyed)
    assert run.counts() == {"rows_read": 20, "accepted": 20}
    assert warnings(run) == dict.fromkeys([1, *range(10, 20)], "phone_number")
    assert all("Klaviyo rejected it" in line["reason"] for line in run.rejects)
    assert len(klaviyo.jobs()) == 2
    people = {profile["external_id"]: profile for profile in klaviyo.iter_profiles()}
    assert {key for key, person in people.items() if "phone_number" not in person} == {
        "1",
        *map(str, range(10, 20)),
    }
    if only_changes:
        assert sync(**keyed).counts() == {"rows_read": 20, "unchanged": 20}


@pytest.mark.parametrize(
    ("field", "parameters"),
    [
        ("email", {}),
        ("phone_number", {"on_invalid": "reject"}),
        ("phone_number", {"match_by": "phone_number"}),
    ],
    ids=["identifier", "on_invalid", "match_by"],
)
def test_what_identifies_the_person_is_not_left_out_of_an_import_either(
    klaviyo: Emulator, shop: Shop, sync: Sync, field: str, parameters: dict[str, Any]
) -> None:
    shop.fill_with_people(5)
    klaviyo.inject(Fault("job_fails", match="p3@", field=field, count=None))
    run = sync(primary_key="id", max_rejected=1, **parameters)
    assert run.counts() == {"rows_read": 5, "accepted": 4, "rejected": 1}
    assert outcomes(run) == {3: "rejected"}
    assert len(klaviyo.jobs()) == 1


def test_a_row_that_its_second_import_refuses_too_is_rejected(
    klaviyo: Emulator, shop: Shop, sync: Sync
) -> None:
    shop.fill_with_people(5)
    klaviyo.inject(Fault("job_fails", match="p3@", field="phone_number"))
    klaviyo.inject(Fault("job_fails", match="p3@", field="first_name", skip=1))
    run = sync(primary_key="id", max_rejected=1)
    assert run.counts() == {"rows_read": 5, "accepted": 4, "rejected": 1}
    assert {(line["key"], line["outcome"], line["field"]) for line in run.rejects} == {
        (3, "warning", "phone_number"),
        (3, "rejected", "first_name"),
    }
    assert len(klaviyo.jobs()) == 2


def test_a_run_that_ends_during_the_second_import_accounts_for_its_rows(
    start_emulator: StartEmulator, shop: Shop, sync: Sync
) -> None:
    klaviyo = start_emulator()
    shop.fill_with_people(5)
    klaviyo.inject(Fault("job_fails", match="p3@", field="phone_number"))
    klaviyo.inject(Fault("job_stuck", skip=1))
    run = sync(primary_key="id", only_changes=True, timeout=2)
    assert type(run.error).__name__ == "KlaviyoTimeout"
    assert run.counts() == {"rows_read": 5, "accepted": 4, "pending": 1}
    klaviyo.cancel_job(klaviyo.jobs()[-1].id)
    again = sync(primary_key="id", only_changes=True)
    assert again.counts() == {"rows_read": 5, "accepted": 1, "unchanged": 4}
    assert len(list(klaviyo.iter_profiles())) == 5

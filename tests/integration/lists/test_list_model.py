"""Random nights of a mirror, with failures and kills: afterwards the right people are on the list."""

from __future__ import annotations

import itertools
import tempfile
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from airflow_provider_klaviyo.emulator import Emulator, Fault
from airflow_provider_klaviyo.operators.lists import KlaviyoSyncListOperator
from airflow_provider_klaviyo.sync.batching import BatchLimits
from airflow_provider_klaviyo.sync.lists.mirror import MirrorList
from tests.integration.conftest import LIST_SYNC, Run, StartEmulator, Warehouse, run_operator

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(900)]

ADDRESSES = ["a@shop.io", "b@shop.io", "c@shop.io", "d@shop.io", "A@SHOP.io", "not an address", None]
ROWS = st.lists(
    st.tuples(st.sampled_from(["1", "2", "3", "4", None]), st.sampled_from(ADDRESSES)), max_size=5
)
FAULTS = st.sampled_from(
    ["none", "none", "refused", "cancelled", "removal fails", "removal lost", "add lost", "job stuck"]
)
NIGHTS = st.lists(st.tuples(ROWS, FAULTS, st.booleans(), st.booleans()), min_size=1, max_size=4)
"""Rows, what goes wrong, strict, full refresh."""

_numbers = itertools.count()


def inject(klaviyo: Emulator, fault: str) -> None:
    ordered = {
        "refused": Fault("job_fails", match="b@shop.io", count=None),
        "cancelled": Fault("job_cancelled", count=None),
        "removal fails": Fault("status", "remove_profiles_from_list", status=503, count=None),
        "removal lost": Fault("reset_after", "remove_profiles_from_list", count=None),
        "add lost": Fault("reset_after", "bulk_import_profiles", count=None),
        "job stuck": Fault("job_stuck", count=None),
    }
    if fault in ordered:
        klaviyo.inject(ordered[fault])


def named(rows: list[tuple[Any, Any]]) -> set[str]:
    """Whom a query adds: the first row of each key, and of each person, if it is an address."""
    keys: set[str] = set()
    people: set[str] = set()
    for key, email in rows:
        if key is not None and key not in keys:
            keys.add(key)
            if email and "@" in email:
                people.add(email.lower())
    return people


def mentioned(rows: list[tuple[Any, Any]]) -> set[str]:
    return {email.lower() for _, email in rows if email and "@" in email}


@pytest.mark.parametrize("by_hand", [[], ["hand@shop.io"]], ids=["nobody else", "somebody by hand"])
def test_random_nights_end_with_the_right_members(
    start_emulator: StartEmulator,
    warehouse: Warehouse,
    monkeypatch: pytest.MonkeyPatch,
    by_hand: list[str],
) -> None:
    klaviyo = start_emulator(rate_limits="off")
    monkeypatch.setattr(MirrorList, "limits", BatchLimits(2, 1_000_000))

    @given(nights=NIGHTS, last=ROWS, last_is_strict=st.booleans())
    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None)
    def nights_end_well(
        nights: list[tuple[Any, ...]], last: list[tuple[Any, Any]], last_is_strict: bool
    ) -> None:
        klaviyo.reset()
        klaviyo.clear_faults()
        vips = klaviyo.add_list("VIPs", klaviyo.add_profiles([{"email": each} for each in by_hand]))
        with tempfile.TemporaryDirectory() as storage:
            monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", storage)

            def night(rows: list[tuple[Any, Any]], **more: Any) -> Run:
                warehouse.hold(*({"key": key, "email": email} for key, email in rows))
                operator = KlaviyoSyncListOperator(
                    task_id="sync_list",
                    mode="mirror",
                    **(LIST_SYNC | {"max_removals": None, "allow_empty": True} | more),
                )
                return run_operator(operator, run_id=f"night-{next(_numbers)}")

            for rows, fault, strict, full_refresh in nights:
                inject(klaviyo, fault)
                before = {member["email"] for member in klaviyo.members(vips)}
                run = night(
                    rows, strict=strict, full_refresh=full_refresh, timeout=0.7 if fault != "none" else 60
                )
                klaviyo.clear_faults()
                for job in klaviyo.jobs():
                    klaviyo.cancel_job(job.id)
                run.counts()  # asserts the law
                after = {member["email"] for member in klaviyo.members(vips)}
                assert not (before - after) & mentioned(rows), "somebody who was named was removed"
                if not strict:
                    assert set(by_hand) <= after or not set(by_hand) <= before
                event(f"{fault}: {type(run.error).__name__}")
            run = night(last, strict=last_is_strict)
            if run.summary.get("pending"):  # what was stuck is told now
                run = night(last, strict=last_is_strict)
            assert run.error is None
            members = {member["email"] for member in klaviyo.members(vips)}
            held = members - named(last)
            assert named(last) <= members
            keys = {key for key, email in last if not (email and "@" in email)}
            if not keys - {None}:
                wrong = held - mentioned(last) - (set() if last_is_strict else set(by_hand))
                assert not wrong, f"{wrong} left the query and are members"

    nights_end_well()

"""How many round trips a sync makes one after the other: what it takes at the least, where every answer is late.

Counted from the emulator's log, not timed: the longest chain of requests in which each came after the one before was
answered. A bound is what is done in turn for a reason, and some room for luck. Beside it stands what the same requests
are one after the other: there is so much work that the two are far apart.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from airflow_provider_klaviyo.emulator import Fault
from airflow_provider_klaviyo.operators.profiles import KlaviyoSyncProfilesOperator
from tests.benchmarks.ceiling_client import RUNS
from tests.benchmarks.ceiling_server import prepare
from tests.integration.conftest import Shop, StartEmulator, run_operator
from tests.round_trips import RoundTrip, longest_chain

pytestmark = pytest.mark.integration

LATENCY = 0.2
"""Seconds; long beside what a busy machine needs to send a few requests at once."""

WIDE = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
SELECT i AS id, 'p' || i || '@shop.io' AS email, printf('%.*c', 90000, 'x') AS note FROM n
"""


def _wide_profiles(rows: int) -> KlaviyoSyncProfilesOperator:
    """Profiles of which 55 fill an import, so that several imports take few rows."""
    return KlaviyoSyncProfilesOperator(
        task_id="wide",
        sql=WIDE.format(rows=rows),
        sql_conn_id="shop",
        mapping={"external_id": "id", "email": "email", "properties.Note": "note"},
    )


OPERATORS = RUNS | {"profiles": _wide_profiles}


@pytest.mark.parametrize(
    ("run", "rows", "most"),
    [
        # The list's id and the account's; the first page and the last, which tell what lies between; and pages of the
        # widest stretch, each of which tells where the next one begins. In turn 23.
        ("mirror", 2_000, 12),
        # The same, but all joined in one second, which has a beginning and an end to read from. In turn 23.
        ("mirror of imports", 2_000, 18),
        # The list's id, the first look-up, the rest at once, and the removals of whom they found. In turn 24.
        ("remove", 3_000, 10),
        # The list and the account's id; the first look, and while its request is under way the others' looks; their
        # requests, and looks at who is still on the list. In turn 20.
        ("unsubscribe", 800, 11),
        # The list and the account's id, the first look-up, the rest as many at once as the pace permits, and what they
        # permit to send. In turn 44.
        ("subscribe", 4_000, 11),
        # The first import, the others, whether they are complete, and their errors. In turn 28.
        ("profiles", 660, 15),
        # The first request, and the others as many at once as the pace permits. In turn 10.
        ("events", 10_000, 6),
    ],
)
def test_no_more_round_trips_are_made_in_turn_than_need_be(
    run: str,
    rows: int,
    most: int,
    shop: Shop,
    start_emulator: StartEmulator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chain = longest_chain(_trips(run, rows, start_emulator, monkeypatch, tmp_path))
    assert len(chain) <= most, Counter(trip.operation for trip in chain)


@pytest.mark.usefixtures("shop")
def test_jobs_that_are_over_are_settled_beside_the_imports(
    start_emulator: StartEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When all is sent, what is left is a look at the last jobs, and their errors as a second's window lets them go.

    Requests that wait for the window stand behind each other, and are no round trips in turn: so errors are counted.
    """
    trips = _trips("profiles", 1_100, start_emulator, monkeypatch, tmp_path)
    sent = max(trip.answered for trip in trips if trip.operation == "bulk_import_profiles")
    left = [trip for trip in trips if trip.came >= sent]
    errors = [trip for trip in left if trip.operation == "get_errors_for_bulk_import_profiles_job"]
    looks = longest_chain(trip for trip in left if trip not in errors)
    assert len(looks) <= 2, Counter(trip.operation for trip in looks)
    assert len(errors) <= 13, "of 20: the others' were read before"


def _trips(
    run: str, rows: int, start_emulator: StartEmulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> list[RoundTrip]:
    """The requests of a run that ends well, every one of which is answered late."""
    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", str(tmp_path / "storage"))
    emulator = start_emulator(extra={"rate_limit_share": 1}, subscription_seconds=0.0)
    prepare(emulator, run, rows)
    emulator.inject(Fault("slow", count=None, seconds=LATENCY))
    done = run_operator(OPERATORS[run](rows))
    assert done.error is None
    trips = [
        RoundTrip(each.operation or "", each.time, each.time + each.seconds, each.status)
        for each in emulator.requests()
    ]
    assert not [trip for trip in trips if trip.status >= 400]
    return trips

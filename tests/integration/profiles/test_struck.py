"""Airflow's timeouts break in anywhere: every row that was read has its line, and nothing leaves after the end."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_klaviyo.emulator import Emulator, Fault
from tests.integration.profiles.test_sync_under_faults import IMPORT, klaviyo, run  # noqa: F401 - a fixture
from tests.striking import Strike, Struck, let_go, strikes, wait_for_workers

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # what nobody closes then
]

ROWS = [
    (n, {0: "nobody", 1: "P1@shop.io"}.get(n % 7, f"p{n}@shop.io"), float("nan") if n % 7 == 2 else None)
    for n in range(160)
]
"""In four chunks and three batches: rejected rows, warnings, and duplicates."""


def test_wherever_a_timeout_breaks_in_every_row_is_explained_once_and_nothing_leaves_after_it(
    klaviyo: Emulator,  # noqa: F811
    tmp_path: Path,
) -> None:
    klaviyo.inject(Fault("job_fails", records=5, count=None))
    undisturbed = Strike()
    run(klaviyo, ROWS, tmp_path / "undisturbed", within=undisturbed.into)
    wrong = {}
    for place in strikes(undisturbed.places, seed=1):
        outcome = run(klaviyo, ROWS, tmp_path / str(place), within=Strike(place).into)
        sent = len(klaviyo.requests(IMPORT))
        try:
            outcome.check_the_law()
            wait_for_workers()
            assert len(klaviyo.requests(IMPORT)) == sent, "a request left after the end"
            assert isinstance(outcome.error, Struck | None)
        except AssertionError as error:
            wrong[undisturbed.places[place - 1]] = str(error).partition("\n")[0]
    del outcome
    let_go()
    assert wrong == {}

"""A run that is alive: it has started its job, noted it, and waits for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from airflow_provider_klaviyo.emulator import Emulator
from tests.integration.conftest import Run, Sync

LOOK = "get_bulk_import_profiles_job"
"""Klaviyo's operation that tells of a job."""


@contextmanager
def alive(klaviyo: Emulator, sync: Sync) -> Iterator[list[Run]]:
    """Within, a run ``monday`` waits for its job, which Klaviyo must take some seconds for; gives how it ended, later.

    Before it has noted its job it still writes, and either of two runs could be the one to stop.
    """
    runs: list[Run] = []
    first = threading.Thread(target=lambda: runs.append(sync(run_id="monday")))
    first.start()
    while not klaviyo.requests(LOOK) and first.is_alive():
        first.join(0.01)
    try:
        yield runs
    finally:
        first.join()

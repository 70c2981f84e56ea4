"""A worker that is killed in the midst of a sync: runs an operator in a process of its own, up to a given step."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.integration.conftest import counts_of
from tests.steps import die_at

STRIDE = 1 if os.environ.get("KLAVIYO_TESTS_EVERY_STEP") else 5
"""Every fifth step is died at, unless all are asked for, which takes minutes for each sync type."""

# What a run imports late is imported here, once, by the process that the workers are forked from.
_forking = multiprocessing.get_context("forkserver")
_forking.set_forkserver_preload(
    [
        "airflow.providers.sqlite.hooks.sqlite",
        "airflow_provider_klaviyo.hooks.klaviyo",
        "airflow_provider_klaviyo.operators.profiles",
        "airflow_provider_klaviyo.operators.subscriptions",
        "airflow.providers.postgres.hooks.postgres",
        "airflow_provider_klaviyo.sync.run",
        "airflow_provider_klaviyo.client.http",
        "airflow_provider_klaviyo.client.rate_limit_files",
        "phonenumbers",
        "tests.integration.dying",
    ]
)


class Worker:
    """Runs ``work`` in processes of its own, each of which may be killed.

    :param work: returns the summary of its run.
    :param folder: where the last summary is kept.
    :param environment: what differs from this process's Airflow.
    """

    def __init__(self, work: Callable[..., dict[str, Any]], folder: Path, **environment: str) -> None:
        self._work = work
        self._told = folder / "summary.json"
        self._environment = {
            name: value for name, value in os.environ.items() if name.startswith("AIRFLOW")
        } | environment

    def run(self, step: int = 0, **arguments: Any) -> bool:
        """Run ``work(**arguments)`` until its n-th step, where it is killed; True when it was."""
        self._told.unlink(missing_ok=True)
        process = _forking.Process(
            target=_live, args=(step, self._work, self._told, self._environment, arguments)
        )
        process.start()
        process.join(120)
        assert process.exitcode in (0, -signal.SIGKILL), f"the worker ended with {process.exitcode}"
        return process.exitcode == -signal.SIGKILL

    def counts(self) -> dict[str, int]:
        """What the last run counted, which was not killed."""
        return counts_of(self.summary())

    def summary(self) -> dict[str, Any]:
        """The summary of the last run, which was not killed."""
        told: dict[str, Any] = json.loads(self._told.read_text())
        return told


def _live(
    step: int,
    work: Callable[..., dict[str, Any]],
    told: Path,
    environment: Mapping[str, str],
    arguments: Mapping[str, Any],
) -> None:
    os.environ.update(environment)
    die_at(step)
    told.write_text(json.dumps(work(**arguments)))

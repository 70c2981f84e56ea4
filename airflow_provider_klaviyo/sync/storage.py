"""What is kept below a ``storage_path``, and where."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any

from airflow_provider_klaviyo.sync.run_files import RunFiles
from airflow_provider_klaviyo.sync.task_run import TaskRun

_UNSAFE = re.compile(r"[^\w.+-]+")


@dataclass(frozen=True, slots=True)
class Storage:
    """The folders below a root, which every worker of the Dag must reach.

    :param root: a ``pathlib.Path`` or an ``ObjectStoragePath``.
    """

    root: Any

    @property
    def states(self) -> Any:
        """The folder of all states."""
        return self.root / "sync-state"

    @property
    def in_flight(self) -> Any:
        """The folder of notes of what is on its way to Klaviyo."""
        return self.root / "in-flight"

    @property
    def list_creation(self) -> Any:
        """The folder where those who create lists take turns."""
        return self.root / "list-creation"

    def state(self, state_key: str) -> Any:
        """The folder of one state."""
        return self.states / _unique_name(state_key)

    def files(self, run: TaskRun) -> RunFiles:
        """The files of a run: ``<dag>/<task>/<run>.try<n>.<what>``."""
        folder = self.root / _safe_name(run.task.dag_id) / _safe_name(run.task.task_id)
        mapped = f".map{run.map_index}" if run.map_index >= 0 else ""
        return RunFiles(folder, f"{_unique_name(run.run_id)}{mapped}.try{run.try_number}")


def _safe_name(name: str) -> str:
    """A name as a file may have it."""
    return _UNSAFE.sub("_", name)


def _unique_name(name: str) -> str:
    """A name as only one file has it: that of ``a b`` is another than that of ``a_b``."""
    return f"{_safe_name(name)}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"

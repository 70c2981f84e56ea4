"""What is kept below a ``storage_path``, and where."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_provider_klaviyo.masking import show_place
from airflow_provider_klaviyo.state.holder import Holder
from airflow_provider_klaviyo.state.stores import folders_in
from airflow_provider_klaviyo.sync.run_files import RunFiles

_UNSAFE = re.compile(r"[^\w.+-]+")

_LONGEST = 255
"""Bytes that the name of a file or a folder may have on most disks."""

_LONGEST_STEM = 180
"""Bytes of a run's name, which ``.map12345.try12.deferred-12345.json`` and the like follow."""

_STATES, _IN_FLIGHT, _LIST_CREATION = _OWN = ("sync-state", "in-flight", "list-creation")
"""What is kept beside the folders of Dags."""


@dataclass(frozen=True, slots=True)
class Storage:
    """The folders below a root, which every worker of the Dag must reach.

    :param root: a ``pathlib.Path`` or a ``RemotePath``.
    """

    root: Any

    def __post_init__(self) -> None:
        show_place(str(self.root))

    @property
    def states(self) -> Any:
        """The folder of all states."""
        return self.root / _STATES

    @property
    def in_flight(self) -> Any:
        """The folder of notes of what is on its way to Klaviyo."""
        return self.root / _IN_FLIGHT

    @property
    def list_creation(self) -> Any:
        """The folder where those who create lists take turns."""
        return self.root / _LIST_CREATION

    def state(self, state_key: str) -> Any:
        """The folder of one state.

        Object stores take longer names than disks do; former releases gave them such, and those are found, too.
        """
        name, whole = _unique_name(state_key), _unique_name(state_key, None)
        if name != whole and not isinstance(self.root, Path):
            return next(
                (folder for folder in folders_in(self.states) if folder.name == whole), self.states / name
            )
        return self.states / name

    def files(self, run: Holder) -> RunFiles:
        """The files of a try of a task instance: ``<dag>/<task>/<run>.try<n>.<what>``."""
        folder = self.root / _folder_name(run.dag_id) / _folder_name(run.task_id)
        mapped = f".map{run.map_index}" if run.map_index >= 0 else ""
        return RunFiles(folder, f"{_unique_name(run.run_id, _LONGEST_STEM)}{mapped}.try{run.try_number}")

    def files_of(self, report_path: str) -> RunFiles | None:
        """The files of the run that has written a report; None where it lies elsewhere.

        :param report_path: as the run's summary names it.
        """
        root, end = f"{str(self.root).rstrip('/')}/", ".report.json"
        folders = report_path.removeprefix(root).removesuffix(end).split("/")
        if (
            not (report_path.startswith(root) and report_path.endswith(end))
            or ".." in folders
            or len(folders) != 3
        ):
            return None
        dag, task, stem = folders
        return RunFiles(self.root / dag / task, stem)


def _folder_name(name: str) -> str:
    """A name as a folder may have it: itself, unless it would lead elsewhere or is taken."""
    is_usable = (
        _UNSAFE.sub("_", name) == name
        and name.strip(".")
        and name.casefold() not in _OWN
        and len(name.encode()) <= _LONGEST
    )
    return name if is_usable else _unique_name(name)


def _unique_name(name: str, longest: int | None = _LONGEST) -> str:
    """A name as only one file has it: that of ``a b`` is another than that of ``a_b``.

    :param longest: bytes that it may have; None: any number.
    """
    ending = f"-{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:8]}"
    shown = _UNSAFE.sub("_", name).encode()[: longest and longest - len(ending)]
    return f"{shown.decode(errors='ignore')}{ending}"

"""Where the pages find reports: the folders that syncs write them into."""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_klaviyo.plugin.told import Told, Unreadable
from airflow_provider_klaviyo.state.holder import Holder
from airflow_provider_klaviyo.state.remote import listed, modified
from airflow_provider_klaviyo.sync.run_files import RunFiles
from airflow_provider_klaviyo.sync.storage import Storage

_REPORT = re.compile(
    r"(?P<stem>(?P<run>.+?)(?:\.map(?P<map>\d+))?\.try(?P<number>\d+))\.report\.json", re.DOTALL
)
_SHOWN_RUNS = 20
_MOST_SYNCS = 300
_REMEMBERED = 1_000
_LARGEST = 4 << 20
_PEEK = 256 << 10
"""Bytes of a rejects file that are looked through for examples."""


@dataclass(frozen=True, slots=True)
class Address:
    """A task instance."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1

    def files(self, storage: Storage, try_number: int = 1) -> RunFiles:
        """The files of one of its tries."""
        holder = Holder(self.dag_id, self.task_id, self.run_id, self.map_index, try_number, "", 0)
        return storage.files(holder)


@dataclass(frozen=True, slots=True)
class Found:
    """A report's file, by its name and what a listing says of it."""

    file: Any
    stem: str
    run: str
    map_index: int
    try_number: int
    changed: float

    def read(self) -> Told:
        """What it says; remembered as long as the file stays as it is.

        :raises Unreadable: when it is damaged.
        :raises OSError: when it cannot be read.
        """
        key = (str(self.file), self.changed)
        if key in _read:
            _read.move_to_end(key)
            return _read[key]
        with self.file.open("rb") as file:
            content = file.read(_LARGEST)
        told = Told.of(content)
        if told.status not in (
            "running",
            "waiting",
        ):  # else it may change within what a listing tells of time
            _read[key] = told
            while len(_read) > _REMEMBERED:
                _read.popitem(last=False)
        return told


_read: OrderedDict[tuple[str, float], Told] = OrderedDict()


class Shelf:
    """The reports below a root.

    Its methods raise ``OSError`` where the root cannot be reached.
    """

    def __init__(self, root: Any) -> None:
        self.root = root
        self._storage = Storage(root)

    def tries(self, address: Address) -> list[Found]:
        """The reports of a task instance, by try."""
        own = address.files(self._storage)
        start = own.stem.rpartition(".try")[0]
        found = [each for each in _reports(own.folder) if each.stem.rpartition(".try")[0] == start]
        return sorted(found, key=lambda each: each.try_number)

    def last_runs(self, address: Address) -> list[Found]:
        """The newest report of each of the task's last runs, oldest first; of the same instance of a mapped task."""
        newest: dict[str, Found] = {}
        for each in _reports(address.files(self._storage).folder):
            if each.map_index == address.map_index:
                other = newest.get(each.run)
                if other is None or each.try_number > other.try_number:
                    newest[each.run] = each
        return sorted(newest.values(), key=lambda each: each.changed)[-_SHOWN_RUNS:]

    def syncs(self, dag_ids: Collection[str]) -> Iterator[Found]:
        """The newest report of every task of some Dags."""
        count = 0
        for dag_id in sorted(dag_ids):
            folder = Address(dag_id, "", "").files(self._storage).folder.parent
            for task in listed(folder):
                reports = _reports(task) if task.is_dir() else []
                if reports:
                    yield max(reports, key=lambda each: (each.changed, each.try_number))
                    count += 1
                if count >= _MOST_SYNCS:
                    return

    def rejects(self, address: Address, try_number: int) -> Any:
        """The file of rejected rows of a try; it holds people."""
        return address.files(self._storage, try_number).rejects

    def rows(
        self, address: Address, try_number: int, numbers: Collection[int]
    ) -> Mapping[int, Mapping[str, Any]]:
        """Lines of rejected rows by their numbers, as far as they stand at the file's beginning; they hold people."""
        try:
            with self.rejects(address, try_number).open("rb") as file:
                lines = file.read(_PEEK).split(b"\n")[:-1]
        except OSError:
            return {}
        found: dict[int, Mapping[str, Any]] = {}
        for line in lines:
            try:
                row = json.loads(line)
                if row["row_number"] in numbers:
                    found.setdefault(row["row_number"], row)
            except (ValueError, LookupError, TypeError, RecursionError):
                continue
        return found


def _reports(folder: Any) -> list[Found]:
    found = []
    for file in listed(folder):
        named = _REPORT.fullmatch(file.name)
        if named:
            map_index, number = int(named["map"] or -1), int(named["number"])
            changed = modified(file) or 0.0
            found.append(Found(file, named["stem"], named["run"], map_index, number, changed))
    return found


__all__ = ["Address", "Found", "Shelf", "Unreadable"]

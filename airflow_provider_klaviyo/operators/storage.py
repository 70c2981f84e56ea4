"""Where a run keeps its report and its rejected rows."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_klaviyo._compat import conf
from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError
from airflow_provider_klaviyo.state.storage import usable

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

IN_FLIGHT = "in-flight"
"""The folder, below ``storage_path``, of what is on its way to Klaviyo."""

_SECTION = "klaviyo"
_DAY = 86_400
_UNSAFE = re.compile(r"[^\w.+-]+")


@dataclass(frozen=True, slots=True)
class RunFiles:
    """The files of one try of one task: ``<dag>/<task>/<run>.try<n>.<what>`` below ``storage_path``."""

    folder: Any  # pathlib.Path or ObjectStoragePath
    stem: str

    @classmethod
    def of(cls, context: Context) -> RunFiles:
        """The files of the running task."""
        ti = context["ti"]
        folder = storage_path() / safe_name(ti.dag_id) / safe_name(ti.task_id)
        mapped = f".map{map_index_of(ti)}" if map_index_of(ti) >= 0 else ""
        return cls(folder, f"{unique_name(ti.run_id)}{mapped}.try{ti.try_number}")

    @property
    def report(self) -> Any:
        """The report, without people."""
        return self.folder / f"{self.stem}.report.json"

    @property
    def rejects(self) -> Any:
        """The rows that were not sent, with their values."""
        return self.folder / f"{self.stem}.rejects.jsonl"

    def preview(self, number: int) -> Any:
        """The n-th request of a preview."""
        return self.folder / f"{self.stem}.preview-{number}.json"

    def deferred(self, number: int | None = None) -> Any:
        """What a deferred task leaves behind: its note, and the rows of its n-th open job."""
        part = "" if number is None else f"-{number}"
        return self.folder / f"{self.stem}.deferred{part}.json"

    def write_report(self, details: dict[str, object]) -> str:
        """Write the report; returns its path.

        :raises KlaviyoConfigurationError: when nothing can be written under ``storage_path``.
        """
        content = msgspec.json.format(msgspec.json.encode(details, enc_hook=str), indent=2) + b"\n"
        with usable(
            self.report, "The report cannot be written to", "the ids of the Dag, the task or the run"
        ):
            self.folder.mkdir(parents=True, exist_ok=True)
            with self.report.open("wb") as file:
                file.write(content)
        return str(self.report)

    def prune(self) -> None:
        """Delete this task's files that are older than ``keep_days``, and what its earlier tries left when deferred.

        A new try means that nobody comes back to settle those. A failure to delete is only logged.
        """
        oldest = time.time() - conf.getint(_SECTION, "keep_days", fallback=30) * _DAY
        try:
            for file in self._outdated(oldest):
                file.unlink()
        except Exception as error:
            log.warning("Old reports in %s could not be deleted: %s", self.folder, error)

    def _outdated(self, moment: float) -> Iterator[Any]:
        earlier = re.compile(rf"{re.escape(self.stem.rpartition('.try')[0])}\.try\d+\.deferred(-\d+)?\.json")
        for file in list(self.folder.iterdir()) if self.folder.exists() else ():
            is_ours = file.name.endswith((".json", ".jsonl"))
            if is_ours and (earlier.fullmatch(file.name) or file.stat().st_mtime < moment):
                yield file


def storage_path() -> Any:
    """The configured ``storage_path``.

    :raises KlaviyoConfigurationError: when it is no path that Airflow knows.
    """
    configured = conf.get(_SECTION, "storage_path", fallback="").strip()
    if not configured:
        return Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser() / "klaviyo"
    if configured.startswith("file://"):
        return Path(configured.removeprefix("file://"))
    if "://" not in configured:
        return Path(configured).expanduser()
    from airflow.sdk import ObjectStoragePath

    try:
        return ObjectStoragePath(configured)
    except Exception as error:
        msg = f"[klaviyo] storage_path = {configured} cannot be used: {error}"
        raise KlaviyoConfigurationError(msg) from error


def is_default_storage() -> bool:
    """Whether nobody has said where to keep files."""
    return not conf.get(_SECTION, "storage_path", fallback="").strip()


def safe_name(name: str) -> str:
    """A name as a file may have it."""
    return _UNSAFE.sub("_", name)


def unique_name(name: str) -> str:
    """A name as only one file has it: that of ``a b`` is another than that of ``a_b``."""
    return f"{safe_name(name)}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def map_index_of(ti: Any) -> int:
    """Which instance of a mapped task it is; -1 for a task that is not mapped."""
    return -1 if ti.map_index is None else int(ti.map_index)

"""Disks that are full or closed: what the user reads says so, and every row is accounted for all the same."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator
from tests.integration.conftest import Run, Shop, Sync

pytestmark = pytest.mark.integration

Disk = Callable[[int], Path]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Makes a disk of so many kilobytes."""
    mounted: list[Path] = []

    def mount(kilobytes: int) -> Path:
        path = tmp_path / f"disk{len(mounted)}"
        path.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(path)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("a small disk cannot be mounted here: that takes root")
        mounted.append(path)
        return path

    yield mount
    for path in mounted:
        subprocess.run(["umount", "-l", str(path)], check=True)


@pytest.fixture
def storage(disk: Disk, sync: Sync, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small disk as ``storage_path``."""
    path = disk(64)
    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", str(path))
    return path


def fill(disk: Path) -> None:
    with suppress(OSError), (disk / "ballast").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1024))


def check(run: Run, *, without_line: bool) -> None:
    """The summary obeys the law, and tells how many rows have no line; the others have one each."""
    counts = run.counts()
    told = sum(counts.get(outcome, 0) for outcome in ("skipped", "rejected", "pending"))
    path = Path(run.summary["rejected_path"] or "/nowhere")
    text = path.read_text() if path.exists() else ""
    lines = [line for line in text.splitlines(keepends=True) if line.endswith("\n")]
    assert run.summary.get("rows_without_line", 0) == told - len(lines)
    assert bool(run.summary.get("rows_without_line")) is without_line


def test_a_disk_that_is_full_before_the_first_row(
    klaviyo: Emulator, shop: Shop, sync: Sync, storage: Path
) -> None:
    shop.fill_with_people(3)
    fill(storage)
    run = sync()
    assert "there is no room (No space left on device)" in str(run.error)
    assert "[klaviyo] storage_path" in str(run.error)
    assert str(storage) in str(run.error)
    assert run.summary["rows_read"] == 0
    assert klaviyo.requests() == []


def test_a_disk_that_fills_up_with_rejected_rows(
    klaviyo: Emulator, shop: Shop, sync: Sync, storage: Path
) -> None:
    shop.fill([(n, "nobody", None, "x" * 50, "gold") for n in range(1_000)])
    run = sync(mapping={"email": "email"}, max_rejected=1.0)
    assert "Rows that are not sent cannot be written to" in str(run.error)
    assert "[klaviyo] storage_path" in str(run.error)
    check(run, without_line=True)


def test_a_disk_without_room_for_a_state(klaviyo: Emulator, shop: Shop, sync: Sync, storage: Path) -> None:
    shop.fill_with_people(8_000)
    run = sync(only_changes=True, primary_key="id")
    assert "The state cannot be written to" in str(run.error)
    assert "[klaviyo] storage_path" in str(run.error)
    assert klaviyo.requests("bulk_import_profiles") == [], "what is not noted is not sent"
    assert run.counts()["pending"] == run.summary["rows_read"]
    check(run, without_line=True)


def test_a_disk_without_room_for_what_a_deferred_task_leaves(
    klaviyo: Emulator, shop: Shop, sync: Sync, storage: Path
) -> None:
    shop.fill_with_people(2_000)
    run = sync(deferrable=True, defer_after=0)
    assert "What a deferred task leaves cannot be written to" in str(run.error)
    assert "[klaviyo] storage_path" in str(run.error)
    check(run, without_line=True)
    assert run.summary["rows_without_line"] == 2_000


def test_a_disk_that_is_read_only(klaviyo: Emulator, shop: Shop, sync: Sync, storage: Path) -> None:
    shop.fill_with_people(3)
    subprocess.run(["mount", "-o", "remount,ro", str(storage)], check=True)
    run = sync()
    assert "Read-only file system" in str(run.error)
    assert "Check [klaviyo] storage_path" in str(run.error)
    assert run.summary["rows_read"] == 0


@pytest.mark.parametrize(
    "parameters", [{}, {"only_changes": True, "primary_key": "id"}], ids=["stateless", "stateful"]
)
@pytest.mark.parametrize("kilobytes", [64, 200, 700])
def test_a_temporary_folder_that_is_full(
    klaviyo: Emulator,
    shop: Shop,
    sync: Sync,
    disk: Disk,
    monkeypatch: pytest.MonkeyPatch,
    kilobytes: int,
    parameters: dict[str, Any],
) -> None:
    shop.fill_with_people(9_000)
    monkeypatch.setattr(tempfile, "tempdir", str(disk(kilobytes)))
    run = sync(**parameters)
    assert "There is no room in" in str(run.error)
    assert "TMPDIR" in str(run.error)
    assert run.report["error"] == f"KlaviyoRetryableError: {run.error}"
    check(run, without_line=False)


def test_a_temporary_folder_that_is_not_there(
    klaviyo: Emulator, shop: Shop, sync: Sync, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.fill_with_people(3)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    run = sync()
    assert "TMPDIR" in str(run.error)
    assert run.summary["rows_read"] == 0

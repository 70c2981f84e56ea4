"""The temporary folder of a run is gone after it, or with the next run of this machine where it was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from airflow_provider_klaviyo.sync.scratch.folder import delete_abandoned, scratch_folder

KILLED = """
import os, signal
from airflow_provider_klaviyo.sync.scratch.folder import scratch_folder
with scratch_folder() as folder:
    (folder / "rows").write_text("ada@shop.io")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def killed_in(temporary: Path) -> Path:
    """The folder that a killed run has left."""
    run = subprocess.run([sys.executable, "-c", KILLED], env=os.environ | {"TMPDIR": str(temporary)})
    assert run.returncode == -signal.SIGKILL
    (rows,) = temporary.glob("klaviyo-*/rows")
    return rows.parent


def never(what: object, why: object) -> None:
    pytest.fail(f"{what} was not deleted: {why}")


def test_it_is_gone_after_the_run(temporary: Path) -> None:
    with scratch_folder() as folder:
        (folder / "rows").write_text("ada@shop.io")
    assert list(temporary.iterdir()) == []


def test_what_a_killed_run_left_goes_with_the_next_run(temporary: Path) -> None:
    left = killed_in(temporary)
    with scratch_folder() as folder:
        assert list(temporary.iterdir()) == [folder]
        assert not left.exists()


def test_only_what_runs_have_left_is_deleted(temporary: Path) -> None:
    (temporary / "klaviyo-exports").mkdir()
    (temporary / "klaviyo-notes.txt").write_text("mine")
    killed_in(temporary)
    with scratch_folder() as folder:
        assert delete_abandoned(never) == (0, 1)
        assert {path.name for path in temporary.iterdir()} == {
            "klaviyo-exports",
            "klaviyo-notes.txt",
            folder.name,
        }
    assert delete_abandoned(never) == (0, 0)


def test_what_cannot_be_deleted_is_told(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left, told = killed_in(temporary), []

    def refuse(path: Path) -> None:
        raise PermissionError

    monkeypatch.setattr("shutil.rmtree", refuse)
    assert delete_abandoned(lambda what, why: told.append(what)) == (0, 0)
    assert told == [left]

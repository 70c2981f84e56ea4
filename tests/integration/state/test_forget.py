"""Forgetting a person reaches every file, goes on past damage, and says what it could not search."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred

from airflow_provider_klaviyo.cli.person import Person
from airflow_provider_klaviyo.cli.program import main
from airflow_provider_klaviyo.client.clock import SystemClock
from airflow_provider_klaviyo.emulator import Emulator, Fault
from airflow_provider_klaviyo.operators.profiles import KlaviyoSyncProfilesOperator
from airflow_provider_klaviyo.state.holder import Holder
from airflow_provider_klaviyo.state.lock import StateLock
from airflow_provider_klaviyo.state.notes import Note, NoteFolder
from airflow_provider_klaviyo.state.stores import store_of
from airflow_provider_klaviyo.sync.scratch.folder import scratch_folder
from tests.contents import content_of
from tests.integration.conftest import MAPPING, SQL, Run, Shop, Sync, TaskInstance

pytestmark = pytest.mark.integration

JANE = "jane@shop.io"
WITH_STATE: dict[str, Any] = {"primary_key": "id", "only_changes": True, "max_rejected": 1.0}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "storage"
    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", str(path))
    return path


@pytest.fixture
def people(shop: Shop) -> Shop:
    shop.fill([(1, "ada@shop.io", None, "A", "gold"), (2, JANE, None, "J", "gold")])
    return shop


@pytest.fixture
def two_states(root: Path, klaviyo: Emulator, people: Shop, sync: Sync) -> tuple[Path, Path]:
    """The folders of the states ``a`` and ``b``, which both know her."""
    sync(**WITH_STATE, state_key="a")
    sync(**WITH_STATE, state_key="b", run_id="second")
    (a,), (b,) = root.glob("sync-state/a-*"), root.glob("sync-state/b-*")
    return a, b


def tear(state: Path) -> None:
    """Cut the end off every file of a state."""
    for entry in state.glob("*.entry"):
        entry.write_bytes(entry.read_bytes()[:-3])


@contextmanager
def at_work(state: Path) -> Iterator[None]:
    """Within, a run elsewhere has a state."""
    holder = Holder("shop", "sync", "monday", -1, 1, "elsewhere", 1)
    lock = StateLock(store_of(state), holder, now=SystemClock().now)
    lock.acquire()
    try:
        yield
    finally:
        lock.release()


def forget(*more: str) -> int:
    return main(["state", "forget", "--email", JANE, *more, "--yes"])


def test_temporary_folders_of_killed_runs_are_deleted_and_a_run_at_work_is_told(
    two_states: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    code = (
        "import os\nfrom airflow_provider_klaviyo.sync.scratch.folder import scratch_folder\n"
        "with scratch_folder(): os._exit(0)"
    )
    with scratch_folder():
        subprocess.run([sys.executable, "-c", code], env=os.environ | {"TMPDIR": str(tmp_path)}, check=True)
        assert len(list(tmp_path.glob("klaviyo-*"))) == 2
        assert main(["state", "forget", "--email", "nobody@shop.io", "--yes"]) == 0
    told = capsys.readouterr().out
    assert list(tmp_path.glob("klaviyo-*")) == []
    assert "A sync is at work on this machine" in told


def remains(root: Path) -> list[Path]:
    """The files that have her, as text."""
    return [file for file in root.rglob("*") if file.is_file() and JANE.encode() in content_of(file).lower()]


# --- damage ------------------------------------------------------------------------------------------------------


@pytest.fixture
def rejects(root: Path, klaviyo: Emulator, people: Shop, sync: Sync) -> Path:
    """A file with a line about each of the two."""
    klaviyo.inject(Fault("job_fails", match="@shop.io", records=2))
    return Path(sync(max_rejected=1.0).summary["rejected_path"])


def test_past_a_torn_line_the_others_are_searched_and_it_is_named(
    rejects: Path, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rejects.write_bytes(b'{"key": 9, "outcome": "rej\n' + rejects.read_bytes())
    assert forget() == 1
    assert not remains(root)
    assert "ada@shop.io" in rejects.read_text()
    told = capsys.readouterr()
    assert "1 line deleted" in told.out
    assert f"{rejects}, line 1: it is torn" in told.err


def test_a_torn_line_that_has_the_person_in_it_is_deleted(rejects: Path, root: Path) -> None:
    rejects.write_bytes(rejects.read_bytes() + b'{"key": 2, "row": {"email": "Jane@Shop.io", "ti')
    assert forget() == 0
    assert not remains(root)


def test_a_file_that_may_not_be_read_is_named_and_others_are_searched(
    rejects: Path, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = rejects.with_name("a.try1.rejects.jsonl")
    odd.mkdir()
    (odd / "b.try1.rejects.jsonl").symlink_to(root / "nowhere")
    assert forget() == 1
    assert not remains(root)
    assert "b.try1.rejects.jsonl: [Errno 2]" in capsys.readouterr().err


NESTED = '{"a":' * 20_000


@pytest.mark.parametrize("name", ["x.try1.rejects.jsonl", "x.try1.report.json", "x.try1.deferred-0.json"])
def test_what_is_nested_too_deeply_to_be_read_is_named_and_others_are_searched(
    rejects: Path, root: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (rejects.with_name("a")).mkdir()
    rejects.with_name("a").joinpath(name).write_text(NESTED)
    assert forget() == 1
    assert not remains(root)
    assert name in capsys.readouterr().err


def test_a_preview_that_is_nested_too_deeply_is_deleted(rejects: Path, root: Path) -> None:
    preview = rejects.with_name("x.try1.preview-1.json")
    preview.write_text(NESTED)
    assert forget() == 0
    assert not preview.exists()


def test_what_a_killed_command_has_left_is_deleted_also_when_its_file_is_gone(
    rejects: Path, root: Path
) -> None:
    rejects.with_name(".x.try1.rejects.jsonl.draft").write_text('{"email": "jane@shop.io"}\n')
    assert forget() == 0
    assert not remains(root)


@pytest.mark.parametrize("name", ["x.try1.report.json", "x.try1.deferred-0.json"])
def test_a_torn_report_and_torn_rows_are_named(
    rejects: Path, root: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    rejects.with_name(name).write_text('[{"email": "jane@sh')
    assert forget() == 1
    assert name in capsys.readouterr().err


def test_a_torn_preview_is_deleted_since_it_shows_nothing_any_more(rejects: Path, root: Path) -> None:
    preview = rejects.with_name("x.try1.preview-1.json")
    preview.write_text('{"email": "jane@sh')
    assert forget() == 0
    assert not preview.exists()


def test_a_report_that_quotes_the_person_quotes_her_no_more(rejects: Path, root: Path) -> None:
    report = rejects.with_name("x.try1.report.json")
    report.write_text(
        json.dumps({"rows_read": 2, "error": f"Klaviyo said: {JANE} is odd", "reasons": [["a", 2]]})
    )
    assert forget() == 0
    assert json.loads(report.read_text()) == {"rows_read": 2, "error": "(forgotten)", "reasons": [["a", 2]]}


def test_files_of_others_are_left_alone(rejects: Path, root: Path) -> None:
    (root / "notes.txt").write_text(JANE)
    (rejects.parent / "mine.json").write_text("[")
    assert forget() == 0
    assert (root / "notes.txt").read_text() == JANE


def test_a_damaged_state_is_named_and_others_are_searched(
    two_states: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    damaged, _ = two_states
    tear(damaged)
    assert forget() == 1
    told = capsys.readouterr()
    assert "1 row forgotten in the state b" in told.out
    assert str(damaged) in told.err
    assert "damaged" in told.err


def test_a_locked_state_is_named_with_who_has_it_and_others_are_searched(
    two_states: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = two_states
    with at_work(folder):
        assert forget() == 1
    told = capsys.readouterr()
    assert "1 row forgotten in the state b" in told.out
    assert "it is locked. Another run of this sync is under way: shop.sync, run monday" in told.err
    assert forget() == 0
    assert "1 row forgotten in the state a" in capsys.readouterr().out


def test_a_draft_of_a_killed_writer_is_deleted(
    root: Path, klaviyo: Emulator, people: Shop, sync: Sync
) -> None:
    sync(**WITH_STATE)
    (folder,) = root.glob("sync-state/*")
    (folder / ".0a1b.draft").write_text(JANE)
    assert forget() == 0
    assert not remains(root)


def test_notes_that_cannot_be_read_are_named_and_others_are_searched(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (digest,) = Person({"email": JANE}).digests()
    folder = root / "in-flight" / "LIST"
    notes = NoteFolder(store_of(folder))
    names = [
        notes.write(Note("unsubscription", "", "shop.sync", 0.0, 9e9, [(digest,), (5,)])) for _ in range(3)
    ]
    (folder / names[0]).write_bytes(b"9 from a later release\n")
    (folder / names[1]).write_bytes((folder / names[1]).read_bytes()[:-1])
    assert forget() == 1
    told = capsys.readouterr()
    assert "forgotten in 1 note of" in told.out
    assert all(name in told.err for name in names[:2])


# --- deferred tasks ----------------------------------------------------------------------------------------------


def bodies(root: Path) -> list[str]:
    """What would be sent again of the rows of a deferred task."""
    (file,) = root.rglob("*.deferred-0.json")
    return [b64decode(row[3]).decode() for row in json.loads(file.read_text())]


Deferred = Callable[..., Callable[[], Run]]


@pytest.fixture
def deferred(root: Path, klaviyo: Emulator, people: Shop) -> Deferred:
    """Runs a sync until it is deferred; lets it come back."""

    def start(**parameters: Any) -> Callable[[], Run]:
        settings: dict[str, Any] = {
            "task_id": "sync_customers",
            "sql": SQL,
            "sql_conn_id": "shop",
            "mapping": MAPPING,
            "poll_interval": 0.2,
            "timeout": 60,
            "max_rejected": 1.0,
            "deferrable": True,
            "defer_after": 0,
        }
        operator = KlaviyoSyncProfilesOperator(**(settings | parameters))
        ti = TaskInstance("sync_customers")
        with pytest.raises(TaskDeferred):
            operator.execute({"ti": ti})

        def come_back() -> Run:
            return Run(operator.execute_complete({"ti": ti}), None)

        return come_back

    return start


@pytest.mark.parametrize("more", [{}, WITH_STATE], ids=["stateless", "stateful"])
@pytest.mark.parametrize(
    "fault",
    [
        Fault("job_fails", match=JANE),
        Fault("job_fails", match=JANE, field="properties/Tier"),
        Fault("job_fails", match="ada@shop.io", field="properties/Tier"),
    ],
    ids=["refused", "a field refused", "another's field refused"],
)
def test_a_deferred_sync_comes_back_without_the_rows_that_were_forgotten(
    root: Path,
    klaviyo: Emulator,
    deferred: Deferred,
    capsys: pytest.CaptureFixture[str],
    fault: Fault,
    more: dict[str, Any],
) -> None:
    klaviyo.inject(fault)
    come_back = deferred(**more)
    assert len(bodies(root)) == 2
    assert JANE in bodies(root)[1]

    assert forget() == (1 if more else 0), "a state is locked"
    assert "1 row of deferred tasks blanked" in capsys.readouterr().out
    assert not remains(root)
    assert len(bodies(root)) == 2
    assert bodies(root)[1] == ""

    run = come_back()
    assert run.counts() in ({"rows_read": 2, "accepted": 2}, {"rows_read": 2, "accepted": 1, "rejected": 1})
    assert not remains(root)
    for line in run.rejects:
        if line["row_number"] == 2:
            assert set(line["row"].values()) == {None}


def test_a_job_whose_rows_are_lost_is_told_as_such(root: Path, deferred: Deferred) -> None:
    from airflow_provider_klaviyo.exceptions import KlaviyoRetryableError

    come_back = deferred()
    (rows,) = root.rglob("*.deferred-0.json")
    rows.write_text("[[1, ")
    with pytest.raises(KlaviyoRetryableError, match="left behind when it was deferred"):
        come_back()


# --- resetting ---------------------------------------------------------------------------------------------------


def test_a_reset_goes_on_in_the_place_of_a_deferred_run_and_deletes_its_rows(
    root: Path, deferred: Deferred, sync: Sync, capsys: pytest.CaptureFixture[str]
) -> None:
    from airflow_provider_klaviyo.exceptions import KlaviyoRetryableError

    come_back = deferred(**WITH_STATE)
    key = "shop_to_klaviyo.sync_customers"
    assert main(["state", "reset", key], lambda _: "") == 1
    assert list(root.rglob("*.deferred*")), "it was not to be reset"
    capsys.readouterr()

    assert main(["state", "reset", key, "--yes"]) == 0
    told = capsys.readouterr().out
    assert "was deferred. If it still waits in the triggerer" in told
    assert "The rows that shop_to_klaviyo.sync_customers, run manual__2026-11-24T01:00:00+00:00" in told
    assert not list(root.rglob("*.deferred*"))
    assert sync(**WITH_STATE, run_id="next").summary["accepted"] == 2
    with pytest.raises(KlaviyoRetryableError, match="left behind when it was deferred"):
        come_back()


def test_a_run_that_is_at_work_is_not_reset(
    root: Path, klaviyo: Emulator, people: Shop, sync: Sync, capsys: pytest.CaptureFixture[str]
) -> None:
    sync(**WITH_STATE)
    (folder,) = root.glob("sync-state/*")
    with at_work(folder):
        assert main(["state", "reset", "shop_to_klaviyo.sync_customers", "--yes"]) == 1
    assert "Another run of this sync is under way" in capsys.readouterr().err


def test_a_damaged_state_does_not_hide_the_others(
    two_states: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    damaged, _ = two_states
    tear(damaged)
    capsys.readouterr()
    assert main(["state", "list"]) == 1
    told = capsys.readouterr()
    assert told.out.strip() == "b"
    assert str(damaged) in told.err


# --- whose a text is ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "is_hers"),
    [
        ("Jane Doe <Jane@Shop.io>", True),
        ("write to jane@shop.io.", True),
        ("maryjane@shop.io", False),
        ("jane@shop.io.uk", False),
        ("jane@shop.iou", False),
        ('{"contact": "jane@shop.io"}', True),
        (" JANE@shop.io ", True),
    ],
)
def test_an_address_within_other_text_is_the_persons(text: str, is_hers: bool) -> None:
    assert Person({"email": JANE}).is_named_by({"x": [text]}) is is_hers

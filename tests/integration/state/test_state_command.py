"""The commands for those who look after syncs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_klaviyo.cli.program import main
from airflow_provider_klaviyo.emulator import Emulator, Fault
from tests.contents import content_of_all
from tests.integration.conftest import Shop, Sync, Warehouse

pytestmark = pytest.mark.integration

KEY = "shop_to_klaviyo.sync_customers"


@pytest.fixture
def nightly(klaviyo: Emulator, shop: Shop, sync: Sync) -> Sync:
    def run(**parameters: Any) -> Any:
        return sync(**({"primary_key": "id", "only_changes": True, "max_rejected": 1.0} | parameters))

    shop.fill_with_people(5)
    shop.fill([(6, "not an address", None, "Jane", "gold")])
    klaviyo.inject(Fault("job_fails", match="p2@shop.io", count=None))
    run()
    return run


def never(question: str) -> str:
    pytest.fail("it was not to ask")


def test_list_and_show(nightly: Sync, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["state", "list"], never) == 0
    assert capsys.readouterr().out.strip() == KEY
    assert main(["state", "show", KEY], never) == 0
    shown = capsys.readouterr().out
    for part in ("sync type: profiles", "6 keys", "5  acknowledged", "1  refused by Klaviyo", "6 rows_read"):
        assert part in shown
    assert ".rejects.jsonl" in shown
    assert "@" not in shown


def test_files_that_others_left_beside_states_are_passed_over(
    nightly: Sync, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "storage" / "sync-state" / ".DS_Store").write_bytes(b"")
    assert main(["state", "list"], never) == 0
    assert capsys.readouterr().out.strip() == KEY


def test_an_unknown_state_is_told(nightly: Sync, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["state", "show", "typo"], never) == 1
    assert "list" in capsys.readouterr().err


@pytest.mark.parametrize("answer", ["", "y", "typo"])
def test_reset_asks_and_deletes_nothing_unless_the_key_is_typed(nightly: Sync, answer: str) -> None:
    assert main(["state", "reset", KEY], lambda question: answer) == 1
    assert nightly().summary["unchanged"] == 5


def test_after_a_reset_every_row_is_sent(nightly: Sync) -> None:
    assert main(["state", "reset", KEY], lambda question: KEY) == 0
    assert nightly().summary["unchanged"] == 0


def test_a_person_is_forgotten_in_state_and_rejects(
    nightly: Sync, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (rejects,) = tmp_path.rglob("*.rejects.jsonl")
    assert "p2@shop.io" in rejects.read_text()

    assert main(["state", "forget", "--email", "P2@Shop.io"], lambda question: "y") == 0

    assert "p2@shop.io" not in rejects.read_text()
    assert "1 row forgotten" in capsys.readouterr().out
    main(["state", "show", KEY], never)
    assert "5 keys" in capsys.readouterr().out
    assert len(list(tmp_path.rglob("*.entry"))) == 1, "older entries still have the person's hash"
    assert nightly().summary["unchanged"] == 5


def test_a_person_is_found_by_the_rows_key_too(nightly: Sync, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["state", "forget", KEY, "--key", "4", "--yes"], never) == 0
    assert "1 row forgotten" in capsys.readouterr().out
    assert nightly().summary["accepted"] == 1


@pytest.mark.parametrize(
    ("matched", "written"),
    [
        ("phone_number", "+1 (415) 555-2671"),
        ("phone_number", "+14155552671"),
        ("email", " Ada@Shop.IO"),
        ("email", "ada@müller.de"),
    ],
)
def test_a_person_is_found_in_any_spelling(
    klaviyo: Emulator,
    shop: Shop,
    sync: Sync,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    matched: str,
    written: str,
) -> None:
    columns = {"email": "email", "phone_number": "phone"}
    shop.fill([(1, "ada@müller.de" if "ü" in written else "ada@shop.io", "+1 415-555-2671", "A", "gold")])
    sync(primary_key="id", only_changes=True, match_by=matched, mapping={matched: columns[matched]})
    assert main(["state", "forget", f"--{matched.replace('_', '-')}", written, "--yes"], never) == 0
    assert "1 row forgotten" in capsys.readouterr().out


def test_a_number_is_found_in_rejected_rows_in_any_spelling(
    klaviyo: Emulator, shop: Shop, sync: Sync, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.fill([(1, None, "+1 (415) 555-2671 x9", "A", "gold"), (2, None, "+1 415 555 2671", "B", "gold")])
    mapping = {"external_id": "id", "phone_number": "phone"}
    klaviyo.inject(Fault("job_fails", match="+14155552671"))
    sync(mapping=mapping, max_rejected=1.0)
    assert main(["state", "forget", "--phone-number", "+1.415.555.2671", "--yes"], never) == 0
    assert "1 line deleted" in capsys.readouterr().out


def test_that_nothing_was_found_is_said(nightly: Sync, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["state", "forget", "--phone-number", "(415) 555-0101", "--yes"], never) == 0
    told = capsys.readouterr().out
    assert "Nothing was found." in told
    assert "country code" in told
    main(["state", "forget", "--email", "p3@shop.io", "--yes"], never)
    assert "Nothing was found." not in capsys.readouterr().out


def test_an_address_that_a_mirror_has_removed_is_forgotten_too(
    klaviyo: Emulator, warehouse: Warehouse, list_sync: Sync, tmp_path: Path
) -> None:
    def kept() -> bytes:
        return content_of_all(tmp_path.glob("storage/sync-state/*/*"))

    warehouse.hold("ada@shop.io", "bob@shop.io")
    list_sync("mirror")
    warehouse.hold("ada@shop.io")
    assert list_sync("mirror").summary["removed"] == 1
    assert b"bob@shop.io" in kept(), "the log has it until it is compacted"

    assert main(["state", "forget", "--email", "bob@shop.io", "--yes"], never) == 0

    assert b"bob@shop.io" not in kept()
    assert b"ada@shop.io" in kept()
    assert list_sync("mirror").counts() == {"rows_read": 1, "unchanged": 1}


def test_whom_a_mirror_has_added_is_forgotten_by_klaviyos_id_too(
    klaviyo: Emulator, warehouse: Warehouse, list_sync: Sync, tmp_path: Path
) -> None:
    warehouse.hold("ada@shop.io", "bob@shop.io")
    list_sync("mirror")
    bob = klaviyo.profile(email="bob@shop.io") or {}

    assert main(["state", "forget", "--klaviyo-id", bob["id"], "--yes"], never) == 0

    kept = content_of_all(tmp_path.glob("storage/sync-state/*/*"))
    assert (bob["id"].encode() in kept, b"bob@shop.io" in kept, b"ada@shop.io" in kept) == (
        False,
        False,
        True,
    )


def test_forgetting_nobody_is_refused(nightly: Sync, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["state", "forget"], never) == 2
    assert "--email" in capsys.readouterr().err


def test_it_is_a_module_command(nightly: Sync) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "airflow_provider_klaviyo", "state", "list"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert KEY in done.stdout

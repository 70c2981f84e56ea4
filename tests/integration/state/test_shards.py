"""Instances of a mapped task that meet: at one state, and at one person."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from airflow_provider_klaviyo.cli.program import main
from airflow_provider_klaviyo.emulator import Emulator
from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError
from airflow_provider_klaviyo.operators.lists import KlaviyoSyncListOperator
from airflow_provider_klaviyo.operators.profiles import KlaviyoSyncProfilesOperator
from airflow_provider_klaviyo.storage import storage_path
from airflow_provider_klaviyo.sync.joining import Joined
from airflow_provider_klaviyo.sync.storage import Storage
from tests.integration.conftest import LIST_SYNC, MAPPING, Run, Shop, Warehouse, emails, run_operator

pytestmark = pytest.mark.integration

SYNC: dict[str, Any] = {
    "sql_conn_id": "shop",
    "mapping": MAPPING,
    "match_by": "email",
    "primary_key": "id",
    "poll_interval": 0.05,
    "max_rejected": 1.0,
}
TASK = {"dag_id": "shop_to_klaviyo", "task_id": "join", "run_id": "nightly", "map_index": -1}
ADA, BOB, EVE = "ada@shop.io", "bob@shop.io", "eve@shop.io"

Shard = Callable[..., Run]


@pytest.fixture
def shard(klaviyo: Emulator, shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shard:
    """Runs one shard of the customers: those between two ids."""
    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", str(tmp_path / "storage"))

    def run(map_index: int, first: int, last: int, **parameters: Any) -> Run:
        sql = f"SELECT * FROM customers WHERE id BETWEEN {first} AND {last} ORDER BY id"
        operator = KlaviyoSyncProfilesOperator(task_id="sync", sql=sql, **(SYNC | parameters))
        return run_operator(operator, map_index=map_index)

    return run


def joined(*runs: Run) -> Joined:
    found = Joined([run.summary for run in runs], Storage(storage_path()))
    found.compare_people()
    return found


def test_shards_that_share_nobody_add_up(shard: Shard, shop: Shop, tmp_path: Path) -> None:
    shop.fill_with_people(9)
    shop.execute("UPDATE customers SET email = 'nobody', phone = 'none' WHERE id IN (2, 5, 6)")

    both = joined(shard(0, 1, 4), shard(1, 5, 9))

    assert (both.objection, both.notices, both.failed) == ("", [], {})
    summary = both.summary("there")
    assert summary["rows_read"] == 9 == summary["accepted"] + summary["rejected"]
    assert (summary["rejected"], summary["shards"], summary["report_path"]) == (3, 2, "there")
    assert list(Path(str(summary["rejected_path"])).glob("*.rejects.jsonl"))
    details = both.details({**TASK, "try_number": 1}, "there", None)
    reasons: Any = details["reasons"]
    assert [(each["field"], each["rows"]) for each in reasons] == [("email", 3), ("phone_number", 3)]
    assert [each["rows_read"] for each in details["by_shard"]] == [4, 5]  # type: ignore[attr-defined]
    schema = json.loads((Path(__file__).resolve().parents[3] / "docs" / "report.schema.json").read_text())
    jsonschema.validate(json.loads(json.dumps(details)), schema)


def test_people_whom_two_shards_name_are_counted_whatever_became_of_them(
    shard: Shard, shop: Shop, tmp_path: Path
) -> None:
    """Written otherwise in the second, unchanged in the first by its state, and never sent in a preview."""
    shop.fill_with_people(9)
    shop.execute("UPDATE customers SET email = 'P1@SHOP.IO' WHERE id = 7")
    state = {"only_changes": True}
    shard(0, 1, 4, **state, state_key="0")

    both = joined(
        shard(0, 1, 4, **state, state_key="0"),
        shard(1, 4, 9, preview=False, **state, state_key="1"),
        shard(2, 30, 40, **state, state_key="2"),
    )

    assert [tuple(each) for each in both.overlaps] == [("0", "1", 2, 0)]
    assert both.objection.startswith("2 people are named by two shards (shards 0 and 1: 2). ")
    assert "full_refresh=True" in both.objection


def test_a_preview_finds_them_before_anybody_is_sent(
    shard: Shard, shop: Shop, klaviyo: Emulator, tmp_path: Path
) -> None:
    shop.fill_with_people(6)

    both = joined(shard(0, 1, 4, preview=True), shard(1, 3, 6, preview=True))

    assert [each.people for each in both.overlaps] == [2]
    assert klaviyo.count() == 0


def test_what_was_forgotten_or_pruned_is_said_and_does_no_harm(
    shard: Shard, shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.fill_with_people(6)
    runs = shard(0, 1, 3), shard(1, 4, 6)

    assert main(["state", "forget", "--email", "p5@shop.io", "--yes"]) == 0

    assert "1 roll of" in capsys.readouterr().out
    both = joined(*runs)
    assert (both.objection, len(both.notices)) == ("", 1)
    assert "shard 1 left no roll of people" in both.notices[0]


def test_a_torn_roll_is_not_half_compared(shard: Shard, shop: Shop, tmp_path: Path) -> None:
    shop.fill_with_people(6)
    runs = shard(0, 1, 4), shard(1, 3, 6)
    (roll, _) = tmp_path.glob("storage/**/*.named.hashes")
    roll.write_bytes(roll.read_bytes()[:-3])

    both = joined(*runs)

    assert not both.overlaps
    assert "is not whole" in both.notices[0]


def test_a_task_that_is_not_mapped_leaves_no_roll(shard: Shard, shop: Shop, tmp_path: Path) -> None:
    shop.fill_with_people(3)
    shard(-1, 1, 3)
    assert not list(tmp_path.glob("storage/**/*.hashes"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rows_read": 5}, "do not add up"),
        ({"mode": "add"}, "different syncs"),
        (None, "is not what a sync returns"),
    ],
)
def test_what_cannot_be_added_up_is_refused(
    shard: Shard, shop: Shop, changes: dict[str, Any] | None, words: str
) -> None:
    shop.fill_with_people(4)
    summary = shard(0, 1, 4).summary
    other = None if changes is None else summary | changes
    with pytest.raises(KlaviyoConfigurationError, match=words):
        Joined([summary, other], Storage(storage_path()))


def test_nothing_to_join_is_refused(shard: Shard) -> None:
    with pytest.raises(KlaviyoConfigurationError, match="there is none"):
        Joined([], Storage(storage_path()))


def test_a_person_who_moves_between_the_shards_of_a_mirror_is_found_out(
    klaviyo: Emulator, warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Taken off by one shard after the other has put them there: off the list, though the query names them."""
    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", str(tmp_path / "storage"))
    vips = klaviyo.add_list("VIPs")

    def mirror(map_index: int, run_id: str, *people: str) -> Run:
        warehouse.hold(*people)
        more = LIST_SYNC | {"state_key": f"vips-{map_index}", "match_by": "email"}
        operator = KlaviyoSyncListOperator(task_id="sync", mode="mirror", **more)
        return run_operator(operator, map_index=map_index, run_id=run_id)

    monday = [mirror(0, "monday", ADA, BOB), mirror(1, "monday", EVE)]
    assert joined(*monday).objection == ""
    assert emails(klaviyo, vips) == {ADA, BOB, EVE}

    tuesday = [mirror(1, "tuesday", EVE, BOB), mirror(0, "tuesday", ADA)]

    assert emails(klaviyo, vips) == {ADA, EVE}
    found = joined(*tuesday)
    assert [tuple(each) for each in found.overlaps] == [("0", "1", 0, 1)]
    assert "1 people were taken off the list by one shard and are named by another" in found.objection


def test_a_shard_that_meets_another_at_its_state_stops_and_says_what_to_do(
    shard: Shard, shop: Shop, klaviyo: Emulator
) -> None:
    shop.fill_with_people(6)
    klaviyo.set(job_seconds=2.0)
    more = {"only_changes": True, "state_key": "{{ ds }} renders the same for all"}
    first: list[Run] = []
    thread = threading.Thread(target=lambda: first.append(shard(0, 1, 3, **more)))
    thread.start()
    while not klaviyo.requests("bulk_import_profiles"):
        time.sleep(0.02)

    second = shard(1, 4, 6, **more)
    thread.join()

    assert "Another instance of this mapped task uses the same state" in str(second.error)
    assert "task.parameters.shard" in str(second.error)
    assert first[0].counts() == {"rows_read": 3, "accepted": 3}

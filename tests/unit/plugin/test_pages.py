"""The pages of reports of every kind, and of files that are none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_klaviyo.plugin.around import Around
from airflow_provider_klaviyo.plugin.other_pages import no_report, syncs_page, unreadable
from airflow_provider_klaviyo.plugin.report_page import report_page
from airflow_provider_klaviyo.plugin.shelf import Address, Shelf
from airflow_provider_klaviyo.plugin.tasks import Known
from airflow_provider_klaviyo.plugin.told import Told, Unreadable
from airflow_provider_klaviyo.state.remote import RemotePath
from tests.unit.plugin.test_markup import Reader

ADDRESS = Address("dag", "run", "task")
NOW = 2_000_000_000.0
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
KEYS = tuple(json.loads((Path(__file__).parents[3] / "docs/report.schema.json").read_text())["properties"])

REPORT: dict[str, Any] = {
    "format": 1,
    "status": "failed",
    "failure": "2 of 3 rows were rejected",
    "rows_read": 3,
    "accepted": 1,
    "rejected": 2,
    "started_at": "2033-05-18T03:33:00.000+00:00",
    "written_at": "2033-05-18T03:33:19.000+00:00",
    "reasons": [
        {"outcome": "rejected", "field": "email", "reason": 'no @ in "zoe"', "rows": 2, "examples": [2, 3]}
    ],
    "throughput": {"ceiling": None, "points": [[0, 0, 0, 0], [1, 3, 3, 2]]},
    "task": {"dag_id": "dag", "task_id": "task", "run_id": "run", "map_index": -1, "try_number": 1},
}


def shown(changes: dict[str, Any] | None = None, **around: Any) -> str:
    settings = {"root": "/klaviyo", "now": NOW, "nonce": "n", "address": ADDRESS, "try_number": 1}
    page = report_page(Told(REPORT | (changes or {})), Around(**(settings | around)))
    return Reader(page).text


@given(values=st.dictionaries(st.sampled_from(KEYS), JSON, max_size=12))
def test_no_report_breaks_a_page(values: dict[str, Any]) -> None:
    told = Told(values)
    settings = {"root": "", "now": NOW, "nonce": "n", "address": ADDRESS, "try_number": 1}
    report_page(told, Around(**settings, last_runs=[told])).encode()
    syncs_page([told], root="", now=NOW, nonce="n", place="", unread=0).encode()


@given(words=st.text(min_size=1, max_size=30))
def test_what_a_report_quotes_is_text(words: str) -> None:
    names = {**REPORT["task"], "dag_id": f"d{words}", "run_id": f"<script>{words}"}
    told = Told(
        REPORT
        | {"failure": words, "notice": words, "mode": words, "list_id": words, "task": names, "status": words}
        | {"reasons": [{"outcome": words, "field": words, "reason": words, "rows": 1, "examples": [1]}]}
    )
    around = Around(
        root="",
        now=NOW,
        nonce="n",
        address=Address(words, words, words),
        try_number=1,
        last_runs=[told],
        rows={1: {"key": words, "row": {words: words}}},
        sees_people=True,
    )
    plain = Told(REPORT)
    for page in (
        report_page(told, around),
        syncs_page([told, plain], root="", now=NOW, nonce="n", place=words, unread=1),
        unreadable(words, words, "n"),
    ):
        scripts = [attributes for name, attributes in Reader(page).elements if name == "script"]
        assert scripts == [{"nonce": "n"}]
        for _, attributes in Reader(page).elements:
            assert not {name for name in attributes if name.startswith("on") or name == "style"}


def test_people_are_shown_to_those_who_may_see_them() -> None:
    rows = {2: {"key": "2", "row": {"email": "zoe"}}}
    told = shown(rows=rows, sees_people=True, has_rejects=True)
    assert '"email": "zoe"' in told
    assert 'no @ in "zoe"' in told
    assert "Download" in told
    others = shown(has_rejects=True)
    assert "zoe" not in others
    assert "row 2" in others
    assert "Download" not in others


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "Mend what the reasons below name"),
        ({"failure": "another target: set full_refresh=True"}, "clear and run again with full_refresh"),
        ({"status": "running", "written_at": "2033-05-18T03:30:00.000+00:00"}, "it was killed"),
        ({"status": "waiting", "open_jobs": [{"id": "a"}]}, "The triggerer waits for 1 job of"),
        ({"status": "waiting", "open_jobs": []}, "waits for its turn, without a worker"),
        (
            {"events": {"live": 0, "backfill": 3}, "parameters": {"backfill_because": "backfill run"}},
            "3 events went as history, which starts no flows, since this is a run of airflow backfill",
        ),
        ({"preview": True}, "nothing was written to Klaviyo"),
        ({"format": 2}, "A newer release"),
        ({"state": {"rows": {"in_doubt": 5}}}, "5 in doubt"),
        ({"notice": "The interval is empty."}, "The interval is empty."),
        ({"rejected": 0, "pending": 2}, "Without a verdict: 2 rows"),
        ({"status": "succeeded", "open_jobs": [{"id": "a"}]}, "did not wait for 1 job of"),
        ({"rows_without_line": 4}, "rejects file: 4 rows"),
    ],
)
def test_it_says_what_to_do(changes: dict[str, Any], words: str) -> None:
    assert words in shown(changes)


@pytest.mark.parametrize(
    ("known", "words"),
    [
        (Known("BashOperator", "success", NOW), "This task is a BashOperator"),
        (Known("KlaviyoSyncListOperator", "queued", None), "The task is queued"),
        (Known("KlaviyoSyncListOperator", "", None), "not scheduled"),
        (Known("KlaviyoSyncListOperator", "running", None), "has written no report so far"),
        (Known("KlaviyoSyncListOperator", "success", NOW - 31 * 86_400), "Reports are deleted after 30 days"),
        (Known("KlaviyoSyncListOperator", "failed", NOW), "AIRFLOW__KLAVIYO__STORAGE_PATH"),
        (Known("MySync", "failed", NOW), "This task is a MySync"),
        (None, "There is no report of this task instance in /there"),
    ],
)
def test_where_there_is_no_report_it_says_why(known: Known | None, words: str) -> None:
    page = no_report(known, place="/there", keep_seconds=30 * 86_400.0, now=NOW, nonce="n")
    assert words in Reader(page).text


# --- what lies in the storage -------------------------------------------------------------------------------------


def write(root: Path, address: Address, try_number: int = 1, **changes: Any) -> Path:
    from airflow_provider_klaviyo.sync.storage import Storage

    files = address.files(Storage(root), try_number)
    files.folder.mkdir(parents=True, exist_ok=True)
    files.report.write_text(json.dumps(REPORT | changes))
    return files.folder


def test_tries_and_runs_are_found_and_others_are_not(tmp_path: Path) -> None:
    for run, index, number in (("a", -1, 1), ("a", -1, 2), ("a", 0, 1), ("a.map0", -1, 1), ("b", -1, 10)):
        folder = write(tmp_path, Address("dag", run, "task", index), number)
    write(tmp_path, Address("dag", "a", "other"))
    (folder / "notes.report.json").write_text("{}")
    shelf = Shelf(tmp_path)
    assert [each.try_number for each in shelf.tries(Address("dag", "a", "task"))] == [1, 2]
    assert [each.try_number for each in shelf.tries(Address("dag", "a", "task", 0))] == [1]
    assert shelf.tries(Address("dag", "c", "task")) == []
    runs = shelf.last_runs(Address("dag", "a", "task"))
    assert sorted(each.try_number for each in runs) == [1, 2, 10]
    assert len(list(shelf.syncs({"dag", "another"}))) == 2


def test_reports_are_found_in_what_fsspec_reaches(tmp_path: Path) -> None:
    write(tmp_path, ADDRESS, 3)
    shelf = Shelf(RemotePath(fsspec.filesystem("file"), str(tmp_path), "store://bucket"))
    (found,) = shelf.tries(ADDRESS)
    assert found.read()["rows_read"] == 3
    assert [each.try_number for each in (*shelf.last_runs(ADDRESS), *shelf.syncs({"dag"}))] == [3, 3]


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "nowhere")
    assert shelf.tries(ADDRESS) == shelf.last_runs(ADDRESS) == list(shelf.syncs({"dag"})) == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"1", b"[" * 100_000, b"\xff"])
def test_a_damaged_report_is_told_for_what_it_is(content: bytes) -> None:
    with pytest.raises(Unreadable):
        Told.of(content)


def test_examples_are_looked_up_by_their_numbers(tmp_path: Path) -> None:
    folder = write(tmp_path, ADDRESS)
    shelf = Shelf(tmp_path)
    assert shelf.rows(ADDRESS, 1, {2}) == {}
    lines = [json.dumps({"row_number": number, "row": {}}) for number in (1, 2, 2, 3)]
    shelf.rejects(ADDRESS, 1).write_text("\n".join([*lines, "{damaged", "7", '{"row_number": 5']))
    assert folder
    assert set(shelf.rows(ADDRESS, 1, {2, 3, 5})) == {2, 3}

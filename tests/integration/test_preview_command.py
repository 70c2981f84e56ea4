"""The command that shows a sync's first records in a terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_klaviyo.cli.program import main
from airflow_provider_klaviyo.emulator import Emulator
from tests.integration.conftest import Shop

pytestmark = pytest.mark.integration

DAG = """
from airflow.sdk import DAG, task
from airflow_provider_klaviyo._compat import AirflowSkipException
from airflow_provider_klaviyo.operators.profiles import KlaviyoSyncProfilesOperator

@task
def say():
    return "email"

with DAG("people", params={"tier": "gold"}):
    common = dict(sql_conn_id="shop", mapping={"email": "email"})
    KlaviyoSyncProfilesOperator(
        task_id="sync", sql="SELECT * FROM customers WHERE tier = '{{ params.tier }}'", **common
    )
    KlaviyoSyncProfilesOperator(task_id="asks", sql="SELECT * FROM customers", match_by=say(), **common)
    KlaviyoSyncProfilesOperator(task_id="typo", sql="SELECT {{ colum }} FROM customers", **common)
    KlaviyoSyncProfilesOperator(task_id="fails", sql="SELECT * FROM nowhere", **common)

    @task.klaviyo_sync_profiles(mapping={"email": "email"})
    def function(at, tier, params=None):
        assert at == tier == params["tier"]
        yield {"email": f"{tier}@shop.io"}

    function("{{ params.tier }}", tier="gold")

    @task.klaviyo_sync_profiles(mapping={"email": "email"})
    def knows(ts, ts_nodash, dag_run, prev_start_date_success=None, macros=None, **context):
        assert macros.ds_add(context["ds"], 1) > ts[:10] > "2026"
        yield {"email": "gold@shop.io"}

    @task.klaviyo_sync_profiles(mapping={"email": "email"})
    def by_conf(dag_run=None):
        yield {"email": f"{dag_run.conf['tier']}@shop.io"}

    @task.klaviyo_sync_profiles(mapping={"email": "email"})
    def by_events(**context):
        yield from context["triggering_asset_events"]

    @task.klaviyo_sync_profiles(mapping={"email": "email"})
    def by_xcom(ti=None):
        yield {"email": ti.xcom_pull(task_ids="say")}

    @task.klaviyo_sync_profiles(mapping={"email": "email"})
    def skips():
        yield {"email": "gold@shop.io"}
        raise AirflowSkipException("no more today")

    for each in (knows, by_conf, by_events, by_xcom, skips):
        each()
    KlaviyoSyncProfilesOperator(
        task_id="conf", sql="SELECT * FROM customers WHERE tier = '{{ dag_run.conf.tier }}'", **common
    )
    KlaviyoSyncProfilesOperator(
        task_id="variable", sql="SELECT * FROM customers WHERE tier = '{{ var.value.tier }}'", **common
    )
    KlaviyoSyncProfilesOperator.partial(task_id="mapped", sql="SELECT 1", **common).expand(preview=[True])
"""


@pytest.fixture
def dags(tmp_path: Path, shop: Shop, klaviyo: Emulator, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", str(tmp_path / "storage"))
    shop.fill_with_people(10)
    shop.execute("UPDATE customers SET tier = 'gold'")
    shop.fill([(99, "not an address", None, "Jane", "gold")])
    file = tmp_path / "people.py"
    file.write_text(DAG)
    return str(file)


def test_the_first_records_are_shown_and_neither_written_nor_left(
    dags: str, klaviyo: Emulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["preview", dags, "sync", "--records", "2"]) == 1  # too many rejects: a run would fail
    shown = capsys.readouterr().out
    assert "@shop.io" in shown
    assert "… and 8 more" in shown
    assert "11 rows_read, 10 accepted" in shown
    assert "rejected, email:" in shown.partition("Not sent as they are")[2]
    assert "A run would fail: 1 of 11 rows" in shown
    assert klaviyo.count() == 0
    assert {request.method for request in klaviyo.requests()} <= {"GET"}
    assert [file for file in (tmp_path / "storage").rglob("*") if file.is_file()] == []


def test_so_are_those_of_a_function(dags: str, klaviyo: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["preview", dags, "function"]) == 0
    assert "gold@shop.io" in capsys.readouterr().out
    assert klaviyo.count() == 0


def test_a_function_finds_what_is_known_before_a_run(dags: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["preview", dags, "knows"]) == 0
    assert "1 rows_read, 1 accepted" in capsys.readouterr().out


def test_templates_find_variables(
    dags: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_TIER", "gold")
    main(["preview", dags, "variable"])
    assert "11 rows_read" in capsys.readouterr().out


def test_a_function_that_skips_its_task_is_not_told_to_fail(
    dags: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["preview", dags, "skips"]) == 0
    shown = capsys.readouterr().out
    assert "1 rows_read, 1 accepted" in shown
    assert "A run would be skipped: no more today" in shown
    assert "fail" not in shown


@pytest.mark.parametrize(
    ("task_id", "words"),
    [
        (
            "asks",
            "A template of asks cannot be rendered here: what another task returns is known to a run only",
        ),
        ("typo", "'colum' is undefined"),
        ("conf", "A template of conf cannot be rendered here: dag_run is known to a run only"),
        ("by_conf", "by_conf cannot be shown: dag_run is known to a run only"),
        ("by_events", "by_events cannot be shown: triggering_asset_events is known to a run only"),
        ("by_xcom", "by_xcom cannot be shown: what another task returns is known to a run only"),
        ("mapped", "mapped is a mapped task"),
        ("say", "syncs nothing"),
        ("none", "no Dag has a task 'none'. There are: people.sync, people.say"),
    ],
)
def test_what_cannot_be_shown_says_why(
    dags: str, task_id: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["preview", dags, task_id]) == 1
    assert words in capsys.readouterr().err


def test_a_query_that_fails_says_what_the_run_would_say(
    dags: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["preview", dags, "fails"]) == 1
    assert "A run would fail:" in capsys.readouterr().out


def test_a_file_that_there_is_not_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["preview", str(tmp_path / "poeple.py"), "sync"]) == 1
    assert capsys.readouterr().err.strip() == f"There is no file {tmp_path / 'poeple.py'}."


def test_files_that_the_log_names_are_said_to_be_gone(dags: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["preview", dags, "fails"]) == 1
    assert "are gone" in capsys.readouterr().out


def test_a_file_that_airflow_cannot_read_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "broken.py"
    file.write_text("from airflow.sdk import DAG\nraise RuntimeError('broken')\n")
    assert main(["preview", str(file), "sync"]) == 1
    assert "RuntimeError: broken" in capsys.readouterr().err

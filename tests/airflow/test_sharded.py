"""The example of a sync on many workers, run by a real Airflow from PostgreSQL, and what joins its shards."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from airflow_provider_klaviyo._compat import AirflowSkipException
from airflow_provider_klaviyo.emulator import Emulator
from airflow_provider_klaviyo.operators.profiles import KlaviyoSyncProfilesOperator
from airflow_provider_klaviyo.operators.summaries import KlaviyoJoinSummariesOperator
from tests.airflow.conftest import RunExample

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.usefixtures("storage")]

PEOPLE = 40


@pytest.fixture
def shop(postgres_uri: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A shop in PostgreSQL; one customer has no address."""
    import psycopg

    parts = urlsplit(postgres_uri)
    connection = {
        "conn_type": "postgres",
        "host": parts.hostname,
        "port": parts.port,
        "login": parts.username,
        "password": parts.password,
        "schema": parts.path.lstrip("/"),
    }
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps(connection))
    with psycopg.connect(postgres_uri, autocommit=True) as database:
        database.execute("CREATE TABLE customers (id int, email text, first_name text, tier text)")
        database.execute(
            "INSERT INTO customers SELECT n, CASE n WHEN 1 THEN NULL ELSE 'P' || n || '@shop.io' END, 'Ada', 'gold' "
            "FROM generate_series(1, %s) n",
            (PEOPLE,),
        )
        yield database
        database.execute("DROP TABLE customers")


def summaries(run: Any) -> dict[str, list[dict[str, Any]]]:
    """What the task instances of a run have returned, by task."""
    found: dict[str, list[dict[str, Any]]] = {}
    for ti in sorted(run.get_task_instances(), key=lambda ti: ti.map_index):
        summary = ti.xcom_pull(task_ids=ti.task_id, map_indexes=ti.map_index if ti.map_index >= 0 else None)
        found.setdefault(ti.task_id, []).append(summary)
    return found


def test_the_example_reads_every_row_once_and_joins_what_became_of_them(
    klaviyo: Emulator, shop: Any, run_example: RunExample
) -> None:
    run = run_example("klaviyo_sharded")

    assert run.state == "failed", "a customer has no address, and so one shard has too many rejects"
    returned = summaries(run)
    (whole,) = returned["join"]
    assert (whole["rows_read"], whole["accepted"], whole["rejected"]) == (PEOPLE, PEOPLE - 1, 1)
    assert whole["shards"] == len(returned["sync_customers"]) == 4
    assert klaviyo.count() == PEOPLE - 1
    report = json.loads(Path(whole["report_path"]).read_text())
    assert "1 of the tasks before did not succeed: sync_customers_" in report["failure"]
    assert [each["rows"] for each in report["reasons"]] == [1]
    assert sum(each["rows_read"] for each in report["by_shard"]) == PEOPLE
    assert all(0 < each["rows_read"] < PEOPLE / 2 for each in report["by_shard"])

    shop.execute("DELETE FROM customers WHERE email IS NULL")
    run = run_example("klaviyo_sharded")

    assert run.state == "success"
    (whole,) = summaries(run)["join"]
    assert (whole["rows_read"], whole["unchanged"], whole["rejected"]) == (PEOPLE - 1, PEOPLE - 1, 0)


def test_a_cut_that_names_somebody_twice_fails_where_the_shards_are_joined(
    klaviyo: Emulator,
    shop: Any,
    run_in_airflow: Callable[[Any], Any],
    caplog: pytest.LogCaptureFixture,
    capfd: Any,
) -> None:
    from airflow.sdk import DAG

    sql = "SELECT id, email FROM customers WHERE email IS NOT NULL AND id < %(below)s"
    with DAG("overlapping", start_date=datetime(2026, 1, 1, tzinfo=UTC), schedule=None) as dag:
        syncs = KlaviyoSyncProfilesOperator.partial(
            task_id="sync", sql=sql, sql_conn_id="shop", mapping={"email": "email"}, preview=True
        ).expand(parameters=[{"below": 5}, {"below": 10}])
        KlaviyoJoinSummariesOperator(task_id="join", summaries=syncs.output, retries=3)

    run = run_in_airflow(dag)

    assert [(ti.task_id, ti.state, ti.try_number) for ti in run.get_task_instances(state="failed")] == [
        ("join", "failed", 1)
    ]
    assert "3 people are named by two shards (shards 0 and 1: 3)" in capfd.readouterr().out + caplog.text
    assert klaviyo.count() == 0


def test_a_shard_that_skips_itself_after_its_first_row_has_not_succeeded(
    klaviyo: Emulator, run_in_airflow: Callable[[Any], Any], caplog: pytest.LogCaptureFixture, capfd: Any
) -> None:
    from airflow.sdk import DAG, task

    def skip_at(shard: int) -> None:
        if shard == 1:
            msg = "that is all for today"
            raise AirflowSkipException(msg)

    @task.klaviyo_sync_profiles(primary_key="id")
    def halfway(shard: int) -> Iterator[dict[str, object]]:
        yield {"id": shard, "email": f"p{shard}@shop.io"}
        skip_at(shard)

    @task.klaviyo_sync_profiles(primary_key="id")
    def at_once(shard: int) -> Iterator[dict[str, object]]:
        skip_at(shard)
        yield {"id": shard, "email": f"p{shard}@shop.io"}

    with DAG("skipping", start_date=datetime(2026, 1, 1, tzinfo=UTC), schedule=None) as dag:
        for function in (halfway, at_once):
            join = f"join_{function.function.__name__}"
            KlaviyoJoinSummariesOperator(task_id=join, summaries=function.expand(shard=[0, 1]))
    run = run_in_airflow(dag)

    states = {f"{ti.task_id}{ti.map_index}": ti.state for ti in run.get_task_instances()}
    assert (states["halfway1"], states["at_once1"]) == ("skipped", "skipped")
    assert (states["join_halfway-1"], states["join_at_once-1"]) == ("failed", "success")
    said = capfd.readouterr().out + caplog.text
    assert "1 of the tasks before did not succeed: halfway_1 (skipped after 1 row)." in said
    (whole,) = summaries(run)["join_at_once"]
    assert (whole["rows_read"], whole["accepted"], whole["shards"]) == (1, 1, 2)


def test_where_there_is_no_shard_there_is_nothing_to_join(
    klaviyo: Emulator, run_in_airflow: Callable[[Any], Any], capfd: Any, caplog: pytest.LogCaptureFixture
) -> None:
    from airflow.sdk import DAG, task

    @task.klaviyo_sync_profiles(primary_key="id")
    def sync(shard: int) -> Iterator[dict[str, object]]:
        yield {"id": shard, "email": f"p{shard}@shop.io"}

    @task
    def shards(fails: bool) -> list[int]:
        if fails:
            msg = "the service does not say"
            raise ConnectionError(msg)
        return []

    with DAG("no_shards", start_date=datetime(2026, 1, 1, tzinfo=UTC), schedule=None) as dag:
        for name, found in (
            ("literal", []),
            ("none", shards.override(task_id="found_none")(fails=False)),
            ("unknown", shards.override(task_id="found_unknown")(fails=True)),
        ):
            syncs = sync.override(task_id=name).expand(shard=found)
            KlaviyoJoinSummariesOperator(task_id=f"join_{name}", summaries=syncs)
        KlaviyoJoinSummariesOperator(task_id="join_nothing", summaries=[])
    states = {ti.task_id: ti.state for ti in run_in_airflow(dag).get_task_instances()}

    assert (states["join_literal"], states["join_none"]) == ("skipped", "skipped")
    assert (states["join_unknown"], states["join_nothing"]) == ("failed", "failed")
    said = capfd.readouterr().out + caplog.text
    assert "1 of the tasks before did not succeed: unknown. None has left a summary." in said
    assert "summaries: there is none." in said

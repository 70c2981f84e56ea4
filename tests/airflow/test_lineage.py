"""What OpenLineage is told of syncs, by the provider that Airflow has for it: events in a file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

import pytest

from airflow_provider_klaviyo.emulator import Emulator, Settings
from airflow_provider_klaviyo.operators.lineage import within
from tests.conftest import absent

pytestmark = pytest.mark.airflow

DAG = '''
from datetime import UTC, datetime

from airflow.sdk import DAG, Asset, task

from airflow_provider_klaviyo.operators.lists import KlaviyoSyncListOperator
from airflow_provider_klaviyo.operators.profiles import KlaviyoSyncProfilesOperator

SQL = """
    WITH spenders AS (SELECT customer, sum(total) AS total FROM sales.orders WHERE total > %(least)s GROUP BY 1)
    SELECT id AS external_id, email, total AS lifetime_value FROM people JOIN spenders ON customer = id
    WHERE name <> 'Lovelace'
"""
ALL = {"sql": "SELECT * FROM people", "mapping": {"external_id": "id", "email": "email"}, "max_rejected": 1.0}
HURRY = {"sql_conn_id": "shop", "poll_interval": 0.2, "timeout": 60}

with DAG("lineage", start_date=datetime(2026, 1, 1, tzinfo=UTC), schedule=None):
    KlaviyoSyncProfilesOperator(task_id="joined", sql=SQL, parameters={"least": 0}, **HURRY)
    KlaviyoSyncProfilesOperator(task_id="deferred", deferrable=True, defer_after=0, **ALL, **HURRY)
    KlaviyoSyncProfilesOperator(
        task_id="preview", preview=True, outlets=[Asset("klaviyo://ABC123/profiles")], **ALL, **HURRY
    )
    KlaviyoSyncProfilesOperator(task_id="rejects", match_by="email", **{**ALL, "max_rejected": 0}, **HURRY)
    KlaviyoSyncProfilesOperator(task_id="no_such_table", sql="SELECT email FROM pupils", **HURRY)
    KlaviyoSyncProfilesOperator(task_id="lite", sql_conn_id="lite", sql="SELECT 'ada@shop.io' AS email")
    KlaviyoSyncProfilesOperator.partial(task_id="mapped", **HURRY).expand(
        sql=[f"SELECT id AS external_id, email FROM people WHERE id = '{n}'" for n in "12"]
    )
    @task.klaviyo_sync_profiles(inlets=[Asset("klaviyo://ABC123/events")], poll_interval=0.2)
    def by_function():
        yield {"email": "ada@shop.io"}

    by_function()

    @task.klaviyo_sync_profiles(poll_interval=0.2)
    def failing():
        yield {"email": "ada@shop.io"}
        person = "ada@shop.io"
        raise ConnectionError(f"404 for {person}")

    failing()
    KlaviyoSyncListOperator(task_id="vips", list_name="VIPs", mode="mirror", primary_key="id", **ALL, **HURRY)
'''

RUN = """
import sys
from airflow_provider_klaviyo._compat import dags_in

dags, errors = dags_in(sys.argv[1])
assert not errors, errors
dags["lineage"].test()
"""

TABLES = """
    CREATE TABLE people (id TEXT, email TEXT, name TEXT);
    INSERT INTO people VALUES ('1', 'ada@shop.io', 'Ada'), ('2', 'bob@shop.io', 'Bob'), ('3', 'nobody', 'Cyd');
    CREATE SCHEMA sales;
    CREATE TABLE sales.orders (customer TEXT, total INT);
    INSERT INTO sales.orders VALUES ('1', 20), ('2', 5);
"""

Events = dict[tuple[str, str], dict[str, Any]]


def expect_openlineage() -> None:
    if find_spec("airflow.providers.openlineage") is None:
        absent("openlineage", "apache-airflow-providers-openlineage is not installed")


@pytest.fixture(scope="module")
def klaviyo() -> Iterator[Emulator]:
    with Emulator(Settings(job_seconds=0.5)) as emulator:
        yield emulator


@pytest.fixture(scope="module")
def events(
    klaviyo: Emulator, airflow_database: None, postgres_uri: str, tmp_path_factory: pytest.TempPathFactory
) -> Events:
    """The last event of each task instance and kind, after one run of the Dag."""
    import psycopg

    expect_openlineage()
    with psycopg.connect(postgres_uri, autocommit=True) as shop:
        shop.execute(TABLES)
    folder = tmp_path_factory.mktemp("lineage")
    (dag := folder / "dags" / "lineage.py").parent.mkdir()
    dag.write_text(DAG)
    told = folder / "events.jsonl"
    connection = {"conn_type": "klaviyo", "password": klaviyo.api_key, "host": klaviyo.url}
    environment = {
        "AIRFLOW_CONN_KLAVIYO_DEFAULT": json.dumps(connection),
        "AIRFLOW_CONN_SHOP": postgres_uri.replace("postgresql:", "postgres:"),
        "AIRFLOW_CONN_LITE": json.dumps({"conn_type": "sqlite", "host": str(folder / "lite.sqlite")}),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dag.parent),
        "AIRFLOW__KLAVIYO__STORAGE_PATH": str(folder / "storage"),
        "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(
            {"type": "file", "log_file_path": str(told), "append": True}
        ),
    }
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(dag)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert told.exists(), done.stdout + done.stderr
    found = {}
    for line in told.read_text().splitlines():
        event = json.loads(line)
        mapped = event["run"]["facets"].get("airflow", {}).get("taskInstance", {}).get("map_index")
        name = event["job"]["name"].removeprefix("lineage.") + ("" if mapped in (None, -1) else f"[{mapped}]")
        found[name, event["eventType"]] = event
    return found


def datasets(event: dict[str, Any], kind: str) -> list[tuple[str, str]]:
    return sorted((each["namespace"], each["name"]) for each in event[kind])


def counts(event: dict[str, Any]) -> dict[str, int]:
    told = event["run"]["facets"]["klaviyo_sync"]
    return {name: told[name] for name in ("rows_read", "accepted", "rejected")}


@pytest.fixture
def shop(postgres_uri: str) -> tuple[str, str]:
    """Namespace and database, as OpenLineage names them."""
    parts = urlsplit(postgres_uri)
    return f"postgres://{parts.hostname}:{parts.port}", parts.path.strip("/")


def test_tables_of_the_query_lead_to_what_the_sync_has_changed(
    events: Events, klaviyo: Emulator, shop: tuple[str, str]
) -> None:
    event = events["joined", "COMPLETE"]
    namespace, database = shop
    people, orders = f"{database}.public.people", f"{database}.sales.orders"
    assert datasets(event, "inputs") == [(namespace, people), (namespace, orders)]
    columns = {
        each["name"]: [field["name"] for field in each["facets"]["schema"]["fields"]]
        for each in event["inputs"]
    }
    assert columns == {people: ["id", "email", "name"], orders: ["customer", "total"]}
    (output,) = event["outputs"]
    assert (output["namespace"], output["name"]) == (f"klaviyo://{klaviyo.account_id}", "profiles")
    assert output["outputFacets"]["outputStatistics"]["rowCount"] == 2
    came_from = {
        field: [(each["name"], each["field"]) for each in told["inputFields"]]
        for field, told in output["facets"]["columnLineage"]["fields"].items()
    }
    assert came_from == {
        "external_id": [(people, "id")],
        "email": [(people, "email")],
        "properties.lifetime_value": [(orders, "total")],
    }
    assert counts(event) == {"rows_read": 2, "accepted": 2, "rejected": 0}


def test_what_a_star_stands_for_comes_from_its_table(events: Events, shop: tuple[str, str]) -> None:
    (output,) = events["deferred", "COMPLETE"]["outputs"]
    fields = output["facets"]["columnLineage"]["fields"]
    assert {field: told["inputFields"][0]["field"] for field, told in fields.items()} == {
        "external_id": "id",
        "email": "email",
    }


def test_a_deferred_sync_tells_the_counts_of_the_whole_run(events: Events) -> None:
    assert counts(events["deferred", "COMPLETE"]) == {"rows_read": 3, "accepted": 3, "rejected": 0}


def test_a_preview_reads_and_changes_nothing(events: Events) -> None:
    assert events["preview", "START"]["outputs"] == []
    event = events["preview", "COMPLETE"]
    assert event["outputs"] == []
    assert len(event["inputs"]) == 1
    assert event["run"]["facets"]["klaviyo_sync"]["preview"] is True


def test_a_failure_tells_what_was_sent_before(events: Events) -> None:
    event = events["rejects", "FAIL"]
    assert counts(event) == {"rows_read": 3, "accepted": 2, "rejected": 1}
    assert event["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"] == 2
    assert event["run"]["facets"]["klaviyo_sync"]["not_sent"] == [
        {"outcome": "rejected", "field": "email", "rows": 1}
    ]
    assert counts(events["no_such_table", "FAIL"]) == {"rows_read": 0, "accepted": 0, "rejected": 0}


def test_instances_of_a_mapped_task_tell_their_own_counts(events: Events) -> None:
    for index in (0, 1):
        assert counts(events[f"mapped[{index}]", "COMPLETE"])["accepted"] == 1


def test_a_list_is_known_by_its_id_as_its_asset_is(events: Events, klaviyo: Emulator) -> None:
    (output,) = events["vips", "COMPLETE"]["outputs"]
    kind, _, list_id = output["name"].partition("/")
    assert (output["namespace"], kind) == (f"klaviyo://{klaviyo.account_id}", "lists")
    assert len(klaviyo.members(list_id)) == 2


def test_an_asset_is_a_dataset_of_the_same_name() -> None:
    expect_openlineage()
    from airflow.providers.common.compat.openlineage.utils.utils import translate_airflow_asset
    from airflow.sdk import Asset

    dataset = translate_airflow_asset(Asset("klaviyo://ABC123/metrics/Placed%20Order"), None)
    assert (dataset.namespace, dataset.name) == ("klaviyo://ABC123", "metrics/Placed%20Order")


def test_a_database_that_says_nothing_of_itself_leaves_the_rest(events: Events) -> None:
    event = events["lite", "COMPLETE"]
    assert event["inputs"] == []
    assert event["outputs"][0]["name"] == "profiles"


def test_where_there_is_no_query_the_inlets_are_the_inputs(events: Events) -> None:
    event = events["by_function", "COMPLETE"]
    assert datasets(event, "inputs") == [("klaviyo://ABC123", "events")]
    assert counts(event)["accepted"] == 1


def test_what_a_function_raises_is_told_by_its_type_and_frames(events: Events) -> None:
    event = events["failing", "FAIL"]
    error = event["run"]["facets"]["errorMessage"]
    assert error["message"] == "404 for ***@***"
    assert "in failing" in error["stackTrace"]
    assert "ConnectionError: 404 for ***@***" in error["stackTrace"]
    assert counts(event)["accepted"] == 1


def test_nobody_is_named(events: Events) -> None:
    told = json.dumps(list(events.values()))
    assert not [word for word in ("ada", "bob@", "Lovelace", "nobody") if word in told]


def test_what_takes_too_long_or_fails_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    never = threading.Event()
    assert within(0.01, never.wait) is None
    never.set()

    def fail() -> None:
        msg = "relation of ada@shop.io"
        raise LookupError(msg)

    assert within(60, fail) is None
    assert "OpenLineage is told less" in caplog.text
    assert "ada@" not in caplog.text


def test_nothing_of_openlineage_is_imported_with_an_operator() -> None:
    code = "import sys, airflow_provider_klaviyo.operators.lists; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    told = {"airflow.providers.openlineage", "airflow.providers.openlineage.get_provider_info"}
    assert {name for name in done.stdout.split() if "openlineage" in name} <= told

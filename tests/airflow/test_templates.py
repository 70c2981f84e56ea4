"""Parameters as people write them in Dags: templates, files and flags, rendered by a real Airflow."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator
from airflow_provider_klaviyo.operators.profiles import KlaviyoSyncProfilesOperator
from tests.airflow.conftest import FillShop

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.usefixtures("shop")]


@pytest.fixture
def shop(fill_shop: FillShop, storage: Path) -> None:
    people = [(f"p{n}@shop.io", "gold" if n % 2 else "silver", f"(415) 555-{n:04}", None) for n in range(10)]
    fill_shop("customers (email TEXT, tier TEXT, phone TEXT, seen TEXT)", people)


Run = Callable[..., tuple[dict[str, Any], str]]


@pytest.fixture
def run(run_in_airflow: Callable[..., Any], tmp_path: Path) -> Run:
    """Runs a Dag of one sync; its summary and its state."""

    def run_sync(
        *, native: bool = False, conf: dict[str, Any] | None = None, **parameters: Any
    ) -> tuple[dict[str, Any], str]:
        from airflow.sdk import DAG

        with DAG(
            "templates",
            start_date=datetime(2026, 1, 1, tzinfo=UTC),
            schedule=None,
            template_searchpath=str(tmp_path),
            render_template_as_native_obj=native,
            params={"tier": "gold", "preview": False, "column": "email"},
        ) as dag:
            defaults = {"sql_conn_id": "shop", "mapping": {"email": "email"}, "poll_interval": 0.2}
            KlaviyoSyncProfilesOperator(task_id="sync", **(defaults | parameters))
        dag_run = run_in_airflow(dag, run_conf=conf)
        (ti,) = dag_run.get_task_instances()
        return ti.xcom_pull(task_ids="sync", key="return_value"), dag_run.state

    return run_sync


@pytest.mark.parametrize("native", [False, True])
def test_a_file_with_a_template_is_the_query(
    klaviyo: Emulator, run: Run, tmp_path: Path, native: bool
) -> None:
    (tmp_path / "customers.sql").write_text("SELECT * FROM customers WHERE tier = '{{ params.tier }}';\n")
    summary, state = run(sql="customers.sql", native=native)
    assert (state, summary["accepted"]) == ("success", 5)


@pytest.mark.parametrize("native", [False, True])
def test_parameters_mapping_and_flags_are_rendered(
    klaviyo: Emulator, run: Run, tmp_path: Path, native: bool
) -> None:
    summary, state = run(
        native=native,
        sql="SELECT * FROM customers WHERE tier = :tier",
        parameters={"tier": "{{ params.tier }}"},
        mapping={"email": "{{ params.column }}", "phone_number": "phone"},
        phone_region="{{ 'us' }}",
        preview="{{ params.preview }}",
        clear_nulls="{{ params.preview }}",
        primary_key="{{ params.column }}",
        timezone="{{ 'Europe/' }}Berlin",
    )
    assert (state, summary["accepted"], summary["preview"], summary["warnings"]) == ("success", 5, False, 0)
    assert klaviyo.count() == 5


@pytest.mark.parametrize("native", [False, True])
def test_a_preview_that_a_template_turns_on_writes_nothing(
    klaviyo: Emulator, run: Run, tmp_path: Path, native: bool
) -> None:
    sql = "SELECT * FROM customers"
    summary, state = run(native=native, conf={"preview": True}, sql=sql, preview="{{ params.preview }}")
    assert (state, summary["accepted"], summary["preview"]) == ("success", 10, True)
    assert klaviyo.requests() == []


@pytest.mark.parametrize("native", [False, True])
def test_a_list_of_fields_to_clear_may_be_rendered(
    klaviyo: Emulator, run: Run, tmp_path: Path, native: bool
) -> None:
    summary, state = run(
        native=native,
        sql="SELECT * FROM customers",
        mapping={"email": "email", "properties.Seen": "seen"},
        clear_nulls=["properties.{{ 'Seen' }}"],
    )
    assert (state, summary["accepted"]) == ("success", 10)


def test_a_file_that_begins_with_a_byte_order_mark_is_the_query(
    klaviyo: Emulator, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "customers.sql").write_text("SELECT * FROM customers\n", encoding="utf-8-sig")
    summary, state = run(sql="customers.sql")
    assert (state, summary["accepted"]) == ("success", 10)


@pytest.mark.parametrize(
    ("sql", "told"),
    [("people.sql", "'people.sql' ends in .sql"), ("SELECT email FROM shop.sql", "A query ends in .sql")],
)
def test_a_text_that_only_ends_like_the_name_of_a_file_is_told_what_it_was_taken_for(
    sql: str, told: str
) -> None:
    from airflow.sdk import DAG

    from airflow_provider_klaviyo._compat import AirflowFailException

    with DAG("templates") as dag:
        operator = KlaviyoSyncProfilesOperator(task_id="sync", sql=sql, sql_conn_id="shop")
    with pytest.raises(AirflowFailException, match=told):
        operator.render_template_fields({}, dag.get_template_env())

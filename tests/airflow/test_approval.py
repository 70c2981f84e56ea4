"""A mirror that asks a person before many people leave: the example, answered by Airflow's own API."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator
from airflow_provider_klaviyo.operators.lists import KlaviyoSyncListOperator
from tests.airflow.conftest import RunExample

pytestmark = [
    pytest.mark.airflow,
    pytest.mark.slow,
    pytest.mark.usefixtures("storage"),
    pytest.mark.filterwarnings(
        "ignore:The 'alias' attribute"
    ),  # Airflow's own affair, when its API is imported
]

Shop = Callable[[str], None]


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """Sixty gold customers; executes a statement."""
    path = tmp_path / "shop.sqlite"
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps({"conn_type": "sqlite", "host": str(path)}))

    def execute(sql: str) -> None:
        with closing(sqlite3.connect(path)) as database, database:
            database.execute(sql)

    execute("CREATE TABLE customers (id INTEGER PRIMARY KEY, email TEXT, tier TEXT)")
    execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60) "
        "INSERT INTO customers SELECT i, 'p' || i || '@shop.io', 'gold' FROM n"
    )
    return execute


class Person:
    """Answers what is asked, as soon as it is.

    :param answer: ``Approve`` or ``Reject``.
    :param before: what happens in the meantime.
    """

    def __init__(self, answer: str, before: Callable[[], None] = lambda: None) -> None:
        self.asked: list[tuple[str, str]] = []
        self._answer = answer
        self._before = before
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Person:
        from airflow.api_fastapi.core_api.routes.public import hitl  # noqa: F401 - imported by one thread only

        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._is_over.wait(0.2) and not self.asked:
            self._look()

    def _look(self) -> None:
        from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
        from airflow.api_fastapi.core_api.datamodels.hitl import UpdateHITLDetailPayload
        from airflow.api_fastapi.core_api.routes.public.hitl import update_hitl_detail
        from airflow.models.hitl import HITLDetail
        from airflow.models.taskinstance import TaskInstance
        from airflow.utils.session import create_session
        from sqlalchemy import select

        waiting = select(HITLDetail).join(TaskInstance).where(TaskInstance.state == "awaiting_input")
        with create_session() as session:
            detail = session.scalar(waiting)
            if detail is None or detail.response_received:
                return
            ti = detail.task_instance
            question = detail.subject, detail.body
            where = {"dag_id": ti.dag_id, "dag_run_id": ti.run_id, "task_id": ti.task_id}
        self._before()
        with create_session() as session:
            update_hitl_detail(
                **where,
                update_hitl_detail_payload=UpdateHITLDetailPayload(chosen_options=[self._answer]),
                user=SimpleAuthManagerUser(username="ada", role="admin"),
                session=session,
            )
        self.asked.append(question)


def states(run: Any) -> dict[str, str]:
    return {
        ti.task_id: str(ti.state) for ti in run.get_task_instances() if ti.task_id in ("approve", "mirror")
    }


def members(klaviyo: Emulator, run: Any) -> int:
    (ti, *_) = run.get_task_instances()
    return len(klaviyo.members(ti.xcom_pull(task_ids="preview")["list_id"]))


@pytest.mark.skipif(
    version("apache-airflow").startswith(("3.1.", "3.2.")), reason="a Dag's test waits for answers since 3.3"
)
def test_many_leave_a_list_only_when_somebody_has_agreed_and_no_more_than_that(
    klaviyo: Emulator, shop: Shop, run_example: RunExample
) -> None:
    with Person("Approve") as person:
        run = run_example("klaviyo_approval")
    assert states(run) == {"approve": "skipped", "mirror": "success"}
    assert person.asked == []

    shop("UPDATE customers SET tier = 'silver' WHERE id <= 55")
    with Person("Reject") as person:
        run = run_example("klaviyo_approval")
    assert person.asked == [
        (
            "Take 55 people off the list Gold customers?",
            "The query has 5 rows. 0 people would join the list.",
        )
    ]
    assert states(run) == {"approve": "success", "mirror": "skipped"}
    assert members(klaviyo, run) == 60

    with Person("Approve", before=lambda: shop("UPDATE customers SET tier = 'silver' WHERE id = 56")):
        run = run_example("klaviyo_approval")
    assert states(run)["mirror"] == "failed"
    assert members(klaviyo, run) == 60

    with Person("Approve"):
        run = run_example("klaviyo_approval")
    assert states(run)["mirror"] == "success"
    assert members(klaviyo, run) == 4


def test_a_limit_that_is_missing_is_not_one_that_was_lifted(
    klaviyo: Emulator, shop: Shop, run_in_airflow: Callable[..., Any]
) -> None:
    from airflow.sdk import DAG

    mirror = {
        "mode": "mirror",
        "list_name": "VIPs",
        "sql": "SELECT id, email FROM customers",
        "primary_key": "id",
    }
    with DAG("limits", schedule=None, render_template_as_native_obj=True) as dag:
        for name, limit in (("missing", "{{ none }}"), ("given", "{{ 7 }}"), ("lifted", None)):
            KlaviyoSyncListOperator(
                task_id=name,
                sql_conn_id="shop",
                state_key=name,
                max_removals=limit,
                poll_interval=0.2,
                **mirror,
            )
    run = run_in_airflow(dag)
    assert {ti.task_id: str(ti.state) for ti in run.get_task_instances()} == {
        "missing": "failed",
        "given": "success",
        "lifted": "success",
    }

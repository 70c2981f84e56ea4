"""An Airflow with the CeleryExecutor, every part of it a process, and a sync whose shards its workers share.

Redis is the broker and keeps the limits, PostgreSQL has the metadata and the shop, and Klaviyo is the emulator with its
limits on. The sync takes a request a row, so that the windows bind with few rows.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg

from tests.airflow.gate import GATE, open_gate, waiting_at_gate
from tests.airflow.processes import Processes, connection_to, listens, settings
from tests.airflow.test_compose import ask, free_port
from tests.databases import new_database

OPERATION = "create_or_update_profile"
DAG_ID = "sharded"
HEARTBEAT_TIMEOUT = 15
"""Seconds after which this Airflow gives up a task whose worker is silent; five minutes, unless it is set."""

DAG_FILE = '''
from datetime import UTC, datetime, timedelta
from airflow.sdk import DAG
from airflow_provider_klaviyo.operators.profiles import KlaviyoSyncProfilesOperator
from airflow_provider_klaviyo.operators.summaries import KlaviyoJoinSummariesOperator

SQL = """
    SELECT id, email, first_name
    FROM customers, wait_at_gate()
    WHERE mod(hashtext(email)::bigint + 2147483648, %(shards)s) = %(shard)s
"""

with DAG("{dag_id}", start_date=datetime(2026, 1, 1, tzinfo=UTC), schedule=None, max_active_tasks={shards}):
    syncs = KlaviyoSyncProfilesOperator.partial(
        task_id="sync",
        sql_conn_id="shop",
        sql=SQL,
        primary_key="id",
        mapping={{"email": "email", "first_name": "first_name"}},
        match_by="email",
        clear_nulls=["first_name"],
        only_changes={only_changes},
        state_key="customers-{{{{ task.parameters.shard }}}}-of-{{{{ task.parameters.shards }}}}",
        poll_interval=1,
        max_active_tis_per_dag={shards},
        retries=5,
        retry_delay=timedelta(seconds=1),
    ).expand(parameters=[{{"shard": shard, "shards": {shards}}} for shard in range({shards})])
    KlaviyoJoinSummariesOperator(task_id="join", summaries=syncs.output)
'''
SHOP = (
    "CREATE TABLE customers (id int, email text, first_name text)",
    "INSERT INTO customers SELECT n, 'p' || n || '@shop.io', NULL FROM generate_series(1, {rows}) n",
    *GATE,
)
"""A shop whose shards wait at a gate for each other, so that they really send at the same time."""


class Cluster(Processes):
    """The parts of Airflow that there is one of, and workers that come and go.

    :param home: a folder of its own.
    :param database: of PostgreSQL, for the metadata.
    :param shop: another one, for the customers.
    """

    def __init__(
        self, home: Path, database: str, shop: str, environment: Mapping[str, str], klaviyo: str
    ) -> None:
        super().__init__(home, database, environment)
        self._shop = shop
        self._klaviyo = klaviyo

    def start_all(self, workers: int, concurrency: int) -> list[subprocess.Popen[bytes]]:
        """Everything, the scheduler last: a task that starts before the API server listens has failed.

        :returns: the workers.
        """
        started = [self.start_worker(number, concurrency) for number in range(workers)]
        self.start_api_server()
        self.start("scheduler", "scheduler")
        return started

    def start_worker(self, number: int, concurrency: int) -> subprocess.Popen[bytes]:
        """A worker of Celery's, with so many tasks at once."""
        more = ("--without-gossip", "--without-mingle", "--skip-serve-logs")
        name = ("--celery-hostname", f"worker{number}@%h", "--concurrency", str(concurrency))
        return self.start(f"worker{number}", "celery", "worker", *name, *more)

    def tries(self) -> dict[int, int]:
        """The number of the current try of each shard."""
        query = "SELECT map_index, try_number FROM task_instance WHERE dag_id = %s AND task_id = 'sync'"
        return dict(self.rows(query, DAG_ID))

    def state_of(self, run_id: str) -> str:
        """The state of a Dag run."""
        found = self.rows("SELECT state FROM dag_run WHERE dag_id = %s AND run_id = %s", DAG_ID, run_id)
        return str(found[0][0]) if found else "none"

    def requests(self) -> list[dict[str, Any]]:
        """What Klaviyo was sent, with its time and the number of the customer."""
        found = ask(f"{self._klaviyo}/_emulator/requests?operation={OPERATION}")["requests"]
        for each in found:
            email = json.loads(each["body"])["data"]["attributes"]["email"]
            each["customer"] = int(email.removeprefix("p").partition("@")[0])
        return list(found)

    def stats(self) -> dict[str, Any]:
        """What Klaviyo counted."""
        return dict(ask(f"{self._klaviyo}/_emulator/stats"))

    def shards(self, count: int) -> dict[int, int]:
        """The shard of each customer."""
        query = "SELECT id, mod(hashtext(email)::bigint + 2147483648, %s) FROM customers"
        with psycopg.connect(self._shop) as connection:
            return dict(connection.execute(query, (count,)).fetchall())

    def waiting_at_gate(self) -> int:
        """How many shards are ready to send."""
        return waiting_at_gate(self._shop)

    def open_gate(self) -> None:
        """Let everybody send."""
        open_gate(self._shop)


@contextmanager
def cluster(
    folder: Path, server: str, redis_url: str, *, shards: int, rows: int, only_changes: bool
) -> Iterator[Cluster]:
    """An Airflow whose Dag is loaded and unpaused; nothing of it runs yet.

    :param server: the URI of a PostgreSQL, without a database; it makes two of its own.
    :param redis_url: a Redis that it shares: its own keys are deleted.
    """
    home = folder / "airflow"
    (home / "dags").mkdir(parents=True)
    dag = DAG_FILE.format(dag_id=DAG_ID, shards=shards, only_changes=only_changes)
    (home / "dags" / "sharded.py").write_text(dag)
    prefix = f"klaviyo_tests_{uuid.uuid4().hex[:12]}"
    with ExitStack() as stack:
        metadata = stack.enter_context(new_database(server))
        shop = stack.enter_context(new_database(server))
        with psycopg.connect(shop, autocommit=True) as connection:
            for statement in SHOP:
                connection.execute(statement.replace("{rows}", str(rows)))
        stack.callback(_delete_keys, redis_url, prefix)
        klaviyo = stack.enter_context(_emulator(folder))
        environment = _environment(home, folder / "storage", metadata, shop, redis_url, prefix, klaviyo)
        running = Cluster(home, metadata, shop, environment, klaviyo)
        stack.callback(running.stop)
        running.run(["db", "migrate"], ["dags", "reserialize"], ["dags", "unpause", DAG_ID])
        yield running


def most_within(times: Sequence[float], seconds: float) -> int:
    """The most requests in any window of that length, wherever it begins."""
    times, first, most = sorted(times), 0, 0
    for number, moment in enumerate(times):
        while times[first] <= moment - seconds:
            first += 1
        most = max(most, number - first + 1)
    return most


def _environment(
    home: Path, storage: Path, metadata: str, shop: str, redis_url: str, prefix: str, klaviyo: str
) -> dict[str, str]:
    redis = urlsplit(redis_url)
    connections = {
        "shop": connection_to(shop),
        "limits": {"conn_type": "redis", "host": redis.hostname, "port": redis.port, "password": redis.password},
        "klaviyo_default": {
            "conn_type": "klaviyo", "host": klaviyo, "password": "pk_emulator",
            "extra": {"rate_limit_conn_id": "limits"},
        },
    }  # fmt: skip
    made = settings(home, storage, metadata, connections)
    return made | {
        "AIRFLOW__CELERY__BROKER_URL": redis_url,
        "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{made['AIRFLOW__DATABASE__SQL_ALCHEMY_CONN']}",
        "AIRFLOW__CELERY__SYNC_PARALLELISM": "1",
        "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": "86400",
        "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__GLOBAL_KEYPREFIX": prefix,
        "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "2",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": str(HEARTBEAT_TIMEOUT),
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "1",
    }


def _delete_keys(redis_url: str, prefix: str) -> None:
    import redis

    with redis.Redis.from_url(redis_url) as connection:
        for key in connection.scan_iter(f"{prefix}*"):
            connection.delete(key)


@contextmanager
def _emulator(folder: Path) -> Iterator[str]:
    port = free_port()
    options = ("--port", str(port), "--keep-bodies", "100000", "--job-seconds", "0.2")
    with (folder / "emulator.log").open("wb") as log:
        command = [sys.executable, "-m", "airflow_provider_klaviyo.emulator", *options]
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        ends = time.monotonic() + 60
        while not listens(port):
            assert time.monotonic() < ends, (folder / "emulator.log").read_text()
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()

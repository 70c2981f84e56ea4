"""A Klaviyo, a shop, and syncs between them, run as Airflow runs an operator."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_klaviyo.client.clock import SystemClock
from airflow_provider_klaviyo.emulator import Emulator, Settings
from airflow_provider_klaviyo.emulator.core.settings import Clock
from airflow_provider_klaviyo.hooks.klaviyo import KlaviyoHook
from tests.conftest import absent
from tests.late import LATE
from tests.reports import reports_have_the_format  # noqa: F401 - for all tests of this folder

COLUMNS = "id INTEGER, email TEXT, phone TEXT, first_name TEXT, tier TEXT"


@dataclass
class TaskInstance:
    """What an operator uses of Airflow's task instance."""

    task_id: str
    try_number: int = 1
    dag_id: str = "shop_to_klaviyo"
    run_id: str = "manual__2026-11-24T01:00:00+00:00"
    map_index: int = -1
    pushed: dict[str, Any] = field(default_factory=dict)

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value


@dataclass
class Run:
    """What is left of a run: its summary, its files and the error that it ended with."""

    summary: dict[str, Any]
    error: BaseException | None

    @property
    def rejects(self) -> list[dict[str, Any]]:
        path = self.summary.get("rejected_path")
        return [json.loads(line) for line in Path(path).read_text().splitlines()] if path else []

    @property
    def report(self) -> dict[str, Any]:
        return json.loads(Path(self.summary["report_path"]).read_text())

    def counts(self) -> dict[str, int]:
        return counts_of(self.summary) if self.summary else {}


def counts_of(summary: dict[str, Any]) -> dict[str, int]:
    """What a summary counts, without zeros; the law of the design holds."""
    outcomes = ("accepted", "unchanged", "skipped", "rejected", "pending")
    assert summary["rows_read"] == sum(summary[name] for name in outcomes), "the law is broken"
    return {name: summary[name] for name in ("rows_read", *outcomes) if summary[name]}


class Shop:
    """A SQLite database that a connection ``shop`` points at."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.execute(f"CREATE TABLE customers ({COLUMNS})")

    def execute(self, sql: str, rows: Sequence[Sequence[object]] = ()) -> None:
        with sqlite3.connect(self.path) as connection:
            if rows:
                connection.executemany(sql, rows)
            else:
                connection.execute(sql)
        connection.close()

    def fill(self, rows: Sequence[Sequence[object]]) -> None:
        self.execute("INSERT INTO customers VALUES (?, ?, ?, ?, ?)", rows)

    def fill_with_people(self, count: int) -> None:
        self.fill(
            [(n, f"p{n}@shop.io", f"+1415{5_550_000 + n}", f"P{n}", "gold") for n in range(1, count + 1)]
        )


MAPPING = {
    "external_id": "id",
    "email": "email",
    "phone_number": "phone",
    "first_name": "first_name",
    "properties.Tier": "tier",
}
SQL = "SELECT * FROM customers ORDER BY id"


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    path = tmp_path / "shop.sqlite"
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    return Shop(path)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """An S3 of the session's own; its URL."""
    try:
        from moto.server import ThreadedMotoServer
    except ImportError:
        absent("s3", "moto or s3fs is not installed")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3_bucket(s3_server: str, request: pytest.FixtureRequest) -> str:
    """An empty bucket."""
    import boto3

    bucket = f"klaviyo-{abs(hash(request.node.nodeid))}"
    client = boto3.client(
        "s3",
        endpoint_url=s3_server,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    client.create_bucket(Bucket=bucket)
    return bucket


@pytest.fixture
def s3_storage(s3_server: str, s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty bucket by an Airflow connection, as ``storage_path`` names it."""
    connection = {
        "conn_type": "aws",
        "login": "test",
        "password": "test",
        "extra": {"endpoint_url": s3_server, "region_name": "us-east-1"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_S3", json.dumps(connection))
    return f"s3://s3@{s3_bucket}/klaviyo"


@pytest.fixture
def s3_without_connection(s3_server: str, s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An empty bucket by the worker's own credentials, as ``storage_path`` names it."""
    from airflow.sdk.io import store

    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    remembered = dict(store._STORE_CACHE)
    store._STORE_CACHE.clear()
    yield f"s3://{s3_bucket}/klaviyo"
    store._STORE_CACHE.clear()
    store._STORE_CACHE.update(remembered)


StartEmulator = Callable[..., Emulator]


@pytest.fixture
def start_emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[StartEmulator]:
    """Start emulators; the connection ``klaviyo_default`` points at the newest."""
    started: list[Emulator] = []

    def start(
        key: str = "", extra: dict[str, object] | None = None, clock: Clock | None = None, **settings: Any
    ) -> Emulator:
        own = {"api_key": f"pk_{uuid.uuid4().hex}"}  # what hosts remember of a key is not another test's
        emulator = Emulator(Settings(**({"job_seconds": 0.0} | own | settings)), clock=clock)
        emulator.__enter__()
        started.append(emulator)
        connection = {
            "conn_type": "klaviyo",
            "password": key or emulator.api_key,
            "host": emulator.url,
            "extra": extra or {},
        }
        monkeypatch.setenv("AIRFLOW_CONN_KLAVIYO_DEFAULT", json.dumps(connection))
        return emulator

    yield start
    for emulator in started:
        emulator.__exit__(None, None, None)


@pytest.fixture
def klaviyo(start_emulator: StartEmulator) -> Emulator:
    return start_emulator()


def run_operator(
    operator: Any,
    *,
    run_id: str = TaskInstance.run_id,
    map_index: int = -1,
    try_number: int = 1,
    context: dict[str, Any] | None = None,
    dag_id: str = TaskInstance.dag_id,
) -> Run:
    """Execute an operator as a task does; its failure is part of what comes back."""
    ti = TaskInstance(
        operator.task_id, run_id=run_id, map_index=map_index, try_number=try_number, dag_id=dag_id
    )
    try:
        return Run(operator.execute({"ti": ti, **(context or {})}), None)
    except Exception as error:  # what a task ends with is what the test looks at
        return Run(ti.pushed.get("return_value", {}), error)


class ShiftedClock(SystemClock):
    """A host's clock that is some seconds ahead; what never jumps may have jumped, too.

    :param jump: by how much somebody sets it as soon as something is waited for.
    """

    def __init__(self, ahead: float = 0.0, jump: float = 0.0) -> None:
        self.ahead = ahead
        self.jump = jump
        self.jumped = 0.0

    def now(self) -> float:
        return super().now() + self.ahead

    def monotonic(self) -> float:
        return super().monotonic() + self.jumped

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self.ahead += self.jump
        self.jump = 0.0


def hook_by(clock: ShiftedClock) -> KlaviyoHook:
    """The hook of a host that has that clock."""
    hook = KlaviyoHook()
    hook.clock = clock
    return hook


Sync = Callable[..., Run]


@pytest.fixture
def sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sync:
    """Run the profiles operator over the shop; its failure is part of what comes back."""
    from airflow_provider_klaviyo.operators.profiles import KlaviyoSyncProfilesOperator

    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", str(tmp_path / "storage"))

    def run(
        *,
        run_id: str = TaskInstance.run_id,
        map_index: int = -1,
        try_number: int = 1,
        context: dict[str, Any] | None = None,
        **parameters: Any,
    ) -> Run:
        settings = {
            "sql": SQL,
            "sql_conn_id": "shop",
            "mapping": MAPPING,
            "poll_interval": 0.2,
            "timeout": 60,
        }
        operator = KlaviyoSyncProfilesOperator(task_id="sync_customers", **(settings | parameters | LATE))
        return run_operator(
            operator, run_id=run_id, map_index=map_index, try_number=try_number, context=context
        )

    return run


class Warehouse:
    """The people of a query, in PostgreSQL; a connection ``warehouse`` points at it."""

    columns = ("key", "email", "phone", "customer", "klaviyo")

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._execute("DROP TABLE IF EXISTS people")
        self._execute(f"CREATE TABLE people (place SERIAL, {' TEXT, '.join(self.columns)} TEXT)")

    def hold(self, *people: dict[str, object] | str) -> None:
        """Have these people and nobody else; a text is an address whose key is what stands before the @."""
        self._execute("DELETE FROM people")
        self.take(*people)

    def take(self, *people: dict[str, object] | str) -> None:
        rows = [
            {"key": each.partition("@")[0].lower(), "email": each} if isinstance(each, str) else each
            for each in people
        ]
        names = ", ".join(self.columns)
        values = json.dumps([{name: row.get(name) for name in self.columns} for row in rows])
        self._execute(
            f"INSERT INTO people ({names}) SELECT {names} FROM json_populate_recordset(NULL::people, %s::json)",
            [values],
        )

    def fill(self, first: int, last: int) -> None:
        """Add people p<first>@shop.io to p<last>@shop.io."""
        self._execute(
            "INSERT INTO people (key, email) SELECT 'p' || n, 'p' || n || '@shop.io' "
            "FROM generate_series(%s::int, %s::int) n",
            [first, last],
        )

    def drop(self, *keys: str) -> None:
        self._execute("DELETE FROM people WHERE key = ANY(%s)", [list(keys)])

    def end_other_sessions(self) -> None:
        """End what was left open, and would keep the table from the next test."""
        self._execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    def _execute(self, sql: str, values: Sequence[object] = ()) -> None:
        import psycopg

        with psycopg.connect(self._uri) as connection:
            connection.execute(sql, values or None)


@pytest.fixture
def warehouse(postgres_uri: str, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    from urllib.parse import urlsplit

    parts = urlsplit(postgres_uri)
    connection = {
        "conn_type": "postgres",
        "host": parts.hostname,
        "port": parts.port,
        "login": parts.username,
        "schema": parts.path.strip("/"),
    }
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(connection))
    return Warehouse(postgres_uri)


LIST_SYNC: dict[str, Any] = {
    "sql": "SELECT key, email FROM people ORDER BY place",
    "sql_conn_id": "warehouse",
    "mapping": {"email": "email"},
    "primary_key": "key",
    "list_name": "VIPs",
    "poll_interval": 0.2,
    "timeout": 60,
    "max_rejected": 1.0,
}


@pytest.fixture
def list_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sync:
    """Run the list operator over the warehouse."""
    from airflow_provider_klaviyo.operators.lists import KlaviyoSyncListOperator

    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", str(tmp_path / "storage"))

    def run(
        mode: str,
        *,
        task_id: str = "sync_list",
        run_id: str = TaskInstance.run_id,
        try_number: int = 1,
        context: dict[str, Any] | None = None,
        clock: ShiftedClock | None = None,
        **parameters: Any,
    ) -> Run:
        operator = KlaviyoSyncListOperator(task_id=task_id, mode=mode, **(LIST_SYNC | parameters | LATE))
        if clock:
            operator.hook = hook_by(clock)
        return run_operator(operator, run_id=run_id, try_number=try_number, context=context)

    return run


def emails(klaviyo: Emulator, list_id: str) -> set[str]:
    """Who is on a list, by address."""
    return {member["email"] for member in klaviyo.members(list_id)}

"""docker-compose.yaml, without Docker: each service's command is started directly, with the file's own settings."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request

import pytest
import yaml

from tests.airflow.api_server import free_port, opened

ROOT = Path(__file__).resolve().parents[2]
DAG = "klaviyo_profiles"
SEEDED = 504

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "docker-compose.yaml").read_text()))


@pytest.fixture
def shop(compose: dict[str, Any], postgres_uri: str) -> Iterator[dict[str, Any]]:
    """An Airflow connection to a schema that was filled by the file's own seed."""
    import psycopg

    schema = "compose_shop"
    with psycopg.connect(postgres_uri, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {schema}")
        connection.execute(f"SET search_path TO {schema}")
        connection.execute(compose["configs"]["shop_seed"]["content"])
        parts = urlsplit(postgres_uri)
        yield {
            "conn_type": "postgres",
            "host": parts.hostname,
            "port": parts.port,
            "login": parts.username,
            "password": parts.password,
            "schema": parts.path.strip("/"),
            "extra": {"options": f"-c search_path={schema}"},
        }
        connection.execute(f"DROP SCHEMA {schema} CASCADE")


def test_connections_point_at_services_of_the_file(compose: dict[str, Any]) -> None:
    environment = compose["services"]["airflow"]["environment"]
    shop, klaviyo = (json.loads(environment[f"AIRFLOW_CONN_{name}"]) for name in ("SHOP", "KLAVIYO_DEFAULT"))
    seeded = compose["services"]["shop"]["environment"]

    assert shop["host"] in compose["services"]
    assert (shop["login"], shop["password"], shop["schema"]) == (
        seeded["POSTGRES_USER"], seeded["POSTGRES_PASSWORD"], seeded["POSTGRES_DB"],
    )  # fmt: skip
    assert urlsplit(klaviyo["host"]).hostname in compose["services"]
    assert str(urlsplit(klaviyo["host"]).port) in compose["services"]["emulator"]["command"].split()


def test_ports_are_open_to_this_machine_alone(compose: dict[str, Any]) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]

    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


@pytest.mark.scheduler
def test_the_services_together_run_the_example_dag(
    compose: dict[str, Any], shop: dict[str, Any], tmp_path: Path
) -> None:
    klaviyo = f"http://127.0.0.1:{free_port()}"
    airflow = f"http://127.0.0.1:{free_port()}"
    with (
        started(compose, "emulator", tmp_path, port=urlsplit(klaviyo).port),
        started(compose, "airflow", tmp_path, airflow_environment(compose, airflow, klaviyo, shop, tmp_path)),
    ):
        eventually(lambda: ask(f"{klaviyo}/_emulator/stats"), 30, tmp_path / "emulator.log")
        eventually(lambda: ask(f"{airflow}/api/v2/monitor/health"), 240, tmp_path / "airflow.log")
        key = str(ask(f"{airflow}/auth/token")["access_token"])
        dag = f"{airflow}/api/v2/dags/{DAG}"
        eventually(lambda: ask(dag, key=key), 60, tmp_path / "airflow.log")
        ask(dag, "PATCH", {"is_paused": False}, key=key)
        run = f"{dag}/dagRuns/{ask(f'{dag}/dagRuns', 'POST', {'logical_date': None}, key=key)['dag_run_id']}"
        eventually(lambda: ask(run, key=key)["state"] in ("success", "failed"), 240, tmp_path / "airflow.log")
        assert ask(run, key=key)["state"] == "success", (tmp_path / "airflow.log").read_text()[-4000:]
        returned = f"{run}/taskInstances/sync_customers/xcomEntries/return_value?deserialize=true"
        summary = ask(returned, key=key)["value"]
        stored = ask(f"{klaviyo}/_emulator/stats")["stored"]

    assert summary["rows_read"] == SEEDED
    assert (summary["accepted"], summary["skipped"], summary["rejected"]) == (501, 1, 2)
    assert stored["profiles"] == 501


def airflow_environment(
    compose: dict[str, Any], url: str, klaviyo: str, shop: dict[str, Any], home: Path
) -> dict[str, str]:
    """The service's own settings, but for the addresses."""
    settings = dict(compose["services"]["airflow"]["environment"])
    connection = json.loads(settings["AIRFLOW_CONN_KLAVIYO_DEFAULT"])
    return settings | {
        "AIRFLOW_HOME": str(home / "airflow"),
        "AIRFLOW__API__PORT": str(urlsplit(url).port),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags_examples"),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW_CONN_KLAVIYO_DEFAULT": json.dumps(connection | {"host": klaviyo}),
        "AIRFLOW_CONN_SHOP": json.dumps(shop),
    }


@contextmanager
def started(
    compose: dict[str, Any],
    service: str,
    logs: Path,
    settings: dict[str, str] | None = None,
    port: int | None = None,
) -> Iterator[None]:
    """The service's command, as its image starts it, with everything that it starts in turn."""
    words = compose["services"][service]["command"].split()
    words = [sys.executable, *(words[1:] if words[0] == "python" else ["-m", "airflow", *words])]
    if port:
        words[-1] = str(port)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # standalone starts `airflow`
    environment = inherited | {"PATH": path} | (settings or {})
    with (logs / f"{service}.log").open("wb") as log:
        process = subprocess.Popen(
            words, env=environment, stdout=log, stderr=log, cwd=logs, start_new_session=True
        )
    try:
        yield
    finally:
        end_group(process)


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process with all that it started: Airflow's scheduler does not always heed the first signal."""
    os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(10)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def ask(url: str, method: str = "GET", body: object = None, key: str = "") -> Any:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    request = Request(url, data, headers, method=method)
    with opened(request, timeout=10) as answer:
        return json.load(answer)


def eventually(condition: Callable[[], object], seconds: float, log: Path) -> None:
    """Wait for another process; there is no clock to turn."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if condition():
                return
        except OSError:  # not listening yet, or not knowing the Dag yet
            pass
        time.sleep(0.3)
    pytest.fail(f"not within {seconds} s; the end of {log.name}:\n{log.read_text()[-4000:]}")

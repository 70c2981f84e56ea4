"""An Airflow of processes of its own, on a PostgreSQL database that is dropped with it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import psycopg

from tests.airflow.api_server import free_port

_COMMANDS = """
import json, sys
from airflow.cli.cli_parser import get_parser

for words in json.loads(sys.argv[1]):
    arguments = get_parser().parse_args(words)
    arguments.func(arguments)
"""
"""Several commands of Airflow's for the price of one start."""


class Processes:
    """The parts of an Airflow, which come and go.

    :param home: a folder of its own.
    :param database: of PostgreSQL, for the metadata.
    """

    def __init__(self, home: Path, database: str, environment: Mapping[str, str]) -> None:
        self.home = home
        self.environment = environment
        self._database = database
        self._processes: list[subprocess.Popen[bytes]] = []

    def run(self, *commands: Sequence[str]) -> None:
        """Some commands of Airflow's, to their end."""
        done = subprocess.run(
            [sys.executable, "-c", _COMMANDS, json.dumps(commands)],
            env=self.environment, capture_output=True, text=True, check=False, cwd=self.home,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-2_000:]

    def start(self, log: str, *command: str) -> subprocess.Popen[bytes]:
        """A part of Airflow that stays."""
        with (self.home / f"{log}.log").open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "airflow", *command],
                env=self.environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=self.home,
                start_new_session=True,
            )  # fmt: skip
        self._processes.append(process)
        return process

    def start_api_server(self) -> subprocess.Popen[bytes]:
        """Airflow's API server; a task that starts before it listens has failed."""
        process = self.start("api-server", "api-server")
        port = int(self.environment["AIRFLOW__API__PORT"])
        self.wait_for(lambda: listens(port), 240)
        return process

    def rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        """What the metadata database answers."""
        with psycopg.connect(self._database) as connection:
            return connection.execute(query, parameters).fetchall()  # type: ignore[arg-type]

    def forget_heartbeats(self) -> None:
        """Let those that were killed be dead for a while, as their followers see it."""
        with psycopg.connect(self._database) as connection:
            connection.execute("UPDATE job SET latest_heartbeat = latest_heartbeat - interval '1 hour'")

    def wait_for(self, condition: Callable[[], object], seconds: float) -> None:
        """Wait for other processes; there is no clock to turn."""
        ends = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > ends:
                logs = "\n".join(
                    f"== {log.name}\n{log.read_text()[-2_500:]}" for log in self.home.glob("*.log")
                )
                msg = f"not within {seconds} s\n{logs}"
                raise AssertionError(msg)
            time.sleep(0.2)

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """End a process and all that it has started, as a machine that loses its power does."""
        with suppress(psutil.NoSuchProcess):
            parent = psutil.Process(process.pid)
            stopped: list[psutil.Process] = []
            for each in [parent, *parent.children(recursive=True)]:  # nobody may see another die, and say so
                with suppress(psutil.NoSuchProcess):
                    each.send_signal(signal.SIGSTOP)
                    stopped.append(each)
            for each in {*stopped, *parent.children(recursive=True)}:
                with suppress(psutil.NoSuchProcess):
                    each.kill()
        process.wait()

    def stop(self) -> None:
        """End everything, also what lives on after its scheduler was killed."""
        for process in reversed(self._processes):
            self.kill(process)
        for each in psutil.process_iter():
            with suppress(psutil.NoSuchProcess, ProcessLookupError):
                if os.getsid(each.pid) in {process.pid for process in self._processes}:
                    each.kill()


def settings(
    home: Path, storage: Path, metadata: str, connections: Mapping[str, Mapping[str, Any]]
) -> dict[str, str]:
    """The environment of such an Airflow, whose tasks run in processes of the scheduler's.

    :param storage: ``[klaviyo] storage_path``.
    :param metadata: the database.
    """
    port = str(free_port())
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    return inherited | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__API__PORT": port,
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API_AUTH__JWT_SECRET": "a secret of this test and nobody else, long enough",
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": metadata.replace("postgresql://", "postgresql+psycopg2://"),
        "AIRFLOW__KLAVIYO__STORAGE_PATH": str(storage),
        "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
        **{f"AIRFLOW_CONN_{name.upper()}": json.dumps(each) for name, each in connections.items()},
    }


def connection_to(database: str) -> dict[str, Any]:
    """Airflow's connection to a database of PostgreSQL."""
    parts = urlsplit(database)
    return {
        "conn_type": "postgres", "host": parts.hostname, "port": parts.port, "login": parts.username,
        "password": parts.password, "schema": parts.path.lstrip("/"),
    }  # fmt: skip


def listens(port: int) -> bool:
    """Whether somebody does."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False

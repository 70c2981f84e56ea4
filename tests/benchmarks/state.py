"""What a state costs in an object store: requests and bytes of each unchanged run, over many runs.

    python tests/benchmarks/state.py --runs 100

Beside another build, the same file: ``PYTHONPATH=<that build> python tests/benchmarks/state.py``. A sync of ten people
runs against the emulator with its state on a server that speaks S3; every request to that server is counted.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sqlite3
import statistics
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import boto3
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from moto.server import ThreadedMotoServer
from werkzeug.serving import make_server

PEOPLE = 10


class CountedS3(ThreadedMotoServer):
    """A server that speaks S3 and counts what passes: requests by method, and bytes of states."""

    def __init__(self) -> None:
        super().__init__(ip_address="127.0.0.1", port=0, verbose=False)
        self._app = DomainDispatcherApplication(create_backend_app)
        self.clear()

    def clear(self) -> None:
        """Count anew."""
        self.requests: Counter[str] = Counter()
        self.state_bytes = 0

    @property
    def url(self) -> str:
        host, port = self.get_host_and_port()
        return f"http://{host}:{port}"

    def bucket(self, name: str) -> None:
        """Make a bucket."""
        client = boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        client.create_bucket(Bucket=name)

    @property
    def connection(self) -> str:
        """The Airflow connection to it."""
        extra = {"endpoint_url": self.url, "region_name": "us-east-1"}
        return json.dumps({"conn_type": "aws", "login": "test", "password": "test", "extra": extra})

    def _server_entry(self) -> None:
        self._server = make_server("127.0.0.1", 0, self._counted, True, request_handler=MotoRequestHandler)
        self._server_ready_event.set()
        self._server.serve_forever()

    def _counted(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        is_of_state = "sync-state" in environ["PATH_INFO"]
        self.requests[method] += 1
        self.state_bytes += int(environ.get("CONTENT_LENGTH") or 0) if is_of_state else 0
        for block in self._app(environ, start_response):
            self.state_bytes += len(block) if is_of_state and method == "GET" else 0
            yield block


class TaskInstance:
    """What an operator uses of Airflow's task instance."""

    task_id, dag_id, map_index, try_number = "sync", "benchmark", -1, 1

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id

    def xcom_push(self, key: str, value: object) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), options.runs)


def measure(folder: Path, runs: int) -> None:
    """Run the sync so many times, and print what each cost."""
    server = CountedS3()
    server.start()
    prepare(folder, server)
    costs = []
    for number in range(runs + 1):
        server.clear()
        run(f"scheduled__{number:04d}")
        costs.append((sum(server.requests.values()), server.state_bytes))
        if number in (1, 10, 50, 78, 100):
            methods = ", ".join(f"{method} {count}" for method, count in server.requests.items())
            print(
                f"run {number:4d}: {costs[-1][0]:5d} requests ({methods}), {costs[-1][1]:9,d} bytes of state"
            )
    server.stop()
    requests, sizes = zip(*costs[1:], strict=True)
    print(
        f"{runs} unchanged runs: requests {statistics.mean(requests):.1f} on average, {max(requests)} at most; "
        f"bytes of state {statistics.mean(sizes):,.0f} on average, {max(sizes):,} at most"
    )


def prepare(folder: Path, s3: CountedS3) -> None:
    """A database, a bucket, an emulator, and the connections to them."""
    os.environ.setdefault("AIRFLOW_HOME", str(folder / "airflow"))
    logging.disable(logging.WARNING)
    from airflow_provider_klaviyo.emulator import Emulator, Settings

    s3.bucket("benchmark")
    emulator = Emulator(Settings(job_seconds=0.0))
    emulator.__enter__()
    shop = sqlite3.connect(folder / "shop.db")
    shop.execute("CREATE TABLE customers (id INTEGER, email TEXT)")
    shop.executemany(
        "INSERT INTO customers VALUES (?, ?)", [(n, f"person{n}@shop.io") for n in range(PEOPLE)]
    )
    shop.commit()
    klaviyo = {"conn_type": "klaviyo", "password": emulator.api_key, "host": emulator.url}
    os.environ["AIRFLOW_CONN_SHOP"] = json.dumps({"conn_type": "sqlite", "host": str(folder / "shop.db")})
    os.environ["AIRFLOW_CONN_KLAVIYO_DEFAULT"] = json.dumps(klaviyo)
    os.environ["AIRFLOW_CONN_S3"] = s3.connection
    os.environ["AIRFLOW__KLAVIYO__STORAGE_PATH"] = "s3://s3@benchmark/klaviyo"


def run(run_id: str) -> None:
    """One run of the sync."""
    from airflow_provider_klaviyo.operators.profiles import KlaviyoSyncProfilesOperator

    operator = KlaviyoSyncProfilesOperator(
        task_id="sync",
        sql="SELECT id, email FROM customers",
        sql_conn_id="shop",
        primary_key="id",
        only_changes=True,
        poll_interval=0.1,
    )
    operator.execute({"ti": TaskInstance(run_id)})  # type: ignore[arg-type]


if __name__ == "__main__":
    main()

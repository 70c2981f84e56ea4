"""A server in a process of its own, for benchmarks: what it costs is not counted."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class TaskInstance:
    """What an operator uses of Airflow's task instance."""

    task_id, dag_id, run_id, map_index, try_number = "benchmark", "benchmark", "benchmark", -1, 1

    def xcom_push(self, key: str, value: object) -> None:
        pass


class JsonHandler(BaseHTTPRequestHandler):
    """Answers with JSON, and writes no log."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # an answer of two writes would wait 40 ms for an acknowledgement

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"]))

    def answer(self, status: int, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/vnd.api+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def serve(handler: type[JsonHandler]) -> None:
    """Print the port and serve until killed."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    print(server.server_port, flush=True)
    server.serve_forever()


@contextmanager
def started(module: str) -> Iterator[str]:
    """The URL of the server that ``module`` is when started with ``--serve``."""
    command = [sys.executable, "-m", module, "--serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.kill()

"""ClickHouse's engine in a process of its own."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.conftest import ROOT, absent


@contextmanager
def running_clickhouse() -> Iterator[int]:
    """The port at which ``clickhouse_server`` serves.

    The engine is not imported here: it takes over signals that a Java machine in the same process lives by.
    """
    if importlib.util.find_spec("chdb") is None:
        absent("clickhouse", "chdb is not installed (dependency group clickhouse)")
    command = [sys.executable, "-m", "tests.integration.source.contract.clickhouse_server", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        try:
            yield int(server.stdout.readline())
        finally:
            server.kill()

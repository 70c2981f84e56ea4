"""Who may read the time: a clock, which everybody else is given, so that a test need not wait."""

from __future__ import annotations

import ast

import pytest

from tests.unit.test_layers import modules

OF_TIME = {"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "sleep"}
OF_DATES = {"now", "utcnow", "today"}

MAY_READ = {
    "client.bounded": "it bounds calls that really hang, whatever clock a test has",
    "client.clock": "it is the clock",
    "client.http": "it bounds an exchange on the network, which takes no less where a test's clock runs ahead",
    "emulator.core.settings": "the emulator's clock, which shares nothing with the client's",
    "emulator.server.http": "it logs when requests really came, and how long they took",
    "demo.services": "it waits for processes, and tells how long they took",
}
"""The modules that read the time themselves, and why."""


def reads(module: ast.Module) -> set[str]:
    """How a module reads the time past every clock."""
    found = set()
    for node in ast.walk(module):
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            found |= {f"time.{alias.name}" for alias in node.names} & {f"time.{name}" for name in OF_TIME}
        elif isinstance(node, ast.Attribute):
            owner = ast.unparse(node.value)
            kind = owner.rpartition(".")[2]
            if (owner == "time" and node.attr in OF_TIME) or (
                kind in ("datetime", "date", "timezone") and node.attr in OF_DATES
            ):
                found.add(f"{owner}.{node.attr}")
    return found


def test_nobody_reads_the_time_past_the_clock() -> None:
    found = {name: told for name, module in modules().items() if (told := reads(module))}
    assert {name: found[name] for name in found.keys() - MAY_READ.keys()} == {}
    assert found.keys() == MAY_READ.keys(), "who no longer reads it needs no leave"


@pytest.mark.parametrize(
    "code",
    [
        "import time\nstarted = time.time()",
        "import time\nclock: object = time.monotonic",
        "from time import monotonic",
        "import datetime as dt\nnow = dt.datetime.now(dt.UTC)",
        "from datetime import UTC, datetime\nnow = datetime.now(UTC)",
        "from datetime import date\nnow = date.today()",
        "from airflow.sdk import timezone\nnow = timezone.utcnow()",
        "def wait() -> None:\n    import time\n    time.sleep(1)",
    ],
)
def test_a_read_is_seen(code: str) -> None:
    assert len(reads(ast.parse(code))) == 1


def test_a_clock_that_was_given_is_none() -> None:
    assert (
        reads(ast.parse("now = self._client.clock.now()\nwhen = datetime.fromtimestamp(now, UTC)")) == set()
    )

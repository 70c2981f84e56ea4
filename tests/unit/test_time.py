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


MAY_TELL_THE_TIME_OF_DAY = {
    "client.clock": "it is the clock",
    "client.account": "it remembers an account in a file, for an hour by the file's own time",
    "client.klaviyo": "Klaviyo's dates are compared with when an answer arrived",
    "client.rate_limit": "people read until when a pause lasts",
    "client.server_clock": "until Klaviyo has told its time",
    "client.window_file": "the files outlive a restart of the machine, and its monotonic clock does not",
    "cli.doctor": "this host's time is compared with Klaviyo's",
    "cli.program": "the log of a state has times, and its lock is compared with those of other hosts",
    "hooks.klaviyo": "a revision retires on a day",
    "plugin.app": "how fresh a report is, and how old a task instance",
    "operators.environment": "when a run is due, where Airflow does not say",
    "operators.waiting": "how long a task has waited, as Airflow wrote it down, and when it is to be started anew",
    "operators.events": "events are old or new by the time of day",
    "operators.summaries": "old files have dates",
    "sensors.jobs": "when a sensor was rescheduled first, as Airflow wrote it down",
    "sensors.lists": "a trigger that is made again must know its end",
    "triggers.lists": "it is made with its end, by another process",
    "sync.deferral": "another worker reads when the run began",
    "sync.delivery.jobs": "another worker takes jobs over, and must know when they began",
    "sync.delivery.resume": "how old a job is, by Klaviyo's time",
    "sync.in_flight.notes": "notes are compared with those of other hosts, by Klaviyo's time",
    "sync.lists.creation": "claims and notes are compared with those of other hosts",
    "sync.accounting": "a state is read by other runs",
    "sync.report_file": "people read when a run began, and how fresh its report is",
    "sync.run": "a deferral is read by others, and old files have dates",
    "sync.subscriptions.session": "consent has dates, and what is asked is compared with other hosts by Klaviyo's time",
    "sync.subscriptions.subscribe": "days since somebody was asked, by Klaviyo's time",
    "sync.subscriptions.unsubscribe": "hours since somebody was asked, by Klaviyo's time",
}
"""The modules that ask a clock for the time of day, and for what; waits and deadlines go by ``monotonic``."""

OF_THE_DAY = {"time_of_day", "moment_of"}
"""What of ``client.clock`` turns one into the other."""


def tells(module: ast.Module) -> set[str]:
    """Where a module asks a clock for the time of day."""
    found = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Attribute):
            owner = ast.unparse(node.value)
            if node.attr == "server_now" or (node.attr == "now" and "clock" in owner.lower()):
                found.add(f"{owner}.{node.attr}")
        elif isinstance(node, ast.Name) and node.id in OF_THE_DAY:
            found.add(node.id)
    return found


def test_waits_go_by_the_monotonic_clock_and_who_tells_the_time_of_day_says_for_what() -> None:
    found = {name: told for name, module in modules().items() if (told := tells(module))}
    ours = {name: told for name, told in found.items() if not name.startswith("emulator")}
    assert {name: ours[name] for name in ours.keys() - MAY_TELL_THE_TIME_OF_DAY.keys()} == {}
    assert ours.keys() == MAY_TELL_THE_TIME_OF_DAY.keys(), "who no longer asks needs no leave"


@pytest.mark.parametrize(
    "code",
    [
        "until = self._client.clock.now() + 60",
        "lock = StateLock(now=environment.clock.now)",
        "now = (clock or SystemClock()).now",
        "until = client.server_now() + 60",
        "end = moment_of(self.clock, until)",
    ],
)
def test_who_tells_the_time_of_day_is_seen(code: str) -> None:
    assert len(tells(ast.parse(code))) == 1


def test_who_goes_by_the_monotonic_clock_is_not() -> None:
    assert tells(ast.parse("until = self.clock.monotonic() + 60\nnow = options.now")) == set()


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

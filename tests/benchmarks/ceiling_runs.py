"""The runs of `ceiling`, and what one takes: a client's process against a fresh server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.least import Work
from tests.benchmarks.serving import ROOT
from tests.round_trips import RoundTrip

CLIENT = ROOT / "tests" / "benchmarks" / "ceiling_client.py"
READS, LOOK_UP = "get_profiles_for_list", "get_profiles"

ROWS = {
    "mirror": 60_000,
    "mirror of imports": 60_000,
    "remove": 30_000,
    "unsubscribe": 10_000,
    "subscribe": 30_000,
    "profiles": 300_000,
    "events": 100_000,
}
IS_WAITED_FOR = ("unsubscribe", "subscribe")
"""Runs whose outcome is waited for after the last write."""


def work(run: str, rows: int) -> tuple[Work, ...]:
    """The requests that a run cannot do without."""
    each = {
        "mirror": (Work(READS, rows, 100),),
        "mirror of imports": (Work(READS, rows, 100),),
        "remove": (Work(READS, rows, 100), Work("remove_profiles_from_list", rows, 1_000)),
        "unsubscribe": (Work(READS, rows, 100), Work("bulk_unsubscribe_profiles", rows, 100)),
        "subscribe": (Work(LOOK_UP, rows, 100), Work("bulk_subscribe_profiles", rows, 1_000)),
        "profiles": (Work("bulk_import_profiles", rows, 10_000),),
        "events": (Work("bulk_create_events", rows, 1_000),),
    }
    return each[run]


@dataclass(frozen=True)
class Measured:
    """One run of one build."""

    rows: int
    seconds: float
    waited: float
    cpu: float
    peak_mb: float
    trips: list[RoundTrip]
    exceeded: int
    server_cpu: float
    summary: dict[str, int]
    build: str

    @property
    def throttled(self) -> int:
        return sum(trip.status == 429 for trip in self.trips)


# --- measuring --------------------------------------------------------------------------------------------------


@contextmanager
def _server(run: str, rows: int, latency: float) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.benchmarks.ceiling_server", run, str(rows), str(latency)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=_environment(ROOT)
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _environment(build: Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(build)}


def measure(run: str, rows: int, latency: float, build: Path) -> Measured:
    """One run of a build of this package."""
    measured = measure_client([sys.executable, str(CLIENT)], run, rows, latency, build)
    if Path(measured.build).resolve() != build.resolve():
        msg = f"{measured.build} was measured, not {build}."
        raise SystemExit(msg)
    return measured


def measure_client(
    client: Sequence[str], run: str, rows: int, latency: float, build: Path = ROOT
) -> Measured:
    """One run of a client against a fresh server.

    :param client: the command, to which the run, its rows and both URLs are added.
    """
    with _server(run, rows, latency) as server:
        urls = server.stdout.readline().split()  # type: ignore[union-attr]
        done = subprocess.run(
            [*client, run, str(rows), *urls],
            capture_output=True,
            text=True,
            cwd=build,
            env=_environment(build),
            check=False,
        )
        if "MEASURED" not in done.stdout:
            msg = f"{run} failed:\n{done.stderr[-3000:]}"
            raise SystemExit(msg)
        print(file=server.stdin, flush=True)
        told = json.loads(server.stdout.readline())  # type: ignore[union-attr]
    figures = json.loads(done.stdout.partition("MEASURED")[2].splitlines()[0])
    trips = [RoundTrip(*trip) for trip in told["requests"]]
    end = figures["ended"]
    if run in IS_WAITED_FOR:
        writes = {each.operation for each in work(run, rows)} - {READS, LOOK_UP}
        end = max((trip.answered for trip in trips if trip.operation in writes), default=end)
    return Measured(
        rows=rows,
        seconds=end - figures["began"],
        waited=figures["ended"] - end,
        cpu=figures["cpu"],
        peak_mb=figures["peak_mb"],
        trips=trips,
        exceeded=told["exceeded"],
        server_cpu=told["cpu"],
        summary=figures.get("summary", {}),
        build=figures.get("build", ""),
    )

"""How close each sync type comes to Klaviyo's windows when every answer is late, beside another build and peers.

    python -m tests.benchmarks.ceiling                                      every run, answers 300 ms late
    python -m tests.benchmarks.ceiling --before <worktree of another build>
    python -m tests.benchmarks.ceiling --latency 0.3 0.6 1.0 --only mirror remove --scale 0.1
    python -m tests.benchmarks.ceiling --steady --only mirror               how much of each minute is used
    python -m tests.benchmarks.ceiling --peers                              what drt-core and Klaviyo's SDK take
    python -m tests.benchmarks.ceiling --peers --scale 0.01                 a few minutes

Client and server are processes of their own; the server is the emulator with Klaviyo's windows on
(`ceiling_server`), the client an operator as Airflow runs it (`ceiling_client`), with rate_limit_share 1. Both builds
are run by the files of this tree.

*least* is what the documented windows alone permit, and one latency (`least`). *chain* is the longest chain of requests
of which each came after the one before was answered. What is waited for after the last write, such as an outcome that
Klaviyo works off later, is no part of the seconds and stands apart. CPU is that of the client's process.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tests.benchmarks.ceiling_runs import ROWS, Measured, measure, work
from tests.benchmarks.least import binding, documented, least
from tests.benchmarks.peers import compare
from tests.benchmarks.serving import ROOT
from tests.round_trips import longest_chain

STEADY_MINUTES = 3

HEAD = (
    f"{'run':<20}{'rows':>9}{'least s':>9}{'this s':>9}{'ratio':>7}{'before':>9}{'faster':>8}{'requests':>10}"
    f"{'chain':>7}{'429':>5}{'MB':>6}{'before':>7}{'µs/row':>8}{'before':>8}{'waited':>8}"
)


def line(run: str, low: float, this: Measured, before: Measured | None) -> str:
    """A line of the table."""

    def of_before(value: str) -> str:
        return value if before else "-"

    per_row = [each.cpu / each.rows * 1e6 if each else 0.0 for each in (this, before)]
    faster = of_before(f"{before.seconds / this.seconds:.1f}" if before else "")
    return (
        f"{run:<20}{this.rows:>9,}{low:>9.1f}{this.seconds:>9.1f}{this.seconds / low:>7.2f}"
        f"{of_before(f'{before.seconds:.1f}' if before else ''):>9}{faster:>8}{len(this.trips):>10,}"
        f"{len(longest_chain(this.trips)):>7}{this.throttled:>5}{this.peak_mb:>6.0f}"
        f"{of_before(f'{before.peak_mb:.0f}' if before else ''):>7}{per_row[0]:>8.1f}"
        f"{of_before(f'{per_row[1]:.1f}'):>8}{this.waited:>8.1f}"
    )


def table(names: list[str], scale: float, latency: float, before: Path | None) -> None:
    """The runs at one latency."""
    print(f"\nEvery answer {latency * 1000:.0f} ms late.\n{HEAD}", flush=True)
    for run in names:
        rows = max(round(ROWS[run] * scale), 1)
        low = least(work(run, rows), latency)
        other = measure(run, rows, latency, before) if before else None
        this = measure(run, rows, latency, ROOT)
        print(line(run, low, this, other), flush=True)
        if other and other.summary != this.summary:
            print(f"    Not the same outcome: {this.summary}, before {other.summary}", flush=True)


def steady(names: list[str], latency: float, build: Path) -> None:
    """Work of more than three minutes: how much of the binding endpoint's minutes is used."""
    print(f"\nEvery answer {latency * 1000:.0f} ms late, work for {STEADY_MINUTES} minutes and more.")
    for run in names:
        tight = binding(work(run, ROWS[run]))
        windows = documented(tight.operation)
        requests = round(windows.steady * (STEADY_MINUTES + 0.2))
        done = measure(run, requests * tight.each, latency, build)
        came = sorted(trip.came for trip in done.trips if trip.operation == tight.operation)
        within = sum(at < came[0] + STEADY_MINUTES * 60 for at in came)
        share = within / (STEADY_MINUTES * windows.steady)
        print(
            f"{run:<20}{done.rows:>10,} rows {done.seconds:>7.1f} s  {tight.operation}: {within:,} requests in "
            f"{STEADY_MINUTES} minutes, {share:.1%} of what the windows permit; {done.throttled} times 429; "
            f"{done.peak_mb:.0f} MB; {done.cpu / done.rows * 1e6:.1f} µs of CPU a row",
            flush=True,
        )


def show_chain(run: str, rows: int, latency: float, build: Path) -> None:
    """The operations of the longest chain, repeated ones counted."""
    chain = longest_chain(measure(run, rows, latency, build).trips)
    runs: list[list[Any]] = []
    for trip in chain:
        if runs and runs[-1][0] == trip.operation:
            runs[-1][1] += 1
        else:
            runs.append([trip.operation, 1])
    print(f"{run}: {len(chain)} = " + ", ".join(f"{count} {operation}" for operation, count in runs))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--latency", type=float, nargs="+", default=[0.3], help="seconds")
    parser.add_argument(
        "--only", nargs="+", choices=ROWS, default=list(ROWS), metavar="RUN", help="some of the runs"
    )
    parser.add_argument("--scale", type=float, default=1.0, help="a part of the rows")
    parser.add_argument("--before", type=Path, help="root of another build, such as a git worktree")
    parser.add_argument("--steady", action="store_true", help="three minutes of each run")
    parser.add_argument(
        "--peers", action="store_true", help="what others take, installed in a temporary folder"
    )
    parser.add_argument("--chain", action="store_true", help="the operations of each run's longest chain")
    asked = parser.parse_args()
    if asked.peers:
        compare(asked.only, asked.scale, asked.latency)
        return
    for latency in asked.latency:
        if asked.steady:
            steady(asked.only, latency, asked.before or ROOT)
        elif asked.chain:
            for run in asked.only:
                show_chain(run, max(round(ROWS[run] * asked.scale), 1), latency, asked.before or ROOT)
        else:
            table(asked.only, asked.scale, latency, asked.before)


if __name__ == "__main__":
    main()

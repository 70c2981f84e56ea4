"""What others take for the runs of `ceiling`: Klaviyo's official SDK and drt-core, as far as they can do them.

They are installed into an environment of their own in a temporary folder, and `ceiling_peers` runs them. Who sends a
row a request, one after the other, is measured with few rows; what all of them take is told from those, marked by ~.
"""

from __future__ import annotations

import subprocess
import tempfile
import venv
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.ceiling_runs import ROWS, Measured, measure, measure_client, work
from tests.benchmarks.least import least
from tests.benchmarks.serving import ROOT
from tests.round_trips import longest_chain

CLIENT = ROOT / "tests" / "benchmarks" / "ceiling_peers.py"
FEW = 100


class Peer(NamedTuple):
    """A package, the rows it is measured with at the most, the runs it cannot do, and what it leaves out of others."""

    name: str
    version: str
    most: int
    cannot: Mapping[str, str]
    without: Mapping[str, str]


_NO_MIRROR = "its Klaviyo destination has no mirror"
_NO_CONSENT = "its Klaviyo destination has no consent"

PEERS = (
    Peer(
        name="klaviyo-api",
        version="24.0.0",  # the SDK of revision 2026-07-15
        most=max(ROWS.values()),
        cannot={},
        without={
            "mirror": "nobody is to be added or taken off",
            "mirror of imports": "nobody is to be added or taken off",
            "unsubscribe": "nobody looks who is on the list, nor who has left it",
            "subscribe": "nobody looks who has opted out, nor who was subscribed",
        },
    ),
    Peer(
        name="drt-core",
        version="1.2.1",
        most=FEW,
        cannot={
            "mirror": _NO_MIRROR,
            "mirror of imports": _NO_MIRROR,
            "remove": "its Klaviyo destination takes nobody off a list",
            "unsubscribe": _NO_CONSENT,
            "subscribe": _NO_CONSENT,
        },
        without={"profiles": "all fields but the address are custom properties"},
    ),
)


@contextmanager
def _installed() -> Iterator[str]:
    """The Python of a fresh environment that has the peers."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = str(Path(folder) / "bin" / "python")
        wanted = [f"{peer.name}=={peer.version}" for peer in PEERS]
        subprocess.run([python, "-m", "pip", "install", "-qq", *wanted], check=True)
        yield python


def compare(names: Iterable[str], scale: float, latencies: Iterable[float]) -> None:
    """The runs by the operators and by each peer."""
    with _installed() as python:
        for latency in latencies:
            print(f"\nEvery answer {latency * 1000:.0f} ms late.\n{HEAD}", flush=True)
            for run in names:
                rows = max(round(ROWS[run] * scale), 1)
                ours = measure(run, rows, latency, ROOT)
                print(_line(run, "the operator", rows, latency, ours), flush=True)
                for peer in PEERS:
                    print(_of_peer(peer, python, run, rows, latency), flush=True)


HEAD = (
    f"{'run':<20}{'by':<14}{'rows':>9}{'measured':>10}{'least s':>9}{'s':>11}{'ratio':>11}{'requests':>10}{'chain':>7}"
    f"{'429':>5}{'MB':>6}{'µs/row':>8}"
)


def _of_peer(peer: Peer, python: str, run: str, rows: int, latency: float) -> str:
    if run in peer.cannot:
        return f"{run:<20}{peer.name:<14}cannot: {peer.cannot[run]}"
    client = [python, str(CLIENT), peer.name]
    measured = measure_client(client, run, min(rows, peer.most), latency)
    without = f"  {peer.without[run]}" if run in peer.without else ""
    return _line(run, peer.name, rows, latency, measured) + without


def _line(run: str, by: str, rows: int, latency: float, measured: Measured) -> str:
    low, seconds = least(work(run, rows), latency), measured.seconds * rows / measured.rows
    about = "~" if measured.rows < rows else ""
    return (
        f"{run:<20}{by:<14}{rows:>9,}{measured.rows:>10,}{low:>9.1f}{f'{about}{seconds:,.1f}':>11}"
        f"{f'{about}{seconds / low:,.2f}':>11}{len(measured.trips):>10,}{len(longest_chain(measured.trips)):>7}"
        f"{measured.throttled:>5}{measured.peak_mb:>6.0f}{measured.cpu / measured.rows * 1e6:>8.1f}"
    )

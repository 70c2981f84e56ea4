"""The limiter under load: many processes of a host, or of several, that want more than the windows permit.

    python -m tests.benchmarks.limiter                                       200 processes of one host, by files
    python -m tests.benchmarks.limiter --store redis --processes 64          64 processes, as of 8 hosts, through Redis

Every process takes slots for one endpoint as fast as it gets them, in Klaviyo's windows for pages of people (75 a
second, 750 a minute) or narrower ones, and notes when. Printed are what a request costs in CPU, what the process with
the fewest got beside an equal share, and the most that any window saw, wherever it begins. Hosts share nothing but
Redis, so that a process with a store of its own is a host as far as the limiter can tell.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path

import redis

from airflow_provider_klaviyo.client.rate_limit import RateLimiter, WindowStore
from airflow_provider_klaviyo.client.rate_limit_files import FileWindows
from airflow_provider_klaviyo.client.rate_limit_redis import RedisWindows
from airflow_provider_klaviyo.client.rate_limit_slots import Rate
from airflow_provider_klaviyo.client.rate_limit_waits import RateLimitDeadline, RateLimitStoreError

ANSWER = 0.02
"""Seconds that every request takes."""


@dataclass(frozen=True)
class Load:
    """What all processes together did.

    :param times: when requests were let through, by the machine's monotonic clock, one list for each process.
    :param cpu: seconds of CPU of all.
    :param failed: processes that gave up, since they did not come to the windows before their time was up.
    """

    times: list[list[float]]
    cpu: float
    failed: int

    @property
    def requests(self) -> int:
        return sum(map(len, self.times))

    @property
    def least_share(self) -> float:
        """What the process with the fewest requests got, beside an equal share."""
        return min(map(len, self.times)) * len(self.times) / max(self.requests, 1)

    def most_in(self, seconds: float) -> int:
        """The most requests in a window of so many seconds, wherever it begins."""
        ordered = sorted(moment for times in self.times for moment in times)
        most = first = 0
        for last, moment in enumerate(ordered):
            while moment - ordered[first] >= seconds:
                first += 1
            most = max(most, last - first + 1)
        return most


# --- one process ------------------------------------------------------------------------------------------------


def store(where: str) -> WindowStore:
    """A store of its own, as each process has it: a folder, or a Redis and a prefix (``redis://…#prefix``)."""
    if not where.startswith("redis://"):
        return FileWindows(Path(where))
    url, _, prefix = where.partition("#")
    return RedisWindows(redis.Redis.from_url(url), prefix)


def take(where: str, seconds: float, rates: Sequence[Rate], begin: Event, told: Connection) -> None:
    """Take slots for so long, once all may begin; tell when, and the CPU that it took."""
    limiter = RateLimiter(store(where), account="benchmark", share=1.0)
    begin.wait()
    end, cpu = time.monotonic() + seconds, time.process_time()
    times: list[float] = []
    problem = ""
    try:
        while time.monotonic() < end:
            with limiter.permit("endpoint", rates, hold=60.0, deadline=end):
                times.append(time.monotonic())
                time.sleep(ANSWER)
    except RateLimitDeadline:
        pass
    except RateLimitStoreError as error:
        problem = type(error).__name__
    told.send((times, time.process_time() - cpu, problem))


# --- all of them ------------------------------------------------------------------------------------------------


def load(where: str, processes: int, seconds: float, rates: Sequence[Rate]) -> Load:
    """So many processes that take slots for so long."""
    context = multiprocessing.get_context("fork")
    begin, pipes = context.Event(), [context.Pipe(duplex=False) for _ in range(processes)]
    started = [context.Process(target=take, args=(where, seconds, rates, begin, pipe[1])) for pipe in pipes]
    for each in started:
        each.start()
    begin.set()
    told = [pipe[0].recv() for pipe in pipes]
    for each in started:
        each.join()
    return Load(
        [each[0] for each in told], sum(each[1] for each in told), sum(bool(each[2]) for each in told)
    )


@contextmanager
def own_redis(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A Redis that keeps nothing on disk, and its URL."""
    program = shutil.which("redis-server")
    assert program is not None, "redis-server is not installed"
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            while socket.socket().connect_ex(("127.0.0.1", port)):
                time.sleep(0.02)
            yield server, f"redis://127.0.0.1:{port}/0"
        finally:
            server.kill()


def show(done: Load, rates: Sequence[Rate], processes: int, seconds: float) -> None:
    most = ", ".join(f"{done.most_in(rate.seconds)} of {rate.limit} in {rate.seconds:g} s" for rate in rates)
    each = done.cpu / max(done.requests, 1) * 1000
    print(
        f"{processes} processes, {seconds:.0f} s: {done.requests:,} requests, {each:.1f} ms of CPU each, "
        f"{done.cpu / seconds / processes:.1%} of a core for each process; "
        f"the least share {done.least_share:.2f} of an equal one; the most in any window: {most}; "
        f"{done.failed} gave up",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--processes", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=130.0)
    parser.add_argument("--rates", type=float, nargs="+", default=[75, 1.0, 750, 60.0], metavar="NUMBER")
    parser.add_argument("--store", choices=("files", "redis"), default="files")
    asked = parser.parse_args()
    rates = [
        Rate(int(each), length) for each, length in zip(asked.rates[::2], asked.rates[1::2], strict=True)
    ]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        where = str(Path(folder) / "windows")
        if asked.store == "redis":
            where = f"{stack.enter_context(own_redis(Path(folder)))[1]}#benchmark"
        show(load(where, asked.processes, asked.seconds, rates), rates, asked.processes, asked.seconds)


if __name__ == "__main__":
    main()

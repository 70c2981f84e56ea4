"""How fast a run tells what has changed, and how much memory that takes, by the size of the state.

::

    python tests/benchmarks/diff.py                       the diff, for 100,000, 1 million and 10 million rows
    python tests/benchmarks/diff.py --engines --rows N    engines for the look-ups, side by side (needs duckdb)

Every size runs in a process of its own, and one row of a hundred has changed. Machines differ, so read the columns
against each other. On 2026-11-29, on two cores with little else to do:

=============  ============  ============  ============
rows in state  rows/s        CPU µs a row  peak
=============  ============  ============  ============
100,000        285,000       3.5           34 MiB
1,000,000      168,000       5.9           55 MiB
10,000,000     145,000       6.7           57 MiB
=============  ============  ============  ============

Look-ups alone, for 1,000,000 rows on a busier machine: a dictionary 1.0 µs and 156 MiB, SQLite 5.6 µs and 42 MiB,
DuckDB 7.9 µs and 177 MiB; DuckDB with all keys staged and one join at the end 5.0 µs and 176 MiB, but then nothing is
sent before the query has ended. So the table is SQLite: it answers while rows stream in, in the least memory, comes
with Python, and its file is the snapshot.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from airflow_provider_klaviyo.records.record import Record
from airflow_provider_klaviyo.state.keys import fingerprints, key_hashes, person_hashes
from airflow_provider_klaviyo.state.opening import open_ledger
from airflow_provider_klaviyo.state.rows import Status
from airflow_provider_klaviyo.state.stores import store_of
from airflow_provider_klaviyo.state.table import StateTable
from airflow_provider_klaviyo.sync.changes import OnlyChanges
from airflow_provider_klaviyo.sync.delivery.acknowledgements import KeptState

CHUNK = 2_000
BATCH = 10_000
CHANGED = 100
"""One row of so many has changed."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000, 10_000_000])
    parser.add_argument("--engines", action="store_true")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(ENGINES[options.one](options.rows[0])))
        return
    names = list(ENGINES) if options.engines else ["diff"]
    print(f"{'':28}{'rows':>12}{'load s':>9}{'rows/s':>11}{'CPU µs/row':>12}{'peak MiB':>10}")
    for rows in options.rows:
        for name in names:
            show(name, rows)


def show(name: str, rows: int) -> None:
    command = [sys.executable, __file__, "--one", name, "--rows", str(rows)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{name:28}{rows:>12,}  did not run: {done.stderr.strip().splitlines()[-1]}")
        return
    told = json.loads(done.stdout.splitlines()[-1])
    print(
        f"{name:28}{rows:>12,}{told['load']:>9.1f}{rows / told['wall']:>11,.0f}"
        f"{told['cpu'] / rows * 1e6:>12.2f}{told['peak']:>10.0f}",
        flush=True,
    )


def body(number: int, night: int) -> bytes:
    level = night if number % CHANGED == 0 else 0
    return b'{"type":"profile","attributes":{"email":"p%d@shop.io","properties":{"Level":%d}}}' % (
        number,
        level,
    )


def records(rows: int, night: int) -> Iterator[tuple[int, list[tuple[int]], list[Record]]]:
    """The rows of a night, a chunk at a time, as the mapper hands them on."""
    for start in range(0, rows, CHUNK):
        numbers = range(start + 1, min(start + CHUNK, rows) + 1)
        chunk = [(number,) for number in numbers]
        yield (
            start + 1,
            chunk,
            [Record(number, (number,), f"p{number}@shop.io", body(number, night)) for number in numbers],
        )


def filled(rows: int, path: Path) -> None:
    """A table in which every row of the first night is acknowledged."""
    table = StateTable(path)
    for _, chunk, made in records(rows, 0):
        persons = person_hashes([f"email\0{record.identity}" for record in made])
        prints = fingerprints([record.body for record in made])
        keys = key_hashes(chunk)
        table.mark(
            [(key, each, person, None) for key, each, person in zip(keys, prints, persons, strict=True)],
            Status.ACKNOWLEDGED,
            2,
        )
    table.freeze(path.with_suffix(".frozen"))
    table.close()
    path.unlink()


def in_another_process(rows: int, folder: Path) -> Path:
    """The same, so that this process's peak is its own."""
    path = folder / "made"
    code = (
        f"import sys; sys.path[:0] = {sys.path!r}; import diff; diff.filled({rows}, diff.Path({str(path)!r}))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent)
    return path.with_suffix(".frozen")


def diff(rows: int) -> dict[str, float]:
    """What a run does beside mapping and sending: hashes, look-ups, doubts and verdicts; no network."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = in_another_process(rows, folder)
        from airflow_provider_klaviyo.state.log import StateLog

        log = StateLog(store_of(folder / "log"), writer="benchmark", now=time.time)
        log.append_file("snapshot", {"target": {}, "runs": [], "refresh": {}, "open": []}, made)
        made.unlink()
        (folder / "scratch").mkdir()
        started = time.perf_counter()
        ledger = open_ledger(
            store_of(folder / "log"), folder / "scratch", {}, writer="benchmark", now=time.time
        )
        load = time.perf_counter() - started
        changes, state = OnlyChanges(ledger), KeptState(ledger)
        changes.describe([0], "email")
        sent, batch, making, making_cpu = 0, [], 0.0, 0.0
        cpu, started = time.process_time(), time.perf_counter()
        source = records(rows, 1)
        while True:
            clock, clock_cpu = time.perf_counter(), time.process_time()
            chunk = next(source, None)
            making, making_cpu = (
                making + time.perf_counter() - clock,
                making_cpu + time.process_time() - clock_cpu,
            )
            if chunk is None:
                break
            first, keys, made_records = chunk
            batch += changes.unsent(changes.keyed(keys, first, made_records).records).records
            if len(batch) >= BATCH:
                sent += len(batch)
                state.settle(state.mark_in_doubt(batch))
                batch = []
        if batch:
            sent += len(batch)
            state.settle(state.mark_in_doubt(batch))
        wall, used = time.perf_counter() - started - making, time.process_time() - cpu - making_cpu
        assert sent == rows // CHANGED
        ledger.close()
        return {"load": load, "wall": wall, "cpu": used, "peak": peak()}


def looked_up(rows: int, open_engine: Callable[[Path], Callable[[Sequence[int]], int]]) -> dict[str, float]:
    """Only the look-ups, by one engine: fingerprints of a chunk of keys in random order."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = in_another_process(rows, folder)
        started = time.perf_counter()
        look_up = open_engine(made)
        load = time.perf_counter() - started
        order = list(range(0, rows, CHUNK))
        random.Random(1).shuffle(order)
        wall = used = 0.0
        found = 0
        for start in order:
            keys = key_hashes([(number,) for number in range(start + 1, min(start + CHUNK, rows) + 1)])
            clock, cpu = time.perf_counter(), time.process_time()
            found += look_up(keys)  # type: ignore[arg-type]
            wall, used = wall + time.perf_counter() - clock, used + time.process_time() - cpu
        assert found == rows
        return {"load": load, "wall": wall, "cpu": used, "peak": peak()}


def sqlite_engine(path: Path) -> Callable[[Sequence[int]], int]:
    copy = path.with_suffix(".copy")
    shutil.copy(path, copy)
    table = StateTable(copy)
    return lambda keys: len(table.look_up(keys))


def duckdb_engine(path: Path) -> Callable[[Sequence[int]], int]:
    import duckdb

    database = _in_duckdb(duckdb, path)

    def look_up(keys: Sequence[int]) -> int:
        found = database.execute(
            "SELECT key, fingerprint FROM rows WHERE key IN (SELECT unnest($1::BIGINT[]))", [list(keys)]
        )
        return len(dict(found.fetchall()))

    return look_up


def duckdb_staged(rows: int) -> dict[str, float]:
    """All keys first, then one join: what a diff at the end of the query would be."""
    import duckdb

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = in_another_process(rows, folder)
        started = time.perf_counter()
        database = _in_duckdb(duckdb, made)
        load = time.perf_counter() - started
        database.execute("CREATE TABLE night (key BIGINT, fingerprint BIGINT)")
        wall = used = 0.0
        for _, chunk, made_records in records(rows, 1):
            keys, prints = key_hashes(chunk), fingerprints([record.body for record in made_records])
            clock, cpu = time.perf_counter(), time.process_time()
            database.execute(
                "INSERT INTO night SELECT unnest($1::BIGINT[]), unnest($2::BIGINT[])", [keys, prints]
            )
            wall, used = wall + time.perf_counter() - clock, used + time.process_time() - cpu
        clock, cpu = time.perf_counter(), time.process_time()
        changed = database.execute(
            "SELECT night.key FROM night LEFT JOIN rows USING (key) "
            "WHERE rows.fingerprint IS DISTINCT FROM night.fingerprint"
        ).fetchall()
        wall, used = wall + time.perf_counter() - clock, used + time.process_time() - cpu
        assert len(changed) == rows // CHANGED
        return {"load": load, "wall": wall, "cpu": used, "peak": peak()}


def _in_duckdb(duckdb: Any, path: Path) -> Any:
    """The same rows in DuckDB's own format, with an index on the key, in as much memory as SQLite may take."""
    database = duckdb.connect(str(path.with_suffix(".duckdb")))
    database.execute("SET memory_limit = '512MB'")
    database.execute("SET threads = 1")
    database.execute("CREATE TABLE rows (key BIGINT PRIMARY KEY, fingerprint BIGINT)")
    source = sqlite3.connect(path).execute("SELECT key, fingerprint FROM rows")
    while part := source.fetchmany(50_000):
        keys, prints = zip(*part, strict=True)
        database.execute("INSERT INTO rows SELECT unnest($1::BIGINT[]), unnest($2::BIGINT[])", [keys, prints])
    return database


def dictionary_engine(path: Path) -> Callable[[Sequence[int]], int]:
    known = dict(sqlite3.connect(path).execute("SELECT key, fingerprint FROM rows"))
    return lambda keys: len({key: known[key] for key in keys if key in known})


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


ENGINES: dict[str, Callable[[int], dict[str, float]]] = {
    "diff": diff,
    "SQLite look-ups": lambda rows: looked_up(rows, sqlite_engine),
    "DuckDB look-ups": lambda rows: looked_up(rows, duckdb_engine),
    "DuckDB staged, one join": duckdb_staged,
    "dictionary (the limit)": lambda rows: looked_up(rows, dictionary_engine),
}

if __name__ == "__main__":
    main()

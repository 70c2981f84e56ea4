"""What memory a large result takes, for every source of the contract that is installed.

::

    python -m tests.benchmarks.sources                          200,000 and 800,000 rows
    python -m tests.benchmarks.sources --only psycopg SQLite    some sources

Each source is read in a process of its own, the smaller result first. A driver that streams takes the same for both, so
the column "grows" is what tells. A stub serves from another process, page by page where its protocol has pages. The
servers are those of the tests; what is not installed is named below the table. BigQuery's hook needs an environment of
its own, as ``.ci/run`` makes it.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_klaviyo.sync.source.query import Query
from airflow_provider_klaviyo.sync.source.rows import RowStream
from tests.integration.source.contract import sources, stubs
from tests.integration.source.contract.clickhouse import running_clickhouse

SIZES = (200_000, 800_000)
_POSTGRES = "SELECT n AS a, 'somebody' || n || '@example.com' AS b FROM generate_series(1, {}) n"
_MYSQL = "SELECT seq AS a, CONCAT('somebody', seq, '@example.com') AS b FROM seq_1_to_{}"  # MariaDB's
_SQL = {
    "psycopg": _POSTGRES,
    "psycopg2": _POSTGRES,
    "ADBC to PostgreSQL": _POSTGRES,
    "ODBC to PostgreSQL": _POSTGRES,
    "JDBC to PostgreSQL": _POSTGRES,
    "mysqlclient": _MYSQL,
    "mysql-connector-python": _MYSQL,
    "pymysql": _MYSQL,
    "ODBC to MariaDB": _MYSQL,
    "SQLite": "WITH RECURSIVE n(a) AS (SELECT 1 UNION ALL SELECT a + 1 FROM n WHERE a < {}) "
    "SELECT a, 'somebody' || a || '@example.com' AS b FROM n",
    "DuckDB": "SELECT n AS a, 'somebody' || n || '@example.com' AS b FROM range({}) t(n)",
    "ClickHouse": "SELECT number AS a, concat('somebody', toString(number), '@example.com') AS b FROM numbers({})",
    "JDBC to HSQLDB": "SELECT a, 'somebody' || a || '@example.com' AS b FROM UNNEST(SEQUENCE_ARRAY(1, {}, 1)) AS t(a)",
    "Pinot": "rows LIMIT {}",
}
"""By the name of a source; stubs have one column."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", default=[source.name for source in sources.SOURCES])
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        read(arguments.one)
        return
    print(f"{'source':<24}{SIZES[0]:>10,} {SIZES[1]:>12,}   grows (MiB)")
    missing = list(filter(None, map(measure, arguments.only)))
    print("\n".join(["", *(f"not measured: {line}" for line in missing)]))


def measure(name: str) -> str:
    """Print one line of the table, or return why there is none."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.sources", "--one", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    *_, last = [*done.stdout.splitlines(), *done.stderr.splitlines()[-1:]]
    if not last.startswith("peaks "):
        return f"{name}: {last}"
    small, large = map(int, last.split()[1:])
    print(f"{name:<24}{small:>10,} {large:>12,} {large - small:>8,}", flush=True)
    return ""


def read(name: str) -> None:
    """Read both results, and print the highest memory after each, in MiB."""
    sources.serving = stubs.serving_apart
    source = next(each for each in sources.SOURCES if each.name == name)
    peaks = []
    try:
        with Fixtures() as fixtures:
            for size in SIZES:
                sources.STUB_ROWS = size
                with RowStream(source.hook(fixtures), Query(_SQL.get(name, "rows").format(size))) as stream:
                    assert sum(map(len, stream)) == size
                peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
    except pytest.skip.Exception as missing:
        print(missing.msg)
        return
    print("peaks", *peaks)


class Fixtures(ExitStack):
    """As much of pytest's ``request`` as a source asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.addfinalizer: Callable[[Any], Any] = self.callback

    def getfixturevalue(self, name: str) -> Any:
        """The value of a fixture of the tests."""
        if name == "monkeypatch":
            return self
        if name == "tmp_path":
            return Path(self.enter_context(tempfile.TemporaryDirectory()))
        return {
            "postgres_uri": os.environ.get("KLAVIYO_TESTS_POSTGRES", "postgresql://postgres@127.0.0.1:5432")
            + "/postgres",
            "mysql_uri": os.environ.get("KLAVIYO_TESTS_MYSQL", "mysql://root@127.0.0.1:3306") + "/test",
            "clickhouse_port": None,
        }[name] or self.enter_context(running_clickhouse())

    def setenv(self, name: str, value: str) -> None:
        """As ``monkeypatch`` does it."""
        os.environ[name] = value


if __name__ == "__main__":
    main()

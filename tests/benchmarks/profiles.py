"""How fast profiles go, how much CPU a row costs, and whether memory stays flat.

    python -m tests.benchmarks.profiles                 200,000 rows, beside the bare minimum
    python -m tests.benchmarks.profiles --flat          300,000 and 1,000,000 rows: is memory flat?
    python -m tests.benchmarks.profiles --flat 100000 1000000 10000000          the same, in ten minutes
    python -m tests.benchmarks.profiles --wide          200,000 narrow rows and 2,000 of 90 KB: how much memory?
    python -m tests.benchmarks.profiles --state         200,000 rows: what only_changes costs, and a quiet night
    python -m tests.benchmarks.profiles --peers         2,000 rows, beside Klaviyo's SDK and drt-core

Every way runs in a process of its own against a server that takes everything, in another process; its CPU time is
that of its process, all threads included. Machines are noisy: look at the ratios and medians.

The *bare minimum* streams the same rows from the same database and encodes the same JSON, and does nothing else:
no checks, no duplicates, no HTTP. The rule is that a sync costs at most 2.5 times as much CPU; the aims are 25,000
rows a second at the least and 60,000 if possible. Klaviyo itself takes 25,000 profiles a second (150 jobs of 10,000
a minute).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from tests.benchmarks import serving
from tests.benchmarks.serving import ROOT, JsonHandler, TaskInstance

POSTGRES = os.environ.get("KLAVIYO_TESTS_POSTGRES") or "postgresql://postgres@127.0.0.1:5432"

WARM_UP = 2_000
CEILING = 25_000
"""Klaviyo's own: 150 bulk imports of 10,000 profiles a minute (OpenAPI 2026-07-15, bulk_import_profiles)."""

SQL = """
SELECT n AS id, 'person' || n || '@shop.io' AS email,
       CASE n % 3 WHEN 0 THEN '+1' || area || number / 10000 || lpad((number % 10000)::text, 4, '0')
                  WHEN 1 THEN '(' || area || ') ' || number / 10000 || '-' || lpad((number % 10000)::text, 4, '0')
                  ELSE area || '.' || number / 10000 || '.' || lpad((number % 10000)::text, 4, '0') END AS phone,
       'Name' || n % 977 AS first_name, 'Surname' || n % 1999 AS last_name, 'Boston' AS city, 'US' AS country,
       CASE n % 4 WHEN 0 THEN 'gold' ELSE 'silver' END AS tier, (n % 100000) / 100.0 AS lifetime_value,
       timestamptz '2026-01-01 00:00:00+00' + n * interval '1 second' AS last_order_at, n % 50 AS orders,
       n % 2 = 0 AS is_active
FROM generate_series(1, {rows}) AS n,
     LATERAL (SELECT (ARRAY['415', '650', '510'])[1 + n / 8000000] AS area, 2000000 + n % 8000000 AS number) AS line
"""
MAPPING = {
    "external_id": "id",
    "email": "email",
    "phone_number": "phone",
    "first_name": "first_name",
    "last_name": "last_name",
    "location.city": "city",
    "location.country": "country",
    "properties.Tier": "tier",
    "properties.Lifetime value": "lifetime_value",
    "properties.Last order": "last_order_at",
    "properties.Orders": "orders",
    "properties.Active": "is_active",
}


# --- the ways ---------------------------------------------------------------------------------------------------


def bare_minimum(rows: int, url: str) -> None:
    """Stream and encode; the phone number goes as it is, the time by ``isoformat``, the number by its digits."""
    import msgspec
    import psycopg

    encode = msgspec.json.Encoder(decimal_format="number").encode
    with psycopg.connect(_database_uri()) as connection, connection.cursor(name="bare") as cursor:
        cursor.itersize = 2_000
        cursor.execute(SQL.format(rows=rows))
        while chunk := cursor.fetchmany(2_000):
            for row in chunk:
                n, email, phone, first, last, city, country, tier, value, at, orders, active = row
                encode(
                    {
                        "type": "profile",
                        "attributes": {
                            "email": email,
                            "phone_number": phone,
                            "external_id": str(n),
                            "first_name": first,
                            "last_name": last,
                            "location": {"city": city, "country": country},
                            "properties": {
                                "Tier": tier,
                                "Lifetime value": value,
                                "Last order": at.isoformat(),
                                "Orders": orders,
                                "Active": active,
                            },
                        },
                    }
                )


def operator(rows: int, url: str) -> None:
    """The operator itself, as Airflow runs it."""
    from airflow_provider_klaviyo.operators.profiles import KlaviyoSyncProfilesOperator

    sync = KlaviyoSyncProfilesOperator(
        task_id="benchmark", sql=SQL.format(rows=rows), sql_conn_id="shop", mapping=MAPPING, phone_region="US"
    )
    summary = sync.execute({"ti": TaskInstance()})  # type: ignore[arg-type, typeddict-item]
    if summary["accepted"] != rows:
        raise AssertionError(summary)


def wide(rows: int, url: str) -> None:
    """The operator with rows of 90 KB, near to what Klaviyo takes of a person."""
    from airflow_provider_klaviyo.operators.profiles import KlaviyoSyncProfilesOperator

    sync = KlaviyoSyncProfilesOperator(
        task_id="benchmark",
        sql=f"SELECT n AS id, 'person' || n || '@shop.io' AS email, repeat('x', 90000) || n AS note "
        f"FROM generate_series(1, {rows}) AS n",
        sql_conn_id="shop",
        mapping={"external_id": "id", "email": "email", "properties.Note": "note"},
    )
    summary = sync.execute({"ti": TaskInstance()})  # type: ignore[arg-type, typeddict-item]
    if summary["accepted"] != rows:
        raise AssertionError(summary)


def first_night(rows: int, url: str) -> None:
    """The operator with ``only_changes`` and a state in which nobody is yet."""
    if _synced(rows, f"first of {rows}")["accepted"] != rows:
        raise AssertionError


def quiet_night(rows: int, url: str) -> None:
    """The same when nothing has changed since the night before, which is not measured."""
    if _synced(rows, "every night")["rows_read"] != rows:
        raise AssertionError


def _synced(rows: int, state_key: str) -> Any:
    from airflow_provider_klaviyo.operators.profiles import KlaviyoSyncProfilesOperator

    sync = KlaviyoSyncProfilesOperator(
        task_id="benchmark",
        sql=SQL.format(rows=rows),
        sql_conn_id="shop",
        mapping=MAPPING,
        phone_region="US",
        primary_key="id",
        only_changes=True,
        state_key=state_key,
    )
    return sync.execute({"ti": TaskInstance()})  # type: ignore[arg-type, typeddict-item]


def sdk(rows: int, url: str) -> None:
    """Klaviyo's SDK: its own models, 10,000 profiles a bulk import."""
    from klaviyo_api import KlaviyoAPI

    client = (
        KlaviyoAPI("pk_benchmark", options={"host": url})
        if _takes_options(KlaviyoAPI)
        else KlaviyoAPI("pk_benchmark")
    )
    client.api_client.configuration.host = url
    for start in range(1, rows + 1, 10_000):
        profiles = [_resource(n) for n in range(start, min(start + 10_000, rows + 1))]
        body = {
            "data": {"type": "profile-bulk-import-job", "attributes": {"profiles": {"data": profiles}}},
        }
        client.Profiles.bulk_import_profiles(body)


def drt(rows: int, url: str) -> None:
    """drt-core's Klaviyo destination: one request a row."""
    from drt.config.models import KlaviyoDestinationConfig, SyncOptions
    from drt.destinations import klaviyo

    klaviyo._BASE = f"{url}/api"
    config = KlaviyoDestinationConfig(
        type="klaviyo",
        api_key="pk_benchmark",
        email_field="email",
        properties_template='{"Tier": "{{ row.tier }}"}',
    )
    people = [{"email": f"person{n}@shop.io", "tier": "gold"} for n in range(1, rows + 1)]
    options = SyncOptions(rate_limit={"requests_per_second": 1_000_000})
    result = klaviyo.KlaviyoDestination().load(people, config, options)
    if result.success != rows:
        raise AssertionError(result)


WAYS: dict[str, Callable[[int, str], None]] = {
    "bare minimum": bare_minimum,
    "operator": operator,
    "wide": wide,
    "first night": first_night,
    "quiet night": quiet_night,
    "sdk": sdk,
    "drt-core": drt,
}


def _resource(n: int) -> dict[str, Any]:
    return {
        "type": "profile",
        "attributes": {
            "email": f"person{n}@shop.io",
            "phone_number": f"+1415{2_000_000 + n}",
            "external_id": str(n),
            "first_name": "Name",
            "last_name": "Surname",
            "location": {"city": "Boston", "country": "US"},
            "properties": {"Tier": "gold", "Lifetime value": 12.5, "Orders": 3, "Active": True},
        },
    }


def _takes_options(api: Any) -> bool:
    import inspect

    return "options" in inspect.signature(api).parameters


def _database_uri() -> str:
    return f"{POSTGRES}/postgres"


# --- the server -------------------------------------------------------------------------------------------------


class _TakesEverything(JsonHandler):
    """Answers as Klaviyo does when all is well; keeps nothing."""

    jobs: dict[str, int] = {}  # noqa: RUF012 - of this process
    lock = threading.Lock()

    def do_POST(self) -> None:
        body = self.body()
        if "bulk-import" not in self.path:
            self.answer(201, {"data": {"type": "profile", "id": "01", "attributes": {}}})
            return
        with self.lock:
            job = f"job-{len(self.jobs)}"
            self.jobs[job] = body.count(b'"type":"profile"') or body.count(b'"type": "profile"')
        self.answer(202, {"data": self._job(job, "queued")})

    def do_GET(self) -> None:
        if "/accounts" in self.path:
            self.answer(200, {"data": [{"type": "account", "id": "Bench1", "attributes": {}}]})
            return
        wanted = urlsplit(self.path).path.rpartition("/")[2]
        if wanted in self.jobs:
            self.answer(200, {"data": self._job(wanted, "complete")})
            return
        if wanted == "import-errors":
            self.answer(200, {"data": [], "links": {"next": None}})
            return
        newest = list(self.jobs)[::-1]
        start = int(self.path.partition("cursor%5D=")[2] or 0)
        following = (
            f"http://x{urlsplit(self.path).path}?page%5Bcursor%5D={start + 100}"
            if newest[start + 100 :]
            else None
        )
        page = [self._job(job, "complete") for job in newest[start : start + 100]]
        self.answer(200, {"data": page, "links": {"next": following}})

    def _job(self, job: str, status: str) -> dict[str, Any]:
        count = self.jobs[job]
        attributes = {"status": status, "total_count": count, "completed_count": count, "failed_count": 0}
        return {
            "links": {"self": f"http://x/api/profile-bulk-import-jobs/{job}/"},
            "type": "profile-bulk-import-job",
            "id": job,
            "attributes": attributes | {"created_at": "2026-01-01T00:00:00Z"},
        }


# --- measuring --------------------------------------------------------------------------------------------------


def measure_here(way: Callable[[int, str], None], rows: int, url: str, warm_up: int = WARM_UP) -> None:
    """Run a way in this process and print what it took, imports left out by a small run before."""
    way(rows if way is quiet_night else min(rows, warm_up), url)
    started, cpu = time.perf_counter(), time.process_time()
    way(rows, url)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    figures = {
        "rows": rows,
        "seconds": time.perf_counter() - started,
        "cpu": time.process_time() - cpu,
        "peak_mb": usage.ru_maxrss / 1024,
    }
    print("MEASURED" + json.dumps(figures), flush=True)


def measure(
    way: str, rows: int, url: str, times: int = 1, benchmark: str = "tests.benchmarks.profiles"
) -> dict[str, float]:
    """The medians of a way over several runs, each in a process of its own."""
    runs = [_measure_once(way, rows, url, benchmark) for _ in range(times)]
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def _measure_once(way: str, rows: int, url: str, benchmark: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as home:
        uri = urlsplit(_database_uri())
        shop = {
            "conn_type": "postgres",
            "host": uri.hostname,
            "port": uri.port,
            "login": uri.username,
            "schema": "postgres",
        }
        environment = os.environ | {
            "AIRFLOW_HOME": home,
            "AIRFLOW_CONN_SHOP": json.dumps(shop),
            "AIRFLOW_CONN_KLAVIYO_DEFAULT": json.dumps(
                {
                    "conn_type": "klaviyo",
                    "password": "pk_benchmark",
                    "host": url,
                    "extra": {"rate_limit_share": 1},
                }
            ),
        }
        command = [
            sys.executable,
            "-m",
            benchmark,
            "--measure",
            way,
            "--rows",
            str(rows),
            "--url",
            url,
        ]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False)
    if "MEASURED" not in done.stdout:
        msg = f"{way} failed:\n{done.stderr[-3000:]}"
        raise SystemExit(msg)
    figures: dict[str, float] = json.loads(done.stdout.partition("MEASURED")[2].splitlines()[0])
    return figures


def show(way: str, figures: dict[str, float]) -> None:
    rows, seconds, cpu = figures["rows"], figures["seconds"], figures["cpu"]
    print(
        f"{way:<14}{rows:>12,.0f} rows {rows / seconds:>10,.0f} rows/s {cpu / rows * 1e6:>9.1f} µs CPU/row"
        f" {rows / cpu:>10,.0f} rows/s of CPU {figures['peak_mb']:>8,.0f} MB peak",
        flush=True,
    )


def compare_with_minimum(rows: int, times: int) -> bool:
    """The operator beside the bare minimum; whether the rule of 2.5 holds."""
    with serving.started("tests.benchmarks.profiles") as url:
        minimum, ours = measure("bare minimum", rows, url, times), measure("operator", rows, url, times)
    show("bare minimum", minimum)
    show("operator", ours)
    ratio = ours["cpu"] / minimum["cpu"]
    per_second = rows / ours["cpu"]
    print(
        f"The operator takes {ratio:.2f} times the CPU of the bare minimum (the rule: at most 2.5), ", end=""
    )
    print(f"{per_second:,.0f} rows a second of one core (aim 60,000; Klaviyo's own ceiling {CEILING:,}).")
    return ratio <= 2.5 and per_second >= CEILING


def compare_states(rows: int, times: int) -> bool:
    """The operator without state, in a first night with state, and in a night without changes."""
    with serving.started("tests.benchmarks.profiles") as url:
        for way in ("operator", "first night", "quiet night"):
            show(way, measure(way, rows, url, times))
    return True


def is_flat(counts: Sequence[int]) -> bool:
    """Whether the peak at each number of rows is within a tenth of the peak at the first one."""
    peaks = []
    with serving.started("tests.benchmarks.profiles") as url:
        for rows in counts:
            taken = measure("operator", rows, url)
            show("operator", taken)
            peaks.append(taken["peak_mb"])
    growth = max(peaks) / peaks[0] - 1
    print(f"Peak memory grows by {growth:.1%} from {counts[0]:,} rows on (the rule: at most 10 %).")
    return growth <= 0.1


def wide_is_as_flat(narrow_rows: int, wide_rows: int) -> bool:
    """Whether rows of 90 KB take at most 1.5 times the memory of narrow ones."""
    with serving.started("tests.benchmarks.profiles") as url:
        narrow, broad = measure("operator", narrow_rows, url), measure("wide", wide_rows, url)
    show("operator", narrow)
    show("wide", broad)
    ratio = broad["peak_mb"] / narrow["peak_mb"]
    print(f"Rows of 90 KB take {ratio:.2f} times the memory of narrow ones (the rule: at most 1.5).")
    return ratio <= 1.5


def compare_with_peers(rows: int, times: int) -> bool:
    """The same rows by other ways; a peer that is not installed is named."""
    with serving.started("tests.benchmarks.profiles") as url:
        ours = measure("operator", rows, url, times)
        show("operator", ours)
        for way, module in (("sdk", "klaviyo_api"), ("drt-core", "drt")):
            if not _is_installed(module):
                print(f"{way:<14} not measured: {module} is not installed")
                continue
            peer = measure(way, rows, url, times)
            show(way, peer)
            print(f"               {peer['cpu'] / ours['cpu']:.1f} times the operator's CPU")
    return True


def _is_installed(module: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(module) is not None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--flat", type=int, nargs="*", metavar="ROWS", help="from few to many")
    parser.add_argument("--wide", action="store_true")
    parser.add_argument("--state", action="store_true")
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--measure", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--url", default="", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve:
        serving.serve(_TakesEverything)
    elif asked.measure:
        measure_here(WAYS[asked.measure], asked.rows, asked.url)
    elif asked.flat is not None:
        sys.exit(not is_flat(asked.flat or (300_000, 1_000_000)))
    elif asked.wide:
        sys.exit(not wide_is_as_flat(200_000, 2_000))
    elif asked.state:
        sys.exit(not compare_states(asked.rows, asked.times))
    elif asked.peers:
        sys.exit(not compare_with_peers(2_000, asked.times))
    else:
        sys.exit(not compare_with_minimum(asked.rows, asked.times))


if __name__ == "__main__":
    main()

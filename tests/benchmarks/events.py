"""How close events come to Klaviyo's own ceiling, how much CPU a row costs, and whether memory stays flat.

    python -m tests.benchmarks.events                   two minutes within Klaviyo's real windows, answers after 300 ms
    python -m tests.benchmarks.events --cpu             200,000 rows, beside the bare minimum and Klaviyo's SDK
    python -m tests.benchmarks.events --flat            200,000 and 1,000,000 rows, or others: is memory flat?

The two minutes are against the emulator, which refuses what passes a window (10 a second, 150 a minute) and stores
every event; it runs in a process of its own. The connection has rate_limit_share 1: of the default, 0.9, a tenth of
the quota is left to other integrations, and so is a tenth of the throughput. Windows are fixed minutes: the first one
may be partly gone when the run begins, so the share counts requests from the first whole window on.

The *bare minimum* streams the same rows and encodes the same JSON, and does nothing else: no checks, no ids, no HTTP.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from tests.benchmarks import profiles, serving
from tests.benchmarks.profiles import WARM_UP, show
from tests.benchmarks.serving import ROOT

CEILING = 150
"""Bulk requests a minute of 1,000 events each (OpenAPI 2026-07-15, bulk_create_events)."""

MINUTES = 2
LATENCY = 0.3

SQL = """
SELECT n AS order_id, 'person' || n % 50000 || '@shop.io' AS email,
       now() - (n % 100000) * interval '1 second' AS ordered_at, (n % 100000) / 100.0 AS total, 'usd' AS currency,
       n % 9 AS items, CASE n % 4 WHEN 0 THEN 'WELCOME' END AS coupon, 'Boston' AS city, n % 2 = 0 AS is_first,
       'https://shop.io/orders/' || n AS url
FROM generate_series(1, {rows}) AS n
"""
MAPPING = {
    "profile.email": "email",
    "time": "ordered_at",
    "value": "total",
    "value_currency": "currency",
    "properties.Order": "order_id",
    "properties.Items": "items",
    "properties.Coupon": "coupon",
    "properties.City": "city",
    "properties.First": "is_first",
    "properties.URL": "url",
}


# --- the ways ---------------------------------------------------------------------------------------------------


def bare_minimum(rows: int, url: str) -> None:
    """Stream and encode; the id is the order's number, the time by ``isoformat``."""
    import msgspec
    import psycopg

    encode = msgspec.json.Encoder(decimal_format="number").encode
    metric = {"data": {"type": "metric", "attributes": {"name": "Placed Order"}}}
    with psycopg.connect(profiles._database_uri()) as connection, connection.cursor(name="bare") as cursor:
        cursor.itersize = 2_000
        cursor.execute(SQL.format(rows=rows))
        while chunk := cursor.fetchmany(2_000):
            for row in chunk:
                n, email, at, total, currency, items, coupon, city, is_first, link = row
                encode({"type": "profile", "attributes": {"email": email}})
                encode(
                    {
                        "type": "event",
                        "attributes": {
                            "properties": {
                                "Order": n,
                                "Items": items,
                                "Coupon": coupon,
                                "City": city,
                                "First": is_first,
                                "URL": link,
                            },
                            "metric": metric,
                            "time": at.isoformat(),
                            "value": total,
                            "value_currency": currency,
                            "unique_id": str(n),
                        },
                    }
                )


def operator(rows: int, url: str) -> None:
    """The operator itself, as Airflow runs it."""
    from airflow_provider_klaviyo.operators.events import KlaviyoSyncEventsOperator

    sync = KlaviyoSyncEventsOperator(
        task_id="benchmark",
        sql=SQL.format(rows=rows),
        sql_conn_id="shop",
        metric="Placed Order",
        primary_key="order_id",
        mapping=MAPPING,
    )
    summary = sync.execute({"ti": serving.TaskInstance()})  # type: ignore[arg-type, typeddict-item]
    if summary["accepted"] != rows:
        raise AssertionError(summary)


def sdk(rows: int, url: str) -> None:
    """Klaviyo's SDK: its own models, 1,000 events a bulk request, each in a group of its own."""
    from klaviyo_api import KlaviyoAPI

    client = KlaviyoAPI("pk_benchmark")
    client.api_client.configuration.host = url
    for start in range(1, rows + 1, 1_000):
        groups = [_group(n) for n in range(start, min(start + 1_000, rows + 1))]
        attributes = {"events-bulk-create": {"data": groups}}
        client.Events.bulk_create_events(
            {"data": {"type": "event-bulk-create-job", "attributes": attributes}}
        )


def _group(n: int) -> dict[str, Any]:
    event = {
        "properties": {"Order": n, "Items": n % 9, "City": "Boston", "URL": f"https://shop.io/orders/{n}"},
        "metric": {"data": {"type": "metric", "attributes": {"name": "Placed Order"}}},
        "time": datetime.now(UTC).isoformat(),
        "value": 12.5,
        "value_currency": "USD",
        "unique_id": str(n),
    }
    person = {"data": {"type": "profile", "attributes": {"email": f"person{n}@shop.io"}}}
    events = {"data": [{"type": "event", "attributes": event}]}
    return {"type": "event-bulk-create", "attributes": {"profile": person, "events": events}}


WAYS: dict[str, Callable[[int, str], None]] = {"bare minimum": bare_minimum, "operator": operator, "sdk": sdk}


# --- the server -------------------------------------------------------------------------------------------------


def serve() -> None:
    """An emulator with Klaviyo's windows and latency; print where it is, and on every line read how it stands."""
    from airflow_provider_klaviyo.emulator import Emulator, Fault, Settings

    with Emulator(Settings(api_key="pk_benchmark", keep_bodies=0)) as emulator:
        emulator.inject(Fault("slow", "bulk_create_events", count=None, seconds=LATENCY))
        print(emulator.url, flush=True)
        for _ in sys.stdin:
            requests = emulator.requests("bulk_create_events")
            told = {
                "events": emulator.count_events(),
                "requests": [(request.time, request.status) for request in requests],
            }
            print(json.dumps(told), flush=True)


@contextmanager
def _emulator() -> Iterator[tuple[str, Callable[[], Any]]]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.events", "--serve"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def ask() -> Any:
            process.stdin.write("\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
            return json.loads(process.stdout.readline())  # type: ignore[union-attr]

        try:
            yield process.stdout.readline().strip(), ask
        finally:
            process.kill()


# --- measuring --------------------------------------------------------------------------------------------------


def measure(way: str, rows: int, url: str, times: int = 1) -> dict[str, float]:
    """The medians of a way over several runs, each in a process of its own."""
    return profiles.measure(way, rows, url, times, benchmark="tests.benchmarks.events")


def reaches_the_ceiling() -> bool:
    """Two minutes of events: whether the requests come within 5 % of what Klaviyo allows."""
    rows = (MINUTES + 1) * CEILING * 1_000
    with _emulator() as (url, ask):
        seconds = 60 - time.time() % 60
        print(
            f"Waiting {seconds:.0f} s for a minute to begin, so that the first window is whole.", flush=True
        )
        time.sleep(max(seconds - 5, 0))  # the process takes a while to start
        done = measure("operator", rows, url)
        told = ask()
    requests = told["requests"][WARM_UP // 1_000 :]
    taken = sorted(at for at, status in requests if status == 202)
    refused = sum(status == 429 for _, status in requests)
    within = [at for at in taken if at < taken[0] + MINUTES * 60]
    share = len(within) / (MINUTES * CEILING)
    show("operator", done)
    print(
        f"{len(within)} requests of 1,000 events in the first {MINUTES} minutes, of {MINUTES * CEILING} that Klaviyo "
        f"allows: {share:.1%} (the aim: 95 %). {refused} were refused (429). "
        f"{told['events']:,} events are stored, of {rows:,}."
    )
    return share >= 0.95 and told["events"] == rows


def compare(rows: int, times: int) -> bool:
    """The operator beside the bare minimum and the SDK, against a server that takes everything at once."""
    with serving.started("tests.benchmarks.profiles") as url:
        ours = measure("operator", rows, url, times)
        minimum = measure("bare minimum", rows, url, times)
        show("bare minimum", minimum)
        show("operator", ours)
        ratio, per_second = ours["cpu"] / minimum["cpu"], rows / ours["cpu"]
        print(
            f"The operator takes {ratio:.2f} times the CPU of the bare minimum, {per_second:,.0f} rows a second of ",
            end="",
        )
        print(f"one core (Klaviyo's own ceiling is {CEILING * 1_000 / 60:,.0f}).")
        few = min(rows, 20_000)
        peer, same = measure("sdk", few, url), measure("operator", few, url)
        show("sdk", peer)
        print(f"               {peer['cpu'] / same['cpu']:.1f} times the operator's CPU for {few:,} rows")
    return per_second >= CEILING * 1_000 / 60


def is_flat(few: int, many: int) -> bool:
    """Whether the peak at many rows is within 15 % of the peak at few."""
    with serving.started("tests.benchmarks.profiles") as url:
        small, large = measure("operator", few, url), measure("operator", many, url)
    show("operator", small)
    show("operator", large)
    growth = large["peak_mb"] / small["peak_mb"] - 1
    print(f"Peak memory grows by {growth:.1%} from {few:,} to {many:,} rows (the rule: at most 15 %).")
    return growth <= 0.15


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--cpu", action="store_true")
    parser.add_argument("--flat", type=int, nargs="*", metavar="ROWS", help="few and many")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--measure", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--url", default="", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve:
        serve()
    elif asked.measure:
        profiles.measure_here(WAYS[asked.measure], asked.rows, asked.url)
    elif asked.cpu:
        sys.exit(not compare(asked.rows, asked.times))
    elif asked.flat is not None:
        sys.exit(not is_flat(*(asked.flat or (200_000, 1_000_000))))
    else:
        sys.exit(not reaches_the_ceiling())


if __name__ == "__main__":
    main()

"""One sync in four shards on one, two and four of Celery's workers: what it takes, beside Klaviyo's windows.

``python -m tests.benchmarks.sharding`` needs the dependency group ``celery``, a PostgreSQL and a Redis; it takes some
minutes. Every row is a request, of which Klaviyo permits 75 a second and 750 a minute; a connection uses nine tenths of
that by default, and more workers cannot use more.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.airflow.celery_cluster import Cluster, cluster, most_within

SHARDS = 4
WORKERS = (1, 2, 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_400)
    parser.add_argument("--postgres", default="postgresql://postgres@127.0.0.1:5432")
    parser.add_argument("--redis", default="redis://127.0.0.1:6379/0")
    options = parser.parse_args()
    for name in [name for name in os.environ if name.startswith("AIRFLOW")]:
        del os.environ[name]
    print(
        "workers  requests  seconds  a minute  most in 1 s  most in 60 s  429s  least and most of a shard, first half"
    )
    with (
        tempfile.TemporaryDirectory(prefix="klaviyo-benchmark-") as folder,
        cluster(
            Path(folder),
            options.postgres,
            options.redis,
            shards=SHARDS,
            rows=options.rows,
            only_changes=False,
        ) as airflow,
    ):
        airflow.open_gate()
        shard_of = airflow.shards(SHARDS)
        started = len(airflow.start_all(WORKERS[0], 1))
        for workers in WORKERS:
            while started < workers:
                airflow.start_worker(started, 1)
                started += 1
            print(_row(workers, _measured(airflow, f"on-{workers}"), airflow.stats(), shard_of), flush=True)


def _measured(airflow: Cluster, run_id: str) -> list[dict[str, Any]]:
    """The requests of one Dag run."""
    before = len(airflow.requests())
    airflow.run(["dags", "trigger", "sharded", "--run-id", run_id])
    airflow.wait_for(lambda: airflow.state_of(run_id) in ("success", "failed"), 1_800)
    assert airflow.state_of(run_id) == "success"
    return airflow.requests()[before:]


def _row(
    workers: int, sent: Sequence[Mapping[str, Any]], stats: Mapping[str, Any], shard_of: Mapping[int, int]
) -> str:
    times = [each["time"] for each in sent]
    seconds = max(times) - min(times)
    halves = Counter(shard_of[each["customer"]] for each in sent[: len(sent) // 2])
    shares = sorted(halves[shard] for shard in range(SHARDS))
    return (
        f"{workers:7}  {len(sent):8,}  {seconds:7.1f}  {60 * len(sent) / seconds:8.0f}  {most_within(times, 1.0):11}  "
        f"{most_within(times, 60.0):12}  {stats['statuses'].get('429', 0):4}  {shares[0]} to {shares[-1]}"
    )


if __name__ == "__main__":
    main()

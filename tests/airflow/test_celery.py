"""A sync whose shards run on Celery's workers, one of which dies in the midst.

What more workers make of it is measured by ``tests/benchmarks/sharding.py``.
"""

from __future__ import annotations

import importlib.util
import json
from collections import Counter
from pathlib import Path

import pytest

from tests.airflow.celery_cluster import cluster, most_within
from tests.conftest import absent

pytestmark = [pytest.mark.scheduler, pytest.mark.slow, pytest.mark.timeout(900)]

SHARDS, WORKERS, ROWS = 4, 2, 480
BURST, STEADY = 75, 750
"""What Klaviyo permits of the operation in a second and in a minute."""


@pytest.fixture
def celery() -> None:
    if importlib.util.find_spec("celery") is None:
        absent("celery", "apache-airflow-providers-celery is not installed (dependency group celery)")


def test_a_worker_that_dies_costs_nobody_and_no_window(
    celery: None, tmp_path: Path, postgres_server: str, redis_url: str
) -> None:
    with cluster(
        tmp_path, postgres_server, redis_url, shards=SHARDS, rows=ROWS, only_changes=True
    ) as airflow:
        shard_of = airflow.shards(SHARDS)
        workers = airflow.start_all(WORKERS, SHARDS // WORKERS)
        airflow.run(["dags", "trigger", "sharded", "--run-id", "first"])
        airflow.wait_for(lambda: airflow.waiting_at_gate() == SHARDS, 300)
        airflow.open_gate()
        airflow.wait_for(lambda: len(airflow.requests()) > ROWS // 4, 120)
        before, tries = airflow.requests(), airflow.tries()
        airflow.kill(workers[0])
        airflow.wait_for(lambda: airflow.state_of("first") in ("success", "failed"), 400)
        state, after, stats = airflow.state_of("first"), airflow.requests(), airflow.stats()
        killed = {shard for shard, number in airflow.tries().items() if number > tries[shard]}

    assert state == "success"
    assert len(killed) == SHARDS // WORKERS, "those of the other worker noticed nothing"

    # Nobody is lost, and nobody is sent twice but those of the dead worker who had no verdict.
    (report,) = (tmp_path / "storage" / "sharded" / "join").glob("*.report.json")
    whole = json.loads(report.read_text())
    assert (whole["rows_read"], whole["accepted"] + whole["unchanged"]) == (ROWS, ROWS)
    assert (whole["shards"], whole["overlaps"], whole["error"]) == (SHARDS, [], None)
    sent = Counter(each["customer"] for each in after)
    assert sent.keys() == shard_of.keys()
    twice = {customer for customer, times in sent.items() if times > 1}
    assert max(sent.values()) <= 2
    assert {shard_of[customer] for customer in twice} <= killed
    assert stats["stored"]["profiles"] == ROWS

    # No window was exceeded, wherever it begins, and nobody was throttled.
    times = [each["time"] for each in after]
    assert (most_within(times, 1.0) <= BURST, most_within(times, 60.0) <= STEADY) == (True, True)
    assert (stats["exceeded"], stats["statuses"].get("429", 0)) == (0, 0)

    # While all were at work, each had its share.
    shares = Counter(shard_of[each["customer"]] for each in before)
    assert min(shares[shard] for shard in range(SHARDS)) >= 0.4 * len(before) / SHARDS, shares

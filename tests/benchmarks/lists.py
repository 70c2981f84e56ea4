"""How many requests lists take, beside the fewest that Klaviyo's limits permit.

    python -m tests.benchmarks.lists                    a list of 1,000,000 members
    python -m tests.benchmarks.lists --rows 100000

Adds, removals and mirrors with 0, 100 and a tenth of the members changing. Everything goes through the operator, from
SQLite, to a server in another process that keeps a list's members and nothing else. The rate limits are switched off,
since they are known: what is counted is requests, and the seconds are what the package itself takes.

The fewest: an import job takes 10,000 people, and one request for its errors, which tell who was taken; a look-up or a
page of members takes 100, a removal 1,000. Finding the list and asking for the jobs is one request each. Whoever is to
leave a mirror is looked up by id, as the profile is now. A strict one knows who leaves, but whom of them a row names by
a second address only the list can tell: where somebody leaves, it is asked for those who were added. A tracked
one reads Klaviyo's ids of those who were added, 100 with a request, and so many in a run at most.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import resource
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from typing import Any
from unittest import mock
from urllib.parse import parse_qs, urlsplit

from airflow_provider_klaviyo.sync.lists.profile_ids import MOST
from tests.benchmarks import serving
from tests.benchmarks.serving import JsonHandler, TaskInstance

SQL = """
WITH RECURSIVE n(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {last})
SELECT i AS id, 'p' || i || '@shop.io' AS email FROM n WHERE {last} >= {first}
"""


# --- the server -----------------------------------------------------------------------------------------------


class _OneList(JsonHandler):
    """A Klaviyo with one list; p7@shop.io has the id 7."""

    members: dict[int, None] = {}  # noqa: RUF012 - of this process
    order: list[int] = []  # noqa: RUF012
    jobs: dict[str, int] = {}  # noqa: RUF012
    calls: Counter[str] = Counter()  # noqa: RUF012
    lock = threading.Lock()

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        path = parts.path
        if path == "/calls":
            self.answer(200, dict(self.calls))
        elif path == "/api/accounts":
            self.answer(200, {"data": [{"id": "Bench1", "attributes": {}}]})
        elif path == "/api/lists":
            self._count("get_lists")
            self.answer(200, {"data": [{"type": "list", "id": "L1", "attributes": {"name": "VIPs"}}]})
        elif path.endswith("/profiles"):
            self._count("look up or page")
            self.answer(200, self._members(query))
        elif path.endswith("/import-errors"):
            self._count("errors of a job")
            self.answer(200, {"data": [], "links": {"next": None}})
        else:
            self._count("ask for jobs")
            wanted = path.rpartition("/")[2]
            found: Any = (
                self._job(wanted) if wanted in self.jobs else list(map(self._job, self.jobs))[:-101:-1]
            )
            self.answer(200, {"data": found, "links": {"next": None}})

    def do_POST(self) -> None:
        body = self.body()
        numbers = [int(each) for each in re.findall(rb"p(\d+)@", body)]
        self._count("import job")
        with self.lock:
            self.members.update(dict.fromkeys(numbers))
            job = f"job-{len(self.jobs)}"
            self.jobs[job] = len(numbers)
        self.answer(202, {"data": self._job(job)})

    def do_DELETE(self) -> None:
        body = self.body()
        self._count("removal")
        with self.lock:
            for each in re.findall(rb'"id":"(\d+)"', body):
                self.members.pop(int(each), None)
        self.send_response(204)
        self.end_headers()

    def _members(self, query: dict[str, str]) -> dict[str, Any]:
        if "filter" in query:
            asked = [int(each) for each in re.findall(r'"p?(\d+)[@"]', query["filter"])]
            return {"data": [_profile(each) for each in asked if each in self.members]}
        start = int(query.get("page[cursor]", 0))
        if not start:
            type(self).order = list(self.members)
        page = self.order[start : start + 100]
        more = start + 100 < len(self.order)
        following = f"http://x/?page%5Bsize%5D=100&page%5Bcursor%5D={start + 100}" if more else None
        return {"data": list(map(_profile, page)), "links": {"next": following}}

    def _job(self, job: str) -> dict[str, Any]:
        count = self.jobs[job]
        attributes = {"status": "complete", "total_count": count, "completed_count": count, "failed_count": 0}
        return {"type": "profile-bulk-import-job", "id": job, "attributes": attributes}

    def _count(self, call: str) -> None:
        with self.lock:
            self.calls[call] += 1


def _profile(number: int) -> dict[str, Any]:
    return {"type": "profile", "id": str(number), "attributes": {"email": f"p{number}@shop.io"}}


# --- measuring --------------------------------------------------------------------------------------------------


def sync(mode: str, first: int, last: int, **more: Any) -> dict[str, Any]:
    """One run of the operator over the people from ``first`` to ``last``."""
    from airflow_provider_klaviyo.operators.lists import KlaviyoSyncListOperator

    operator = KlaviyoSyncListOperator(
        task_id="benchmark",
        mode=mode,
        list_name="VIPs",
        sql=SQL.format(first=first, last=last),
        sql_conn_id="shop",
        mapping={"email": "email"},
        primary_key="id",
        **({"max_removals": None, "allow_empty": True} if mode == "mirror" else {}),
        **more,
    )
    return operator.execute({"ti": TaskInstance()})  # type: ignore[arg-type, typeddict-item]


def fewest(joined: int, left: int, read: int = 0, *, mirrors: bool = False, ids: int = 0) -> int:
    """The fewest requests: find the list, import, ask for jobs and errors, look up or read, remove, read ids."""
    imports = math.ceil(joined / 10_000)
    looked_up = (joined if left else 0) if read else left
    look_ups = math.ceil(looked_up / 100) + (math.ceil(left / 100) if mirrors else 0)
    asked = math.ceil(imports / 100)
    pages = math.ceil(read / 100) + math.ceil(ids / 100)
    return 1 + 2 * imports + asked + pages + look_ups + math.ceil(left / 1_000)


class Meter:
    """Runs a case and prints its requests beside the fewest."""

    def __init__(self, url: str) -> None:
        self._url = url

    def run(self, name: str, least: int, mode: str, first: int, last: int, **more: Any) -> None:
        before, started = self._calls(), time.perf_counter()
        summary = sync(mode, first, last, **more)
        seconds = time.perf_counter() - started
        made = self._calls() - before
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(made.items()))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{name:<34}{summary['accepted']:>10,}{summary['removed']:>9,}{made.total():>9,}{least:>9,}"
            f"{seconds:>8.1f}{peak:>7,.0f}  {kinds}",
            flush=True,
        )

    def _calls(self) -> Counter[str]:
        with urllib.request.urlopen(f"{self._url}/calls") as answer:
            return Counter(json.load(answer))


def measure(rows: int, url: str) -> None:
    """All cases, on one list of so many members."""
    meter = Meter(url)
    print(f"{'':<34}{'accepted':>10}{'removed':>9}{'requests':>9}{'fewest':>9}{'s':>8}{'MB':>7}")
    meter.run("add everyone", fewest(rows, 0), "add", 1, rows)
    add = {"only_changes": True, "state_key": "add"}
    meter.run("add everyone, with state", fewest(rows, 0), "add", 1, rows, **add)
    last = rows
    for changes in (0, 100, rows // 10):
        last += changes
        meter.run(f"add, {changes:,} new", fewest(changes, 0), "add", 1, last, **add)
    first = 1
    for changes in (0, 100, rows // 10):
        meter.run(f"remove {changes:,}", fewest(0, changes), "remove", first, first + changes - 1)
        first += changes
    unread = last - first + 1
    for strict in (False, True):
        kind = "strict mirror" if strict else "mirror"
        more = {"strict": strict, "state_key": kind}
        if not strict:
            ids = min(unread, MOST)
            unread -= ids
            meter.run(
                "mirror, first run", fewest(last - first + 1, 0, ids=ids), "mirror", first, last, **more
            )
        for changes in (0, 100, rows // 10):
            members = last - first + 1
            first, last = first + changes, last + changes
            unread += changes
            ids = 0 if strict else min(unread, MOST)
            unread -= ids
            least = fewest(changes, changes, members if strict else 0, mirrors=True, ids=ids)
            name = f"{kind}, {changes:,} in and out"
            meter.run(name, least, "mirror", first, last, **more)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve:
        serving.serve(_OneList)
        return
    with tempfile.TemporaryDirectory() as home, serving.started("tests.benchmarks.lists") as url:
        klaviyo = {"conn_type": "klaviyo", "password": "pk_benchmark", "host": url}
        os.environ |= {
            "AIRFLOW_HOME": home,
            "AIRFLOW_CONN_SHOP": json.dumps({"conn_type": "sqlite", "host": f"{home}/shop.sqlite"}),
            "AIRFLOW_CONN_KLAVIYO_DEFAULT": json.dumps(klaviyo),
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
        }
        from airflow_provider_klaviyo.client.rate_limit import MemoryWindows

        with (
            mock.patch.object(MemoryWindows, "acquire", return_value=0.0),
            mock.patch(
                "airflow_provider_klaviyo.hooks.klaviyo.KlaviyoHook._windows", return_value=MemoryWindows()
            ),
        ):
            measure(asked.rows, url)


if __name__ == "__main__":
    main()

"""How fast people are subscribed, with the guard and without, beside what Klaviyo allows.

    .venv/bin/python -m tests.benchmarks.subscriptions [people]

So few people that no window of a minute is used up, so that the figures are what operator and emulator can do on this
machine; per minute of CPU they are the operator's own. Beside them stands what Klaviyo's windows allow: 750 requests a
minute for each call, with 1,000 people to subscribe and 100 to read. "Again" is the next run over the same people: with
the guard they are unchanged, after a look at their consent and at the list. The emulator, a process of its own, looks
members up one by one, which is what "again" waits for. Measured with 10,000 people on 2 busy cores, people a minute:

    ==========================  ===========  =================  ==================
    run                         by the wall  per minute of CPU  Klaviyo's ceiling
    ==========================  ===========  =================  ==================
    without the guard, e-mail       342,000            582,000             750,000
    the same again                  760,000          1,319,000             750,000
    without the guard, both         270,000            810,000             750,000
    with the guard, e-mail          203,000            474,000              75,000
    the same again                   48,000            264,000              75,000
    with the guard, both            131,000            332,000              37,500
    ==========================  ===========  =================  ==================
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from tests.integration.conftest import TaskInstance

CEILINGS = {"without the guard": 750 * 1_000, "with the guard": 750 * 100}
"""People a minute."""


def main(people: int = 10_000) -> None:
    with tempfile.TemporaryDirectory(prefix="klaviyo-benchmark-") as folder:
        _prepare(Path(folder), people)
        with _Emulator() as url:
            connection = {"conn_type": "klaviyo", "password": "pk_emulator", "host": url}
            os.environ["AIRFLOW_CONN_KLAVIYO_DEFAULT"] = json.dumps(connection)
            for name, resubscribe in (("without the guard", True), ("with the guard", False)):
                for mapping in ({"email": "email"}, {"email": "email", "phone_number": "phone"}):
                    list_id = _new_list(url, f"{name} {len(mapping)}")
                    email, phone = f"'{list_id.lower()}' || email", f"'+1{415 + resubscribe}' || phone"
                    sql = f"SELECT {email} AS email, {phone} AS phone FROM people"
                    _measure(name, people, list_id, resubscribe, mapping, sql)
                    _measure(f"{name}, again", people, list_id, resubscribe, mapping, sql)


def _measure(
    name: str, people: int, list_id: str, resubscribe: bool, mapping: dict[str, str], sql: str
) -> None:
    from airflow_provider_klaviyo.hooks import klaviyo as hook
    from airflow_provider_klaviyo.operators.subscriptions import KlaviyoSyncSubscriptionsOperator

    windows = Path(tempfile.mkdtemp())
    hook.shared_folder = lambda: windows  # what one measurement used of a minute is not the next one's
    channels = ["email", "sms"][: len(mapping)]
    operator = KlaviyoSyncSubscriptionsOperator(
        task_id=f"subscribe-{list_id}",
        mode="subscribe",
        channels=channels,
        list_id=list_id,
        resubscribe=resubscribe,
        sql=sql,
        sql_conn_id="shop",
        mapping=mapping,
    )
    started, cpu = time.perf_counter(), time.process_time()
    summary = operator.execute({"ti": TaskInstance(operator.task_id)})  # type: ignore[arg-type, typeddict-item]
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    done = summary["accepted"] + summary["unchanged"]
    assert done == people, summary
    rate = people / seconds * 60
    is_guarded = name.startswith("with the")
    ceiling = CEILINGS[name.partition(",")[0]] / (len(mapping) if is_guarded else 1)
    print(
        f"{name:24} {'+'.join(channels):10} {rate:>12,.0f} a minute ({people / cpu * 60:>12,.0f} a minute of CPU), "
        f"{summary['requests']:>6,} requests; Klaviyo's ceiling {ceiling:>9,.0f}"
    )


def _prepare(folder: Path, people: int) -> None:
    path = folder / "shop.sqlite"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE people (email TEXT, phone TEXT)")
        rows = ((f"p{n}@shop.io", str(2_000_000 + n)) for n in range(people))
        database.executemany("INSERT INTO people VALUES (?, ?)", rows)
    database.close()
    os.environ["AIRFLOW_CONN_SHOP"] = json.dumps({"conn_type": "sqlite", "host": str(path)})
    os.environ["AIRFLOW__KLAVIYO__STORAGE_PATH"] = str(folder / "storage")
    logging.disable(logging.INFO)


def _new_list(url: str, name: str) -> str:
    body = {"data": {"type": "list", "attributes": {"name": name, "opt_in_process": "single_opt_in"}}}
    request = urllib.request.Request(
        f"{url}/api/lists",
        data=json.dumps(body).encode(),
        headers={
            "Authorization": "Klaviyo-API-Key pk_emulator",
            "revision": "2026-07-15",
            "Content-Type": "application/vnd.api+json",
        },
    )
    with urllib.request.urlopen(request) as answer:
        return str(json.load(answer)["data"]["id"])


class _Emulator:
    """The emulator as a program, without limits."""

    def __enter__(self) -> str:
        code = (
            "import time; from airflow_provider_klaviyo.emulator import Emulator, Settings; "
            "e = Emulator(Settings(rate_limits='off', subscription_seconds=0.0)).start(); "
            "print(e.url, flush=True); time.sleep(3600)"
        )
        self._process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        return self._process.stdout.readline().strip()

    def __exit__(self, *_: Any) -> None:
        self._process.kill()
        self._process.wait()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

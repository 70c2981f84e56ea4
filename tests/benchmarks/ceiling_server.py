"""The Klaviyo of `ceiling`: the emulator with its windows on, in a process of its own, late with every answer.

    python -m tests.benchmarks.ceiling_server RUN ROWS LATENCY

Prints the URL of a small account to warm up with and of the one to measure, prepared for the run, and on every line
read how the second one stands.

The emulator is as strict as ever but for two bodies, which it counts instead of reading: of bulk imports, since to
read and store 10,000 profiles takes longer than Klaviyo's windows leave between two, and of bulk events.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from typing import Any

from airflow_provider_klaviyo.emulator import Emulator, Fault, Settings
from airflow_provider_klaviyo.emulator.account.consent_store import Standing
from airflow_provider_klaviyo.emulator.account.import_jobs import ImportJob, ImportJobs
from airflow_provider_klaviyo.emulator.api import bulk_imports, events
from airflow_provider_klaviyo.emulator.api.operations import Answer, Call
from airflow_provider_klaviyo.emulator.requests.bulk_body import ImportBody
from airflow_provider_klaviyo.emulator.requests.profile_schema import Change

WARM_ROWS = 300
LIST = "VIPs"
_DAYS = 700
_OF_ONE_IMPORT = 10_000


def prepare(emulator: Emulator, run: str, rows: int) -> None:
    """The people and the list that a run needs."""
    if run in ("profiles", "events"):
        return
    account, now = emulator._account, time.time()
    people = [account.profiles.create(Change(email=f"p{n}@shop.io"), now) for n in range(1, rows + 1)]
    joined: list[float] = []
    if run == "mirror of imports":
        joined = [now - 86_400 * (_DAYS - n // _OF_ONE_IMPORT) for n in range(rows)]
    elif run != "subscribe":
        dice = random.Random(rows)
        joined = sorted(now - 86_400 * dice.uniform(1, _DAYS) for _ in people)
    list_id = emulator.add_list(LIST)
    for profile, moment in zip(people, joined, strict=bool(joined)):
        account.lists.join(list_id, profile, moment)
    if run == "unsubscribe":
        for profile in people:
            account.consents.put(
                profile.number, "email", Standing("SUBSCRIBED", now - 86_400, now - 86_400, "API", None)
            )


def _count_profiles(body: bytes, _: Settings) -> ImportBody:
    count = body.count(b'"type":"profile"') or body.count(b'"type": "profile"')
    return ImportBody([None] * count, [])  # type: ignore[list-item]


def _take_all(_: ImportJobs, job: ImportJob, changes: list[Any]) -> None:
    job.imported += len(changes)


def _count_events(call: Call) -> Answer:
    count = call.body.count(b'"type":"event"') or call.body.count(b'"type": "event"')
    return Answer(202, records=count)


def _count_bodies() -> None:
    bulk_imports.read_bulk = _count_profiles
    bulk_imports.refuse_on_order = lambda *_: None
    ImportJobs._work_off = _take_all  # type: ignore[method-assign]
    bulk = next(each for each in events.OPERATIONS if each.id == "bulk_create_events")
    object.__setattr__(bulk, "answer", _count_events)


def told(emulator: Emulator) -> dict[str, Any]:
    """Every request, and whether a window was passed."""
    requests = [
        (each.operation, each.time, each.time + each.seconds, each.status) for each in emulator.requests()
    ]
    return {"requests": requests, "exceeded": emulator.stats()["exceeded"], "cpu": time.process_time()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run")
    parser.add_argument("rows", type=int)
    parser.add_argument("latency", type=float)
    asked = parser.parse_args()
    _count_bodies()
    settings = Settings(api_key="pk_benchmark", job_seconds=0.0, subscription_seconds=1.0)
    with Emulator(settings) as warm, Emulator(settings) as emulator:
        prepare(warm, asked.run, WARM_ROWS)
        prepare(emulator, asked.run, asked.rows)
        emulator.inject(Fault("slow", count=None, seconds=asked.latency))
        print(warm.url, emulator.url, flush=True)
        for _ in sys.stdin:
            print(json.dumps(told(emulator)), flush=True)


if __name__ == "__main__":
    main()

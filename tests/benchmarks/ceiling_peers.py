"""The syncs of `ceiling` as far as others can do them; a program for a Python that has the peers and not this package.

    PYTHONPATH=<root> <python of the peers> tests/benchmarks/ceiling_peers.py PEER RUN ROWS WARM_URL URL

*klaviyo-api*, Klaviyo's SDK, is used as its README shows: one call after the other, with its models and retries.
*drt-core* runs its own sync with the options it has when none are given. Its destination has no setting for where
Klaviyo is, so its constant is set; nothing else of it is touched. A small run against the first URL comes before, so
that imports are not measured.
"""

from __future__ import annotations

import json
import resource
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.benchmarks.ceiling_client import LIST, SQL, SQL_OF_EVENTS, SQL_OF_PROFILES, WARM_ROWS

Row = dict[str, Any]


def _batches(sql: str, rows: int, size: int) -> Iterator[list[Row]]:
    connection = sqlite3.connect(":memory:")
    cursor = connection.execute(sql.format(rows=rows))
    names = [column[0] for column in cursor.description]
    people = (dict(zip(names, row, strict=True)) for row in cursor)
    while batch := list(islice(people, size)):
        yield batch
    connection.close()


# --- klaviyo-api ------------------------------------------------------------------------------------------------


class Sdk:
    """Klaviyo's SDK, which gives the people of a list as dicts and all else as models."""

    def __init__(self, url: str) -> None:
        from klaviyo_api import KlaviyoAPI

        self.api = KlaviyoAPI("pk_benchmark", test_host=url)

    def profiles(self, rows: int) -> None:
        """Every import is sent, then each job is looked at."""
        jobs = []
        for batch in _batches(SQL_OF_PROFILES, rows, 10_000):
            attributes = {"profiles": {"data": [_profile(row) for row in batch]}}
            body = {"data": {"type": "profile-bulk-import-job", "attributes": attributes}}
            jobs.append(self.api.Profiles.bulk_import_profiles(body).data.id)
        for job in jobs:
            told = self.api.Profiles.get_bulk_import_profiles_job(job).data.attributes
            if told.completed_count != told.total_count:
                raise AssertionError(told)

    def events(self, rows: int) -> None:
        for batch in _batches(SQL_OF_EVENTS, rows, 1_000):
            attributes = {"events-bulk-create": {"data": [_event(row) for row in batch]}}
            body = {"data": {"type": "event-bulk-create-job", "attributes": attributes}}
            self.api.Events.bulk_create_events(body)

    def mirror(self, rows: int) -> None:
        """Reads the list page by page; the query's people are its members, so that nothing is left to be done."""
        list_id, cursor, members = self._list_id(), None, set()
        while True:
            more = {"page_cursor": cursor} if cursor else {}
            page = self.api.Lists.get_profiles_for_list(
                list_id, page_size=100, fields_profile=["email"], **more
            )
            members |= {each["attributes"]["email"] for each in page["data"]}
            if not page["links"].get("next"):
                break
            # It takes the cursor out of a link by itself, but of https alone.
            cursor = parse_qs(urlsplit(page["links"]["next"]).query)["page[cursor]"][0]
        if members != {row["email"] for batch in _batches(SQL, rows, 1_000) for row in batch}:
            raise AssertionError(len(members))

    def remove(self, rows: int) -> None:
        list_id = self._list_id()
        for batch in _batches(SQL, rows, 1_000):
            found = []
            for start in range(0, len(batch), 100):
                emails = ",".join(f'"{row["email"]}"' for row in batch[start : start + 100])
                page = self.api.Lists.get_profiles_for_list(
                    list_id, page_size=100, fields_profile=["email"], filter=f"any(email,[{emails}])"
                )
                found += [{"type": "profile", "id": each["id"]} for each in page["data"]]
            self.api.Lists.remove_profiles_from_list(list_id, {"data": found})

    def unsubscribe(self, rows: int) -> None:
        self._consent("UNSUBSCRIBED", rows, 100)

    def subscribe(self, rows: int) -> None:
        self._consent("SUBSCRIBED", rows, 1_000)

    def _consent(self, consent: str, rows: int, size: int) -> None:
        of_list = {"list": {"data": {"type": "list", "id": self._list_id()}}}
        subscriptions = {"email": {"marketing": {"consent": consent}}}
        kind, send = {
            "SUBSCRIBED": ("create", self.api.Profiles.bulk_subscribe_profiles),
            "UNSUBSCRIBED": ("delete", self.api.Profiles.bulk_unsubscribe_profiles),
        }[consent]
        for batch in _batches(SQL, rows, size):
            people = [
                {"type": "profile", "attributes": {"email": row["email"], "subscriptions": subscriptions}}
                for row in batch
            ]
            data = {
                "type": f"profile-subscription-bulk-{kind}-job",
                "attributes": {"profiles": {"data": people}},
                "relationships": of_list,
            }
            send({"data": data})

    def _list_id(self) -> str:
        return str(self.api.Lists.get_lists(filter=f'equals(name,"{LIST}")').data[0].id)


def _profile(row: Row) -> Row:
    attributes = {
        "external_id": str(row["id"]),
        "email": row["email"],
        "first_name": row["first_name"],
        "last_name": row["last_name"],
        "location": {"city": row["city"], "country": row["country"]},
        "properties": {
            "Tier": row["tier"],
            "Orders": row["orders"],
            "Lifetime value": row["lifetime_value"],
        },
    }
    return {"type": "profile", "attributes": attributes}


def _event(row: Row) -> Row:
    event = {
        "properties": {"Order": row["order_id"], "Items": row["items"], "URL": row["url"]},
        "metric": {"data": {"type": "metric", "attributes": {"name": "Placed Order"}}},
        "time": row["ordered_at"],
        "value": row["total"],
        "value_currency": row["currency"],
        "unique_id": str(row["order_id"]),
    }
    person = {"data": {"type": "profile", "attributes": {"email": row["email"]}}}
    events = {"data": [{"type": "event", "attributes": event}]}
    return {"type": "event-bulk-create", "attributes": {"profile": person, "events": events}}


# --- drt-core ---------------------------------------------------------------------------------------------------


class Drt:
    """drt-core's sync from SQLite to its Klaviyo destination: a request a row."""

    def __init__(self, url: str) -> None:
        from drt.destinations import klaviyo

        klaviyo._BASE = f"{url}/api"

    def profiles(self, rows: int) -> None:
        self._sync(SQL_OF_PROFILES, rows)

    def events(self, rows: int) -> None:
        self._sync(
            SQL_OF_EVENTS,
            rows,
            endpoint="event",
            metric_name="Placed Order",
            time_field="ordered_at",
            value_field="total",
            unique_id_field="order_id",
        )

    def _sync(self, sql: str, rows: int, **options: Any) -> None:
        from drt.config.models import SyncConfig
        from drt.config.profiles import SQLiteProfile
        from drt.destinations.klaviyo import KlaviyoDestination
        from drt.engine.sync import run_sync
        from drt.sources.sqlite import SQLiteSource

        destination = {"type": "klaviyo", "api_key": "pk_benchmark", **options}
        sync = SyncConfig(name="benchmark", model=sql.format(rows=rows), destination=destination)
        with tempfile.TemporaryDirectory() as folder:
            result = run_sync(
                sync, SQLiteSource(), KlaviyoDestination(), SQLiteProfile("sqlite"), Path(folder)
            )
        if result.success != rows:
            raise AssertionError(result)


PEERS: dict[str, Callable[[str], Any]] = {"klaviyo-api": Sdk, "drt-core": Drt}


def main(peer: str, run: str, rows: int, warm_url: str, url: str) -> None:
    sync = run.partition(" ")[0]
    getattr(PEERS[peer](warm_url), sync)(min(rows, WARM_ROWS) if peer == "klaviyo-api" else 1)
    client = PEERS[peer](url)
    began, cpu = time.time(), time.process_time()
    getattr(client, sync)(rows)
    figures = {
        "began": began,
        "ended": time.time(),
        "cpu": time.process_time() - cpu,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "summary": {},
    }
    print("MEASURED" + json.dumps(figures), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:3], int(sys.argv[3]), *sys.argv[4:6])

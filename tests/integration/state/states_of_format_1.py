"""Syncs whose states were written by the release before fingerprints followed the meaning (format 1 of the log).

The states are in the folder of this name. They were made by that release, from its checkout::

    PYTHONPATH=. python <this file> <folder>

which needs a PostgreSQL (``KLAVIYO_TESTS_POSTGRES``), and cannot be made by a later one. Every sync has sent its rows
and has them acknowledged; the state of the profiles is a snapshot, the others are entries.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

ROWS = 12
LIST = "VIPs"

TABLE = f"""
DROP TABLE IF EXISTS people;
CREATE TABLE people AS
SELECT n AS id, 'p' || n || '@shop.io' AS email, '+1415555' || lpad(n::text, 4, '0') AS phone,
       CASE WHEN n % 4 > 0 THEN 'P' || n END AS first_name, 'Boston' AS city,
       (n * 2.5)::numeric(9, 2) AS spent, n / 8.0::float8 AS rate, n % 2 = 0 AS vip,
       timestamptz '2026-11-01 10:00:00+00' + n * interval '1 hour' AS at,
       jsonb_build_array(n, jsonb_build_object('sku', 'A' || n, 'price', 1.50)) AS lines,
       CASE WHEN n % 3 > 0 THEN 'tag' || n END AS tag
FROM generate_series(1, {ROWS}) AS n
"""
SQL = "SELECT * FROM people ORDER BY id"
SHARED: Mapping[str, Any] = {
    "sql": SQL,
    "sql_conn_id": "shop",
    "primary_key": "id",
    "only_changes": True,
    "poll_interval": 0.2,
    "timeout": 60,
}


class OldSync(NamedTuple):
    """A sync by its operator's place, and the operations by which it writes."""

    operator: str
    parameters: Mapping[str, Any]
    writes: tuple[str, ...]


PROFILE = {
    "external_id": "id",
    "email": "email",
    "phone_number": "phone",
    "first_name": "first_name",
    "location.city": "city",
    "properties.Spent": "spent",
    "properties.Rate": "rate",
    "properties.VIP": "vip",
    "properties.At": "at",
    "properties.Lines": "lines",
    "properties.Tag": "tag",
}
EVENT = {
    "profile.email": "email",
    "profile.phone_number": "phone",
    "time": "at",
    "value": "spent",
    "properties.Lines": "lines",
    "properties.Rate": "rate",
    "properties.At": "at",
}
CONSENT = {"email": "email", "phone_number": "phone", "consented_at": "at"}

SYNCS: Mapping[str, OldSync] = {
    "profiles": OldSync(
        "profiles.KlaviyoSyncProfilesOperator",
        {"mapping": PROFILE, "clear_nulls": ["first_name", "properties.Tag"]},
        ("bulk_import_profiles", "create_or_update_profile"),
    ),
    "events": OldSync(
        "events.KlaviyoSyncEventsOperator",
        {"mapping": EVENT, "metric": "Placed Order"},
        ("bulk_create_events",),
    ),
    "mirror": OldSync(
        "lists.KlaviyoSyncListOperator",
        {"mapping": {"email": "email"}, "mode": "mirror", "list_name": LIST},
        ("bulk_import_profiles", "remove_profiles_from_list"),
    ),
    "adds": OldSync(
        "lists.KlaviyoSyncListOperator",
        {"mapping": {"phone_number": "phone"}, "mode": "add", "list_name": LIST},
        ("bulk_import_profiles",),
    ),
    "consent": OldSync(
        "subscriptions.KlaviyoSyncSubscriptionsOperator",
        {
            "mapping": CONSENT,
            "mode": "subscribe",
            "channels": ("email", "sms"),
            "list_name": LIST,
            "historical_import": True,
        },
        ("bulk_subscribe_profiles",),
    ),
}


def operator_of(name: str, **more: Any) -> Any:
    """The operator of a sync, with other parameters where they are given."""
    from importlib import import_module

    module, _, operator = SYNCS[name].operator.rpartition(".")
    made = getattr(import_module(f"airflow_provider_klaviyo.operators.{module}"), operator)
    return made(task_id=name, **(SHARED | SYNCS[name].parameters | more))


def source_of(name: str) -> Path:
    """The folder with the state of a sync."""
    (source,) = (Path(__file__).with_suffix("")).glob(f"shop_to_klaviyo.{name}-*")
    return source


def make(folder: Path) -> None:
    """Run every sync once with the release at hand, and keep its state."""
    import psycopg

    from airflow_provider_klaviyo.emulator import Emulator, Settings
    from airflow_provider_klaviyo.operators.state import state_folder  # as that build had it
    from airflow_provider_klaviyo.state.ledger import Ledger
    from tests.integration.conftest import run_operator

    uri = f"{os.environ.get('KLAVIYO_TESTS_POSTGRES') or 'postgresql://postgres@127.0.0.1:5432'}/postgres"
    with psycopg.connect(uri) as connection:
        connection.execute(TABLE)
    settings = Settings(job_seconds=0.0, subscription_seconds=0.0, rate_limits="off")
    socket.gethostname = lambda: "worker"
    with tempfile.TemporaryDirectory() as storage, Emulator(settings) as klaviyo:
        klaviyo.add_list(LIST, opt_in_process="single_opt_in")
        os.environ |= {
            "AIRFLOW__KLAVIYO__STORAGE_PATH": storage,
            "AIRFLOW_CONN_SHOP": uri + "?options=-c%20timezone%3DUTC",
            "AIRFLOW_CONN_KLAVIYO_DEFAULT": json.dumps(
                {"conn_type": "klaviyo", "password": klaviyo.api_key, "host": klaviyo.url}
            ),
        }
        for name in SYNCS:
            run = run_operator(operator_of(name))
            assert run.error is None, run.error
            assert run.summary["accepted"] == ROWS, run.summary
        profiles = state_folder("shop_to_klaviyo.profiles")
        scratch = Path(storage) / "scratch"
        scratch.mkdir()
        ledger = Ledger.open(profiles, scratch, None, writer="by hand", now=time.time)
        ledger.compact(keep_previous=False)
        ledger.close()
        shutil.copytree(
            Path(storage) / "sync-state",
            folder,
            dirs_exist_ok=True,
            ignore=shutil.ignore_patterns("lock.json"),
        )


if __name__ == "__main__":
    make(Path(sys.argv[1]))

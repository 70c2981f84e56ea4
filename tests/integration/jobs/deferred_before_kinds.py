"""What a deferred sync left behind while all jobs were profile imports: its note, its rows and its trigger.

They are in the folder of this name. They were made by the last build that wrote them, from its checkout::

    PYTHONPATH=. python <this file> <folder>

and cannot be made by a later one. The job has three people, the rows 1, 2 and 4; the third row was rejected.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import tempfile
from pathlib import Path
from typing import Any

JOB = "THE-JOB"
"""Stands for the id of the job, which is another account's each time."""

PEOPLE = ((1, "p1@shop.io"), (2, "p2@shop.io"), (3, "nobody"), (4, "p4@shop.io"))
SYNC: dict[str, Any] = {
    "sql": "SELECT id, email FROM people ORDER BY id",
    "sql_conn_id": "shop",
    "mapping": {"email": "email"},
    "primary_key": "id",
    "max_rejected": 1.0,
    "poll_interval": 0.2,
    "timeout": 60,
    "deferrable": True,
}


def make_shop(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE people (id INTEGER, email TEXT)")
        database.executemany("INSERT INTO people VALUES (?, ?)", PEOPLE)
    database.close()


def make(folder: Path) -> None:
    """Write them; for the build that this is about."""
    from airflow.sdk.exceptions import TaskDeferred

    from airflow_provider_klaviyo.emulator import Emulator, Settings
    from airflow_provider_klaviyo.operators.profiles import KlaviyoSyncProfilesOperator

    class TaskInstance:
        dag_id, task_id, run_id, try_number, map_index = "shop", "people", "monday", 1, -1

        def xcom_push(self, key: str, value: object) -> None:
            pass

    folder.mkdir()
    with tempfile.TemporaryDirectory() as scratch, Emulator(Settings(job_seconds=600.0)) as klaviyo:
        make_shop(Path(scratch) / "shop.sqlite")
        connections = {
            "KLAVIYO_DEFAULT": {"conn_type": "klaviyo", "password": klaviyo.api_key, "host": klaviyo.url},
            "SHOP": {"conn_type": "sqlite", "host": f"{scratch}/shop.sqlite"},
        }
        for name, connection in connections.items():
            os.environ[f"AIRFLOW_CONN_{name}"] = json.dumps(connection)
        os.environ["AIRFLOW__KLAVIYO__STORAGE_PATH"] = f"{scratch}/storage"
        operator = KlaviyoSyncProfilesOperator(task_id="people", **SYNC)
        try:
            operator.execute({"ti": TaskInstance()})  # type: ignore[arg-type, typeddict-item]
        except TaskDeferred as deferred:
            trigger = json.dumps(deferred.trigger.serialize())
        (job,) = klaviyo.jobs()
        (note,) = Path(scratch).rglob("*.deferred.json")
        (rows,) = Path(scratch).rglob("*.deferred-0.json")
        (rejects,) = Path(scratch).rglob("*.rejects.jsonl")
        for name, text in (
            ("note.json", note.read_text()),
            ("rows.json", rows.read_text()),
            ("rejects.jsonl", rejects.read_text()),
            ("trigger.json", trigger),
        ):
            (folder / name).write_text(text.replace(job.id, JOB).replace(scratch, "/storage"))


if __name__ == "__main__":
    make(Path(sys.argv[1]))

"""States as they were written while who was asked was kept among the rows (format 2 of the log).

They are in the folder of this name. They were made by the last build that wrote them, from its checkout::

    PYTHONPATH=. python <this file> <folder>

and cannot be made by a later one. ``entries`` and ``snapshot`` have something of everything that a mirror's state may
hold; in the second a snapshot was written while a job was open. ``asked`` is a sync that asks people for a
confirmation: the first was asked and gave it, two were asked, one was refused by Klaviyo, and of the last it is not
known; ``asked_in_snapshot`` is the same state after a snapshot.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NOW = 1_795_000_000.0
TARGET = {"state_key": "everything", "base URL": "http://klaviyo", "account": "EmuLtr", "list": "L1"}
ADA, BOB, EVE, GUS, IDA, JOE = range(101, 107)
IDENTITIES = {
    person: f"email\0{name}@shop.io"
    for person, name in zip(
        (ADA, BOB, EVE, GUS, IDA, JOE), ("ada", "bob", "eve", "gus", "ida", "joe"), strict=True
    )
}
PHONE, OTHER_PHONE = 501, 502
RUN = {"run": "monday", "try": 1, "ended": NOW, "succeeded": True, "report_path": "shop/mirror/monday.json"}

LIST = "Asking"
SQL = "SELECT id, email FROM people WHERE id <= {} ORDER BY id"
CONSENT: Mapping[str, Any] = {
    "sql_conn_id": "shop",
    "mapping": {"email": "email"},
    "primary_key": "id",
    "only_changes": True,
    "mode": "subscribe",
    "list_name": LIST,
    "max_rejected": 1.0,
    "poll_interval": 0.2,
    "timeout": 60,
}


def make_shop(path: Path) -> None:
    """Five people, p1@shop.io to p5@shop.io."""
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE people (id INTEGER, email TEXT)")
        people = [(number, f"p{number}@shop.io") for number in range(1, 6)]
        database.executemany("INSERT INTO people VALUES (?, ?)", people)
    database.close()


def make_everything(folder: Path, scratch: Path, *, compacts: bool) -> None:
    """Write the state of a mirror by hand."""
    from airflow_provider_klaviyo.state.ledger import Ledger, Sent

    def sent(key: int, fingerprint: int, person: int) -> Sent:
        return Sent(key, fingerprint, person, IDENTITIES[person])

    scratch.mkdir()
    ledger = Ledger.open(folder, scratch, TARGET, writer="by hand", now=lambda: NOW)
    ledger.settle(ledger.send([sent(1, 10, ADA)], overrules=False))
    ledger.refresh("monday")
    everybody = [sent(1, 11, ADA), sent(2, 20, BOB), sent(3, 30, EVE), sent(4, 40, GUS)]
    ledger.settle(ledger.send(everybody, overrules=False), failed=[3])
    ledger.share("phone_number", {PHONE: ADA, OTHER_PHONE: BOB})
    ledger.start(ledger.send([sent(5, 50, IDA), sent(2, 21, BOB)], overrules=False), "job-1")
    if compacts:
        ledger.compact(keep_previous=False)
    ledger.unshare([OTHER_PHONE])
    ledger.start(ledger.send([sent(6, 60, JOE)], overrules=False), "job-2")
    ledger.send([sent(7, 70, JOE)], overrules=False)
    ledger.move([Sent(8, 0, ADA)], is_acknowledged=False)
    ledger.rehash({1: 12})
    ledger.leave([EVE])
    ledger.remove([EVE])
    ledger.invalidate([1])
    ledger.settle(ledger.send([sent(9, 90, ADA)]), pending=[0])
    ledger.settle(ledger.send([sent(10, 100, ADA)]))
    ledger.fail([4])
    ledger.record_run(RUN)
    ledger.close()


def make_asked(storage: Path) -> None:
    """Have the operator ask people."""
    from airflow_provider_klaviyo.emulator import Emulator, Fault, Settings
    from airflow_provider_klaviyo.operators.subscriptions import KlaviyoSyncSubscriptionsOperator
    from tests.integration.conftest import run_operator

    def run(most: int) -> dict[str, int]:
        operator = KlaviyoSyncSubscriptionsOperator(task_id="asked", sql=SQL.format(most), **CONSENT)
        return run_operator(operator).counts()

    socket.gethostname = lambda: "worker"
    make_shop(storage / "shop.sqlite")
    settings = Settings(subscription_seconds=0.0, rate_limits="off")
    with Emulator(settings) as klaviyo:
        list_id = klaviyo.add_list(LIST, opt_in_process="double_opt_in")
        os.environ |= {
            "AIRFLOW__KLAVIYO__STORAGE_PATH": str(storage),
            "AIRFLOW_CONN_SHOP": json.dumps({"conn_type": "sqlite", "host": str(storage / "shop.sqlite")}),
            "AIRFLOW_CONN_KLAVIYO_DEFAULT": json.dumps(
                {"conn_type": "klaviyo", "password": klaviyo.api_key, "host": klaviyo.url}
            ),
        }
        klaviyo.inject(Fault("refuse_records", operation="bulk_subscribe_profiles", match="p4@shop.io"))
        assert run(4) == {"rows_read": 4, "accepted": 3, "rejected": 1}
        klaviyo.confirm(email="p1@shop.io", list_id=list_id)
        klaviyo.inject(Fault("status", operation="bulk_subscribe_profiles", status=500))
        assert run(1) == {"rows_read": 1, "unchanged": 1}
        with sqlite3.connect(storage / "shop.sqlite") as database:
            database.execute("DELETE FROM people WHERE id = 4")
        database.close()
        assert run(5) == {"rows_read": 4, "unchanged": 1, "skipped": 2, "pending": 1}


def make(folder: Path) -> None:
    """Write all states with the build at hand."""
    from airflow_provider_klaviyo.operators.state import state_folder  # as that build had it
    from airflow_provider_klaviyo.state.ledger import Ledger

    with tempfile.TemporaryDirectory() as name:
        storage = Path(name)
        for kind, compacts in (("entries", False), ("snapshot", True)):
            make_everything(storage / kind, storage / f"scratch of {kind}", compacts=compacts)
            shutil.copytree(storage / kind, folder / kind)
        make_asked(storage)
        state = state_folder("shop_to_klaviyo.asked")
        (state / "lock.json").unlink(missing_ok=True)
        shutil.copytree(state, folder / "asked")
        scratch = storage / "scratch"
        scratch.mkdir()
        ledger = Ledger.open(state, scratch, None, writer="by hand", now=lambda: NOW)
        ledger.compact(keep_previous=False)
        ledger.close()
        shutil.copytree(state, folder / "asked_in_snapshot")


if __name__ == "__main__":
    make(Path(sys.argv[1]))

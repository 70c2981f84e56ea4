"""Klaviyo repeats what it refuses; logs, reports, summaries and exceptions name nobody, and the rejects file does."""

from __future__ import annotations

import json
import logging
import re
import traceback
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator, Fault
from airflow_provider_klaviyo.operators.events import KlaviyoSyncEventsOperator
from airflow_provider_klaviyo.operators.lists import KlaviyoSyncListOperator
from airflow_provider_klaviyo.operators.subscriptions import KlaviyoSyncSubscriptionsOperator
from tests.integration.conftest import MAPPING, Run, Shop, StartEmulator, Sync, run_operator

pytestmark = pytest.mark.integration

SURNAMES = ["Müller", "O'Neil", 'Van "Dam', "Łukasz Zażółć", "Anna-Lena", "李小龍"]
PARTS = ["Qxperson", "@", "555", *SURNAMES]
"""What rows have and no word of the package's."""

NAMES_NOBODY = re.compile(
    r"\*\*\*@\*\*\*|127\.0\.0\.1:\d+|\b[A-Za-z0-9]{20,}\b|\d{4}-\d\d-\d\dT[\d:.]+|\b\d+\.\d+\b"
)
"""What is masked, the emulator's address, ids, times and figures: any digits may be in them."""


@pytest.fixture
def people(shop: Shop) -> Shop:
    shop.fill(
        [
            (
                7_000 + n,
                f"Qxperson.{n}@Shop.io",
                f"+1415{5_550_000 + n}",
                f"Qxperson {SURNAMES[n % 6]}",
                "gold",
            )
            for n in range(40)
        ]
    )
    return shop


def told(run: Run, log: str) -> dict[str, str]:
    """All that may be seen of a run by those who may not see its rows."""
    shown = {"log": log, "summary": json.dumps(run.summary, ensure_ascii=False)}
    if path := run.summary.get("report_path"):
        shown["report"] = json.dumps(json.loads(Path(path).read_text()), ensure_ascii=False)
    if run.error:
        shown["exception"] = "".join(traceback.format_exception(run.error))
    return shown


def assert_nobody_is_named(run: Run, log: str) -> None:
    for where, text in told(run, log).items():
        words = NAMES_NOBODY.sub("", text)
        named = [part for part in PARTS if part in words]
        assert not named, f"{where}: {text}"


REFUSING = [
    Fault("refuse_records", match="1@shop.io", count=None),
    Fault("refuse_records", match="1@shop.io", field="first_name", count=None),
    Fault("refuse_records", match="@", count=None),
    Fault("job_fails", match="1@shop.io", count=None),
    Fault("job_fails", match="1@shop.io", field="first_name", count=None),
    Fault("job_fails", match="@", count=None),
]


@pytest.mark.parametrize("pointers", ["all", "none", "field"])
@pytest.mark.parametrize("on_invalid", ["drop_field", "reject"])
@pytest.mark.parametrize("fault", REFUSING, ids=lambda fault: f"{fault.kind}-{fault.match}-{fault.field}")
def test_whatever_klaviyo_repeats(
    start_emulator: StartEmulator,
    people: Shop,
    sync: Sync,
    caplog: pytest.LogCaptureFixture,
    fault: Fault,
    pointers: str,
    on_invalid: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    klaviyo = start_emulator(repeats_values=True, pointers=pointers)
    klaviyo.inject(fault)
    run = sync(on_invalid=on_invalid, mapping={**MAPPING, "last_name": "first_name"})
    assert_nobody_is_named(run, caplog.text)
    assert len(run.report["reasons"]) <= 3, run.report["reasons"]


OTHERS = {
    "events": partial(KlaviyoSyncEventsOperator, metric="Order", primary_key="id"),
    "list": partial(KlaviyoSyncListOperator, list_name="VIPs", mode="add", match_by="email"),
    "subscribe": partial(
        KlaviyoSyncSubscriptionsOperator, mode="subscribe", list_name="VIPs", match_by="email"
    ),
}


@pytest.mark.parametrize("match", ["1@shop.io", "@"])
@pytest.mark.parametrize("name", OTHERS)
def test_whatever_klaviyo_repeats_to_other_syncs(
    start_emulator: StartEmulator,
    people: Shop,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    name: str,
    match: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", str(tmp_path / "storage"))
    klaviyo = start_emulator(repeats_values=True)
    klaviyo.add_list("VIPs")
    klaviyo.inject(Fault("refuse_records", match=match, count=None))
    sql = "SELECT id, email, first_name FROM customers ORDER BY id"
    run = run_operator(
        OTHERS[name](task_id="sync", sql=sql, sql_conn_id="shop", poll_interval=0.2, timeout=60)
    )
    assert run.summary["accepted"] < 40
    assert_nobody_is_named(run, caplog.text)


@pytest.mark.parametrize(
    "detail",
    [
        "'Qxperson Müller' is not a valid value.",
        'The name "Qxperson O\'Neil" is too long.',
        "Qxperson.1@shop.io is not valid.",
        "Qxperson @ shop.io is not valid.",
        "Qxperson\uff20shop.io is not valid.",
        "The number +1 (415) 555-0001 of “Qxperson” is not valid.",
    ],
)
def test_words_that_end_a_run(
    klaviyo: Emulator, people: Shop, sync: Sync, caplog: pytest.LogCaptureFixture, detail: str
) -> None:
    caplog.set_level(logging.DEBUG)
    error = {"status": 400, "code": "invalid", "title": "Invalid input.", "detail": detail}
    klaviyo.inject(Fault("status", "bulk_import_profiles", status=400, errors=(error,), count=None))
    run = sync()
    assert run.error is not None
    assert detail.split()[-1] in str(run.error)
    assert_nobody_is_named(run, caplog.text)


def test_the_rejects_file_has_klaviyos_words_and_the_row(
    start_emulator: StartEmulator, people: Shop, sync: Sync
) -> None:
    klaviyo = start_emulator(repeats_values=True)
    klaviyo.inject(REFUSING[1])
    run = sync(on_invalid="reject", max_rejected=10)
    assert all("Qxperson" in line["reason"] and "@" in line["row"]["email"] for line in run.rejects)
    (reason,) = run.report["reasons"]
    assert reason["rows"] == len(run.rejects) == 4
    assert reason["reason"] == "Klaviyo refused it: The value was refused. It is '***'."


@pytest.mark.parametrize(
    ("sql", "shown"),
    [
        ("SELECT email, CAST(first_name AS integer) AS id FROM people", "invalid input syntax"),
        ("SELECT email, first_name::date FROM people", "invalid input syntax"),
        ("SELECT emial FROM people", 'column "emial" does not exist'),
        ("SELECT * FROM people WHERE 'Qxperson@x.io'::int = 1", "22P02"),
        (
            "SELECT email, 1 / (CASE WHEN email IS NULL THEN 1 ELSE 0 END) AS id FROM people",
            "division by zero",
        ),
    ],
)
def test_whatever_postgresql_repeats(
    klaviyo: Emulator,
    postgres_uri: str,
    sync: Sync,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    sql: str,
    shown: str,
) -> None:
    import psycopg

    with psycopg.connect(postgres_uri) as connection:
        connection.execute("DROP TABLE IF EXISTS people")
        connection.execute("CREATE TABLE people (email text, first_name text)")
        connection.execute("INSERT INTO people VALUES ('Qxperson@shop.io', 'Qxperson @ Müller 555')")
    monkeypatch.setenv("AIRFLOW_CONN_PEOPLE", postgres_uri)
    caplog.set_level(logging.DEBUG, logger="airflow_provider_klaviyo")
    run: Any = sync(sql=sql, sql_conn_id="people", mapping=None)
    assert shown in str(run.error)
    assert_nobody_is_named(
        run, "\n".join(record.getMessage() for record in caplog.records if "klaviyo" in record.name)
    )

"""What people are told of a failed sync."""

from __future__ import annotations

import email
import json
import socketserver
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_klaviyo._compat import AirflowFailException, AirflowNotFoundException
from airflow_provider_klaviyo.alerts import failure_text
from airflow_provider_klaviyo.emulator import Emulator
from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError, KlaviyoTimeout
from airflow_provider_klaviyo.failures import told_in_a_sentence
from airflow_provider_klaviyo.operators.environment import task_run_of
from airflow_provider_klaviyo.sync.storage import Storage
from tests.airflow.conftest import RunExample

pytestmark = pytest.mark.airflow


class Slack(BaseHTTPRequestHandler):
    told: list[str]

    def do_POST(self) -> None:
        self.told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Mail(socketserver.StreamRequestHandler):
    """As much of SMTP as sends a mail."""

    told: list[str]

    def handle(self) -> None:
        self.wfile.write(b"220 mail\r\n")
        for line in self.rfile:
            command = line[:4].upper()
            if command == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                self.told.append("".join(iter(self._line, ".\n")))
            self.wfile.write(b"221 bye\r\n" if command == b"QUIT" else b"250 good\r\n")

    def _line(self) -> str:
        return self.rfile.readline().decode().replace("\r\n", "\n")


@contextmanager
def serving(server: socketserver.TCPServer) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.slow
def test_the_example_tells_slack_and_sends_a_mail_that_say_what_where_and_what_to_do(
    klaviyo: Emulator, storage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_example: RunExample
) -> None:
    path = tmp_path / "shop.sqlite"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE customers (email TEXT, first_name TEXT)")
        database.executemany(
            "INSERT INTO customers VALUES (?, 'Zoe')", [("zoe@shop.io",), ("zoe at shop",), ("",)]
        )
    slack, mail = type("", (Slack,), {"told": []}), type("", (Mail,), {"told": []})
    with (
        serving(HTTPServer(("127.0.0.1", 0), slack)) as webhook,
        serving(socketserver.ThreadingTCPServer(("127.0.0.1", 0), mail)) as post,
    ):
        for name, connection in {
            "SHOP": {"conn_type": "sqlite", "host": str(path)},
            "SLACK_WEBHOOK": {"conn_type": "generic", "host": f"http://127.0.0.1:{webhook}/T0/B0"},
            "SMTP_DEFAULT": {
                "conn_type": "smtp",
                "host": "127.0.0.1",
                "port": post,
                "extra": {"disable_tls": True, "disable_ssl": True},
            },
        }.items():
            monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps(connection))
        assert run_example("klaviyo_alerts").state == "failed"
    (report,) = storage.rglob("*.report.json")
    (sent,), (said,) = mail.told, slack.told
    letter = email.message_from_string(sent)
    (part,) = (each for each in letter.walk() if each.get_content_maintype() == "text")
    for text in (bytes(part.get_payload(decode=True)).decode(), said):
        assert "klaviyo_alerts.sync_customers failed: 2 of 3 rows were rejected" in text
        assert "max_rejected=0.01 allows 0" in text
        assert "3 rows read: 1 accepted, 2 rejected." in text
        assert f"Report: {report}" in text
        assert "Log: http" in text
        assert "zoe" not in text.casefold()
    assert letter["Subject"] == "sync_customers failed"


@pytest.fixture
def ti() -> Any:
    return SimpleNamespace(dag_id="shop", task_id="sync", run_id="night", map_index=-1, try_number=2)


def test_of_a_task_that_was_killed_there_is_what_its_report_says(ti: Any, storage: Path) -> None:
    told = {"status": "running", "rows_read": 1, "pending": 1, "failure": None}
    path = Storage(storage).files(task_run_of({"ti": ti}).holder).write_report(told)
    assert failure_text({"ti": ti, "reason": "task_failure"}).splitlines() == [
        "shop.sync failed: its process was killed, or Airflow failed it; the task's log says more.",
        "Run night, try 2.",
        "1 row read: 1 pending.",
        f"Report: {path}",
    ]


@pytest.mark.usefixtures("storage")
@pytest.mark.parametrize(
    ("error", "told"),
    [
        (KlaviyoTimeout("The time is up. Raise timeout."), "The time is up. Raise timeout."),
        (AirflowNotFoundException("The conn_id `shopp` isn't defined"), "The conn_id `shopp` isn't defined"),
        (AirflowNotFoundException("Nobody is called `Zoe`"), "Nobody is called `***`"),
        (KeyError("zoe@shop.io"), "KeyError: '***'"),
        ("Dag run timed out", "Dag run timed out"),
        (None, "the task's log says why."),
    ],
)
def test_the_text_holds_nobody_and_needs_no_report(error: object, told: str, ti: Any) -> None:
    text = failure_text({"ti": ti, "exception": error})
    assert text.startswith(f"shop.sync failed: {told}")
    assert "Report" not in text


@pytest.mark.usefixtures("storage")
def test_what_this_package_quotes_is_shown_and_what_others_quote_is_not(ti: Any) -> None:
    @told_in_a_sentence
    def execute(words: str) -> None:
        raise KlaviyoConfigurationError(words)

    def told_of(words: str) -> str:
        with pytest.raises(AirflowFailException) as caught:
            execute(words)
        return failure_text({"ti": ti, "exception": caught.value}).splitlines()[0]

    assert told_of("sql_conn_id='shopp' is missing").endswith("failed: sql_conn_id='shopp' is missing")
    assert told_of("zoe@shop.io is in 'vip'").endswith("failed: ***@*** is in 'vip'")

    others = AirflowFailException("'Zoe' is missing")
    others.__context__ = KlaviyoConfigurationError("match_by='nobody' cannot work")
    text = failure_text({"ti": ti, "exception": others})
    assert "failed: '***' is missing" in text


def test_a_dag_without_a_task_instance_is_told_of_by_its_reason() -> None:
    dag = SimpleNamespace(dag_id="shop")
    assert (
        failure_text({"dag": dag, "run_id": "night", "reason": "timed_out"})
        == "shop failed: run night, timed_out."
    )

"""What the log of a failed task ends with, as Airflow's own task runner writes it."""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import pytest
from airflow.sdk import DAG

from airflow_provider_klaviyo._compat import AirflowFailException, AirflowSkipException
from airflow_provider_klaviyo.emulator import Emulator
from airflow_provider_klaviyo.exceptions import KlaviyoAuthenticationError, KlaviyoTimeout
from airflow_provider_klaviyo.failures import told_in_a_sentence
from airflow_provider_klaviyo.operators.lists import KlaviyoCreateListOperator
from airflow_provider_klaviyo.operators.profiles import KlaviyoSyncProfilesOperator
from airflow_provider_klaviyo.sensors.jobs import KlaviyoImportJobSensor
from tests.airflow.conftest import FillShop

pytestmark = [pytest.mark.airflow, pytest.mark.usefixtures("storage")]

OF_AIRFLOW = 7
"""Frames between Airflow's task runner and a method of ours; there is no way around them."""

PERSON = "ada@shop.io"
_ENDS = "The task that failed:"


class Broken(KlaviyoSyncProfilesOperator):
    def sync_type(self, options: Any) -> Any:
        msg = "nobody thought of ada@shop.io"
        raise ZeroDivisionError(msg)


@pytest.fixture
def shop(fill_shop: FillShop) -> None:
    fill_shop("customers (email TEXT)", [("ada@shop.io",), ("ben",), ("cyd",)])


@pytest.mark.skipif(
    version("apache-airflow").startswith("3.1."), reason="Airflow 3.1 mixes what it does next into the log"
)
@pytest.mark.usefixtures("shop")
def test_a_known_failure_ends_in_its_sentence_and_an_unknown_one_in_all_its_frames(
    klaviyo: Emulator,
    run_in_airflow: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    wrong = {"conn_type": "klaviyo", "password": "pk_wrong", "host": klaviyo.url}
    monkeypatch.setenv("AIRFLOW_CONN_WRONG_KEY", json.dumps(wrong))
    nobody = {**wrong, "host": "http://127.0.0.1:1"}
    monkeypatch.setenv("AIRFLOW_CONN_NOBODY_THERE", json.dumps(nobody))
    sync = {"sql": "SELECT email FROM customers", "sql_conn_id": "shop"}
    failures: dict[str, BaseException] = {}

    def on_failure(context: Any) -> None:
        task = context["ti"].task_id
        sys.stdout.write(f"{_ENDS} {task}\n")
        failures[task] = context["exception"]

    with DAG("failing", schedule=None, default_args={"on_failure_callback": on_failure}) as dag:
        KlaviyoSyncProfilesOperator(task_id="key", klaviyo_conn_id="wrong_key", **sync)
        KlaviyoSyncProfilesOperator(task_id="column", mapping={"email": "mail"}, **sync)
        KlaviyoSyncProfilesOperator(task_id="rejects", **sync)
        KlaviyoSyncProfilesOperator(task_id="outage", klaviyo_conn_id="nobody_there", timeout=1, **sync)
        KlaviyoSyncProfilesOperator(task_id="query", sql="SELECT email FROM clients", sql_conn_id="shop")
        KlaviyoSyncProfilesOperator(task_id="connection", sql="SELECT 1 AS id", sql_conn_id="no_such")
        KlaviyoSyncProfilesOperator(task_id="file", sql="no_such.sql", sql_conn_id="shop")
        KlaviyoCreateListOperator(task_id="list", list_name="VIP", klaviyo_conn_id="wrong_key")
        KlaviyoImportJobSensor(task_id="sensor", job_ids=["lost"], klaviyo_conn_id="wrong_key")
        Broken(task_id="unknown", **sync)
    capfd.readouterr()
    run_in_airflow(dag)
    logged = _failures(capfd.readouterr().out)
    ends = {task: log.rstrip().rpartition("\n")[2] for task, log in logged.items()}
    assert "Check its password field" in ends["key"]
    assert "mail" in ends["column"]
    assert "max_rejected=0.01 allows" in ends["rejects"]
    assert "Gave up" in ends["outage"]
    assert "no such table" in ends["query"]
    assert "sql_conn_id='no_such'" in ends["connection"]
    assert "no_such.sql" in ends["file"]
    assert "private API key" in ends["list"]
    assert "private API key" in ends["sensor"]
    for task, log in logged.items():
        if task != "unknown":
            assert log.count("Traceback") == 1, log
            assert log.count("  File ") <= OF_AIRFLOW, log
            assert "tenacity" not in log
    assert "in sync_type" in logged["unknown"]
    assert PERSON not in json.dumps(logged)
    assert type(failures["key"]) is AirflowFailException
    assert isinstance(failures["key"].__context__, KlaviyoAuthenticationError)


def _failures(output: str) -> dict[str, str]:
    """What the runner logged of each task that failed."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", output)
    logged = {}
    for part in plain.split("Task failed with exception")[1:]:
        failure, _, told = part.partition(_ENDS)
        failure = failure.partition("::group::Post Execute")[0]
        logged[told.split()[0]] = failure.rpartition("\n")[0]
    return logged


@pytest.mark.parametrize("error", [KlaviyoTimeout("The time is up."), ZeroDivisionError(PERSON)])
def test_the_way_to_a_known_failure_is_in_the_log_at_debug(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    @told_in_a_sentence
    def execute() -> None:
        try:
            _fail(ValueError(f"Duplicate: {PERSON!r}"))
        except ValueError:
            _fail(error)

    caplog.set_level(logging.DEBUG)
    with pytest.raises(type(error)) as caught:
        execute()
    is_known = isinstance(error, KlaviyoTimeout)
    assert ("in _fail" in caplog.text) == is_known
    assert (len(caught.traceback) < 4) == is_known
    assert PERSON not in caplog.text


class _Strange(Exception):
    def __new__(cls, person: str, shop: str) -> _Strange:
        return super().__new__(cls, f"nobody like {person} in {shop}")

    def __init__(self, person: str, shop: str) -> None: ...


@pytest.mark.parametrize(
    "error",
    [
        ConnectionError(f"404 for {PERSON}"),
        OSError(2, f"no file of {PERSON}", f"/tmp/{PERSON}"),
        KeyError(PERSON),
        AirflowFailException(f"no such customer: {PERSON}"),
        AirflowSkipException(f"not today: {PERSON}"),
        ExceptionGroup(f"of {PERSON}", [ValueError(PERSON)]),
        _Strange(PERSON, "Oslo"),
    ],
)
def test_an_error_of_somebody_else_keeps_its_type_and_its_frames_and_names_nobody(error: Exception) -> None:
    @told_in_a_sentence
    def execute() -> None:
        try:
            _fail(ValueError(f"Duplicate: {PERSON!r}"))
        except ValueError as cause:
            error.add_note(f"asked for {PERSON}")
            raise error from cause

    with pytest.raises(Exception) as caught:
        execute()
    is_strange = isinstance(error, _Strange)
    assert isinstance(caught.value, RuntimeError if is_strange else type(error))
    shown = "".join(traceback.format_exception(caught.value))
    assert type(error).__name__ in shown
    assert PERSON not in shown + repr(caught.value) + str(caught.value)
    if not isinstance(error, AirflowFailException):
        assert "in execute" in shown
        assert "Duplicate: '***@***'" in shown


def test_an_error_that_names_nobody_is_itself() -> None:
    error = ConnectionError("404")
    with pytest.raises(ConnectionError) as caught:
        told_in_a_sentence(_fail)(error)
    assert caught.value is error


def _fail(error: Exception) -> None:
    raise error

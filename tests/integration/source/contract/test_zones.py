"""A moment is the moment that it was, in whatever zone server, session, machine and sync are."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from airflow_provider_klaviyo.emulator import Emulator
from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError
from airflow_provider_klaviyo.records.events.mapper import EventOptions
from airflow_provider_klaviyo.records.profiles.mapper import ProfileOptions
from airflow_provider_klaviyo.state.owner import Task
from airflow_provider_klaviyo.sync.environment import Environment
from airflow_provider_klaviyo.sync.events.sync_type import MAX_BYTES, EventsSync
from airflow_provider_klaviyo.sync.options import SyncOptions
from airflow_provider_klaviyo.sync.profiles.sync_type import ProfilesSync
from airflow_provider_klaviyo.sync.run import SyncRun
from airflow_provider_klaviyo.sync.source.drivers import mysql
from airflow_provider_klaviyo.sync.source.query import Query
from airflow_provider_klaviyo.sync.source.rows import RowStream
from airflow_provider_klaviyo.sync.storage import Storage
from airflow_provider_klaviyo.sync.task_run import TaskRun
from tests.integration.program import Access
from tests.integration.source.contract.sources import SOURCES, Source
from tests.integration.source.contract.standins import TypeOfOracle, hook_of
from tests.integration.source.contract.values import ARRIVES

pytestmark = pytest.mark.integration

WITH_MOMENTS = [
    pytest.param(source, id=source.name)
    for source in SOURCES
    if source.name == "ODBC to MariaDB" or ("moment" in source.sql and "moment" not in source.instead)
]


def moment_of(source: Source, request: pytest.FixtureRequest, zone: dt.tzinfo) -> dt.datetime:
    sql = source.query.format(source.sql.get("moment", "moment"))
    with RowStream(source.hook(request), Query(sql, timezone=zone)) as stream:
        assert not stream.unzoned
        value: Any = next(iter(stream))[0][0]
    return value if value.tzinfo else value.replace(tzinfo=zone)


@pytest.mark.parametrize("source", WITH_MOMENTS)
def test_a_moment_is_itself_in_utc(source: Source, request: pytest.FixtureRequest) -> None:
    moment = moment_of(source, request, dt.UTC)
    assert moment.astimezone(dt.UTC).isoformat() == ARRIVES["moment"]


@pytest.fixture
def machine_in_new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def java_in_new_york(request: pytest.FixtureRequest) -> Iterator[None]:
    """The zone that Java has from its machine when it starts."""
    jpype = pytest.importorskip("jpype", reason="JPype is not installed (dependency group sources)")
    if not jpype.isJVMStarted():
        with RowStream(
            next(each for each in SOURCES if each.name == "JDBC to HSQLDB").hook(request),
            Query("SELECT a FROM (VALUES (1)) t(a)"),
        ):
            pass
    zones = jpype.JClass("java.util.TimeZone")
    before = zones.getDefault()
    zones.setDefault(zones.getTimeZone("America/New_York"))
    yield
    zones.setDefault(before)


@pytest.mark.usefixtures("machine_in_new_york")
@pytest.mark.parametrize("source", WITH_MOMENTS)
def test_the_zone_of_the_machine_is_nothing(source: Source, request: pytest.FixtureRequest) -> None:
    test_a_moment_is_itself_in_utc(source, request)


@pytest.mark.usefixtures("java_in_new_york")
@pytest.mark.parametrize("source", [each for each in WITH_MOMENTS if each.id.startswith("JDBC")])
@pytest.mark.parametrize("name", ["timestamp", "moment"])
def test_the_zone_of_java_is_nothing(source: Source, name: str, request: pytest.FixtureRequest) -> None:
    sql = source.query.format(source.sql[name])
    with RowStream(source.hook(request), Query(sql)) as stream:
        value: Any = next(iter(stream))[0][0]
    expected = dt.datetime.fromisoformat(
        "2024-05-01T09:30:00.5+00:00" if name == "moment" else "2024-05-01T12:30:00.5"
    )
    assert (value.astimezone(dt.UTC) if value.tzinfo else value) == expected


def test_a_server_that_does_not_know_the_zone_is_told_of(
    request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    source = next(each for each in SOURCES if each.name == "ODBC to MariaDB")
    sql = source.query.format("moment")
    with RowStream(source.hook(request), Query(sql, timezone=ZoneInfo("Factory"))) as stream:
        assert stream.unzoned == ("a",)
    assert "load its time zone tables" in caplog.text


@pytest.mark.parametrize("name", ["mysqlclient", "mysql-connector-python", "pymysql"])
def test_a_server_of_mysql_that_does_not_read_in_utc_is_told_of(
    name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mysql, "_READ_IN_UTC", "SET SESSION time_zone = 'Nowhere/Land'")
    source = next(each for each in SOURCES if each.name == name)
    with RowStream(source.hook(request), Query("SELECT moment, n FROM moments")) as stream:
        assert stream.unzoned == ("moment",)


@pytest.mark.parametrize("kept", [(), ("a",)])
def test_a_zone_without_a_name_is_told_of_where_moments_are_read_in_it(
    request: pytest.FixtureRequest, kept: tuple[str, ...]
) -> None:
    """PostgreSQL is asked for moments as text, but not for those of a key that is as the driver has it."""
    source = next(each for each in SOURCES if each.name == "ODBC to PostgreSQL")
    zone = dt.timezone(dt.timedelta(hours=2))
    sql = source.query.format(source.sql["moment"])
    with RowStream(source.hook(request), Query(sql, timezone=zone, keys_as_before=kept)) as stream:
        assert stream.unzoned == kept


def test_nothing_of_the_session_is_left_to_others_behind_a_pooler(request: pytest.FixtureRequest) -> None:
    source = next(each for each in SOURCES if each.name == "ODBC to PostgreSQL")
    hook = source.hook(request)
    with RowStream(hook, Query("SELECT 1 AS a", timezone=ZoneInfo("Europe/Berlin"))) as stream:
        shared: Any = stream._connection
        shared.rollback()
        assert shared.execute("SHOW TIME ZONE").fetchone()[0] != "Europe/Berlin"


# --- a driver that hides zones ------------------------------------------------------------------------------------

SQL = "SELECT 'ann@shop.io' AS email, 'o1' AS unique_id, '2026-11-01T10:00:00' AS at"


def oracle() -> Any:
    """As oracledb does: a timestamp with zone comes without it."""
    return hook_of(
        "oracledb",
        [
            TypeOfOracle("DB_TYPE_VARCHAR"),
            TypeOfOracle("DB_TYPE_VARCHAR"),
            TypeOfOracle("DB_TYPE_TIMESTAMP_TZ"),
        ],
        lambda value: dt.datetime.fromisoformat(value) if value[0] == "2" else value,
    )


def run(klaviyo: Emulator, tmp_path: Path, sync_type: Any, **options: Any) -> SyncRun:
    environment = Environment(
        run=TaskRun(Task("shop", "sync"), "run", due=time.time()),
        storage=Storage(tmp_path),
        klaviyo=Access(klaviyo.url, klaviyo.api_key),
        open_source=lambda: RowStream(oracle(), Query(SQL)),
    )
    run = SyncRun(sync_type, SyncOptions(poll_interval=0.2, timeout=60, **options), environment)
    run.execute()
    return run


def events() -> Any:
    profile = ProfileOptions(max_bytes=100_000)
    mapping = {"profile.email": "email", "unique_id": "unique_id", "time": "at"}
    now = dt.datetime.now(dt.UTC)
    return EventsSync(mapping, EventOptions(profile=profile, now=now, max_bytes=MAX_BYTES, metric="Bought"))


def test_events_are_refused_whose_time_may_be_hours_off(klaviyo: Emulator, tmp_path: Path) -> None:
    with pytest.raises(KlaviyoConfigurationError, match=r"without their zone \('at'\).*set timezone"):
        run(klaviyo, tmp_path, events())
    assert klaviyo.events() == []


def test_events_are_sent_when_the_zone_was_said(klaviyo: Emulator, tmp_path: Path) -> None:
    done = run(klaviyo, tmp_path, events(), names_timezone=True)
    assert done.summary
    assert done.summary["accepted"] == 1


def test_profiles_are_sent_with_a_notice(klaviyo: Emulator, tmp_path: Path) -> None:
    fields = {"email": "email", "properties.At": "at"}
    done = run(klaviyo, tmp_path, ProfilesSync(fields, ProfileOptions(max_bytes=100_000)))
    assert done.summary
    assert done.summary["accepted"] == 1
    assert "without their zone ('at')" in Path(done.summary["report_path"]).read_text()


def test_snowflakes_json_is_parsed_by_its_type() -> None:
    hook = hook_of("snowflake.connector.connection", [2, 5, 9, 10, 2])
    sql = """SELECT '{"a": 1}' AS text, '{"a": 1}' AS variant, '{"b": [2]}' AS object, '[1, "x"]' AS array, NULL AS n"""
    with RowStream(hook, Query(sql)) as stream:
        assert list(stream) == [[('{"a": 1}', {"a": 1}, {"b": [2]}, [1, "x"], None)]]

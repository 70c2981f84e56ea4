"""The sources that take part: how each is opened by Airflow's own hook, and how its SQL says the values."""

from __future__ import annotations

import importlib
import json
import warnings
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.conftest import absent
from tests.integration.source.contract.stubs import BigQuery, Druid, Elasticsearch, Pinot, Trino, serving
from tests.integration.source.contract.values import Refused

STUB_ROWS = 4_500
"""Of the query that is called ``rows``."""

Setup = Callable[[pytest.FixtureRequest], Any]


@dataclass(frozen=True)
class Source:
    """A database by one driver.

    :param hook: makes the hook; skips the test where what it needs is not installed.
    :param rows: a query of 4,500 rows with one column, which counts them.
    :param sql: the expression of each value of the table; what is not there, the database or the driver has not.
    :param instead: what arrives where the database itself has another type.
    :param query: with ``{}`` for the expression: two rows, the second of them NULL.
    """

    name: str
    hook: Setup
    rows: str
    sql: Mapping[str, str]
    instead: Mapping[str, object] = field(default_factory=dict)
    query: str = (
        "SELECT CASE WHEN n = 1 THEN {} END AS a FROM (SELECT 1 AS n UNION ALL SELECT 2) t ORDER BY n"
    )


def needed(module: str, how: str, part: str = "sources") -> Any:
    """A module, or a skipped test that says how to have it.

    :param part: of what a test run may be told to expect.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # JayDeBeApi has strings that newer Pythons warn of
            return importlib.import_module(module)
    except ImportError:
        absent(part, f"{module} is not installed ({how})")


def connection(request: pytest.FixtureRequest, **fields: Any) -> None:
    """Have Airflow's connection ``source``."""
    request.getfixturevalue("monkeypatch").setenv("AIRFLOW_CONN_SOURCE", json.dumps(fields))


# --- PostgreSQL ---------------------------------------------------------------------------------------------------

_POSTGRES_ROWS = "SELECT n AS a FROM generate_series(1, 4500) n"
_POSTGRES = {
    "text": "'Zoë 🙂'::text",
    "empty text": "''::text",
    "integer": "9223372036854775807::bigint",
    "true": "true",
    "false": "false",
    "numeric": "12.50::numeric(10, 2)",
    "long numeric": "12345678901.250000000::numeric(20, 9)",
    "double": "0.1::double precision",
    "date": "date '2024-05-01'",
    "time": "time '12:30'",
    "timestamp": "timestamp '2024-05-01 12:30:00.5'",
    "moment": "timestamptz '2024-05-01 12:30:00.5+03'",
    "uuid": "'00000000-0000-0000-0000-00000000000a'::uuid",
    "json": """'{"b": "x", "a": [1, 2.5, null]}'::jsonb""",
    "texts": "ARRAY['a', NULL, 'b']",
    "integers": "ARRAY[1, 2]",
    "binary": "'\\x6162'::bytea",
    "interval": "interval '1 day 2 hours'",
    "nan": "'NaN'::numeric",
    "beyond": "timestamptz 'infinity'",
    "moments": "ARRAY[timestamptz '2024-05-01 12:30:00.5+03', NULL]",
    "uuids": "ARRAY['00000000-0000-0000-0000-00000000000a'::uuid]",
    "jsons": """ARRAY['{"a": 1}'::jsonb, '2']""",
    "domains": "ARRAY['a', 'b']::information_schema.character_data[]",
    "single": "0.1::real",
    "address": "inet '10.0.0.1'",
    "24 o'clock": "time '24:00'",
    "beyond in a list": "ARRAY[timestamptz 'infinity']",
}


def _psycopg(request: pytest.FixtureRequest) -> Any:
    request.getfixturevalue("monkeypatch").setenv(
        "AIRFLOW_CONN_SOURCE", request.getfixturevalue("postgres_uri")
    )
    return needed("airflow.providers.postgres.hooks.postgres", "dependency group test").PostgresHook(
        postgres_conn_id="source"
    )


class DriverHook:
    """For drivers that no hook of Airflow's opens: as bare as a ``DbApiHook`` can be."""

    supports_autocommit = False

    def __init__(self, connect: Callable[[], Any]) -> None:
        self.get_conn = connect

    @staticmethod
    def strip_sql_string(sql: str) -> str:
        return sql.strip().rstrip(";")


def _psycopg2(request: pytest.FixtureRequest) -> Any:
    uri = request.getfixturevalue("postgres_uri")
    return DriverHook(lambda: needed("psycopg2", "dependency group sources").connect(uri))


def _adbc(request: pytest.FixtureRequest) -> Any:
    needed("adbc_driver_postgresql", "dependency group sources")
    hooks = needed("airflow.providers.apache.arrow.hooks.adbc", "dependency group sources")
    extra = {
        "driver": "adbc_driver_postgresql",
        "db_kwargs": {"uri": request.getfixturevalue("postgres_uri")},
    }
    connection(request, conn_type="adbc", extra=extra)
    return hooks.AdbcHook(adbc_conn_id="source")


# --- ODBC ---------------------------------------------------------------------------------------------------------


def _odbc(request: pytest.FixtureRequest, driver: str, package: str, **fields: Any) -> Any:
    pyodbc = needed("pyodbc", "dependency group sources")
    if driver not in pyodbc.drivers():
        absent("sources", f"the ODBC driver {driver} is not installed (apt-get install {package})")
    connection(request, conn_type="odbc", **fields)
    hooks = needed("airflow.providers.odbc.hooks.odbc", "dependency group sources")
    return hooks.OdbcHook(odbc_conn_id="source", driver=driver)


def odbc_to(uri: str) -> dict[str, Any]:
    parts = urlsplit(uri)
    return {
        "host": parts.hostname,
        "login": parts.username,
        "password": parts.password or "",
        "port": parts.port,
        "schema": parts.path.strip("/"),
    }


_ADBC_INSTEAD = {"address": Refused("cast it to text")}
_ODBC_POSTGRES_INSTEAD = {"interval": "1 day 02:00:00"}  # the driver makes text of it


def _odbc_postgres(request: pytest.FixtureRequest) -> Any:
    return _odbc(
        request, "PostgreSQL Unicode", "odbc-postgresql", **odbc_to(request.getfixturevalue("postgres_uri"))
    )


def _odbc_mariadb(request: pytest.FixtureRequest) -> Any:
    fields = odbc_to(_with_moments(request.getfixturevalue("mysql_uri")))
    return _odbc(request, "MariaDB Unicode", "odbc-mariadb", **fields)


# --- MySQL and MariaDB --------------------------------------------------------------------------------------------

_MYSQL = {
    "text": "'Zoë 🙂'",
    "empty text": "''",
    "integer": "9223372036854775807",
    "true": "TRUE",
    "false": "FALSE",
    "numeric": "CAST(12.50 AS DECIMAL(10, 2))",
    "long numeric": "CAST(12345678901.25 AS DECIMAL(20, 9))",
    "double": "CAST(0.1 AS DOUBLE)",
    "date": "DATE '2024-05-01'",
    "time": "TIME '12:30:00'",
    "timestamp": "TIMESTAMP '2024-05-01 12:30:00.5'",
    "moment": "moment",
    "bit": "flag",
    "json": """'{"b": "x", "a": [1, 2.5, null]}'""",
    "binary": "x'6162'",
}
_MYSQL_INSTEAD = {
    "true": 1,  # MySQL's BOOLEAN is a TINYINT
    "false": 0,
    "time": Refused("cast it to seconds or to text"),  # a TIME may have 838 hours
    "json": """{"b": "x", "a": [1, 2.5, null]}""",  # MariaDB's JSON is a text
}
_MYSQL_ROWS = """
WITH RECURSIVE n AS (SELECT 1 AS id UNION ALL SELECT id + 1 FROM n WHERE id < 900)
SELECT (m.id - 1) * 900 + n.id AS a FROM n CROSS JOIN n AS m WHERE m.id <= 5 ORDER BY a
"""
_MYSQL_QUERY = "SELECT {} AS a FROM moments WHERE n = 1 UNION ALL SELECT NULL FROM moments WHERE n = 2"


def _with_moments(uri: str) -> str:
    """A table, since only a column can be a TIMESTAMP; written in the zone of a session."""
    parts = urlsplit(uri)
    with (
        closing(
            needed("pymysql", "dependency group sources").connect(
                host=parts.hostname,
                port=parts.port or 3306,
                user=parts.username,
                password=parts.password or "",
                database=parts.path.strip("/"),
            )
        ) as server,
        server.cursor() as cursor,
    ):
        cursor.execute("SET time_zone = '+03:00'")
        cursor.execute(
            "CREATE TABLE IF NOT EXISTS moments (n INT PRIMARY KEY, moment TIMESTAMP(6) NULL, flag BIT(1))"
        )
        cursor.execute("REPLACE INTO moments VALUES (1, '2024-05-01 12:30:00.5', 1), (2, NULL, NULL)")
        server.commit()
    return uri


def _mysql(request: pytest.FixtureRequest, client: str) -> Any:
    uri = _with_moments(request.getfixturevalue("mysql_uri"))
    request.getfixturevalue("monkeypatch").setenv(
        "AIRFLOW_CONN_SOURCE", f"{uri}?client={client}&charset=utf8mb4"
    )
    return needed("airflow.providers.mysql.hooks.mysql", "dependency group mysql").MySqlHook(
        mysql_conn_id="source"
    )


def _pymysql(request: pytest.FixtureRequest) -> Any:
    parts = urlsplit(_with_moments(request.getfixturevalue("mysql_uri")))
    pymysql = needed("pymysql", "dependency group sources")
    return DriverHook(
        lambda: pymysql.connect(
            host=parts.hostname,
            port=parts.port or 3306,
            user=parts.username,
            password=parts.password or "",
            database=parts.path.strip("/"),
        )
    )


# --- databases in this process ------------------------------------------------------------------------------------

_SQLITE = {
    "text": "'Zoë 🙂'",
    "empty text": "''",
    "integer": "9223372036854775807",
    "true": "TRUE",
    "false": "FALSE",
    "numeric": "12.50",
    "long numeric": "12345678901.25",
    "double": "0.1",
    "json": """'{"b": "x", "a": [1, 2.5, null]}'""",
    "binary": "x'6162'",
}
_SQLITE_ROWS = (
    "WITH RECURSIVE n(a) AS (SELECT 1 UNION ALL SELECT a + 1 FROM n WHERE a < 4500) SELECT a FROM n"
)
_SQLITE_INSTEAD = {
    "true": 1,
    "false": 0,
    "json": """{"b": "x", "a": [1, 2.5, null]}""",
}


def _sqlite(request: pytest.FixtureRequest) -> Any:
    path = request.getfixturevalue("tmp_path") / "shop.db"
    connection(request, conn_type="sqlite", host=str(path))
    hooks = needed("airflow.providers.sqlite.hooks.sqlite", "dependency group test")
    return hooks.SqliteHook(sqlite_conn_id="source")


_DUCKDB = {
    "text": "'Zoë 🙂'",
    "empty text": "''",
    "integer": "9223372036854775807",
    "true": "true",
    "false": "false",
    "numeric": "12.50::DECIMAL(10, 2)",
    "long numeric": "12345678901.25::DECIMAL(20, 9)",
    "double": "0.1::DOUBLE",
    "date": "DATE '2024-05-01'",
    "time": "TIME '12:30'",
    "timestamp": "TIMESTAMP '2024-05-01 12:30:00.5'",
    "moment": "TIMESTAMPTZ '2024-05-01 12:30:00.5+03'",
    "uuid": "'00000000-0000-0000-0000-00000000000a'::UUID",
    "json": """'{"b": "x", "a": [1, 2.5, null]}'::JSON""",
    "texts": "['a', NULL, 'b']",
    "integers": "[1, 2]",
    "struct": "{'a': 1, 'b': 'x'}",
    "binary": "'ab'::BLOB",
    "interval": "INTERVAL 26 HOUR",
    "nan": "'NaN'::DOUBLE",
    "beyond": "'infinity'::TIMESTAMP",
    "moments": "[TIMESTAMPTZ '2024-05-01 12:30:00.5+03', NULL]",
    "jsons": """['{"a": 1}'::JSON, '2']""",
    "single": "0.1::FLOAT",
    "nested": """{'a': 1.5::DECIMAL(5, 2), 'j': '{"x": 1}'::JSON, 't': [TIMESTAMPTZ '2024-05-01 12:30:00.5+03']}""",
    "24 o'clock": "TIME '24:00'",
    "beyond in a list": "['20240-01-01'::TIMESTAMP]",
}


def _duckdb(request: pytest.FixtureRequest) -> Any:
    hooks = needed("airflow.providers.duckdb.hooks.duckdb", "dependency group sources")
    connection(request, conn_type="duckdb")
    return hooks.DuckDBHook(duckdb_conn_id="source")


_CLICKHOUSE = {
    "text": "'Zoë 🙂'",
    "empty text": "''",
    "integer": "9223372036854775807",
    "true": "true",
    "false": "false",
    "numeric": "toDecimal64('12.50', 2)",
    "long numeric": "toDecimal128('12345678901.25', 9)",
    "double": "0.1",
    "single": "toFloat32(0.1)",
    "date": "toDate('2024-05-01')",
    "time": "toTime('12:30:00')",
    "moment": "toDateTime64('2024-05-01 12:30:00.5', 3, 'Etc/GMT-3')",
    "moments": "[toDateTime64('2024-05-01 15:15:00.5', 3, 'Asia/Kathmandu'), NULL]",
    "uuid": "toUUID('00000000-0000-0000-0000-00000000000a')",
    "uuids": "[toUUID('00000000-0000-0000-0000-00000000000a')]",
    "json": """'{"b": "x", "a": [1, 2.5, null]}'::JSON""",
    "texts": "['a', NULL, 'b']",
    "integers": "[1, 2]",
    "struct": "CAST((1, 'x'), 'Tuple(a Int8, b LowCardinality(String))')",
    "address": "toIPv4('10.0.0.1')",
    "binary": "toFixedString(unhex('ff'), 2)",
    "interval": "INTERVAL 26 HOUR",
    "nan": "nan",
}


def _clickhouse(request: pytest.FixtureRequest) -> Any:
    hooks = needed(
        "airflow.providers.clickhousedb.hooks.clickhouse", "dependency group clickhouse", "clickhouse"
    )
    connection(
        request, conn_type="clickhouse", host="127.0.0.1", port=request.getfixturevalue("clickhouse_port")
    )
    return hooks.ClickHouseHook(clickhouse_conn_id="source")


# --- JDBC ---------------------------------------------------------------------------------------------------------

_JARS = Path("/usr/share/java")
_HSQLDB = {
    "text": "'Zoë 🙂'",
    "empty text": "''",
    "integer": "CAST(9223372036854775807 AS BIGINT)",
    "true": "TRUE",
    "false": "FALSE",
    "numeric": "CAST(12.50 AS DECIMAL(10, 2))",
    "long numeric": "CAST(12345678901.25 AS DECIMAL(20, 9))",
    "double": "CAST(0.1 AS DOUBLE)",
    "date": "DATE '2024-05-01'",
    "time": "TIME '12:30:00'",
    "timestamp": "TIMESTAMP '2024-05-01 12:30:00.5'",
    "moment": "TIMESTAMP '2024-05-01 12:30:00.5+03:00'",
    "uuid": "CAST('00000000-0000-0000-0000-00000000000a' AS UUID)",
    "texts": "ARRAY['a', NULL, 'b']",
    "integers": "ARRAY[1, 2]",
    "binary": "X'6162'",
    "interval": "INTERVAL '26' HOUR",
}


def _jdbc(request: pytest.FixtureRequest, jar: str, package: str, kind: str, url: str, **fields: Any) -> Any:
    needed("jaydebeapi", "dependency group sources")
    if not (_JARS / jar).exists():
        absent("sources", f"{jar} is not installed (apt-get install {package})")
    jars = ",".join(str(_JARS / each) for each in ("hsqldb.jar", "postgresql.jar"))  # a process has one JVM
    connection(request, conn_type="jdbc", host=url, **fields)
    hooks = needed("airflow.providers.jdbc.hooks.jdbc", "dependency group sources")
    return hooks.JdbcHook(jdbc_conn_id="source", driver_path=jars, driver_class=kind)


def _hsqldb(request: pytest.FixtureRequest) -> Any:
    return _jdbc(
        request,
        "hsqldb.jar",
        "libhsqldb-java",
        "org.hsqldb.jdbc.JDBCDriver",
        "jdbc:hsqldb:mem:shop",
        login="SA",
    )


def _jdbc_postgres(request: pytest.FixtureRequest) -> Any:
    parts = urlsplit(request.getfixturevalue("postgres_uri"))
    url = f"jdbc:postgresql://{parts.hostname}:{parts.port}{parts.path}"
    return _jdbc(
        request,
        "postgresql.jar",
        "libpostgresql-jdbc-java",
        "org.postgresql.Driver",
        url,
        login=parts.username,
    )


# --- warehouses, by stubs of their protocols ----------------------------------------------------------------------


def _signature(kind: str | dict[str, Any]) -> dict[str, Any]:
    if not isinstance(kind, str):
        return kind
    lengths = {"varchar": [2147483647], "decimal": [20, 9], "time": [3], "timestamp": [3]}.get(
        kind.split()[0], []
    )
    return {"rawType": kind, "arguments": [{"kind": "LONG", "value": length} for length in lengths]}


def _of(name: str, raw: str, *parts: str) -> dict[str, Any]:
    """A type that is made of others."""
    arguments = [{"kind": "TYPE", "value": _signature(part)} for part in parts]
    return {"type": name, "rawType": raw, "arguments": arguments}


def _row(**fields: str) -> dict[str, Any]:
    arguments = [
        {"kind": "NAMED_TYPE", "value": {"fieldName": {"name": name}, "typeSignature": _signature(kind)}}
        for name, kind in fields.items()
    ]
    inner = ", ".join(f"{name} {kind}" for name, kind in fields.items())
    return {"type": f"row({inner})", "rawType": "row", "arguments": arguments}


_BIGQUERY_COLUMNS: dict[str, tuple[dict[str, Any], Any]] = {
    "text": ({"type": "STRING"}, "Zoë 🙂"),
    "empty text": ({"type": "STRING"}, ""),
    "integer": ({"type": "INTEGER"}, "9223372036854775807"),
    "true": ({"type": "BOOLEAN"}, "true"),
    "false": ({"type": "BOOLEAN"}, "false"),
    "numeric": ({"type": "NUMERIC"}, "12.500000000"),
    "long numeric": ({"type": "BIGNUMERIC"}, "12345678901.25"),
    "double": ({"type": "FLOAT"}, "0.1"),
    "date": ({"type": "DATE"}, "2024-05-01"),
    "time": ({"type": "TIME"}, "12:30:00"),
    "timestamp": ({"type": "DATETIME"}, "2024-05-01T12:30:00.500000"),
    "moment": ({"type": "TIMESTAMP"}, "1714555800500000"),  # as microseconds, which the client asks for
    "json": ({"type": "JSON"}, """{"b": "x", "a": [1, 2.5, null]}"""),
    "integers": ({"type": "INTEGER", "mode": "REPEATED"}, [{"v": "1"}, {"v": "2"}]),
    "struct": (
        {
            "type": "RECORD",
            "fields": [{"name": "a", "type": "INTEGER"}, {"name": "b", "type": "STRING"}],
        },
        {"f": [{"v": "1"}, {"v": "x"}]},
    ),
    "binary": ({"type": "BYTES"}, "YWI="),
    "interval": ({"type": "INTERVAL"}, "0-0 1 2:0:0"),
    "nan": ({"type": "FLOAT"}, "NaN"),
}


def _bigquery(request: pytest.FixtureRequest) -> Any:
    hooks = needed("airflow.providers.google.cloud.hooks.bigquery", "dependency group bigquery")
    columns = {
        name: (column, [value, [] if "mode" in column else None])  # an array is empty there, never NULL
        for name, (column, value) in _BIGQUERY_COLUMNS.items()
    }
    columns |= {
        "rows": ({"type": "INTEGER"}, range(1, STUB_ROWS + 1)),
        "empty": ({"type": "INTEGER"}, []),
    }
    url = _served(request, BigQuery(columns))
    connection(request, conn_type="gcpbigquery", extra={"is_anonymous": True, "project": "shop"})
    request.getfixturevalue("monkeypatch").setenv("GOOGLE_CLOUD_PROJECT", "shop")

    class StubbedHook(hooks.BigQueryHook):
        def get_client_options(self, *_: object) -> Any:
            return needed("google.api_core.client_options", "").ClientOptions(api_endpoint=url)

    return StubbedHook(gcp_conn_id="source", use_legacy_sql=False)


_TRINO_COLUMNS: dict[str, tuple[str | dict[str, Any], Any]] = {
    "text": ("varchar", "Zoë 🙂"),
    "empty text": ("varchar", ""),
    "integer": ("bigint", 9223372036854775807),
    "true": ("boolean", True),
    "false": ("boolean", False),
    "numeric": ("decimal", "12.50"),
    "long numeric": ("decimal", "12345678901.250000000"),
    "double": ("double", 0.1),
    "date": ("date", "2024-05-01"),
    "time": ("time", "12:30:00.000"),
    "timestamp": ("timestamp", "2024-05-01 12:30:00.500"),
    "moment": ("timestamp with time zone", "2024-05-01 12:30:00.500 +03:00"),
    "uuid": ("uuid", "00000000-0000-0000-0000-00000000000a"),
    "json": ("json", """{"b": "x", "a": [1, 2.5, null]}"""),
    "texts": (_of("array(varchar)", "array", "varchar"), ["a", None, "b"]),
    "integers": (_of("array(integer)", "array", "integer"), [1, 2]),
    "struct": (_row(a="integer", b="varchar"), [1, "x"]),
    "binary": ("varbinary", "YWI="),
    "interval": ("interval day to second", "1 02:00:00.000"),
    "nan": ("double", "NaN"),
}


def _trino_columns() -> dict[str, Any]:
    columns = {name: (_signature(kind), [value, None]) for name, (kind, value) in _TRINO_COLUMNS.items()}
    return {
        **columns,
        "rows": (_signature("bigint"), range(1, STUB_ROWS + 1)),
        "empty": (_signature("bigint"), []),
    }


def _trino(request: pytest.FixtureRequest) -> Any:
    hooks = needed("airflow.providers.trino.hooks.trino", "dependency group sources")
    parts = urlsplit(_served(request, Trino(_trino_columns())))
    connection(request, conn_type="trino", host=parts.hostname, port=parts.port, login="shop")
    return hooks.TrinoHook(trino_conn_id="source")


_AS_PRESTO_HAS_IT = {  # its driver makes no more of a value than JSON does
    "numeric": "12.50",
    "long numeric": "12345678901.250000000",
    "time": "12:30:00.000",
    "timestamp": "2024-05-01 12:30:00.500",
    "moment": "2024-05-01 12:30:00.500 +03:00",
    "struct": [1, "x"],
}


def _presto(request: pytest.FixtureRequest) -> Any:
    hooks = needed("airflow.providers.presto.hooks.presto", "dependency group sources")
    parts = urlsplit(_served(request, Trino(_trino_columns())))
    connection(request, conn_type="presto", host=parts.hostname, port=parts.port, login="shop")
    return hooks.PrestoHook(presto_conn_id="source")


_DRUID = {
    "text": "Zoë 🙂",
    "empty text": "",
    "integer": 9223372036854775807,
    "true": True,
    "false": False,
    "double": 0.1,
    "moment": "2024-05-01T09:30:00.500Z",
}
_ELASTIC = {
    "text": ("keyword", "Zoë 🙂"),
    "empty text": ("keyword", ""),
    "integer": ("long", 9223372036854775807),
    "true": ("boolean", True),
    "false": ("boolean", False),
    "double": ("double", 0.1),
    "moment": ("datetime", "2024-05-01T09:30:00.500Z"),
}
_AS_JSON_HAS_IT = {"moment": "2024-05-01T09:30:00.500Z"}


def _druid(request: pytest.FixtureRequest) -> Any:
    hooks = needed("airflow.providers.apache.druid.hooks.druid", "dependency group sources")
    columns = {name: [value, None] for name, value in _DRUID.items()}
    columns |= {"rows": range(1, STUB_ROWS + 1), "empty": []}
    parts = urlsplit(_served(request, Druid(columns)))
    connection(request, conn_type="druid", host=parts.hostname, port=parts.port)
    return hooks.DruidDbApiHook(druid_broker_conn_id="source")


_PINOT = {
    "text": ("STRING", "Zoë 🙂"),
    "empty text": ("STRING", ""),
    "integer": ("LONG", 9223372036854775807),
    "true": ("BOOLEAN", True),
    "false": ("BOOLEAN", False),
    "long numeric": ("BIG_DECIMAL", "12345678901.25"),
    "double": ("DOUBLE", 0.1),
    "moment": ("TIMESTAMP", "2024-05-01 09:30:00.5"),
    "json": ("JSON", """{"b": "x", "a": [1, 2.5, null]}"""),
    "integers": ("INT_ARRAY", [1, 2]),
}


def _pinot(request: pytest.FixtureRequest) -> Any:
    hooks = needed("airflow.providers.apache.pinot.hooks.pinot", "dependency group sources")
    columns = {name: (kind, [value, None]) for name, (kind, value) in _PINOT.items()}
    columns |= {"rows": ("LONG", range(1, STUB_ROWS + 1)), "empty": ("LONG", [])}
    parts = urlsplit(_served(request, Pinot(columns)))
    connection(request, conn_type="pinot", host=parts.hostname, port=parts.port)
    return hooks.PinotDbApiHook(pinot_broker_conn_id="source")


def _elasticsearch(request: pytest.FixtureRequest) -> Any:
    hooks = needed("airflow.providers.elasticsearch.hooks.elasticsearch", "dependency group sources")
    columns = {name: (kind, [value, None]) for name, (kind, value) in _ELASTIC.items()}
    columns |= {"rows": ("long", range(1, STUB_ROWS + 1)), "empty": ("long", [])}
    parts = urlsplit(_served(request, Elasticsearch(columns)))
    connection(request, conn_type="elasticsearch", host=parts.hostname, port=parts.port, schema="http")
    return hooks.ElasticsearchSQLHook(elasticsearch_conn_id="source")


def _served(request: pytest.FixtureRequest, stub: Any) -> str:
    server = serving(stub)
    request.addfinalizer(lambda: server.__exit__(None, None, None))
    return server.__enter__()


SOURCES = [
    Source("psycopg", _psycopg, _POSTGRES_ROWS, _POSTGRES),
    Source("psycopg2", _psycopg2, _POSTGRES_ROWS, _POSTGRES),
    Source("ADBC to PostgreSQL", _adbc, _POSTGRES_ROWS, _POSTGRES, _ADBC_INSTEAD),
    Source(
        "ODBC to PostgreSQL",
        _odbc_postgres,
        _POSTGRES_ROWS,
        _POSTGRES,
        _ODBC_POSTGRES_INSTEAD,
    ),
    Source("JDBC to PostgreSQL", _jdbc_postgres, _POSTGRES_ROWS, _POSTGRES),
    Source(
        "mysqlclient",
        partial(_mysql, client="mysqlclient"),
        _MYSQL_ROWS,
        _MYSQL,
        _MYSQL_INSTEAD,
        _MYSQL_QUERY,
    ),
    Source(
        "mysql-connector-python",
        partial(_mysql, client="mysql-connector-python"),
        _MYSQL_ROWS,
        _MYSQL,
        {**_MYSQL_INSTEAD, "bit": 1},
        _MYSQL_QUERY,
    ),
    Source("pymysql", _pymysql, _MYSQL_ROWS, _MYSQL, _MYSQL_INSTEAD, _MYSQL_QUERY),
    Source(
        "ODBC to MariaDB",
        _odbc_mariadb,
        _MYSQL_ROWS,
        {name: sql for name, sql in _MYSQL.items() if name != "moment"}  # its server may not know the zone
        | {"beyond": "TIME '25:30:00'"},
        {**_MYSQL_INSTEAD, "time": "12:30:00", "beyond": Refused("a time of more than a day")},
        _MYSQL_QUERY,
    ),
    Source("SQLite", _sqlite, _SQLITE_ROWS, _SQLITE, _SQLITE_INSTEAD),
    Source("DuckDB", _duckdb, "SELECT n AS a FROM range(1, 4501) t(n)", _DUCKDB),
    Source(
        "ClickHouse",
        _clickhouse,
        "SELECT number + 1 AS a FROM numbers(4500) ORDER BY a",
        _CLICKHOUSE,
        query="SELECT a FROM (SELECT {} AS a, 1 AS n UNION ALL SELECT NULL, 2) ORDER BY n",
    ),
    Source(
        "JDBC to HSQLDB",
        _hsqldb,
        "SELECT a FROM UNNEST(SEQUENCE_ARRAY(1, 4500, 1)) AS t(a)",
        _HSQLDB,
        query="SELECT CASE WHEN n = 1 THEN {} END AS a FROM (VALUES (1), (2)) t(n) ORDER BY n",
    ),
    Source("BigQuery", _bigquery, "rows", {name: name for name in _BIGQUERY_COLUMNS}, query="{}"),
    Source("Trino", _trino, "rows", {name: name for name in _TRINO_COLUMNS}, query="{}"),
    Source(
        "Presto",
        _presto,
        "rows",
        {name: name for name in _TRINO_COLUMNS if name not in ("binary", "interval", "nan")},
        _AS_PRESTO_HAS_IT,
        query="{}",
    ),
    Source("Druid", _druid, "rows", {name: name for name in _DRUID}, _AS_JSON_HAS_IT, query="{}"),
    Source("Pinot", _pinot, "rows LIMIT 4500", {name: name for name in _PINOT}, query="{}"),
    Source(
        "Elasticsearch",
        _elasticsearch,
        "rows",
        {name: name for name in _ELASTIC},
        _AS_JSON_HAS_IT,
        query="{}",
    ),
]

"""BigQuery, by Airflow's hook: its cursor gives the text that the service sends, and its client gives values."""

from __future__ import annotations

import datetime as dt
from base64 import b64encode
from collections.abc import Callable, Mapping
from decimal import Decimal
from itertools import islice
from typing import Any

from airflow_provider_klaviyo.sync.source.drivers.columns import keys_as_before
from airflow_provider_klaviyo.sync.source.drivers.fetch_size import FetchSize
from airflow_provider_klaviyo.sync.source.drivers.plain import execute
from airflow_provider_klaviyo.sync.source.drivers.result import Connection, Result, column_names
from airflow_provider_klaviyo.sync.source.drivers.statements import refuse_writing
from airflow_provider_klaviyo.sync.source.query import Query


def open_bigquery(connection: Connection, query: Query, size: FetchSize) -> Result:
    """Run the query by the cursor, which knows the hook's settings, and read the job's own result, page by page."""
    if query.read_only:
        refuse_writing(query.sql, "any")
    started = connection.cursor()
    execute(started, query)
    column_names(started.description)
    job = started.hook.get_job(
        job_id=started.job_id, project_id=started.project_id, location=started.location
    )
    rows = job.result(page_size=size.most)
    cursor = _Rows(rows)
    return keys_as_before(Result(cursor, cursor.fetch(size)), query, _BEFORE)


def _seconds(value: dt.datetime) -> object:
    return value.timestamp() if value.tzinfo else value.isoformat()


_BEFORE: Mapping[type, Callable[[Any], object]] = {
    Decimal: str,
    bytes: lambda value: b64encode(value).decode(),
    dt.datetime: _seconds,
    dt.date: str,
    dt.time: str,
}
"""What the hook's own cursor gives: a TIMESTAMP as seconds, the rest as the service writes it."""


class _Rows:
    """The client's rows as a cursor."""

    def __init__(self, rows: Any) -> None:
        self.description = [(field.name, field.field_type) for field in rows.schema]
        self._rows = iter(rows)

    def fetch(self, size: FetchSize) -> Any:
        return lambda: [row.values() for row in islice(self._rows, size.rows)]

    def close(self) -> None:
        """A job's result lies with the service, and goes by itself."""

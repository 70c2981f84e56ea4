"""Values of MySQL and MariaDB whose drivers give less than the column says."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_klaviyo.sync.drivers.columns import Mend, mended
from airflow_provider_klaviyo.sync.drivers.result import Result

log = logging.getLogger(__name__)

_TIMESTAMP, _BIT = 7, 16  # field types of the protocol, which all drivers hand on


def typed(result: Result, *, is_utc: bool) -> Result:
    """The result with its TIMESTAMPs in UTC, its BIT(1)s as booleans and longer BITs as numbers.

    :param is_utc: whether the session reads in UTC; a TIMESTAMP is wall clock time of the session's zone.
    """
    columns = result.cursor.description
    mends: dict[int, Mend] = {n: _bits(column) for n, column in enumerate(columns) if column[1] == _BIT}
    moments: Mapping[int, Mend] = {n: _in_utc for n, column in enumerate(columns) if column[1] == _TIMESTAMP}
    if moments and not is_utc:
        log.warning(
            "The server refuses SET SESSION time_zone = '+00:00', so its TIMESTAMPs come in the time zone of its "
            "session and are read in that of the parameter timezone, like DATETIMEs: set timezone to the session's."
        )
        moments = {}
    return mended(result, {**mends, **moments})


def _in_utc(values: Sequence[Any]) -> Sequence[Any]:
    return [value.replace(tzinfo=dt.UTC) if isinstance(value, dt.datetime) else value for value in values]


def _bits(column: Sequence[Any]) -> Mend:
    """How a BIT column is read, which comes as bytes; mysql-connector-python makes a number and hides the length."""

    def read(values: Sequence[Any]) -> Sequence[Any]:
        return [to_type(int.from_bytes(value)) if isinstance(value, bytes) else value for value in values]

    to_type = bool if column[3] == 1 else int
    return read

"""What cannot be known of the rows of a source: whether they are all there, and when their moments were."""

from __future__ import annotations

from collections.abc import Iterator

from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError
from airflow_provider_klaviyo.sync.contracts import Dated, Mapper
from airflow_provider_klaviyo.sync.source.source import Source


def doubts_of(rows: Source, mapper: Mapper, mode: str, *, names_timezone: bool) -> Iterator[str]:
    """What is to be said of a source, in log and report.

    :param mode: of the sync.
    :param names_timezone: whether the user says in which zone timestamps without one are.
    :raises KlaviyoConfigurationError: when the sync must not go on in such doubt.
    """
    if rows.distrust:
        yield _missing(rows.distrust, mode)
    if rows.unzoned and not names_timezone:
        yield _unzoned(rows, mapper)


def _missing(reason: str, mode: str) -> str:
    if mode == "mirror":  # nobody is taken off a list because a driver loses rows
        msg = (
            f"A mirror removes whom the query does not return, and {reason}. Read this database by another type of "
            'connection, such as JDBC, or use mode="add".'
        )
        raise KlaviyoConfigurationError(msg)
    return f"Rows may be missing: {reason}."


def _unzoned(rows: Source, mapper: Mapper) -> str:
    names = ", ".join(map(repr, rows.unzoned))
    told = (
        f"The SQL driver hands out timestamps without their zone ({names}), and does not say whether they have "
        "one. Those that have one may be hours off: convert them in SQL to UTC, or to text with an offset, and set "
        "timezone to the zone of the others, UTC if there are none."
    )
    times = mapper.time_columns if isinstance(mapper, Dated) else ()
    if any(
        rows.columns[index] in rows.unzoned for index in times
    ):  # when something happened must not be guessed
        raise KlaviyoConfigurationError(told)
    return told

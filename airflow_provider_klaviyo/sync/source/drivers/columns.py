"""Columns of a result that need more than their driver does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from airflow_provider_klaviyo.sync.source.drivers.result import Result

Mend = Callable[[Sequence[Any]], Sequence[Any]]
"""From the values of a column to those that it should have had."""


def mended(result: Result, mends: Mapping[int, Mend]) -> Result:
    """The same result, some of its columns changed in every chunk.

    :param mends: by the indexes of the columns.
    """

    def fetch() -> Sequence[Any]:
        columns: list[Sequence[Any]] = list(zip(*result.fetch(), strict=True))
        for index, mend in mends.items() if columns else ():
            columns[index] = mend(columns[index])
        return list(zip(*columns, strict=True))

    return replace(result, fetch=fetch) if mends else result

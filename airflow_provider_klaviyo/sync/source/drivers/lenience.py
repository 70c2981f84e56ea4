"""Values that a driver cannot make objects of, and that must not cost the other rows."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from airflow_provider_klaviyo.records.values.unsendable import Unreadable
from airflow_provider_klaviyo.sync.source.drivers.columns import named
from airflow_provider_klaviyo.sync.source.drivers.result import Result


class Lenience:
    """Gives an ``Unreadable`` for what cannot be read, which says in which column it stood.

    :param encoding: of text, as Python names it.
    """

    def __init__(self, encoding: str = "utf-8") -> None:
        self._encoding = codecs.lookup(encoding).name
        self._met_any = False

    def text(self, data: bytes | bytearray) -> object:
        """Decode a text; called for every one in some drivers."""
        try:
            return data.decode(self._encoding)
        except UnicodeDecodeError:
            return self.unreadable_text()

    def unreadable_text(self) -> Unreadable:
        """What to hand on instead of a text, or of what is made of texts."""
        return self.unreadable(f"holds text that is not in {self._encoding.upper()}; mend it in the database")

    def unreadable(self, problem: str) -> Unreadable:
        """What to hand on instead of a value that has this problem."""
        self._met_any = True
        return Unreadable(problem)

    def naming(self, result: Result) -> Result:
        """The result, whose unreadable values name their columns: drivers do not tell where a value stands."""

        def fetch() -> Sequence[Any]:
            rows = result.fetch()
            if self._has_met_any():
                names = result.columns()
                rows = [tuple(map(named, names, row)) for row in rows]
            return rows

        return replace(result, fetch=fetch)

    def naming_columns(
        self, names: Sequence[str], columns: Sequence[Sequence[object]]
    ) -> Sequence[Sequence[object]]:
        """The same of columns that came without rows."""
        if not self._has_met_any():
            return columns
        return [[named(name, value) for value in column] for name, column in zip(names, columns, strict=True)]

    def _has_met_any(self) -> bool:
        met, self._met_any = self._met_any, False
        return met

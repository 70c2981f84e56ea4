"""Ids of events, derived from what identifies a row: the same on every attempt, machine and release, for ever."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from airflow_provider_klaviyo.records.values.key_text import joined, value_text

VERSION = "k1"
"""Of the recipe below. A change would make every event that is sent again a new one."""

_DIGITS = 40


class DerivedIds:
    """Makes ``unique_id`` of the metric's name and of the names and values of the primary key.

    Names count without regard to case, since some warehouses fold it, and in alphabetical order.

    :param names: the columns of the primary key.
    """

    def __init__(self, names: Sequence[str]) -> None:
        folded = [name.casefold() for name in names]
        self._order = sorted(range(len(names)), key=lambda index: folded[index])
        self._names = joined(folded[index] for index in self._order)

    def of(self, metric: str, key: Sequence[object]) -> str:
        """The id of one event.

        :param metric: the metric's name.
        :param key: the values, in the order of ``names``, none of them None.
        :returns: the recipe's version and 40 hexadecimal digits.
        :raises Unsendable: for a value without a text that stays the same.
        """
        values = joined(value_text(key[index]) for index in self._order)
        text = joined((metric, self._names, values))
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        return f"{VERSION}-{digest[:_DIGITS]}"

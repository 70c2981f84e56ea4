"""A table that changes from night to night, and what it held in each of them."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

DOMAIN = "shop.io"
"""The domain of all addresses: it is looked for where nobody's address may be."""

NAME = "Quillon"
"""How every first name begins, for the same reason."""

EARLIER = 3_600.0
"""Seconds that what a night's new rows tell of is older than the night."""

_INVALID = ("not an address", "@", "", None)


@dataclass(frozen=True, slots=True)
class Row:
    """One row: a person, or what a person did; ``email`` may be one that nobody can have."""

    id: int
    email: str | None
    name: str
    tier: str
    at: float

    @property
    def is_valid(self) -> bool:
        return self.email not in _INVALID


class Shop:
    """A SQLite table ``rows``.

    :param size: how many rows there are at first.
    :param moves: whether somebody's address may become another one.
    :param renews: whether something may happen anew, so that its moment is a later one.
    :param shares: how many people do what the rows tell of; 0 is one for each row.
    """

    def __init__(
        self, path: Path, rng: random.Random, *, size: int, moves: bool, renews: bool, shares: int = 0
    ) -> None:
        self.path = path
        self._rng = rng
        self._moves = moves
        self._renews = renews
        self._shares = shares
        self._versions: dict[int, int] = {}
        self._next = 1
        self.rows: dict[int, Row] = {}
        self.nights: list[Mapping[int, Row]] = []
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE rows (id INTEGER, email TEXT, name TEXT, tier TEXT, at REAL)")
        self._size = size

    def begin(self, moment: float) -> None:
        """Let a night begin: after the first, something of everything has happened to the rows."""
        if not self.nights:
            self._add(self._size, moment)
        else:
            for row in list(self.rows.values()):
                self._change(row, moment)
            self._add(self._rng.randrange(self._size // 3 + 1), moment)
        self._write()
        self.nights.append(dict(self.rows))

    def again(self) -> None:
        """One more night in which nothing has changed."""
        self.nights.append(dict(self.rows))

    def _add(self, count: int, moment: float) -> None:
        for _ in range(count):
            number, self._next = self._next, self._next + 1
            self.rows[number] = Row(
                number, self._email(number), f"{NAME}{number}", f"t{len(self.nights)}", moment - EARLIER
            )

    def _change(self, row: Row, moment: float) -> None:
        dice = self._rng.random()
        tonight = len(self.nights)
        if not row.is_valid:
            if dice < 0.5:
                self.rows[row.id] = replace(row, email=self._email(row.id))
        elif dice < 0.12:
            del self.rows[row.id]
        elif dice < 0.22:
            self.rows[row.id] = replace(row, email=self._rng.choice(_INVALID))
        elif dice < 0.42:
            # Some change back to what they were, which must not be mistaken for unchanged.
            self.rows[row.id] = replace(row, tier=f"t{self._rng.choice((0, tonight))}")
        elif dice < 0.62 and self._renews:
            self.rows[row.id] = replace(row, at=moment - EARLIER)
        elif dice < 0.52 and self._moves:
            self._versions[row.id] = self._versions.get(row.id, 0) + 1
            self.rows[row.id] = replace(row, email=self._email(row.id))

    def _email(self, number: int) -> str:
        if self._shares:
            return f"p{number % self._shares}@{DOMAIN}"
        return f"p{number}v{self._versions.get(number, 0)}@{DOMAIN}"

    def _write(self) -> None:
        with closing(sqlite3.connect(self.path)) as connection:
            connection.execute("DELETE FROM rows")
            rows = [(row.id, row.email, row.name, row.tier, row.at) for row in self.rows.values()]
            connection.executemany("INSERT INTO rows VALUES (?, ?, ?, ?, ?)", rows)
            connection.commit()

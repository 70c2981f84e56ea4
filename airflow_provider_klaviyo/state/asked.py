"""Who was asked for consent, or to be unsubscribed, at which address and when."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from airflow_provider_klaviyo.state.rows import Status
from airflow_provider_klaviyo.state.statements import change, change_by_rows, look_up

_TIMES = {"earliest": 1, "latest": (1 << 32) - 1}
"""Seconds since the epoch that somebody may have been asked at."""


class Asked(NamedTuple):
    """That a request asked somebody.

    :param at: when, in seconds since the epoch by Klaviyo's clock.
    :param status: ``ACKNOWLEDGED`` when Klaviyo took the request, ``IN_DOUBT`` while that is not known, and ``FAILED``
        when it did not, or the outcome has shown: then asking is asking anew.
    """

    at: int
    status: Status


class AskedAddresses:
    """Addresses by their hash (``keys.asked_hashes``), each with whose it is; a part of the state's table.

    Any number may be given at once. A ``serial`` is the number of the entry that says what a method is told.

    :param database: that of the state.
    :param lock: guards the database.
    """

    def __init__(self, database: sqlite3.Connection, lock: threading.RLock) -> None:
        self._database = database
        self._lock = lock
        database.execute(
            "CREATE TABLE IF NOT EXISTS asked (address INTEGER PRIMARY KEY, person INTEGER NOT NULL, "
            "at INTEGER NOT NULL, status INTEGER NOT NULL, serial INTEGER NOT NULL)"
        )
        database.execute("CREATE INDEX IF NOT EXISTS asked_by_person ON asked (person)")
        database.execute("CREATE INDEX IF NOT EXISTS asked_by_serial ON asked (serial)")

    def look_up(self, addresses: Sequence[int]) -> dict[int, Asked]:
        """When somebody was asked at those of these addresses where anybody ever was."""
        query = "SELECT address, at, status FROM asked WHERE address IN"
        with self._lock:
            found = look_up(self._database, query, addresses)
        return {address: Asked(at, Status(status)) for address, at, status in found}

    def ask(self, people: Mapping[int, int], at: int, serial: int) -> None:
        """Somebody is about to be asked, and may have been from now on.

        :param people: whose the addresses are, by address.
        :param at: when, in seconds since the epoch.
        """
        with self._lock:
            change_by_rows(
                self._database,
                "INSERT OR REPLACE INTO asked (address, person, at, status, serial) "
                "SELECT address, person, :at, :in_doubt, :serial FROM given",
                ("address", "person"),
                list(people.items()),
                at=at,
                in_doubt=Status.IN_DOUBT.value,
                serial=serial,
            )

    def settle(self, sent: int, status: Status, serial: int) -> None:
        """What became of a request; who was asked again meanwhile stays in doubt.

        :param sent: the number of the entry that put the addresses in doubt.
        :param status: ``ACKNOWLEDGED`` or ``FAILED``.
        """
        statement = (
            "UPDATE asked SET status = :status, serial = :serial WHERE serial = :sent AND status = :in_doubt"
        )
        named = {"status": status, "serial": serial, "sent": sent, "in_doubt": Status.IN_DOUBT}
        with self._lock:
            self._database.execute(statement, named)

    def release(self, addresses: Sequence[int], serial: int) -> None:
        """Asking at these is asking anew from now on."""
        statement = "UPDATE asked SET status = :failed, serial = :serial WHERE address IN"
        with self._lock:
            change(self._database, statement, addresses, failed=Status.FAILED, serial=serial)

    def of(self, person: int) -> list[int]:
        """The addresses at which a person was asked."""
        with self._lock:
            found = self._database.execute("SELECT address FROM asked WHERE person = ?", (person,))
            return [address for (address,) in found]

    def forget(self, addresses: Sequence[int]) -> None:
        """Keep nothing of these."""
        with self._lock:
            change(self._database, "DELETE FROM asked WHERE address IN", addresses)

    def counts(self) -> dict[Status, int]:
        """How many addresses there are, by status."""
        with self._lock:
            found = self._database.execute("SELECT status, COUNT(*) FROM asked GROUP BY status").fetchall()
        return {Status(status): count for status, count in found}

    def is_empty(self) -> bool:
        """Whether nobody was ever asked, as mostly."""
        with self._lock:
            return self._database.execute("SELECT 1 FROM asked LIMIT 1").fetchone() is None

    def take_from_rows(self) -> None:
        """Take over who was asked from where formats 1 and 2 have it: rows with the time in place of a fingerprint.

        Of the fingerprints, which are hashes, one in four billion looks like a time. Its row then counts as new, and
        sending it once more does no harm; nobody who was asked is missed.
        """
        with self._lock:
            self._database.execute(
                "INSERT OR IGNORE INTO asked (address, person, at, status, serial) "
                "SELECT key, person, fingerprint, status, serial FROM rows "
                "WHERE fingerprint BETWEEN :earliest AND :latest",
                _TIMES,
            )
            self._database.execute("DELETE FROM rows WHERE fingerprint BETWEEN :earliest AND :latest", _TIMES)

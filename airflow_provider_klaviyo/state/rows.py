"""Rows as the state knows them: by hashes, and with a status."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class Status(IntEnum):
    """What is known of a row; a row that the state does not have is new. The numbers are stored, so they stay."""

    ACKNOWLEDGED = 1
    FAILED = 2
    IN_DOUBT = 3
    STALE = 4


class Known(NamedTuple):
    """What the state has of a row.

    :param fingerprint: the hash of what was sent.
    :param serial: the number of the entry that said so.
    """

    fingerprint: int
    status: Status
    serial: int


class Sent(NamedTuple):
    """A row that is about to be sent, as the state knows it.

    :param key: the hash of the primary key.
    :param fingerprint: the hash of what is sent; 0 where that never counts as acknowledged.
    :param person: the hash of whom the row names; 0 for nobody.
    :param identity: who that is, written out; only where the sync must be able to remove the person.
    """

    key: int
    fingerprint: int
    person: int
    identity: str | None = None


NOBODY = Sent(0, 0, 0)
"""Stands for a row that was forgotten while a job had it."""

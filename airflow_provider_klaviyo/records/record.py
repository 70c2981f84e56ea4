"""What mapping a chunk of rows gives: records to send, rows that cannot be sent, and values that were left out."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, TypeVar

import msgspec

from airflow_provider_klaviyo.identity import Identity
from airflow_provider_klaviyo.records.resources import without

Row = tuple[object, ...]


class Problem(NamedTuple):
    """Why a field, or a whole row, cannot be sent.

    :param is_klaviyos: whether the reason has Klaviyo's words, which may repeat values of the row; others hold none.
    """

    field: str
    reason: str
    is_klaviyos: bool = False


# Structs of msgspec are made in C: one is made for every row.
class Record(msgspec.Struct, gc=False):
    """A row in Klaviyo's shape, encoded once: the bytes serve the size limits and the request body.

    ``number`` is the row's position in the query's result, from 1; ``identity`` names the person, as the text of an
    ``Identity``: the value alone where it is one of the sync's own identifier, until a state asks for the whole;
    ``needs_own_request`` says that no other record may be in its request. Where state is kept, ``meaning`` is what is
    sent in its one spelling, until it is hashed; ``key``, ``person`` and ``fingerprint`` are the hashes of the row's
    primary key, of the identity and of the meaning, and ``was_in_doubt`` says that an earlier try may have sent it.
    """

    number: int
    row: Row
    identity: str
    body: bytes
    needs_own_request: bool = False
    key: int = 0
    person: int = 0
    fingerprint: int = 0
    was_in_doubt: bool = False
    meaning: bytes = b""

    @property
    def dedup_key(self) -> Hashable:
        """What may be sent only once in a run: the person."""
        return self.identity

    def named(self, identifier: str) -> Identity:
        """Whom the record is about.

        :param identifier: the sync's own, of which a value alone is one.
        """
        return Identity.of(self.identity, identifier)

    @property
    def originals(self) -> Sequence[Record]:
        """The records of the rows that this one stands for: it itself, unless several rows were brought together."""
        return (self,)

    @property
    def size(self) -> int:
        """Bytes that the record takes in a request."""
        return len(self.body)

    @property
    def fingerprinted(self) -> bytes:
        """Everything of the row that is sent, as it is written: what states of format 1 have the hash of."""
        return self.body

    @property
    def identities(self) -> list[Identity]:
        """Whom the row may be about; to be asked for where the identity is the whole text."""
        return [Identity.of(self.identity)]

    def leave_out(self, fields: Collection[str]) -> None:
        """Send the person without some fields.

        :param fields: named as in a mapping; those that the record has not change nothing.
        """
        self.body = without(self.body, fields)
        if self.meaning:
            self.meaning = without(self.meaning, fields)


R = TypeVar("R", bound=Record)
"""The kind of records that a sync is about."""


def all_of(kind: type[R], records: Iterable[Record]) -> list[R]:
    """Records of a sync, which are all of this kind.

    :param kind: the class that each of them is of.
    :param records: in the order that they stay in.
    :raises TypeError: when one is of another: if it were left out, its row would have no verdict.
    """
    found: list[R] = []
    for record in records:
        if not isinstance(record, kind):
            msg = f"A {type(record).__name__} came where each record is a {kind.__name__}."
            raise TypeError(msg)
        found.append(record)
    return found


class Flawed(NamedTuple):
    """A row and everything that is wrong with it."""

    number: int
    row: Row
    problems: tuple[Problem, ...]


class Mapped(NamedTuple):
    """What became of a chunk of rows; ``warned`` rows are also among the records, without the named fields.

    ``skipped`` rows ask for nothing to be sent. ``identifiers`` are the values, row by row of the chunk, of fields that
    are sent and name people too, beside the one that people are matched by.
    """

    records: list[Record]
    rejected: list[Flawed]
    warned: list[Flawed]
    skipped: Sequence[Flawed] = ()
    identifiers: Mapping[str, Sequence[str | None]] = MappingProxyType({})

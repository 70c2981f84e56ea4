"""An entry of a state's log as a file: ``<number>.entry``, a line of JSON, and behind it the payload."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

import msgspec

from airflow_provider_klaviyo.state.errors import StateDamaged, StateUnreadable
from airflow_provider_klaviyo.state.stores import Store, blocks_of, measured

FORMAT = 4
"""Of what is written.

1: fingerprints are of the bytes that were sent; 2: of their meaning, beside older ones; 3: who was asked is written in
entries of its own, and no longer as rows; 4: Klaviyo's ids of people on a list are kept.
"""

WHAT_TO_DO = (
    "Restore the folder from a backup, or run once with full_refresh=True, which starts a new state and sends every "
    "row, or choose another state_key."
)
_SUFFIX = ".entry"
_BLOCK = 1 << 20


class Parent(msgspec.Struct, frozen=True):
    """The entry that another one builds upon: its number, and the checksum of its first line."""

    number: int
    sha256: str


class Header(msgspec.Struct, frozen=True):
    """The first line of an entry.

    :param base: the number of the snapshot or beginning that it builds upon.
    :param writer: who wrote it, for those who must find out.
    :param time: when, in seconds since the epoch.
    """

    number: int
    kind: str
    base: int
    parent: Parent | None
    writer: str
    time: float
    payload_bytes: int
    payload_sha256: str
    facts: dict[str, Any]

    def line(self) -> bytes:
        """It as it is written."""
        return b"%d " % FORMAT + msgspec.json.encode(self) + b"\n"


class Stored(msgspec.Struct, frozen=True):
    """An entry of which every byte was there.

    :param name: of its file.
    :param format: in which it is written.
    :param sha256: the checksum of its first line, which holds that of the payload.
    """

    name: str
    format: int
    sha256: str
    header: Header

    @property
    def number(self) -> int:
        """Its place in the log."""
        return self.header.number

    @property
    def kind(self) -> str:
        """What tells it from others."""
        return self.header.kind

    @property
    def facts(self) -> Mapping[str, Any]:
        """What it holds beside its payload."""
        return self.header.facts

    @property
    def as_parent(self) -> Parent:
        """How the next one names it."""
        return Parent(self.number, self.sha256)


class Torn(Exception):
    """A file that is not what somebody wished to write."""


def name_of(number: int) -> str:
    """The file of an entry."""
    return f"{number:08d}{_SUFFIX}"


def names_in(store: Store) -> dict[int, str]:
    """The files of entries that are there now, by number."""
    return {
        int(name.removesuffix(_SUFFIX)): name
        for name in store.names()
        if name.endswith(_SUFFIX) and name.removesuffix(_SUFFIX).isdecimal()
    }


def stored(header: Header, line: bytes, name: str) -> Stored:
    """An entry whose first line is known.

    :param header: what the line says.
    :param line: the first line, with its end.
    :param name: of the file.
    """
    return Stored(name, int(line.partition(b" ")[0]), hashlib.sha256(line).hexdigest(), header)


def read(store: Store, number: int, name: str) -> Stored:
    """The entry in a file.

    :param number: that it must have.
    :param name: of the file.
    :raises Torn: when not every byte of it is there.
    :raises StateUnreadable: when it is in a format of another release.
    """
    with closing(store.open(name)) as content:
        line = content.readline()
        written_in, _, text = line.partition(b" ")
        if written_in.isdigit() and not 1 <= int(written_in) <= FORMAT:
            msg = (
                f"The state's file {store.path(name)} has format {int(written_in)}, and this release reads formats up "
                f"to {FORMAT}: use the release that wrote it. {WHAT_TO_DO}"
            )
            raise StateUnreadable(msg)
        try:
            header = msgspec.json.decode(text, type=Header)
        except msgspec.DecodeError as error:
            msg = "does not begin with a whole header"
            raise Torn(msg) from error
        if header.number != number or measured(iter(lambda: content.read(_BLOCK), b"")) != (
            header.payload_bytes,
            header.payload_sha256,
        ):
            msg = "is not what was written (its checksum differs)"
            raise Torn(msg)
    return stored(header, line, name)


def payload_of(store: Store, entry: Stored) -> Iterator[bytes]:
    """The payload of an entry, a megabyte at a time.

    :raises StateDamaged: at its end, when it is not what was written.
    """
    digest, size = hashlib.sha256(), 0
    with closing(blocks_of(store, entry.name, after_line=True)) as blocks:
        for block in blocks:
            digest.update(block)
            size += len(block)
            yield block
    if (size, digest.hexdigest()) != (entry.header.payload_bytes, entry.header.payload_sha256):
        msg = f"The state is damaged: {store.path(entry.name)} is not what was written. {WHAT_TO_DO}"
        raise StateDamaged(msg)

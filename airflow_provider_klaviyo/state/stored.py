"""An entry of a state's log as a file: ``<number>.entry``, a line of JSON, and behind it the payload."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from airflow_provider_klaviyo.state.errors import StateDamaged, StateUnreadable
from airflow_provider_klaviyo.state.stores import DiskStore, Store, blocks_of, measured

FORMAT = 5
"""Of what is written.

1: fingerprints are of the bytes that were sent; 2: of their meaning, beside older ones; 3: who was asked is written in
entries of its own, and no longer as rows; 4: Klaviyo's ids of people on a list are kept; 5: a small table is written
packed.
"""

WHAT_TO_DO = (
    "Restore the folder from a backup, or run once with full_refresh=True, which starts a new state and sends every "
    "row, or choose another state_key."
)
_SUFFIX = ".entry"
_BLOCK = 1 << 20
_SHORT = 1 << 14
"""Payloads of so many bytes are kept in memory: those of a log that is not compacted yet are a few megabytes."""


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
    :param payload: what was seen of it when it was read, or a file of this machine that has it; None where it was not
        kept.
    """

    name: str
    format: int
    sha256: str
    header: Header
    payload: bytes | Path | None = None

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


def stored(header: Header, line: bytes, name: str, payload: bytes | Path | None = None) -> Stored:
    """An entry whose first line is known.

    :param header: what the line says.
    :param line: the first line, with its end.
    :param name: of the file.
    :param payload: as ``Stored`` has it.
    """
    return Stored(name, int(line.partition(b" ")[0]), hashlib.sha256(line).hexdigest(), header, payload)


def read(store: Store, number: int, name: str, scratch: Path | None = None) -> Stored:
    """The entry in a file.

    :param number: that it must have.
    :param name: of the file.
    :param scratch: a private folder of this run, where a long payload is kept; without one it is not.
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
        blocks = iter(lambda: content.read(_BLOCK), b"")
        payload: bytes | Path | None = None
        if header.payload_bytes <= _SHORT:
            payload = b"".join(blocks)
            found = measured((payload,))
        elif scratch:
            payload = scratch / name
            found = measured(_copied(blocks, payload))
        else:
            found = measured(blocks)
        if header.number != number or found != (header.payload_bytes, header.payload_sha256):
            msg = "is not what was written (its checksum differs)"
            raise Torn(msg)
    return stored(header, line, name, payload)


def _copied(blocks: Iterator[bytes], path: Path) -> Iterator[bytes]:
    with path.open("wb") as file:
        for block in blocks:
            file.write(block)
            yield block


def payload_of(store: Store, entry: Stored) -> Iterator[bytes]:
    """The payload of an entry, a megabyte at a time.

    :raises StateDamaged: at its end, when it is not what was written.
    """
    if isinstance(entry.payload, bytes):
        yield entry.payload
        return
    if entry.payload and entry.payload.exists():
        yield from blocks_of(DiskStore(entry.payload.parent), entry.payload.name)
        return
    digest, size = hashlib.sha256(), 0
    with closing(blocks_of(store, entry.name, after_line=True)) as blocks:
        for block in blocks:
            digest.update(block)
            size += len(block)
            yield block
    if (size, digest.hexdigest()) != (entry.header.payload_bytes, entry.header.payload_sha256):
        msg = f"The state is damaged: {store.path(entry.name)} is not what was written. {WHAT_TO_DO}"
        raise StateDamaged(msg)

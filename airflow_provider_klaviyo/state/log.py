"""The log of a state: immutable entries, each naming its parent, on any storage.

An entry is a file ``<number>.entry``: a line of JSON, and behind it the payload. It is created exclusively, so that of
two runs that write the same number one fails, and it names its parent by number and checksum, so that it counts only
on top of what its writer had seen. Old entries are deleted oldest first, so as long as a parent is there its number's
successor was never deleted. Safety rests on that alone; the lock only tells the second run sooner.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import msgspec

from airflow_provider_klaviyo.state.errors import StateConflict, StateDamaged, StateUnreadable
from airflow_provider_klaviyo.state.storage import StateFolder, blocks_of, create, is_there, listed

log = logging.getLogger(__name__)

FORMAT = 3
"""Of what is written.

1: fingerprints are of the bytes that were sent; 2: of their meaning, beside older ones; 3: who was asked is written in
entries of its own, and no longer as rows.
"""

_SUFFIX = ".entry"
_BASES = ("snapshot", "begin")
_WHAT_TO_DO = (
    "Restore the folder from a backup, or run once with full_refresh=True, which starts a new state and sends every "
    "row, or choose another state_key."
)


class _Parent(msgspec.Struct, frozen=True):
    number: int
    sha256: str


class _Header(msgspec.Struct, frozen=True):
    """The first line of an entry; ``base`` is the number of the snapshot or beginning that it builds upon."""

    number: int
    kind: str
    base: int
    parent: _Parent | None
    writer: str
    time: float
    payload_bytes: int
    payload_sha256: str
    facts: dict[str, Any]


class Stored(msgspec.Struct, frozen=True):
    """An entry that counts; ``sha256`` is the checksum of its first line, which holds that of the payload."""

    number: int
    format: int
    kind: str
    facts: Mapping[str, Any]
    payload_bytes: int
    payload_sha256: str
    parent: _Parent | None
    base: int
    writer: str
    sha256: str
    file: Any


class _Torn(Exception):
    """A file that is not what somebody wished to write."""


class StateLog:
    """The entries of one state, from the newest base on; a base is a snapshot, or the beginning of a chain.

    Opening reads and checks everything that counts. A torn last file, left by an interrupted upload, is passed over.

    :param writer: who writes, for those who must find out.
    :param anew: look at nothing that is there; ``begin`` then starts a chain behind it.
    :raises StateDamaged: when an entry that counts is missing or torn.
    :raises StateUnreadable: when an entry is of another release's format.
    """

    def __init__(
        self, folder: StateFolder, *, writer: str, now: Callable[[], float], anew: bool = False
    ) -> None:
        self._folder = folder
        self._writer = writer
        self._now = now
        self._lock = threading.Lock()
        self._conflict: str = ""
        files = _entry_files(folder)
        self._next = max(files, default=0) + 1
        self.entries: list[Stored] = [] if anew else _chain(files)
        self._base = self.entries[0].number if self.entries else 0

    def payload(self, entry: Stored) -> bytes:
        """What an entry holds beside its facts.

        :raises StateDamaged: when it is not what was written.
        """
        return b"".join(_payload(entry))

    def copy_payload(self, entry: Stored, path: Path) -> None:
        """The same into a file, in bounded memory."""
        with path.open("wb") as target:
            for block in _payload(entry):
                target.write(block)

    def begin(self, facts: Mapping[str, Any]) -> int:
        """Start a new chain: nothing before it counts."""
        return self._add("begin", facts, lambda: iter(()))

    def append(self, kind: str, facts: Mapping[str, Any], payload: bytes = b"") -> int:
        """Add an entry; it is stored when this returns. Returns its number.

        :raises StateConflict: when somebody else wrote meanwhile; nothing can be added from then on.
        """
        return self._add(kind, facts, lambda: iter((payload,)))

    def append_file(self, kind: str, facts: Mapping[str, Any], path: Path) -> int:
        """The same with a file as the payload."""
        return self._add(kind, facts, lambda: blocks_of(path))

    def prune(self, *, keep_previous: bool = True) -> None:
        """Delete entries that no longer count, oldest first, up to one that cannot be deleted.

        :param keep_previous: keep the base before the newest and what follows it, to fall back on.
        """
        files = _entry_files(self._folder)
        oldest = self._base
        if keep_previous and (before := self._before(files, oldest)):
            oldest = before.base
        for number, file in sorted(files.items()):
            if number < oldest:
                try:
                    file.unlink()
                except Exception as error:
                    log.warning("An old file of the state could not be deleted: %s: %s", file, error)
                    return

    def _before(self, files: Mapping[int, Any], base: int) -> Stored | None:
        """The newest entry before a base that can be read."""
        for number in sorted((number for number in files if number < base), reverse=True):
            try:
                return _read(number, files[number])
            except _Torn:
                continue
        return None

    def _add(self, kind: str, facts: Mapping[str, Any], payload: Callable[[], Iterator[bytes]]) -> int:
        with self._lock:
            if self._conflict:
                raise StateConflict(self._conflict)
            number = self._next
            size, digest = _measure(payload())
            parent = self.entries[-1] if self.entries and kind != "begin" else None
            header = _Header(
                number=number,
                kind=kind,
                base=number if kind in _BASES else self._base,
                parent=_Parent(parent.number, parent.sha256) if parent else None,
                writer=self._writer,
                time=self._now(),
                payload_bytes=size,
                payload_sha256=digest,
                facts=dict(facts),
            )
            line = b"%d " % FORMAT + msgspec.json.encode(header) + b"\n"
            file = self._folder / f"{number:08d}{_SUFFIX}"
            is_new = create(self._folder, file.name, line, payload)
            if not is_new or self._is_overtaken(number, parent):
                self._conflict = _conflict(number, file)
                if is_new:
                    with suppress(Exception):  # it does not count, and is below what will be deleted
                        file.unlink()
                raise StateConflict(self._conflict)
            entry = _stored(header, line, file)
            self._base = entry.base
            self.entries = [entry] if kind in _BASES else [*self.entries[:1], entry]
            self._next += 1
            return number

    def _is_overtaken(self, number: int, parent: Stored | None) -> bool:
        """Whether an entry that was just created fills the gap of one that was written and deleted since."""
        if parent:
            return not is_there(parent.file)
        return any(other > number for other in _entry_files(self._folder))


def _entry_files(folder: StateFolder) -> dict[int, Any]:
    return {
        int(file.name.removesuffix(_SUFFIX)): file
        for file in listed(folder)
        if file.name.endswith(_SUFFIX) and file.name.removesuffix(_SUFFIX).isdecimal()
    }


def _chain(files: Mapping[int, Any]) -> list[Stored]:
    """The entries that count: the newest whole one, and what it builds upon, back to its base."""
    chain: list[Stored] = []
    torn: list[Any] = []
    for number in sorted(files, reverse=True):
        try:
            entry = _read(number, files[number])
        except _Torn as error:
            if chain and chain[0].parent and chain[0].parent.number == number:
                msg = f"The state is damaged: {files[number]} {error}. Later entries build upon it. {_WHAT_TO_DO}"
                raise StateDamaged(msg) from None
            torn.append(files[number])
            continue
        if chain and not _is_parent(entry, chain[0]):
            continue  # somebody's who had not seen the entry before it; nothing builds upon it
        chain.insert(0, entry)
        if entry.number == entry.base:
            break
    if chain and chain[0].number != chain[0].base:
        missing = chain[0].parent.number if chain[0].parent else chain[0].base
        msg = (
            f"The state is damaged: entry {missing} is missing or not what was written, and {chain[0].file} builds "
            f"upon it. {_WHAT_TO_DO}"
        )
        raise StateDamaged(msg)
    if torn and not chain:
        msg = f"The state is damaged: {torn[0]} is torn, and there is no whole entry before it. {_WHAT_TO_DO}"
        raise StateDamaged(msg)
    for file in torn:
        log.warning("%s was not written to its end, as when a worker is killed. It does not count.", file)
    return chain


def _is_parent(entry: Stored, child: Stored) -> bool:
    return child.parent is not None and child.parent == _Parent(entry.number, entry.sha256)


def _read(number: int, file: Any) -> Stored:
    """An entry whose every byte is there.

    :raises _Torn: when it is not.
    """
    with file.open("rb") as content:
        line = content.readline()
        written_in, _, text = line.partition(b" ")
        if written_in.isdigit() and not 1 <= int(written_in) <= FORMAT:
            msg = (
                f"The state's file {file} has format {int(written_in)}, and this release reads formats up to {FORMAT}: "
                f"use the release that wrote it. {_WHAT_TO_DO}"
            )
            raise StateUnreadable(msg)
        try:
            header = msgspec.json.decode(text, type=_Header)
        except msgspec.DecodeError as error:
            msg = "does not begin with a whole header"
            raise _Torn(msg) from error
        if header.number != number or _measure(iter(lambda: content.read(1 << 20), b"")) != (
            header.payload_bytes,
            header.payload_sha256,
        ):
            msg = "is not what was written (its checksum differs)"
            raise _Torn(msg)
    return _stored(header, line, file)


def _stored(header: _Header, line: bytes, file: Any) -> Stored:
    return Stored(
        number=header.number,
        format=int(line.split(b" ", 1)[0]),
        kind=header.kind,
        facts=header.facts,
        payload_bytes=header.payload_bytes,
        payload_sha256=header.payload_sha256,
        parent=header.parent,
        base=header.base,
        writer=header.writer,
        sha256=hashlib.sha256(line).hexdigest(),
        file=file,
    )


def _payload(entry: Stored) -> Iterator[bytes]:
    digest, size = hashlib.sha256(), 0
    with closing(blocks_of(entry.file, after_line=True)) as blocks:
        for block in blocks:
            digest.update(block)
            size += len(block)
            yield block
    if (size, digest.hexdigest()) != (entry.payload_bytes, entry.payload_sha256):
        msg = f"The state is damaged: {entry.file} is not what was written. {_WHAT_TO_DO}"
        raise StateDamaged(msg)


def _measure(blocks: Iterator[bytes]) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    for block in blocks:
        digest.update(block)
        size += len(block)
    return size, digest.hexdigest()


def _conflict(number: int, file: Any) -> str:
    try:
        writer = _read(number, file).writer
    except Exception:  # being written, or gone already
        writer = "another run"
    return (
        f"{writer} wrote to the state while this run did: two runs of one sync overlap. This run stops; "
        "what it has sent is acknowledged as far as the state says, and the rest is sent again by the next run. "
        "Set max_active_runs=1 for the Dag, or give each run a state_key of its own."
    )

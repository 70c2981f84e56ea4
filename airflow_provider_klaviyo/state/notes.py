"""Notes that syncs leave for each other in a folder that all of them share, on any storage.

A note is a file that is created whole and never changed; its name tells until when it counts. It is about people and
holds hashes of them only.
"""

from __future__ import annotations

import logging
import math
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import count
from typing import Any, NamedTuple

import msgspec

from airflow_provider_klaviyo.exceptions import KlaviyoError
from airflow_provider_klaviyo.state.errors import StateUnreadable
from airflow_provider_klaviyo.state.storage import usable
from airflow_provider_klaviyo.state.stores import Store, folders_in, store_of

log = logging.getLogger(__name__)

FORMAT = 1
_SUFFIX = "note"

Who = tuple[int, ...]
"""A person: the hashes of the identifiers by which others may know it."""


class Note(msgspec.Struct, frozen=True):
    """That something is on its way to Klaviyo for some people.

    :param by: who wrote it, for those who must find out.
    :param at: when it was written, in seconds since the epoch by Klaviyo's clock.
    :param until: when it stops to count.
    """

    kind: str
    account: str
    by: str
    at: float
    until: float
    people: Sequence[Who] = ()


class Found(NamedTuple):
    """A note's file, as its name tells it."""

    name: str
    kind: str
    until: float


class NoteFolder:
    """The notes about one list.

    :param store: has these notes; other files in it are left alone.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._writer = uuid.uuid4().hex
        self._numbers = count()

    def __iter__(self) -> Iterator[Found]:
        """The notes there are now."""
        return iter([found for name in self._store.names() if (found := _found(name))])

    def write(self, note: Note) -> str:
        """Leave a note; it is stored when this returns. Returns its name, under which all find it.

        :raises KlaviyoConfigurationError: when nothing can be written there.
        """
        name = f"{math.ceil(note.until):011d}.{note.kind}.{self._writer}-{next(self._numbers)}.{_SUFFIX}"
        head = msgspec.structs.replace(note, people=())
        line = b"%d " % FORMAT + msgspec.json.encode((name, len(note.people), head)) + b"\n"
        payload = msgspec.msgpack.encode(note.people)
        with usable(self._store, "Notes for other syncs cannot be left in", "the ids of Dag and task"):
            self._store.create(name, line, lambda: iter((payload,)))
        return name

    def is_own(self, name: str) -> bool:
        """Whether this object wrote a note."""
        return f".{self._writer}-" in name

    def read(self, name: str) -> Note | None:
        """What a note says; None when it is gone, or its writer died before it was whole.

        :raises StateUnreadable: when it was written by a release whose notes this one does not know.
        """
        try:
            content = self._store.read(name)
        except FileNotFoundError:
            return None
        written_in = content.partition(b" ")[0]
        if written_in.isdigit() and int(written_in) != FORMAT:
            msg = (
                f"{self._store.path(name)} has format {int(written_in)}, and this release reads format {FORMAT}: "
                "another release of the package shares this storage. Use the same one everywhere."
            )
            raise StateUnreadable(msg)
        note = _decoded(content)
        if note is None:
            log.warning(
                "%s was not written to its end, as when a worker is killed. It does not count.",
                self._store.path(name),
            )
        return note

    def holds(self, name: str) -> bool:
        """Whether a note is there now."""
        return self._store.holds(name)

    def path(self, name: str) -> str:
        """Where a note is, for people."""
        return self._store.path(name)

    def delete(self, names: Iterable[str]) -> None:
        """Take notes away; what cannot be deleted only counts longer than it should."""
        for name in names:
            try:
                self._store.delete(name)
            except Exception as error:
                log.warning("A note could not be deleted: %s: %s", self._store.path(name), error)


def forget_in_notes(
    root: Any, digests: Collection[int], *, dead_before: float, unread: Callable[[object, object], None]
) -> int:
    """Take a person out of the notes of all lists; returns out of how many.

    :param root: the folder that has a folder for each list, on any storage.
    :param digests: hashes of every identifier that is known of the person.
    :param dead_before: a moment; notes that stopped to count before it are deleted.
    :param unread: told of what could not be searched, and why; the others are.
    """
    try:
        folders = [NoteFolder(store_of(folder)) for folder in folders_in(root)]
        found = [(folder, each) for folder in folders for each in folder]
    except OSError as error:
        unread(root, error)
        return 0
    return sum(_forget(folder, each, frozenset(digests), dead_before, unread) for folder, each in found)


def _forget(
    folder: NoteFolder,
    found: Found,
    digests: frozenset[int],
    dead_before: float,
    unread: Callable[[object, object], None],
) -> bool:
    if found.until < dead_before:
        folder.delete([found.name])
        return False
    try:
        note = folder.read(found.name)
    except (KlaviyoError, OSError) as error:
        unread(folder.path(found.name), error)
        return False
    if note is None:
        if folder.holds(found.name):
            unread(folder.path(found.name), "it was not written to its end")
        return False
    kept = [who for who in note.people if digests.isdisjoint(who)]
    if len(kept) == len(note.people):
        return False
    if kept:
        folder.write(msgspec.structs.replace(note, people=kept))
    folder.delete([found.name])
    return True


def _decoded(content: bytes) -> Note | None:
    try:
        head, payload = content.partition(b" ")[2].split(b"\n", 1)
        _, size, note = msgspec.json.decode(head, type=tuple[str, int, Note])
        people = msgspec.msgpack.decode(payload, type=list[Who])
    except (ValueError, msgspec.DecodeError):
        return None
    return msgspec.structs.replace(note, people=people) if len(people) == size else None


def _found(name: str) -> Found | None:
    until, _, rest = name.partition(".")
    kind, _, token = rest.partition(".")
    is_note = until.isdecimal() and token.endswith(f".{_SUFFIX}")
    return Found(name, kind, float(until)) if is_note else None

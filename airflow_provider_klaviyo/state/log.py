"""The log of a state: immutable entries, each naming its parent, in any store.

An entry is created exclusively, so that of two runs that write the same number one fails, and it names its parent by
number and checksum, so that it counts only on top of what its writer had seen. Old entries are deleted oldest first, so
as long as a parent is there its number's successor was never deleted. Safety rests on that alone; the lock only tells
the second run sooner.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from airflow_provider_klaviyo.state.chain import chain_in, newest_before
from airflow_provider_klaviyo.state.errors import StateConflict
from airflow_provider_klaviyo.state.storage import usable
from airflow_provider_klaviyo.state.stored import (
    Header,
    Stored,
    name_of,
    names_in,
    payload_of,
    read,
    stored,
)
from airflow_provider_klaviyo.state.stores import DiskStore, Payload, Store, blocks_of, measured

log = logging.getLogger(__name__)

_BASES = ("snapshot", "begin")

_TRY = ", try "
"""What stands before the number of the try, where a task's run has written."""


class StateLog:
    """The entries of one state, from the newest base on; a base is a snapshot, or the beginning of a chain.

    Opening reads and checks everything that counts. A torn last file, left by an interrupted upload, is passed over.

    :param store: has the entries and nothing else of this kind.
    :param writer: who writes, for those who must find out.
    :param now: seconds since the epoch.
    :param scratch: a private folder of this run: what is there of long payloads is read from the store only once.
    :param anew: look at nothing that is there; ``begin`` then starts a chain behind it.
    :raises StateDamaged: when an entry that counts is missing or torn.
    :raises StateUnreadable: when an entry is of another release's format.
    """

    def __init__(
        self,
        store: Store,
        *,
        writer: str,
        now: Callable[[], float],
        scratch: Path | None = None,
        anew: bool = False,
    ) -> None:
        self._store = store
        self._writer = writer
        self._now = now
        self._lock = threading.Lock()
        self._conflict: str = ""
        names = names_in(store)
        self._next = max(names, default=0) + 1
        self.entries: list[Stored] = [] if anew else chain_in(store, names, scratch)
        self._base = self.entries[0].number if self.entries else 0

    @property
    def entries_to_read(self) -> int:
        """How many entries may be read at the beginning of a run, before a snapshot is worth while."""
        return self._store.entries_to_read

    def payload(self, entry: Stored) -> bytes:
        """What an entry holds beside its facts.

        :raises StateDamaged: when it is not what was written.
        """
        return b"".join(payload_of(self._store, entry))

    def copy_payload(self, entry: Stored, path: Path) -> None:
        """The same into a file of the same disk as ``scratch``, in bounded memory.

        :param path: the file, on this machine.
        :raises StateDamaged: when it is not what was written.
        """
        if isinstance(entry.payload, Path) and entry.payload.exists():
            entry.payload.replace(path)
            return
        with path.open("wb") as target:
            for block in payload_of(self._store, entry):
                target.write(block)

    def begin(self, facts: Mapping[str, Any]) -> int:
        """Start a new chain: nothing before it counts. Returns the number of its first entry.

        :raises StateConflict: when somebody else wrote meanwhile; nothing can be added from then on.
        :raises KlaviyoConfigurationError: when the store cannot hold a log, because it lets two writers create a file.
        """
        self._store.prove_exclusive("No state can be kept in", "two runs could damage the state")
        return self._add("begin", facts, lambda: iter(()))

    def append(self, kind: str, facts: Mapping[str, Any], payload: bytes = b"") -> int:
        """Add an entry; it is stored when this returns. Returns its number.

        :param kind: tells it from others.
        :param facts: what can be written as JSON.
        :param payload: what it holds beside them.
        :raises StateConflict: when somebody else wrote meanwhile; nothing can be added from then on.
        """
        return self._add(kind, facts, lambda: iter((payload,)))

    def append_file(self, kind: str, facts: Mapping[str, Any], path: Path) -> int:
        """The same with a file of this machine as the payload."""
        return self._add(kind, facts, lambda: blocks_of(DiskStore(path.parent), path.name))

    def prune(self, *, keep_previous: bool = True) -> None:
        """Delete entries that no longer count, oldest first, up to one that cannot be deleted.

        :param keep_previous: keep the base before the newest and what follows it, to fall back on.
        """
        names = names_in(self._store)
        oldest = self._base
        if keep_previous and (before := newest_before(self._store, names, oldest)):
            oldest = before.header.base
        for number, name in sorted(names.items()):
            if number < oldest:
                try:
                    self._store.delete(name)
                except Exception as error:
                    path = self._store.path(name)
                    log.warning("An old file of the state could not be deleted: %s: %s", path, error)
                    return

    def _add(self, kind: str, facts: Mapping[str, Any], payload: Payload) -> int:
        with self._lock:
            if self._conflict:
                raise StateConflict(self._conflict)
            number = self._next
            size, digest = measured(payload())
            parent = self.entries[-1] if self.entries and kind != "begin" else None
            header = Header(
                number=number,
                kind=kind,
                base=number if kind in _BASES else self._base,
                parent=parent.as_parent if parent else None,
                writer=self._writer,
                time=self._now(),
                payload_bytes=size,
                payload_sha256=digest,
                facts=dict(facts),
            )
            line, name = header.line(), name_of(number)
            with usable(self._store, "The state cannot be written to", "the state_key"):
                is_new = self._store.create(name, line, payload)
            if not is_new or self._is_overtaken(number, parent):
                latest = max(names_in(self._store), default=number) if is_new else number
                is_gone = is_new and names_in(self._store).keys() == {number}
                self._conflict = (
                    _gone(self._store) if is_gone else _conflict(self._store, latest, self._writer)
                )
                if is_new:
                    with suppress(Exception):  # it does not count, and is below what will be deleted
                        self._store.delete(name)
                raise StateConflict(self._conflict)
            entry = stored(header, line, name)
            self._base = header.base
            self.entries = [entry] if kind in _BASES else [*self.entries[:1], entry]
            self._next += 1
            return number

    def _is_overtaken(self, number: int, parent: Stored | None) -> bool:
        """Whether an entry that was just created fills the gap of one that was written and deleted since."""
        if parent:
            return not self._store.holds(parent.name)
        return any(other > number for other in names_in(self._store))


def _gone(store: Store) -> str:
    return (
        f"The state in {store} was deleted while this run wrote to it. This run stops, since nothing can be noted "
        "there any more. Bring the folder back if you can; else every row is new to the next run, which sends "
        "it again, and nobody counts as gone."
    )


def _conflict(store: Store, latest: int, loser: str) -> str:
    try:
        writer = read(store, latest, name_of(latest)).header.writer
    except Exception:  # being written, or gone already
        writer = "another run"
    if writer.partition(_TRY)[0] == loser.partition(_TRY)[0]:
        return f"A later try of this task goes on with the state: {writer}. This one, {loser}, stops."
    return (
        f"{writer} wrote to the state while this run did: two runs of one sync overlap. This run stops; "
        "what it has sent is acknowledged as far as the state says, and the rest is sent again by the next run. "
        "Leave max_active_tis_per_dag of the task at 1, its default, or give each task a state_key of its own."
    )

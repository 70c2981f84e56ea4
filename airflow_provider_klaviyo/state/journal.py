"""Reads a state's log, and writes to it: every change is an entry there before it counts."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec

from airflow_provider_klaviyo.state.entries.entry import Entry, Written
from airflow_provider_klaviyo.state.entries.kinds import read_entry
from airflow_provider_klaviyo.state.entries.runs import Refresh
from airflow_provider_klaviyo.state.frozen import pack, unpack
from airflow_provider_klaviyo.state.log import StateLog
from airflow_provider_klaviyo.state.owner import BELONGS_TO, Claim
from airflow_provider_klaviyo.state.replica import Replica, Snapshot, table_in
from airflow_provider_klaviyo.state.target import differing_parts, of_another_target

_MAX_BYTES = 16_000_000
_MAX_OF_SNAPSHOT = 0.2
"""A log is compacted beyond so many bytes of payload, or that share of the snapshot before them."""

_ASKED_APART = 3
"""The first format of the log in which who was asked is not written as rows."""

_ASKING_SYNC = "subscriptions"
"""The type of the syncs that ask, as their target names it."""

_REHEARSAL = 1 << 40
"""Entries that a preview would write have numbers beyond this one, which no log reaches."""


class Journal:
    """The log of a state, and what its entries add up to. May be used from any thread.

    :param log: all entries that count.
    :param scratch: a private folder of this run, for the table.
    :param target: what the state is to be a state of, where it is a new one; None and a mapping are the same then.
    :param is_read_only: count what happens, and write nothing.
    :raises StateDamaged: when an entry is not what was written.
    :raises StateUnreadable: when an entry, or the table of a snapshot, is of a release that this one does not know.
    """

    def __init__(
        self, log: StateLog, scratch: Path, target: Mapping[str, str] | None, *, is_read_only: bool
    ) -> None:
        self.lock = threading.RLock()
        """Held while an entry is written; hold it to write one on the strength of what is known."""
        self._log = log
        self._is_read_only = is_read_only
        self._rehearsed = self._entries = self._bytes = self._snapshot_bytes = 0
        base = log.entries[0] if log.entries else None
        if base and base.kind == "snapshot":
            log.copy_payload(base, table_in(scratch))
            unpack(table_in(scratch))
        self._target = dict(base.facts["target"] if base else target or {})
        self.replica = Replica(scratch)
        with ExitStack() as unless_whole:
            unless_whole.callback(self.replica.close)
            self._replay()
            if base is None:
                self._begin()
            unless_whole.pop_all()

    @property
    def target(self) -> Mapping[str, str]:
        """What the state is a state of."""
        return self._target

    def hand_over(self, claim: Claim) -> None:
        """Let somebody go on with this state.

        :raises StateOfAnotherTask: when it is another's.
        :raises StateConflict: when another run wrote to the log meanwhile.
        """
        claim.check(self._target.get(BELONGS_TO), self.replica.runs)
        self.become({**self._target, BELONGS_TO: claim.owner})

    def aim(self, target: Mapping[str, str], may_change: Collection[str]) -> None:
        """Make sure that this is the state of a target; what holds nothing is good for any.

        :param may_change: parts of the target over whose change people stay known, while rows count no longer.
        :raises StateOfAnotherTarget: when the state is of another one, in more than what may change.
        :raises StateConflict: when another run wrote to the log meanwhile.
        """
        differing = differing_parts(self._target, target)
        if not differing:
            return
        if self.replica.holds_nothing:
            self.replica.table.clear()
        elif differing <= set(may_change):
            self.append(Refresh(""))
        else:
            raise of_another_target(self._target, target, differing)
        self.become(target)

    def append(self, entry: Entry) -> int:
        """Write an entry, and count it in. Returns its number.

        :raises StateConflict: when another run wrote to the log meanwhile; nothing can be written from then on.
        """
        written = entry.written()
        with self.lock:
            number = self._rehearse() if self._is_read_only else self._log.append(*written)
            self._count_in(entry, number, len(written.payload))
            return number

    def become(self, target: Mapping[str, str]) -> None:
        """Be the state of another target with all that is known.

        :raises StateConflict: when another run wrote to the log meanwhile.
        """
        if target != self._target:
            self._target = dict(target)
            if not self._is_read_only:
                self.compact()

    def restart(self) -> None:
        """Begin anew: nothing that was written so far counts.

        :raises StateConflict: when another run wrote to the log meanwhile.
        """
        with self.lock:
            self._begin()
            self.replica.clear()

    def compact_if_grown(self) -> None:
        """Compact a log that takes long to read; not while jobs are open, whose rows a snapshot would hold at once.

        :raises StateConflict: when another run wrote to the log meanwhile.
        """
        most = max(_MAX_BYTES, _MAX_OF_SNAPSHOT * self._snapshot_bytes)
        has_grown = self._entries > self._log.entries_to_read or self._bytes > most
        if has_grown and not self.replica.jobs:
            self.compact()

    def compact(self, *, keep_previous: bool = True) -> None:
        """Write a snapshot, and delete the entries that it replaces.

        :param keep_previous: keep the snapshot before it too, in case this one is damaged.
        :raises StateConflict: when another run wrote to the log meanwhile.
        """
        with self.lock:
            path = self.replica.table.path.with_suffix(".frozen")
            self.replica.table.freeze(path)
            pack(path)
            facts: dict[str, Any] = msgspec.to_builtins(self.replica.snapshot(self._target))
            self._log.append_file("snapshot", facts, path)
            self._snapshot_bytes, self._bytes, self._entries = path.stat().st_size, 0, 0
            path.unlink()
            self._log.prune(keep_previous=keep_previous)

    def close(self) -> None:
        """Give the table back; the log has everything."""
        self.replica.close()

    def _begin(self) -> None:
        if not self._is_read_only:
            self._log.begin({"target": self._target})

    def _rehearse(self) -> int:
        """A number for what a preview would write: later than all entries there are."""
        self._rehearsed += 1
        return _REHEARSAL + self._rehearsed

    def _replay(self) -> None:
        asked = self.replica.table.asked
        among_rows = self._has_asked_among_rows()
        for stored in self._log.entries:
            if among_rows and stored.format >= _ASKED_APART:
                asked.take_from_rows()
                among_rows = False
            if stored.kind == "snapshot":
                self.replica.restore(msgspec.convert(stored.facts, Snapshot))
                self._snapshot_bytes = stored.header.payload_bytes
            elif stored.kind != "begin":
                written = Written(stored.kind, stored.facts, self._log.payload(stored))
                self._count_in(read_entry(written), stored.number, stored.header.payload_bytes)
        if among_rows:
            asked.take_from_rows()

    def _has_asked_among_rows(self) -> bool:
        """Whether the log was begun while who was asked was written as rows, by a sync that asks."""
        begun = self._log.entries[:1]
        return self._target.get("sync type") == _ASKING_SYNC and any(
            each.format < _ASKED_APART for each in begun
        )

    def _count_in(self, entry: Entry, number: int, payload_bytes: int) -> None:
        self.replica.serial = number
        entry.apply(self.replica)
        self._entries += 1
        self._bytes += payload_bytes

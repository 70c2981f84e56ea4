"""Tells a second run of a sync that the first is under way; the log is what protects the state, this is courtesy."""

from __future__ import annotations

import logging
import os
import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

import msgspec

from airflow_provider_klaviyo.state.errors import StateLocked
from airflow_provider_klaviyo.state.stores import Store, blocks_of

log = logging.getLogger(__name__)

LOCK = "lock.json"
"""The name of the lock in the folder of its state."""

LIFETIME = 300.0
"""Seconds after which a lock counts as left by the dead; its holder renews it three times as often."""


class Holder(msgspec.Struct, frozen=True):
    """Who holds a lock: a try of a task, and the process that runs it."""

    dag_id: str
    task_id: str
    run_id: str
    map_index: int
    try_number: int
    host: str
    pid: int

    def __str__(self) -> str:
        mapped = f" [{self.map_index}]" if self.map_index >= 0 else ""
        return (
            f"{self.dag_id}.{self.task_id}{mapped}, run {self.run_id}, try {self.try_number} "
            f"(process {self.pid} on {self.host})"
        )

    def is_same_task(self, other: Holder) -> bool:
        """Whether both are of one task instance: Airflow never runs two tries of one at once."""
        return (self.dag_id, self.task_id, self.run_id, self.map_index) == (
            other.dag_id,
            other.task_id,
            other.run_id,
            other.map_index,
        )


class _Note(msgspec.Struct):
    holder: Holder
    token: str
    since: float
    until: float
    is_deferred: bool = False


class StateLock:
    """A file that names who writes a state, until when.

    :param store: where the state is.
    :param holder: who is to hold the lock.
    :param now: seconds since the epoch.
    """

    def __init__(self, store: Store, holder: Holder, *, now: Callable[[], float]) -> None:
        self._store = store
        self._holder = holder
        self._now = now
        self._note = _Note(holder, uuid.uuid4().hex, now(), 0.0)
        self._is_over = threading.Event()
        self._thread: threading.Thread | None = None

    def acquire(self) -> None:
        """Take the lock, and renew it until it is released.

        :raises StateLocked: when another run has it; who, since when and until when is named.
        """
        found = self._read()
        if found and found.until > self._now() and not self._may_take_from(found):
            raise StateLocked(_shown(found, self._store.path(LOCK)))
        if found:
            log.info("The lock of %s is taken over.", found.holder)
        self.renew()
        self._thread = threading.Thread(target=self._renew_always, name="klaviyo-state-lock", daemon=True)
        self._thread.start()

    def renew(self) -> None:
        """Let the lock last for its lifetime from now.

        :raises OSError: when it cannot be written, or what else the store raises.
        """
        self._note.until = self._now() + LIFETIME
        self._write()

    def hold_until(self, timestamp: float) -> None:
        """Keep the lock for a deferred task, whose process ends; the same task takes it over when it comes back.

        :param timestamp: when it ends at the latest, in seconds since the epoch.
        """
        self._stop_renewing()
        self._note.until, self._note.is_deferred = timestamp, True
        self._write()

    def release(self) -> None:
        """Give the lock back, unless it is kept for a deferred task or was taken over."""
        self._stop_renewing()
        found = self._read()
        if found and found.token == self._note.token and not self._note.is_deferred:
            with suppress(OSError):
                self._store.delete(LOCK)

    def _may_take_from(self, found: _Note) -> bool:
        holder = found.holder
        if holder.is_same_task(self._holder):
            return True
        is_dead = holder.host == self._holder.host and not _is_alive(holder.pid)
        return is_dead and not found.is_deferred

    def _renew_always(self) -> None:
        while not self._is_over.wait(LIFETIME / 3):
            found = self._read()
            if found and found.token != self._note.token:
                log.warning("The lock was taken over by %s.", found.holder)
                return
            try:
                self.renew()
            except Exception as error:
                log.warning("The lock could not be renewed: %s", error)

    def _stop_renewing(self) -> None:
        self._is_over.set()
        if self._thread:
            self._thread.join()
            self._thread = None

    def _read(self) -> _Note | None:
        """The note in the file; None when there is none, or one that nobody can read."""
        try:
            return msgspec.json.decode(b"".join(blocks_of(self._store, LOCK)), type=_Note)
        except (OSError, msgspec.DecodeError):
            return None

    def _write(self) -> None:
        self._store.put(LOCK, msgspec.json.encode(self._note))


def _shown(found: _Note, path: str) -> str:
    since, until = (
        datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        for timestamp in (found.since, found.until)
    )
    waits = " and waits in the triggerer" if found.is_deferred else ""
    return (
        f"Another run of this sync is under way: {found.holder}, since {since}{waits}. Nothing was sent. "
        f"If that run is dead, its lock ends at {until} by itself, or when you delete {path}. "
        "To keep runs from overlapping, set max_active_runs=1 for the Dag."
    )


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True

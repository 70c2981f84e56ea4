"""Tells a second run of a sync that the first is under way; the log is what protects the state, this is courtesy."""

from __future__ import annotations

import _thread
import logging
import os
import queue
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec

from airflow_provider_klaviyo.state.errors import StateConflict, StateLocked, StateOfAnotherTask
from airflow_provider_klaviyo.state.holder import Holder, Whereabouts, nobody_knows
from airflow_provider_klaviyo.state.lock_note import (
    BESIDE,
    LIFETIME,
    OVERLAP,
    LockNote,
    lost,
    older_first,
    shown,
    shown_time,
    torn,
)
from airflow_provider_klaviyo.state.stores import Store
from airflow_provider_klaviyo.state.turns import Turns

log = logging.getLogger(__name__)

LOCK = "lock.json"
"""The name of the lock in the folder of its state."""

_LAST_RENEWAL = 10.0
"""Seconds that a renewal under way has left when the lock is given back."""


class _Unreadable(Exception):
    """There is a lock, and what it says cannot be read."""


class StateLock:
    """A file that names who writes a state, until when.

    :param store: where the state is.
    :param holder: who is to hold the lock.
    :param now: seconds since the epoch.
    :param whereabouts: what Airflow knows of another holder, asked where that one's lock is in the way.
    :param turns: who else waits for the lock; None does not ask.
    """

    def __init__(
        self,
        store: Store,
        holder: Holder,
        *,
        now: Callable[[], float],
        whereabouts: Callable[[Holder], Whereabouts] = nobody_knows,
        turns: Turns | None = None,
    ) -> None:
        self.taken_from: Holder | None = None
        """Another task instance, which had the lock and does not come back."""

        self.left_by: Holder | None = None
        """Who had the lock and did not give it back: killed, most likely, but it may be alive and write."""

        self.lost = ""
        """How this run has lost the lock that it had, in words; empty as long as that is not known."""

        self._store = store
        self._holder = holder
        self._now = now
        self._whereabouts = whereabouts
        self._turns = turns
        self._note = LockNote(holder, uuid.uuid4().hex, now(), 0.0)
        self._is_renewing = False
        self._over: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._ended: queue.SimpleQueue[None] = queue.SimpleQueue()

    def acquire(self) -> None:
        """Take the lock, and renew it until it is released.

        :raises StateLocked: when another run has it, or waits for it with older data; who, and since when, is named.
        :raises StateOfAnotherTask: when another instance of the same mapped task has it.
        :raises OSError: when it cannot be read or written, or what else the store raises.
        """
        names = self._store.names()
        try:
            found = self._read() if LOCK in names else None
        except _Unreadable as error:
            if self._now() < (self._store.written(LOCK) or 0.0) + LIFETIME:
                raise StateLocked(torn(self._store.path(LOCK))) from error
            found = None
        if found and found.until > self._now():
            self._take_over(found)
        if found and not found.is_deferred:
            self.left_by = found.holder
        if not (found and found.holder.is_same_task(self._holder)):
            self._take_turn(names)
        self.renew()
        # ``threading`` breaks where a timeout of Airflow's breaks into it, and hides the timeout
        _thread.start_new_thread(self._renew_always, ())
        self._is_renewing = True

    @property
    def deferred_holder(self) -> Holder | None:
        """Who has the lock and was deferred; None when nobody has, or somebody who was not."""
        with suppress(_Unreadable):
            found = self._read()
            return found.holder if found and found.is_deferred and found.until > self._now() else None
        return None

    def renew(self) -> None:
        """Let the lock last for its lifetime from now.

        :raises OSError: when it cannot be written, or what else the store raises.
        """
        self._note.until = self._now() + LIFETIME
        self._write()

    def keep(self) -> bool:
        """Renew the lock, unless it is another's or gone, or may be: what cannot be read is not written over.

        :returns: whether it was renewed.
        """
        try:
            if not self._is_lost():
                self.renew()
        except Exception as error:
            log.warning("The lock could not be renewed: %s", error)
            return False
        return not self.lost

    def hold_until(self, timestamp: float) -> None:
        """Keep the lock for a deferred task, whose process ends; the same task takes it over when it comes back.

        :param timestamp: when it ends at the latest, in seconds since the epoch.
        :raises StateConflict: when this run has lost it.
        """
        self._stop_renewing()
        if self._is_lost():
            raise StateConflict(self.lost)
        self._note.until, self._note.is_deferred = timestamp, True
        self._write()

    def release(self) -> None:
        """Give the lock back if it was taken, unless it is kept for a deferred task or was taken over."""
        self._stop_renewing()
        if self._note.is_deferred or not self._note.until:
            return
        try:
            found = self._read()
            if found and found.token == self._note.token:
                self._store.delete(LOCK)
        except (OSError, _Unreadable) as error:
            log.warning("The lock stays until its time is up, in %.0f s: %s", LIFETIME, error)

    def _take_over(self, found: LockNote) -> None:
        """Go on in the place of a holder that is dead.

        :raises StateLocked: when it is not, or that is not known.
        :raises StateOfAnotherTask: when it is another instance of the same mapped task.
        """
        holder = found.holder
        if holder.is_same_task(self._holder):
            if not (found.is_deferred and holder.try_number == self._holder.try_number):
                log.info("The lock of %s is taken over.", holder)
            return
        is_dead = holder.host == self._holder.host and not _is_alive(holder.pid) and not found.is_deferred
        where = Whereabouts.ENDED if is_dead else self._whereabouts(holder)
        # A run that is not known here may be at work in another Airflow, where its lock is renewed.
        if where is Whereabouts.ENDED or (where is Whereabouts.NO_SUCH_RUN and found.is_deferred):
            log.warning("The lock of %s is taken over, which %s.", holder, where.value)
            self.taken_from = holder
            return
        if holder.is_beside(self._holder):
            raise StateOfAnotherTask(BESIDE.format(holder=holder))
        raise StateLocked(shown(found, where, self._store.path(LOCK)))

    def _take_turn(self, names: Sequence[str]) -> None:
        """Let a run go first that waits with older data.

        :raises StateLocked: when there is one.
        """
        if not self._turns:
            return
        if ahead := self._turns.ahead(names):
            msg = (
                f"Another run of this sync waits since {shown_time(ahead.since)}, and its data is older, so it is to "
                f"go first: {ahead.holder}. Nothing was sent. {OVERLAP}"
            )
            raise StateLocked(msg)
        if older := self._turns.older_run():
            raise StateLocked(older_first(older))
        self._turns.leave(names)

    def _renew_always(self) -> None:
        while not _comes(self._over, LIFETIME / 3) and not self.lost:
            self.keep()
        self._ended.put(None)

    def _stop_renewing(self) -> None:
        self._over.put(None)
        if self._is_renewing and not _comes(self._ended, _LAST_RENEWAL):
            log.warning("The lock is still being renewed after %.0f s, and is not waited for.", _LAST_RENEWAL)
        self._is_renewing = False

    def _is_lost(self) -> bool:
        """Whether the lock is another's, or gone.

        :raises _Unreadable: when it is not whole.
        :raises OSError: when it cannot be read, or what else the store raises.
        """
        found = self._read()
        if found and found.token == self._note.token:
            return False
        self.lost = lost(found, self._holder, self._store.path(LOCK))
        log.warning("%s", self.lost)
        return True

    def _read(self) -> LockNote | None:
        """The note in the file; None when there is none.

        :raises _Unreadable: when it is not whole.
        :raises OSError: when it cannot be read, or what else the store raises.
        """
        try:
            return msgspec.json.decode(self._store.read(LOCK), type=LockNote)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            msg = f"{self._store.path(LOCK)} is not whole ({error})"
            raise _Unreadable(msg) from error

    def _write(self) -> None:
        self._store.put(LOCK, msgspec.json.encode(self._note))


def _comes(told: queue.SimpleQueue[None], timeout: float) -> bool:
    """Whether something is told within so many seconds."""
    try:
        told.get(timeout=timeout)
    except queue.Empty:
        return False
    return True


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True

"""Tells a second run of a sync that the first is under way; the log is what protects the state, this is courtesy."""

from __future__ import annotations

import _thread
import logging
import os
import queue
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

import msgspec

from airflow_provider_klaviyo.state.errors import StateLocked
from airflow_provider_klaviyo.state.holder import Holder, Whereabouts, nobody_knows
from airflow_provider_klaviyo.state.stores import Store

log = logging.getLogger(__name__)

LOCK = "lock.json"
"""The name of the lock in the folder of its state."""

LIFETIME = 300.0
"""Seconds after which a lock counts as left by the dead; its holder renews it three times as often."""

_LAST_RENEWAL = 10.0
"""Seconds that a renewal under way has left when the lock is given back."""


class _Note(msgspec.Struct):
    holder: Holder
    token: str
    since: float
    until: float
    is_deferred: bool = False


class _Unreadable(Exception):
    """There is a lock, and what it says cannot be read."""


class StateLock:
    """A file that names who writes a state, until when.

    :param store: where the state is.
    :param holder: who is to hold the lock.
    :param now: seconds since the epoch.
    :param whereabouts: what Airflow knows of another holder, asked where that one's lock is in the way.
    """

    def __init__(
        self,
        store: Store,
        holder: Holder,
        *,
        now: Callable[[], float],
        whereabouts: Callable[[Holder], Whereabouts] = nobody_knows,
    ) -> None:
        self.taken_from: Holder | None = None
        """Another task instance, which had the lock and does not come back."""

        self._store = store
        self._holder = holder
        self._now = now
        self._whereabouts = whereabouts
        self._note = _Note(holder, uuid.uuid4().hex, now(), 0.0)
        self._is_renewing = False
        self._over: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._ended: queue.SimpleQueue[None] = queue.SimpleQueue()

    def acquire(self) -> None:
        """Take the lock, and renew it until it is released.

        :raises StateLocked: when another run has it; who, since when and until when is named.
        :raises OSError: when it cannot be read or written, or what else the store raises.
        """
        try:
            found = self._read()
        except _Unreadable as error:
            if self._now() < (self._store.written(LOCK) or 0.0) + LIFETIME:
                raise StateLocked(_torn(self._store.path(LOCK))) from error
            found = None
        if found and found.until > self._now():
            self._take_over(found)
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
        """Renew the lock, unless it is another's or may be: what cannot be read is not written over.

        :returns: whether it was renewed.
        """
        try:
            found = self._read()
            if found and found.token != self._note.token:
                log.warning("The lock was taken over by %s.", found.holder)
                return False
            self.renew()
        except Exception as error:
            log.warning("The lock could not be renewed: %s", error)
            return False
        return True

    def hold_until(self, timestamp: float) -> None:
        """Keep the lock for a deferred task, whose process ends; the same task takes it over when it comes back.

        :param timestamp: when it ends at the latest, in seconds since the epoch.
        """
        self._stop_renewing()
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

    def _take_over(self, found: _Note) -> None:
        """Go on in the place of a holder that is dead.

        :raises StateLocked: when it is not, or that is not known.
        """
        holder = found.holder
        if holder.is_same_task(self._holder):
            log.info("The lock of %s is taken over.", holder)
            return
        is_dead = holder.host == self._holder.host and not _is_alive(holder.pid) and not found.is_deferred
        where = Whereabouts.ENDED if is_dead else self._whereabouts(holder)
        # A run that is not known here may be at work in another Airflow, where its lock is renewed.
        if where is Whereabouts.ENDED or (where is Whereabouts.NO_SUCH_RUN and found.is_deferred):
            log.warning("The lock of %s is taken over, which %s.", holder, where.value)
            self.taken_from = holder
            return
        raise StateLocked(_shown(found, where, self._store.path(LOCK)))

    def _renew_always(self) -> None:
        while not _comes(self._over, LIFETIME / 3):
            self.keep()
        self._ended.put(None)

    def _stop_renewing(self) -> None:
        self._over.put(None)
        if self._is_renewing and not _comes(self._ended, _LAST_RENEWAL):
            log.warning("The lock is still being renewed after %.0f s, and is not waited for.", _LAST_RENEWAL)
        self._is_renewing = False

    def _read(self) -> _Note | None:
        """The note in the file; None when there is none.

        :raises _Unreadable: when it is not whole.
        :raises OSError: when it cannot be read, or what else the store raises.
        """
        try:
            return msgspec.json.decode(self._store.read(LOCK), type=_Note)
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


_OVERLAP = "To keep runs from overlapping, set max_active_tis_per_dag=1 on the task."


def _shown(found: _Note, where: Whereabouts, path: str) -> str:
    since, until = (
        datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        for timestamp in (found.since, found.until)
    )
    waits = " and waits in the triggerer" if found.is_deferred else ""
    what_to_do = f"If that run is dead, its lock ends at {until} by itself, or when you delete {path}."
    if found.is_deferred and where is Whereabouts.AT_WORK:
        what_to_do = (
            f"Its lock ends when it comes back, at {until} at the latest. To end it now, mark that task instance "
            "as failed in Airflow; the next run of this sync then goes on in its place."
        )
    elif found.is_deferred:
        what_to_do = (
            "Whether it still waits could not be asked of Airflow. If it does not, its lock ends at "
            f"{until} by itself, or when you delete {path}; then also delete the files *.deferred*.json of its "
            "run beside its report, which hold people."
        )
    return (
        f"Another run of this sync is under way: {found.holder}, since {since}{waits}. Nothing was sent. "
        f"{what_to_do} {_OVERLAP}"
    )


def _torn(path: str) -> str:
    return (
        f"Another run of this sync may be under way: its lock {path} is not whole. Nothing was sent. A run that is "
        f"alive writes it anew; otherwise it ends {LIFETIME / 60:.0f} minutes after it was written, or when you "
        f"delete it. {_OVERLAP}"
    )


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True

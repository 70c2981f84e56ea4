"""Who waits for a state that another run writes, so that the oldest data comes first when it is free."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import msgspec

from airflow_provider_klaviyo.state.holder import Holder, Whereabouts, nobody_knows
from airflow_provider_klaviyo.state.stores import Store

log = logging.getLogger(__name__)

_PREFIX = "waiting-"


class Waiting(msgspec.Struct, frozen=True):
    """A run that waits, and comes again before ``until``; moments are seconds since the epoch.

    :param due: what the run is of: the end of its data interval.
    """

    holder: Holder
    due: float
    since: float
    until: float


class Turns:
    """The runs that wait for one state, each with a note of its own beside the lock.

    :param store: where the state is.
    :param holder: the run that asks.
    :param due: what that run is of, in seconds since the epoch.
    :param now: seconds since the epoch.
    :param whereabouts: what Airflow knows of another run.
    :param older_run: the id of a run with older data that has not come yet; empty where there is none.
    """

    def __init__(
        self,
        store: Store,
        holder: Holder,
        due: float,
        *,
        now: Callable[[], float],
        whereabouts: Callable[[Holder], Whereabouts] = nobody_knows,
        older_run: Callable[[], str] = lambda: "",
    ) -> None:
        self._store = store
        self._holder = holder
        self._due = due
        self._now = now
        self._whereabouts = whereabouts
        self.older_run = older_run
        self._name = _name(holder)

    def ahead(self, names: Sequence[str]) -> Waiting | None:
        """The run whose turn it is, where that is not this one: it waits, and its data is older.

        :param names: the files of the state, as the store has just listed them.
        """
        waiting = [each for each in self._others(names) if (each.due, str(each.holder)) < self._index]
        return min(waiting, key=lambda each: each.due, default=None)

    def wait(self, seconds: float) -> None:
        """Note that this run waits, and that it comes again within so many seconds."""
        now = self._now()
        try:
            before = self._read(self._name) if self._store.holds(self._name) else None
            note = Waiting(self._holder, self._due, before.since if before else now, now + seconds)
            self._store.put(self._name, msgspec.json.encode(note))
        except OSError as error:
            log.warning(
                "That this run waits could not be noted, so that a newer one may come first: %s", error
            )

    def leave(self, names: Sequence[str]) -> None:
        """Note that this run waits no longer.

        :param names: the files of the state.
        """
        if self._name in names:
            self._delete(self._name)

    @property
    def _index(self) -> tuple[float, str]:
        return self._due, str(self._holder)

    def _others(self, names: Sequence[str]) -> Iterator[Waiting]:
        """Those who may still come; the notes of others are deleted."""
        for name in names:
            if not name.startswith(_PREFIX) or name == self._name:
                continue
            with suppress(OSError):
                note = self._read(name)
                if note and note.until > self._now() and self._whereabouts(note.holder) in _MAY_COME:
                    yield note
                else:
                    self._delete(name)

    def _read(self, name: str) -> Waiting | None:
        """A note; None for one that is damaged."""
        try:
            return msgspec.json.decode(self._store.read(name), type=Waiting)
        except msgspec.DecodeError:
            return None

    def _delete(self, name: str) -> None:
        try:
            self._store.delete(name)
        except OSError as error:
            log.warning("A note of who waited could not be deleted: %s", error)


_MAY_COME = (Whereabouts.AT_WORK, Whereabouts.UNKNOWN)


def _name(holder: Holder) -> str:
    """The name of a run's note, the same in each try."""
    instance = f"{holder.dag_id}\n{holder.task_id}\n{holder.run_id}\n{holder.map_index}"
    return f"{_PREFIX}{hashlib.sha256(instance.encode()).hexdigest()[:32]}.json"

"""Where states are, and how commands open and lock them."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from airflow_provider_klaviyo.state.holder import Holder, Whereabouts, nobody_knows
from airflow_provider_klaviyo.state.ledger import Ledger
from airflow_provider_klaviyo.state.lock import StateLock
from airflow_provider_klaviyo.state.log import StateLog
from airflow_provider_klaviyo.state.opening import open_ledger
from airflow_provider_klaviyo.state.stores import folders_in, store_of
from airflow_provider_klaviyo.storage import storage_path
from airflow_provider_klaviyo.sync.scratch.folder import scratch_folder
from airflow_provider_klaviyo.sync.storage import Storage

Now = Callable[[], float]


def state_folders() -> list[Any]:
    """The folders of all states, whatever is in them."""
    return sorted(folders_in(Storage(storage_path()).states), key=str)


def folder_of(state_key: str) -> Any:
    """The folder of a state.

    :raises LookupError: when there is none.
    """
    folder = Storage(storage_path()).state(state_key)
    if not folder.exists():
        msg = f"No state {state_key!r} in {folder.parent}. The command `list` shows the states there are."
        raise LookupError(msg)
    return folder


def key_in(folder: Any, now: Now) -> str | None:
    """The name of the state in a folder; None where there is none.

    :raises StateDamaged: when it cannot be read.
    :raises StateUnreadable: when a later release wrote it.
    """
    entries = StateLog(store_of(folder), writer=_writer(), now=now).entries
    return str(entries[0].facts["target"]["state_key"]) if entries else None


@contextmanager
def opened(folder: Any, now: Now, *, is_read_only: bool = True) -> Iterator[Ledger]:
    """A state, opened."""
    with scratch_folder() as scratch:
        ledger = open_ledger(
            store_of(folder), scratch, None, writer=_writer(), now=now, is_read_only=is_read_only
        )
        try:
            yield ledger
        finally:
            ledger.close()


def lock_of(
    folder: Any, now: Now, *, whereabouts: Callable[[Holder], Whereabouts] = nobody_knows
) -> StateLock:
    """The lock of a state, as a command may take it.

    :param whereabouts: what is known of another holder.
    """
    holder = Holder("command line", "state", "by hand", -1, 0, socket.gethostname(), os.getpid())
    return StateLock(store_of(folder), holder, now=now, whereabouts=whereabouts)


@contextmanager
def locked(
    folder: Any, now: Now, *, whereabouts: Callable[[Holder], Whereabouts] = nobody_knows
) -> Iterator[StateLock]:
    """Have a state that no sync writes meanwhile.

    :param whereabouts: what is known of another holder.
    :raises StateLocked: when a sync has it.
    """
    lock = lock_of(folder, now, whereabouts=whereabouts)
    lock.acquire()
    try:
        yield lock
    finally:
        lock.release()


def _writer() -> str:
    return f"command line on {socket.gethostname()}"

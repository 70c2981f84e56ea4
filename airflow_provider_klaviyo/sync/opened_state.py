"""A sync's state while a run may write it: opened, locked, and checked to be the state of this sync."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from airflow_provider_klaviyo.state.errors import StateLocked
from airflow_provider_klaviyo.state.holder import Holder, Whereabouts
from airflow_provider_klaviyo.state.ledger import Ledger
from airflow_provider_klaviyo.state.lock import StateLock
from airflow_provider_klaviyo.state.opening import open_ledger
from airflow_provider_klaviyo.state.owner import BELONGS_TO, Claim
from airflow_provider_klaviyo.state.storage import usable
from airflow_provider_klaviyo.state.stores import store_of
from airflow_provider_klaviyo.state.target import KEYS
from airflow_provider_klaviyo.state.turns import Turns
from airflow_provider_klaviyo.sync.contracts import SyncType, Target
from airflow_provider_klaviyo.sync.options import SyncOptions

_ALIKE = "the same by every driver"

log = logging.getLogger(__name__)


class OpenState(NamedTuple):
    """A state that this run may write; a preview has no lock, and only reads it."""

    ledger: Ledger
    lock: StateLock | None


def state_target(
    claim: Claim, base_url: str, account_id: str, sync_type: SyncType, target: Target, options: SyncOptions
) -> dict[str, str]:
    """What the state is a state of; if any of it differs, it is not the state of this sync."""
    return {
        "state_key": claim.state_key,
        BELONGS_TO: claim.owner,
        "base URL": base_url,
        "account": account_id,
        "sync type": sync_type.name,
        "mode": sync_type.mode,
        KEYS: _ALIKE,
        "key columns": ", ".join(name.lower() for name in options.primary_key),
        **target.facts,
    }


@contextmanager
def opened_state(
    folder: Any,
    scratch: Path,
    claim: Claim,
    target: dict[str, str],
    options: SyncOptions,
    sync_type: SyncType,
    holder: Holder,
    *,
    due: float,
    comes_again: float,
    now: Callable[[], float],
    whereabouts: Callable[[Holder], Whereabouts],
    older_run: Callable[[], str],
    has_run_before: Callable[[], bool],
) -> Iterator[OpenState]:
    """The state, locked while it is open; a preview only reads it.

    :param folder: where it is kept.
    :param scratch: a private folder of this run.
    :param target: what it is to be a state of, as ``state_target`` says.
    :param due: what the run is of, in seconds since the epoch: of those that wait, the oldest goes first.
    :param comes_again: seconds within which the run comes again when another has the state; 0 where it does not.
    :param whereabouts: what Airflow knows of another holder.
    :param older_run: the id of a run that is to go first, and is still to come; empty where there is none.
    :param has_run_before: whether an earlier run of the Dag succeeded, asked where there is no state.
    :raises KlaviyoConfigurationError: when nothing can be kept in its folder.
    :raises StateLocked: when another run writes it.
    :raises StateOfAnotherTask: when it is another task's.
    :raises StateOfAnotherTarget: when it is the state of something else.
    """
    store = store_of(folder)
    turns = Turns(store, holder, due, now=now, whereabouts=whereabouts, older_run=older_run)
    lock = (
        None
        if options.is_preview
        else StateLock(store, holder, now=now, whereabouts=whereabouts, turns=turns)
    )
    try:
        with usable(folder, "The state cannot be kept in", "the state_key"):
            if lock:
                _acquire(lock, turns, comes_again)
            else:
                folder.exists()  # nothing else tells a preview that it is of no use
        ledger = open_ledger(
            store,
            scratch,
            target,
            writer=str(holder),
            now=now,
            full_refresh=options.full_refresh,
            is_read_only=options.is_preview,
            may_change=sync_type.may_change,
            claim=claim,
        )
        with closing(ledger):
            if lock and lock.left_by:
                ledger.take_over(str(lock.left_by))
            if ledger.is_new:
                _say_if_missing(claim.state_key, folder, has_run_before)
            _say_if_shared(claim, ledger)
            try:
                yield OpenState(ledger, lock)
            except StateLocked:
                if comes_again:
                    turns.wait(comes_again)
                raise
    finally:
        if lock:
            lock.release()


def _acquire(lock: StateLock, turns: Turns, comes_again: float) -> None:
    try:
        lock.acquire()
    except StateLocked:
        if comes_again:
            turns.wait(comes_again)
        raise


def _say_if_shared(claim: Claim, ledger: Ledger) -> None:
    if other := claim.shared_with(ledger.runs):
        log.warning(
            "Each of two tasks may undo what the other does: the state %r was last used by %s. Tasks that give the "
            "same state_key share one state, which is right where one has taken the place of the other.",
            claim.state_key,
            other,
        )


def _say_if_missing(state_key: str, folder: Any, has_run_before: Callable[[], bool]) -> None:
    """Tell a first run from a state that is lost."""
    if has_run_before():
        log.warning(
            "Every row counts as new, and nobody as gone: the state %r is missing, although an earlier run of this Dag "
            "succeeded. If storage_path, state_key or only_changes was not changed, it was deleted from %s",
            state_key,
            folder,
        )
    else:
        log.info("No state %r yet: every row is new.", state_key)

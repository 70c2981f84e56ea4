"""Where a sync's state is, who may write it, and what it is a state of."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_klaviyo._compat import conf
from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError
from airflow_provider_klaviyo.operators.storage import (
    is_default_storage,
    map_index_of,
    storage_path,
    unique_name,
)
from airflow_provider_klaviyo.state.ledger import Ledger
from airflow_provider_klaviyo.state.lock import LOCK, Holder, StateLock
from airflow_provider_klaviyo.state.owner import Claim, Task
from airflow_provider_klaviyo.state.storage import usable

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_klaviyo.operators.options import SyncOptions

log = logging.getLogger(__name__)

FOLDER = "sync-state"
_ON_THIS_MACHINE = {"LocalExecutor", "SequentialExecutor", "InProcessExecutor", "DebugExecutor"}


class OpenState(NamedTuple):
    """A state that this run may write."""

    ledger: Ledger
    lock: StateLock | None


def claim_of(context: Context, options: SyncOptions, *, is_alone: bool) -> Claim:
    """What gives a run its state: ``state_key``, or the Dag's id and the task's.

    :param is_alone: whether no other task instance of the Dag run may use it.
    :raises KlaviyoConfigurationError: when a mapped task names no shard, or when no other worker could read the state.
    """
    ti = context["ti"]
    if options.state_key is None and map_index_of(ti) >= 0:
        msg = (
            f"The mapped task {ti.task_id} keeps state, and all its instances would share it: name the shard in "
            'state_key, such as state_key="vip-{{ region }}".'
        )
        raise KlaviyoConfigurationError(msg)
    _check_storage()
    return Claim(Task(ti.dag_id, ti.task_id), ti.run_id, map_index_of(ti), options.state_key, is_alone)


def state_folder(state_key: str) -> Any:
    """The folder of a state, below ``storage_path``."""
    return storage_path() / FOLDER / unique_name(state_key)


@contextmanager
def open_state(
    claim: Claim,
    scratch: Path,
    target: Mapping[str, str],
    options: SyncOptions,
    context: Context,
    may_change: Collection[str] = (),
) -> Iterator[OpenState]:
    """The state, locked while it is open; a preview only reads it.

    :param may_change: parts of the target over whose change a full refresh keeps what the state remembers.
    :raises KlaviyoConfigurationError: when nothing can be kept in its folder.
    :raises StateLocked: when another run writes it.
    :raises StateOfAnotherTask: when it is another task's.
    :raises StateOfAnotherTarget: when it is the state of something else.
    """
    folder = state_folder(claim.state_key)
    holder = _holder(context)
    lock = None if options.is_preview else StateLock(folder / LOCK, holder, now=time.time)
    with usable(folder, "The state cannot be kept in", "the state_key"):
        folder.exists()  # a preview takes no lock that would tell
        if lock:
            lock.acquire()
    try:
        ledger = Ledger.open(
            folder,
            scratch,
            target,
            writer=str(holder),
            now=time.time,
            full_refresh=options.full_refresh,
            is_read_only=options.is_preview,
            may_change=may_change,
            claim=claim,
        )
        try:
            if ledger.is_new:
                _say_if_missing(claim.state_key, folder, context)
            if other := claim.shared_with(ledger.runs):
                log.warning(
                    "The state %r was last used by %s. Tasks that give the same state_key share one state: unless one "
                    "has taken the place of the other, each undoes what the other does.",
                    claim.state_key,
                    other,
                )
            yield OpenState(ledger, lock)
        finally:
            ledger.close()
    finally:
        if lock:
            lock.release()


def _holder(context: Context) -> Holder:
    ti = context["ti"]
    return Holder(
        dag_id=ti.dag_id,
        task_id=ti.task_id,
        run_id=ti.run_id,
        map_index=map_index_of(ti),
        try_number=ti.try_number,
        host=socket.gethostname(),
        pid=os.getpid(),
    )


def _check_storage() -> None:
    executors = conf.get("core", "executor", fallback="LocalExecutor")
    elsewhere = [
        name.strip()
        for name in executors.split(",")
        if name.strip().rpartition(":")[2].rpartition(".")[2] not in _ON_THIS_MACHINE
    ]
    if elsewhere and is_default_storage():
        msg = (
            f"This sync keeps state, and {', '.join(elsewhere)} may run its next try on another machine, where the "
            "default folder of the state is empty. Set [klaviyo] storage_path (AIRFLOW__KLAVIYO__STORAGE_PATH) to a "
            "place that all workers share, such as s3://bucket/folder or a network folder."
        )
        raise KlaviyoConfigurationError(msg)


def _say_if_missing(state_key: str, folder: Any, context: Context) -> None:
    """Tell a first run from a state that is lost."""
    if _has_run_before(context):
        log.warning(
            "There is no state %r in %s, although an earlier run of this Dag succeeded: every row counts as new, and "
            "nobody counts as gone. If storage_path, state_key or only_changes was not changed, the state was deleted.",
            state_key,
            folder,
        )
    else:
        log.info("No state %r yet: every row is new.", state_key)


def _has_run_before(context: Context) -> bool:
    lookup: Callable[[str], Any] = context.get
    try:
        return lookup("prev_start_date_success") is not None
    except Exception:  # Airflow asks its API server for it
        log.debug("The last successful run of the Dag is not known.", exc_info=True)
        return False

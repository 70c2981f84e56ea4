"""Opening a state: it is read, and it is made sure that it is the right one for the right task."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from pathlib import Path

from airflow_provider_klaviyo.state.errors import StateDamaged, StateOfAnotherTarget, StateUnreadable
from airflow_provider_klaviyo.state.journal import Journal
from airflow_provider_klaviyo.state.ledger import Ledger
from airflow_provider_klaviyo.state.log import StateLog
from airflow_provider_klaviyo.state.owner import Claim
from airflow_provider_klaviyo.state.replica import table_in
from airflow_provider_klaviyo.state.stores import Store

log = logging.getLogger(__name__)


def open_ledger(
    store: Store,
    scratch: Path,
    target: Mapping[str, str] | None,
    *,
    writer: str,
    now: Callable[[], float],
    full_refresh: bool = False,
    is_read_only: bool = False,
    may_change: Collection[str] = (),
    claim: Claim | None = None,
) -> Ledger:
    """The state as the last acknowledged change left it.

    :param store: where the log is.
    :param scratch: a private folder of this run, for the table.
    :param target: what this is to be a state of: base URL, account, sync type and so on; None takes what is there.
    :param writer: who writes, for those who must find out.
    :param now: seconds since the epoch.
    :param full_refresh: permits to start anew over a state of another target, or one that cannot be read.
    :param is_read_only: what happens is forgotten when the state is closed.
    :param may_change: parts of the target over whose change a full refresh keeps what the state remembers.
    :param claim: by what right the state is used.
    :raises StateOfAnotherTask: when the state is another task's, whatever ``full_refresh`` says.
    :raises StateOfAnotherTarget: when the state is of another target; both are shown.
    :raises StateDamaged: when the log cannot be read to its end.
    :raises StateUnreadable: when it was written by a release that this one does not know.
    """
    try:
        chain = StateLog(store, writer=writer, now=now, scratch=scratch)
        journal = Journal(chain, scratch, target, is_read_only=is_read_only)
        with ExitStack() as unless_ours:
            unless_ours.callback(journal.close)
            if claim:
                journal.hand_over(claim)
            if target is not None:
                journal.aim(target, may_change if full_refresh else ())
            unless_ours.pop_all()
    except (StateOfAnotherTarget, StateDamaged, StateUnreadable) as error:
        if not full_refresh:
            raise
        log.warning("full_refresh starts a new state: %s", error)
    else:
        return Ledger(journal)
    table_in(scratch).unlink(missing_ok=True)
    chain = StateLog(store, writer=writer, now=now, anew=True)
    return Ledger(Journal(chain, scratch, target, is_read_only=is_read_only))

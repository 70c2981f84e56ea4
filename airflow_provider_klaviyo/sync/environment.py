"""Where a run runs: in a task of Airflow's, or in a program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from airflow_provider_klaviyo.client.clock import Clock, SystemClock
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.state.holder import Holder, Whereabouts, nobody_knows
from airflow_provider_klaviyo.sync.source.source import Source
from airflow_provider_klaviyo.sync.storage import Storage
from airflow_provider_klaviyo.sync.task_run import TaskRun


class KlaviyoAccess(Protocol):
    """How a run reaches Klaviyo; ``KlaviyoHook`` is one.

    ``names_account`` is whether the connection says which account its key must belong to.
    """

    @property
    def names_account(self) -> bool: ...

    def get_client(
        self, *, timeout: float | None = None, stop: Callable[[], bool] | None = None
    ) -> KlaviyoClient:
        """A client that tries nothing any more after ``timeout`` seconds."""

    def check_account(self, client: KlaviyoClient) -> None:
        """Make sure that the key belongs to the account that the connection names."""

    def account_id(self, client: KlaviyoClient) -> str:
        """The account of the key."""


@dataclass(frozen=True, slots=True)
class Environment:
    """Where a run runs: in a task of Airflow's, or in a program.

    :param open_source: makes what the rows come from, such as a ``RowStream``; opened by the run.
    :param stop: asked at least each second while something is waited for; True ends the run.
    :param show_list: told which list the run works on, as soon as that is known.
    :param notice: what is to be said of the whole run, in its log and its report.
    :param keep_seconds: how old reports and rejects of the task may become.
    :param state_problem: why no state can be kept here; empty where it can.
    :param has_run_before: whether an earlier run succeeded, asked where there is no state.
    :param comes_again: seconds within which the run is begun again when another has its state; 0 where it is not.
    :param whereabouts: what is known of another task instance that was deferred or has the state.
    :param older_run: the id of a run that is older and still to come; empty where none is known.
    :param clock: what tells the time, to the report and the state too.
    """

    run: TaskRun
    storage: Storage
    klaviyo: KlaviyoAccess
    open_source: Callable[[], Source]
    stop: Callable[[], bool] = lambda: False
    show_list: Callable[[str | None], None] = lambda _: None
    notice: str = ""
    keep_seconds: float = 30 * 86_400.0
    state_problem: str = ""
    has_run_before: Callable[[], bool] = lambda: False
    comes_again: float = 0.0
    whereabouts: Callable[[Holder], Whereabouts] = nobody_knows
    older_run: Callable[[], str] = lambda: ""
    clock: Clock = field(default_factory=SystemClock)

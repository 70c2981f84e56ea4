"""One run of a sync, here or in a process of its own, that may be struck or killed in the midst of anything."""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from airflow_provider_klaviyo.client.config import KlaviyoConfig
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.client.rate_limit import MemoryWindows, RateLimiter
from airflow_provider_klaviyo.exceptions import KlaviyoError
from airflow_provider_klaviyo.state.owner import Task
from airflow_provider_klaviyo.sync.environment import Environment
from airflow_provider_klaviyo.sync.run import SyncRun
from airflow_provider_klaviyo.sync.source.query import Query
from airflow_provider_klaviyo.sync.source.rows import RowStream
from airflow_provider_klaviyo.sync.storage import Storage
from airflow_provider_klaviyo.sync.task_run import TaskRun
from tests.chaos.clock import HostClock, SharedClock
from tests.chaos.syncs import Sync
from tests.integration.program import Database
from tests.steps import die_at

_QUERY = Query("SELECT * FROM rows ORDER BY id")
_PACKAGE = f"{os.sep}airflow_provider_klaviyo{os.sep}"
_CHILD_SECONDS = 120

_forking = multiprocessing.get_context("forkserver")
_forking.set_forkserver_preload(["tests.chaos.runs", "phonenumbers"])


class Struck(BaseException):
    """As Airflow's execution timeout: raised between any two lines of the main thread."""


@dataclass(frozen=True)
class Strike:
    """What befalls a run.

    :param line: so many lines of the package that the main thread has begun; 0 strikes none.
    :param step: so many requests, answers and writes of the state, before and after, in any thread; 0 none.
    :param kills: the process dies; else an exception is raised, which takes a line.
    """

    line: int = 0
    step: int = 0
    kills: bool = False


UNDISTURBED = Strike()


@dataclass(frozen=True)
class Assignment:
    """What a worker is told: enough to do it in another process."""

    url: str
    key: str
    database: str
    folder: Path
    sync: Sync
    run_id: str
    due: float
    try_number: int
    full_refresh: bool = False
    defers: bool = False
    resumes: bool = False
    strike: Strike = UNDISTURBED


@dataclass
class Result:
    """What a run has left; nothing but the log when it was killed."""

    was_killed: bool = False
    was_struck: bool = False
    is_deferred: bool = False
    summary: dict[str, Any] | None = None
    error: str = ""
    trace: str = ""
    is_ours: bool = True
    log: str = ""
    lines: int = 0

    @property
    def how(self) -> str:
        """How it ended, in a word."""
        if self.was_killed or self.was_struck:
            return "killed" if self.was_killed else "struck"
        if self.is_deferred:
            return "deferred"
        return f"failed: {self.error.split(':')[0]}" if self.error else "came through"


class _Access:
    """As much of a ``KlaviyoHook`` as a run needs."""

    names_account = False

    def __init__(self, config: KlaviyoConfig, clock: HostClock) -> None:
        self._config = config
        self._clock = clock

    def get_client(
        self, *, timeout: float | None = None, stop: Callable[[], bool] | None = None
    ) -> KlaviyoClient:
        limiter = RateLimiter(MemoryWindows(), account=self._config.quota_name, clock=self._clock)
        deadline = None if timeout is None else self._clock.monotonic() + timeout
        return KlaviyoClient(self._config, limiter, clock=self._clock, deadline=deadline, stop=stop)

    def check_account(self, client: KlaviyoClient) -> None:
        """Any account will do."""

    def account_id(self, client: KlaviyoClient) -> str:
        return "the only one"


def perform(assignment: Assignment) -> Result:
    """Do a run in this process, struck if that is ordered."""
    shared = SharedClock(assignment.folder / "clock")
    clock = HostClock(shared)
    environment = Environment(
        run=TaskRun(
            Task("chaos", "rows"), assignment.run_id, assignment.due, try_number=assignment.try_number
        ),
        storage=Storage(assignment.folder / "storage"),
        klaviyo=_Access(KlaviyoConfig(api_key=assignment.key, base_url=assignment.url), clock),
        open_source=lambda: RowStream(Database(assignment.database), _QUERY),
        clock=clock,
    )
    sync = assignment.sync
    options = sync.options(full_refresh=assignment.full_refresh, defers=assignment.defers)
    result = Result()
    with _logged(assignment.folder / "log") as path:
        run = SyncRun(sync.sync_type(assignment.folder / "storage", clock.now()), options, environment)
        strike = _Lines(assignment.strike)
        try:
            with strike:
                run.resume() if assignment.resumes else run.execute()
            result.is_deferred = bool(run.open_jobs)
        except Struck:
            result.was_struck, result.trace = True, traceback.format_exc()
        except Exception as error:
            result.error, result.trace = f"{type(error).__name__}: {error}", traceback.format_exc()
            result.is_ours = isinstance(error, KlaviyoError)
        result.summary = dict(run.summary) if run.summary else None
        result.lines = strike.seen
    result.log = path.read_text()
    return result


class _Lines:
    """Counts the lines of the package that the thread begins, and strikes at one of them."""

    def __init__(self, strike: Strike) -> None:
        self._strike = strike
        self.seen = 0

    def __enter__(self) -> None:
        if self._strike.line:
            sys.settrace(self._call)

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _call(self, frame: FrameType, event: str, argument: object) -> Any:
        return self._line if _PACKAGE in frame.f_code.co_filename else None

    def _line(self, frame: FrameType, event: str, argument: object) -> Any:
        if event == "line":
            self.seen += 1
            if self.seen == self._strike.line:
                sys.settrace(None)
                if self._strike.kills:
                    os.kill(os.getpid(), signal.SIGKILL)
                raise Struck
        return self._line


@contextmanager
def _logged(path: Path) -> Iterator[Path]:
    """Keep what the package logs, also when the process is killed."""
    path.unlink(missing_ok=True)
    handler = logging.FileHandler(path)
    logger = logging.getLogger("airflow_provider_klaviyo")
    before = logger.level, logger.propagate
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.addHandler(handler)
    try:
        yield path
    finally:
        logger.removeHandler(handler)
        logger.level, logger.propagate = before
        handler.close()


def perform_apart(assignment: Assignment) -> Result:
    """Do a run in a process of its own, which may be killed."""
    told = Path(tempfile.mkdtemp(dir=assignment.folder)) / "result"
    process = _forking.Process(target=_live, args=(assignment, told))
    process.start()
    process.join(_CHILD_SECONDS)
    if process.exitcode is None:
        process.kill()
        process.join()
        return Result(error=f"TimeoutError: the worker hung for {_CHILD_SECONDS} s", is_ours=False)
    if process.exitcode == 0:
        return pickle.loads(told.read_bytes())  # type: ignore[no-any-return]
    if process.exitcode != -signal.SIGKILL:
        return Result(error=f"the worker ended with {process.exitcode}", is_ours=False)
    log = assignment.folder / "log"
    return Result(was_killed=True, log=log.read_text() if log.exists() else "")


def _live(assignment: Assignment, told: Path) -> None:
    if assignment.strike.step:
        die_at(assignment.strike.step)
    told.write_bytes(pickle.dumps(perform(assignment)))

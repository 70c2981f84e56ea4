"""The only ``execute`` that syncs; each sync type says what differs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator

from airflow_provider_klaviyo._compat import default_deferrable
from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError
from airflow_provider_klaviyo.failures import told_in_a_sentence
from airflow_provider_klaviyo.literals import ChecksLiterals, Reader, Rule
from airflow_provider_klaviyo.operators.allocator import return_large_blocks
from airflow_provider_klaviyo.operators.lineage import TellsLineage
from airflow_provider_klaviyo.operators.options import READERS, changes_need_a_key, read_options, read_query
from airflow_provider_klaviyo.operators.outcomes import klaviyo_assets, tell, without_klaviyo_assets
from airflow_provider_klaviyo.operators.shards import check_partial_key, check_state_key, is_mapped
from airflow_provider_klaviyo.operators.waiting import Wait
from airflow_provider_klaviyo.parameters import no_such_file, not_in_templates
from airflow_provider_klaviyo.state.errors import StateLocked

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.definitions.mappedoperator import OperatorPartial

    from airflow_provider_klaviyo.hooks.klaviyo import KlaviyoHook
    from airflow_provider_klaviyo.sync.contracts import SyncType
    from airflow_provider_klaviyo.sync.options import SyncOptions
    from airflow_provider_klaviyo.sync.outcomes import HandedOver
    from airflow_provider_klaviyo.sync.run import SyncRun
    from airflow_provider_klaviyo.sync.source.source import Source
    from airflow_provider_klaviyo.sync.summary import SyncSummary

_LOOKS = 6
"""Poll intervals between two looks whether a state is free: each look is a start of the task."""

LIMIT = "max_active_tis_per_dag"


class KlaviyoSyncOperator(ChecksLiterals, TellsLineage, BaseOperator):
    """Streams the rows of a query to Klaviyo and accounts for every one of them; the base of all sync operators.

    Airflow's ``max_active_tis_per_dag`` is 1 where the sync keeps state and nobody says otherwise, so that its runs
    wait for each other, those of backfills too.

    :param sql: the query, or a ``.sql`` file (templated).
    :param sql_conn_id: a connection whose hook is a ``DbApiHook`` (templated).
    :param parameters: for the query's placeholders, in the style of the database's driver (templated).
    :param sql_hook_params: for the hook of ``sql_conn_id``, such as ``{"schema": "shop"}`` (templated).
    :param read_only: a query that would write fails before its rows are sent. With False it may write, and what it
        wrote is committed when the run ended well, not after a failure or in a preview (templated).
    :param klaviyo_conn_id: the connection of type ``klaviyo`` (templated).
    :param mapping: ``{Klaviyo field: column}``; None maps by column name, unknown columns to custom properties of
        the same name. Custom properties are written ``properties.<name>`` (templated).
    :param match_by: what identifies a person: ``klaviyo_id``, ``email``, ``phone_number`` or ``external_id``; a row
        without a valid one is rejected. None takes the first of these that is mapped, and another one that is mapped
        for rows without it (templated).
    :param primary_key: the column or columns that identify a row, in state, reports and rejects (templated).
    :param only_changes: send only rows that are new or changed since Klaviyo last acknowledged them, and those that
        failed; needs ``primary_key``, and keeps state under ``[klaviyo] storage_path``.
    :param full_refresh: send every row again, as on the first run; also over a state of another target (templated).
    :param allow_older_run: let a sync that keeps state run for a data interval that ends before that of its last
        successful run, which turns people back to what they were; events are never turned back (templated).
    :param state_key: the name that the state is kept under; None is the Dag's id and the task's. A mapped task must
        name its shard, such as ``"vip-{{ task.parameters.shard }}"`` where ``parameters`` are expanded (templated).
    :param phone_region: ISO country of phone numbers without a country code; a column mapped to ``phone_region``
        gives it for each row (templated).
    :param timezone: zone of timestamps without an offset, such as ``Europe/Berlin`` (templated); None is UTC.
    :param on_invalid: ``drop_field`` sends a row without the value that Klaviyo would refuse, ``reject`` rejects the
        row (templated).
    :param max_rejected: share (float) or number (int) of rows that may be rejected before the task fails. It fails
        after every good row was sent, and without an Airflow retry.
    :param preview: do everything but the writes, and keep the first requests beside the report (templated).
    :param wait_for_completion: wait until Klaviyo has settled its jobs. Otherwise their rows are pending, and their
        ids are returned as ``job_ids``.
    :param poll_interval: seconds between two looks at the jobs.
    :param timeout: seconds that the sync may take, waits and retries included.
    :param lock_timeout: seconds for which the task waits, without a worker, while another run has the state of this
        sync; None is the sync's ``timeout``, 0 fails at once.
    :param deferrable: leave the waiting for Klaviyo's jobs to the triggerer; None is Airflow's ``default_deferrable``.
    :param defer_after: seconds for which a deferrable task waits itself, so that only what takes longer is deferred,
        and before which no task that waits comes back: Airflow 3.3 may fail one that does so within seconds.
    """

    _is_killed = False
    _templates: object = None
    key_template: object = None
    """``state_key`` before it was rendered; as ``templates``, None in a mapped task."""

    readers: ClassVar[Mapping[str, Reader]] = READERS
    rules: ClassVar[Sequence[Rule]] = (changes_need_a_key,)
    template_fields: Sequence[str] = (
        "sql",
        "sql_conn_id",
        "parameters",
        "sql_hook_params",
        "read_only",
        "klaviyo_conn_id",
        "mapping",
        "match_by",
        "primary_key",
        "full_refresh",
        "allow_older_run",
        "state_key",
        "phone_region",
        "timezone",
        "on_invalid",
        "preview",
    )
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers = {"sql": "sql", "parameters": "json", "mapping": "json"}  # noqa: RUF012 - Airflow's way
    ui_color = "#c8e6d0"

    def __init__(
        self,
        *,
        sql: str,
        sql_conn_id: str,
        parameters: Mapping[str, Any] | Sequence[Any] | None = None,
        sql_hook_params: Mapping[str, Any] | None = None,
        read_only: bool | str = True,
        klaviyo_conn_id: str = "klaviyo_default",
        mapping: Mapping[str, str] | None = None,
        match_by: str | None = None,
        primary_key: str | Sequence[str] | None = None,
        only_changes: bool = False,
        full_refresh: bool | str = False,
        allow_older_run: bool | str = False,
        state_key: str | None = None,
        phone_region: str | None = None,
        timezone: str | None = None,
        on_invalid: str = "drop_field",
        max_rejected: float = 0.01,
        preview: bool | str = False,
        wait_for_completion: bool = True,
        poll_interval: float = 10,
        timeout: float = 21_600,
        lock_timeout: float | None = None,
        deferrable: bool | None = None,
        defer_after: float = 15,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sql = sql
        self.sql_conn_id = sql_conn_id
        self.parameters = parameters
        self.sql_hook_params = sql_hook_params
        self.read_only = read_only
        self.klaviyo_conn_id = klaviyo_conn_id
        self.mapping = mapping
        self.match_by = match_by
        self.primary_key = primary_key
        self.only_changes = only_changes
        self.full_refresh = full_refresh
        self.allow_older_run = allow_older_run
        self.state_key = state_key
        self.phone_region = phone_region
        self.timezone = timezone
        self.on_invalid = on_invalid
        self.max_rejected = max_rejected
        self.preview = preview
        self.wait_for_completion = wait_for_completion
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.lock_timeout = lock_timeout
        self.deferrable = default_deferrable() if deferrable is None else deferrable
        self.defer_after = defer_after
        self._is_limit_given = any(LIMIT in given for given in (kwargs, kwargs.get("default_args") or ()))
        self._run_alone_with_state()

    @classmethod
    def keeps_state(cls, arguments: Mapping[str, Any]) -> bool:
        """Whether a sync with these arguments keeps state, or may."""
        return bool(arguments.get("only_changes"))

    @classmethod
    def partial(cls, **kwargs: Any) -> OperatorPartial:
        """Airflow's ``partial``; what it does not know yet may make the task one that keeps state."""
        keeps_state = cls.keeps_state(kwargs)
        if keeps_state:
            check_partial_key(kwargs.get("state_key"), kwargs["task_id"])
        made: OperatorPartial = super().partial(**kwargs)
        if keeps_state:
            made.kwargs.setdefault(LIMIT, 1)
        return made

    def _run_alone_with_state(self, **arguments: Any) -> None:
        """Have Airflow run one task instance after the other, where nobody said otherwise.

        :param arguments: those of a subclass that tell whether it keeps state.
        """
        if not self._is_limit_given:
            is_alone = self.keeps_state({"only_changes": self.only_changes, **arguments})
            self.max_active_tis_per_dag = 1 if is_alone else None

    @cached_property
    def hook(self) -> KlaviyoHook:
        """The hook of ``klaviyo_conn_id``."""
        from airflow_provider_klaviyo.hooks.klaviyo import KlaviyoHook

        return KlaviyoHook(self.klaviyo_conn_id)

    def sync_type(self, options: SyncOptions) -> SyncType:
        """What is particular to this operator's sync type."""
        raise NotImplementedError

    def open_source(self, options: SyncOptions, context: Context) -> Source:  # noqa: ARG002 - a function's
        """What the rows come from; the run opens it.

        :raises KlaviyoConfigurationError: when its connection is none of a SQL database.
        """
        from airflow_provider_klaviyo.operators.environment import sql_hook
        from airflow_provider_klaviyo.sync.source.rows import RowStream

        hook = sql_hook(self.sql_conn_id, self.read("sql_hook_params") or {})
        return RowStream(hook, read_query(self, options))

    @told_in_a_sentence
    def execute(self, context: Context) -> SyncSummary:
        """Run the sync.

        :returns: the summary of the run; it is also pushed when the run fails.
        :raises AirflowFailException: when a retry would not help: wrong settings, or too many rejected rows.
        :raises KlaviyoError: when a retry may help.
        """
        wait = self._wait(context)
        try:
            return self._finish(context, lambda run: run.execute(), wait.comes_again)
        except StateLocked as locked:
            wait.go_on(locked)

    @told_in_a_sentence
    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> SyncSummary:  # noqa: ARG002
        """Come back from the triggerer, on any worker, and settle the outcomes.

        What the event says is not needed: Klaviyo is asked again, so that a trigger that failed costs nothing.
        """
        return self._finish(context, lambda run: run.resume())

    @told_in_a_sentence
    def render_template_fields(self, context: Context, jinja_env: Any = None) -> None:
        """Render the templates, and remember the query as it was written."""
        self._templates, self.key_template = self._query, self.state_key
        super().render_template_fields(context, jinja_env)

    @told_in_a_sentence
    def render_template(self, content: Any, *args: Any, **kwargs: Any) -> Any:
        """Render a value, and say what is wrong where it was taken for the name of a file.

        :raises AirflowFailException: when there is no such file, or a mapped task names what only its shard knows.
        """
        from jinja2 import TemplateNotFound, UndefinedError

        try:
            return super().render_template(content, *args, **kwargs)
        except TemplateNotFound as error:
            if error.name != content:
                raise  # a file that another one includes

            raise KlaviyoConfigurationError(no_such_file(content)) from None
        except UndefinedError as error:
            if not (args and is_mapped(args[0])):
                raise

            raise KlaviyoConfigurationError(not_in_templates(error)) from None

    @property
    def _query(self) -> tuple[object, ...]:
        """All that says which rows are read."""
        return self.sql, self.parameters, self.sql_hook_params, self.sql_conn_id

    @property
    def templates(self) -> object:
        """The query and its parameters before they were rendered; None where that was not seen.

        Airflow renders a mapped task past ``render_template_fields``, and reads a ``.sql`` file while it renders.
        """
        is_file = isinstance(self._templates, tuple) and str(self._templates[0]).endswith(".sql")
        return None if is_file else self._templates

    @property
    def reads_now(self) -> bool:
        """Whether the same rows are read whatever the run is of."""
        return self.templates == self._query

    def _finish(
        self, context: Context, work: Callable[[SyncRun], None], comes_again: float = 0.0
    ) -> SyncSummary:
        return_large_blocks()
        run = self._run(context, comes_again)
        try:
            work(run)
            summary = run.summary
            # A timeout may break in on the way out, where nobody could push it any more.
            if not run.open_jobs:
                context["ti"].xcom_push(key="return_value", value=summary)
        except BaseException as error:
            context["ti"].xcom_push(key="return_value", value=run.summary)
            if not isinstance(error, StateLocked):  # which has not begun
                self._tell(context, run)
            raise
        if run.open_jobs:
            self._defer(run.open_jobs)
        self._tell(context, run)
        return summary

    def _tell(self, context: Context, run: SyncRun) -> None:
        """Tell Airflow what became of a run that is over."""
        if not (report := run.final_report):
            return
        self.final_report = report
        if report["preview"]:
            self.outlets = without_klaviyo_assets(self.outlets)
        else:
            tell(context, report, klaviyo_assets(self.outlets), lambda: self.hook.named_account_id)

    def _wait(self, context: Context) -> Wait:
        """How long the task waits for a state that another run has."""
        lock_timeout = self.read("lock_timeout")
        return Wait(
            context,
            self.hook.clock,
            lock_timeout=self.read("timeout") if lock_timeout is None else lock_timeout,
            pause=_LOOKS * self.read("poll_interval"),
            soonest=self.read("defer_after"),
        )

    def _run(self, context: Context, comes_again: float) -> SyncRun:
        from airflow_provider_klaviyo.operators.environment import environment_of
        from airflow_provider_klaviyo.operators.intervals import (
            empty_interval_notice,
            same_in_each_run_notice,
        )
        from airflow_provider_klaviyo.sync.run import SyncRun

        options = read_options(self, context)
        sync_type = self.sync_type(options)
        if options.state_key and (options.only_changes or sync_type.keeps_state):
            check_state_key(self, context)
        reads_now = self.reads_now
        environment = environment_of(
            context,
            self.hook,
            lambda: self.open_source(options, context),
            stop=lambda: self._is_killed,
            has_list_link=bool(self.operator_extra_links),
            comes_again=comes_again,
            reads_now=reads_now,
            notice=empty_interval_notice(self.templates, self._query, context)
            or same_in_each_run_notice(
                reads_now=reads_now,
                is_backfill=options.is_backfill_run,
                keeps_state=self.keeps_state(self.__dict__),
            ),
        )
        return SyncRun(sync_type, options, environment)

    def _defer(self, jobs: Sequence[HandedOver]) -> None:
        from airflow_provider_klaviyo.client.job_kinds import job_kind
        from airflow_provider_klaviyo.triggers.jobs import KlaviyoImportJobTrigger

        kind = job_kind(jobs[0].kind)
        self.log.info("%s left to the triggerer.", kind.counted(len(jobs)))
        trigger = KlaviyoImportJobTrigger(
            job_ids=[job.id for job in jobs],
            klaviyo_conn_id=self.klaviyo_conn_id,
            poll_interval=self.poll_interval,
            timeout=self.timeout,
            kind=kind.name,
            rest=self.read("defer_after"),
        )
        self.defer(trigger=trigger, method_name="execute_complete")

    def on_kill(self) -> None:
        """Stop sending; rows without a verdict are reported as pending."""
        self._is_killed = True

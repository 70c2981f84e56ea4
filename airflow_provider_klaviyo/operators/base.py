"""The only ``execute`` that syncs; each sync type says what differs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_provider_klaviyo._compat import default_deferrable
from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError
from airflow_provider_klaviyo.failures import no_retry_in_vain
from airflow_provider_klaviyo.parameters import no_such_file

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_klaviyo.hooks.klaviyo import KlaviyoHook
    from airflow_provider_klaviyo.sync.contracts import SyncType
    from airflow_provider_klaviyo.sync.options import SyncOptions
    from airflow_provider_klaviyo.sync.outcomes import HandedOver
    from airflow_provider_klaviyo.sync.report import SyncSummary
    from airflow_provider_klaviyo.sync.run import SyncRun


class KlaviyoSyncOperator(BaseOperator):
    """Streams the rows of a query to Klaviyo and accounts for every one of them; the base of all sync operators.

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
        name its shard, such as ``"vip-{{ region }}"`` (templated).
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
    :param deferrable: leave the waiting for Klaviyo's jobs to the triggerer; None is Airflow's ``default_deferrable``.
    """

    _is_killed = False
    _templates: object = None

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
        deferrable: bool | None = None,
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
        self.deferrable = default_deferrable() if deferrable is None else deferrable

    @cached_property
    def hook(self) -> KlaviyoHook:
        """The hook of ``klaviyo_conn_id``."""
        from airflow_provider_klaviyo.hooks.klaviyo import KlaviyoHook

        return KlaviyoHook(self.klaviyo_conn_id)

    def sync_type(self, options: SyncOptions) -> SyncType:
        """What is particular to this operator's sync type."""
        raise NotImplementedError

    def execute(self, context: Context) -> SyncSummary:
        """Run the sync.

        :returns: the summary of the run; it is also pushed when the run fails.
        :raises AirflowFailException: when a retry would not help: wrong settings, or too many rejected rows.
        :raises KlaviyoError: when a retry may help.
        """
        return self._finish(context, lambda run: run.execute())

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> SyncSummary:  # noqa: ARG002
        """Come back from the triggerer, on any worker, and settle the outcomes.

        What the event says is not needed: Klaviyo is asked again, so that a trigger that failed costs nothing.
        """
        return self._finish(context, lambda run: run.resume())

    def render_template_fields(self, context: Context, jinja_env: Any = None) -> None:
        """Render the templates, and remember the query as it was written."""
        self._templates = (self.sql, self.parameters)
        super().render_template_fields(context, jinja_env)

    def render_template(self, content: Any, *args: Any, **kwargs: Any) -> Any:
        """Render a value, and say what is wrong where it was taken for the name of a file.

        :raises AirflowFailException: when there is no such file.
        """
        from jinja2 import TemplateNotFound

        with no_retry_in_vain():
            try:
                return super().render_template(content, *args, **kwargs)
            except TemplateNotFound as error:
                if error.name != content:
                    raise  # a file that another one includes

                raise KlaviyoConfigurationError(no_such_file(content)) from None

    @property
    def templates(self) -> object:
        """The query and its parameters before they were rendered; None where that was not seen.

        Airflow renders a mapped task past ``render_template_fields``, and reads a ``.sql`` file while it renders.
        """
        is_file = isinstance(self._templates, tuple) and str(self._templates[0]).endswith(".sql")
        return None if is_file else self._templates

    def _finish(self, context: Context, work: Callable[[SyncRun], None]) -> SyncSummary:
        with no_retry_in_vain():
            run = self._run(context)
            try:
                work(run)
                summary = run.summary
            except BaseException:
                context["ti"].xcom_push(key="return_value", value=run.summary)
                raise
        if run.open_jobs:
            self._defer(run.open_jobs)
        return summary

    def _run(self, context: Context) -> SyncRun:
        from airflow_provider_klaviyo.operators.environment import environment_of
        from airflow_provider_klaviyo.operators.intervals import empty_interval_notice
        from airflow_provider_klaviyo.operators.options import read_options
        from airflow_provider_klaviyo.sync.run import SyncRun

        options = read_options(self, context)
        environment = environment_of(
            context,
            self.hook,
            self.sql_conn_id,
            stop=lambda: self._is_killed,
            has_list_link=bool(self.operator_extra_links),
            notice=empty_interval_notice(self.templates, (options.sql, options.parameters), context),
        )
        return SyncRun(self.sync_type(options), options, environment)

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
        )
        self.defer(trigger=trigger, method_name="execute_complete")

    def on_kill(self) -> None:
        """Stop sending; rows without a verdict are reported as pending."""
        self._is_killed = True

"""The operator that joins the shards of a sync."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_provider_klaviyo._compat import AirflowSkipException
from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError, KlaviyoSyncFailed
from airflow_provider_klaviyo.failures import told_in_a_sentence
from airflow_provider_klaviyo.operators.outcomes import describe, klaviyo_assets, without_klaviyo_assets
from airflow_provider_klaviyo.wording import counted

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_klaviyo.sync.joining import Joined
    from airflow_provider_klaviyo.sync.summary import SyncSummary

_SUCCESS, _SKIPPED = "success", "skipped"


class KlaviyoJoinSummariesOperator(BaseOperator):
    """Joins what the shards of a sync return into one summary and one report, and finds people whom two shards name.

    It runs when all tasks before it are over, however they ended (``trigger_rule``), and fails where one of them did
    not succeed: the report is there then, too. Where there was no shard it is skipped. With the
    sync's asset as its outlet it makes one event of all shards.

    :param summaries: what the shards returned, such as ``syncs.output`` of a mapped task (templated).

    .. seealso:: docs/sharding.md
    """

    template_fields: Sequence[str] = ("summaries",)
    ui_color = "#c8e6d0"

    def __init__(self, *, summaries: Any, **kwargs: Any) -> None:
        kwargs.setdefault("trigger_rule", "all_done")
        super().__init__(**kwargs)
        self.summaries = summaries

    @told_in_a_sentence
    def execute(self, context: Context) -> SyncSummary:
        """Join the summaries; the sum is also pushed when the task fails.

        :raises AirflowSkipException: when there was no shard in this run.
        :raises AirflowFailException: when a shard did not succeed, two of them name one person, or these are no
            summaries of one sync.
        """
        from airflow_provider_klaviyo.client.clock import SystemClock
        from airflow_provider_klaviyo.operators.environment import task_run_of
        from airflow_provider_klaviyo.storage import keep_seconds, storage_path
        from airflow_provider_klaviyo.sync.joining import Joined
        from airflow_provider_klaviyo.sync.storage import Storage

        storage = Storage(storage_path())
        states = self._states(context)
        summaries = list(self.summaries or ())
        if not summaries:
            _check_shards(states)
        joined = Joined(summaries, storage)
        joined.compare_people()
        error = self._error(joined, states)
        run = task_run_of(context)
        files = storage.files(run.holder)
        files.prune(SystemClock().now() - keep_seconds())
        report = joined.details(run.told, str(files.report), error or None)
        report_path = files.write_report(report)
        summary = joined.summary(report_path)
        self.log.info("%s", joined)
        self.log.info("Report: %s", report_path)
        for notice in joined.notices:
            self.log.warning("%s", notice)
        if error:
            context["ti"].xcom_push(key="return_value", value=summary)
            msg = f"{error} The report of all shards: {report_path}"
            raise KlaviyoSyncFailed(msg, summary)
        if summary["preview"]:
            self.outlets = without_klaviyo_assets(self.outlets)
        describe(context, report, klaviyo_assets(self.outlets))
        return summary

    def _error(self, joined: Joined, states: Mapping[str, str] | None) -> str:
        """Why the task fails; empty where it does not."""
        failed = (
            list(joined.failed)
            if states is None
            else [*_unfinished(states), *_skipped_halfway(joined, states)]
        )
        return " ".join(each for each in (_did_not_succeed(failed), joined.objection) if each)

    def _states(self, context: Context) -> Mapping[str, str] | None:
        """How the task instances before this one ended; None where Airflow does not say."""
        if not self.upstream_task_ids:
            return None
        ti: Any = context["ti"]
        try:
            states = ti.get_task_states(
                dag_id=ti.dag_id, task_ids=sorted(self.upstream_task_ids), run_ids=[ti.run_id]
            )
        except Exception as error:
            self.log.warning("Airflow does not say how the tasks before ended: %s", error)
            return None
        return {name: str(state) for name, state in states.get(ti.run_id, {}).items()}


def _check_shards(states: Mapping[str, str] | None) -> None:
    """Make sure that a join of nothing is none that has lost something.

    :raises AirflowSkipException: when there was no shard in this run.
    :raises KlaviyoConfigurationError: when there were shards, none of which has left a summary.
    """
    if states and set(states.values()) == {_SKIPPED}:
        msg = "The tasks before were skipped: there is no shard to join in this run."
        raise AirflowSkipException(msg)
    if states and (failed := _unfinished(states)):
        msg = f"{_did_not_succeed(failed)} None has left a summary."
        raise KlaviyoConfigurationError(msg)


def _unfinished(states: Mapping[str, str]) -> list[str]:
    return sorted(name for name, state in states.items() if state not in {_SUCCESS, _SKIPPED})


def _skipped_halfway(joined: Joined, states: Mapping[str, str]) -> list[str]:
    """The shards that skipped themselves with rows read, after which others may have been to come."""
    return [
        f"{name} (skipped after {counted(rows, 'row')})"
        for name, rows in joined.failed.items()
        if rows and states.get(name) == _SKIPPED
    ]


def _did_not_succeed(failed: Sequence[str]) -> str:
    shown = f"{', '.join(failed[:5])}{', …' if len(failed) > 5 else ''}"
    return f"{len(failed):,} of the tasks before did not succeed: {shown}." if failed else ""

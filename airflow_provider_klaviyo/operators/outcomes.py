"""Tells Airflow what became of a run: metrics, and the counts in the event of the asset that it has changed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_provider_klaviyo.assets import KINDS, SCHEME, asset_uri
from airflow_provider_klaviyo.operators.metrics import emit
from airflow_provider_klaviyo.sync.summary import COUNTS

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

TOLD = ("sync_type", "mode", *COUNTS, "report_path")
"""What is told of a run outside of its report."""


def klaviyo_assets(outlets: Iterable[Any]) -> list[Any]:
    """Those of a task's outlets that a sync changes."""
    return [each for each in outlets if str(getattr(each, "uri", "")).startswith(f"{SCHEME}://")]


def without_klaviyo_assets(outlets: Iterable[Any]) -> list[Any]:
    """The outlets of a task whose sync changes nothing."""
    outlets = list(outlets)
    told = klaviyo_assets(outlets)
    return [each for each in outlets if each not in told]


def tell(
    context: Context,
    report: Mapping[str, Any],
    assets: Iterable[Any],
    named_account_id: Callable[[], str | None],
) -> None:
    """Tell Airflow of a run that is over and was no preview; what it does not take ends no run.

    :param report: the report of the run.
    :param assets: what the Dag file says that the sync changes.
    :param named_account_id: whose account it was, where the connection says so; asked where the state does not.
    """
    ti = context["ti"]
    emit(report, {"dag_id": ti.dag_id, "task_id": ti.task_id})
    if report["status"] != "succeeded":
        return
    state = report["state"]
    describe(
        context,
        report,
        assets,
        lambda: (state["target"].get("account") if state else None) or named_account_id(),
    )


def describe(
    context: Context,
    report: Mapping[str, Any],
    assets: Iterable[Any],
    account_id: Callable[[], str | None] = lambda: None,
) -> None:
    """Put the counts of a run into the events that Airflow makes of its assets; an error ends no run.

    :param report: the report of the run, or of several that are joined.
    :param account_id: whose account it was; by itself that of each asset.
    """
    try:
        for asset in assets:
            _describe(context, asset, report, account_id())
    except Exception as error:
        log.warning("The event of this sync's asset has no counts: %s", error)


def _describe(context: Context, asset: Any, report: Mapping[str, Any], account: str | None) -> None:
    changed = asset_uri(account or urlsplit(asset.uri).netloc, report)
    is_known = urlsplit(changed).path.split("/")[1] in KINDS  # not where shards have changed a list each
    if is_known and asset.uri != changed:
        log.warning("The task has the outlet %s, and its sync has changed %s.", asset.uri, changed)
    told = {name: report[name] for name in (*TOLD, "shards") if name in report}
    context["outlet_events"][asset].extra.update(told)

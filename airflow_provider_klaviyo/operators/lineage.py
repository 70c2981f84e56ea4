"""What OpenLineage asks a sync for: what it reads, what it has changed in Klaviyo, and the counts.

Nothing of OpenLineage is imported before it asks. It asks in a process beside the task's, for ten seconds at most.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from airflow_provider_klaviyo.assets import KINDS, asset_uri, dataset_of
from airflow_provider_klaviyo.masking import words_of
from airflow_provider_klaviyo.operators.metrics import rows_by_field
from airflow_provider_klaviyo.operators.outcomes import TOLD, without_klaviyo_assets

if TYPE_CHECKING:
    from airflow_provider_klaviyo.operators.lineage_source import Origin, Source

log = logging.getLogger(__name__)

T = TypeVar("T")

_SOURCE_SECONDS = 4.0
_ACCOUNT_SECONDS = 3.0
"""After ten seconds in all OpenLineage gives up, and everything is lost."""


class TellsLineage:
    """Answers OpenLineage where Airflow's provider of it is installed. What goes wrong here ends no task."""

    final_report: Mapping[str, Any] | None = None
    """The report of the run, when it is over."""

    def get_openlineage_facets_on_start(self) -> Any:
        """What is known before the first row; a preview changes none of the outlets.

        :returns: Airflow's ``OperatorLineage``.
        """
        from airflow.providers.openlineage.extractors import OperatorLineage

        operator: Any = self
        is_preview = operator.read("preview")
        if is_preview:
            operator.outlets = without_klaviyo_assets(operator.outlets)
        return OperatorLineage(run_facets=_run_facets({"preview": is_preview}))

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:  # noqa: ARG002
        """What a run has read and changed, however it ended; OpenLineage asks the same of a failure.

        :returns: Airflow's ``OperatorLineage``.
        """
        from airflow.providers.openlineage.extractors import OperatorLineage

        source = within(_SOURCE_SECONDS, lambda: _source(self))
        report = self.final_report
        outputs = [] if report is None or report["preview"] else _outputs(self, report, source)
        return OperatorLineage(
            inputs=list(source.tables) if source else _inlets(self),
            outputs=outputs,
            run_facets=_run_facets(_told(report)) if report else {},
        )


def within(seconds: float, work: Callable[[], T]) -> T | None:
    """What ``work`` returns, if it comes in time and without an error."""
    found: list[T] = []

    def run() -> None:
        try:
            found.append(work())
        except Exception as error:
            log.warning("OpenLineage is told less of this sync: %s", words_of(error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    return found[0] if found else None


def _source(operator: Any) -> Source | None:
    """What the query reads; None where the rows come from elsewhere."""
    if not isinstance(getattr(operator, "sql", None), str):
        return None
    from airflow_provider_klaviyo.operators.environment import sql_hook
    from airflow_provider_klaviyo.operators.lineage_source import source_of

    hook = sql_hook(operator.sql_conn_id, operator.read("sql_hook_params") or {})
    return source_of(
        hook, operator.sql_conn_id, operator.read("sql"), has_parameters=bool(operator.parameters)
    )


def _inlets(operator: Any) -> list[Any]:
    """What the Dag file says that is read, where no query tells."""
    from airflow.providers.openlineage.extractors.manager import ExtractorManager

    found = [
        ExtractorManager.convert_to_ol_dataset(each) or _dataset_of_asset(each) for each in operator.inlets
    ]
    return [each for each in found if each is not None]


def _dataset_of_asset(inlet: Any) -> Any:
    """The dataset of an asset, of which older providers of OpenLineage make none; None for anything else."""
    from airflow.providers.common.compat.openlineage.utils.utils import translate_airflow_asset

    return translate_airflow_asset(inlet, None) if hasattr(inlet, "normalized_uri") else None


def _outputs(operator: Any, report: Mapping[str, Any], source: Source | None) -> list[Any]:
    """What a run has changed in Klaviyo; nothing where it is not known."""
    account = within(_ACCOUNT_SECONDS, lambda: _account(operator, report))
    uri = asset_uri(account or "", report)
    if not account or urlsplit(uri).path.split("/")[1] not in KINDS:
        return []
    from openlineage.client.event_v2 import OutputDataset
    from openlineage.client.facet_v2 import (
        column_lineage_dataset,
        output_statistics_output_dataset,
        schema_dataset,
    )

    mapping: Mapping[str, str] = report.get("mapping", {})
    facets: dict[str, Any] = {}
    if mapping:
        fields = [schema_dataset.SchemaDatasetFacetFields(name=field) for field in mapping]
        facets["schema"] = schema_dataset.SchemaDatasetFacet(fields=fields)
    origins = {field: source.origins(column) for field, column in mapping.items()} if source else {}
    if any(origins.values()):
        facets["columnLineage"] = column_lineage_dataset.ColumnLineageDatasetFacet(
            fields={field: _came_from(found) for field, found in origins.items() if found}
        )
    statistics = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
        rowCount=report["accepted"]
    )
    namespace, name = dataset_of(uri)
    return [
        OutputDataset(
            namespace=namespace, name=name, facets=facets, outputFacets={"outputStatistics": statistics}
        )
    ]


def _came_from(origins: Iterable[Origin]) -> Any:
    from openlineage.client.facet_v2 import column_lineage_dataset

    return column_lineage_dataset.Fields(
        inputFields=[
            column_lineage_dataset.InputField(namespace=each.namespace, name=each.table, field=each.column)
            for each in origins
        ],
        transformationType="",
        transformationDescription="",
    )


def _account(operator: Any, report: Mapping[str, Any]) -> str:
    """Whose account a run has changed: as the state or the connection says, else Klaviyo, once an hour."""
    state = report["state"]
    known = (state["target"].get("account") if state else None) or operator.hook.named_account_id
    if known:
        return str(known)
    with operator.hook.get_client(timeout=_ACCOUNT_SECONDS) as client:
        return str(operator.hook.account_id(client))


def _told(report: Mapping[str, Any]) -> dict[str, Any]:
    """The counts of a run, and whose fields kept rows from being sent; never the reasons or the query."""
    not_sent = rows_by_field(report)
    return {
        **{name: report[name] for name in (*TOLD, "preview", "status", "requests", "duration")},
        "not_sent": [
            {"outcome": outcome, "field": field or "row", "rows": rows}
            for (outcome, field), rows in not_sent.items()
        ],
    }


def _run_facets(told: Mapping[str, Any]) -> dict[str, Any]:
    from openlineage.client.facet_v2 import RunFacet

    return {"klaviyo_sync": RunFacet().with_additional_properties(**told)}

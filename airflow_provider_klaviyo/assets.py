"""What a sync changes in Klaviyo, as Airflow's assets name it: ``klaviyo://<account>/<kind>/<id>``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    from urllib.parse import SplitResult

SCHEME = "klaviyo"

KINDS = {"profiles": 0, "events": 0, "subscriptions": 0, "lists": 1, "metrics": 1}
"""The kinds of targets, and how many parts name one of it."""


def sanitize(uri: SplitResult) -> SplitResult:
    """Airflow's check of an asset's URI, when a Dag file names one.

    :raises ValueError: when it can be no target of a sync.
    """
    kind, *rest = uri.path.strip("/").split("/")
    if uri.netloc and KINDS.get(kind) == len(rest) and all(rest) and not uri.query:
        return uri
    msg = (
        f"{uri.geturl()} is not the asset of a Klaviyo sync. These are: klaviyo://<account>/lists/<list id>, "
        "klaviyo://<account>/metrics/<metric name>, and klaviyo://<account>/ with profiles, events or subscriptions."
    )
    raise ValueError(msg)


def asset_uri(account_id: str, report: Mapping[str, Any]) -> str:
    """The asset that a run has changed.

    :param report: the report of the run.
    """
    metric = report["parameters"].get("metric")
    if report["list_id"]:
        target = f"lists/{report['list_id']}"
    elif metric:
        target = f"metrics/{quote(metric, safe='')}"
    else:
        target = report["sync_type"]
    return f"{SCHEME}://{account_id}/{target}"


def dataset_of(uri: str) -> tuple[str, str]:
    """The namespace and the name that OpenLineage knows an asset by."""
    parts = urlsplit(uri)
    return f"{SCHEME}://{parts.netloc}", parts.path.strip("/")


def to_openlineage(asset: Any, lineage_context: Any) -> Any:  # noqa: ARG001 - Airflow's converters take it
    """The dataset that an asset is, for OpenLineage."""
    from openlineage.client.event_v2 import Dataset

    namespace, name = dataset_of(asset.uri)
    return Dataset(namespace=namespace, name=name)

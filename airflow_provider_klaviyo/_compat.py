"""What moved between the supported Airflow versions, found wherever it is."""

from __future__ import annotations

from typing import Any

try:  # Airflow 3.2 and newer
    from airflow.sdk.exceptions import (
        AirflowException,
        AirflowFailException,
        AirflowNotFoundException,
        AirflowRescheduleException,
        AirflowSensorTimeout,
        AirflowSkipException,
    )
except ImportError:  # Airflow 3.1
    from airflow.exceptions import (  # type: ignore[attr-defined,no-redef]
        AirflowException,
        AirflowFailException,
        AirflowNotFoundException,
        AirflowRescheduleException,
        AirflowSensorTimeout,
        AirflowSkipException,
    )

try:  # Airflow 3.2 and newer
    from airflow.sdk import conf
except ImportError:  # Airflow 3.1
    from airflow.configuration import conf  # type: ignore[assignment]

__all__ = [
    "AirflowException",
    "AirflowFailException",
    "AirflowNotFoundException",
    "AirflowRescheduleException",
    "AirflowSensorTimeout",
    "AirflowSkipException",
    "airflow_stats",
    "conf",
    "dags_in",
    "default_deferrable",
]


def airflow_stats() -> Any:
    """What has Airflow's ``incr``, ``gauge`` and ``timing``."""
    try:  # Airflow 3.2 and newer
        from airflow.sdk.observability import stats
    except ImportError:  # Airflow 3.1
        from airflow.stats import Stats

        return Stats
    return stats if hasattr(stats, "incr") else stats.Stats


def default_deferrable() -> bool:
    """Airflow's ``[operators] default_deferrable``."""
    return conf.getboolean("operators", "default_deferrable", fallback=False)


def dags_in(file: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The Dags of a file by their ids, and what Airflow could not read, by file."""
    try:  # Airflow 3.2 and newer
        from airflow.dag_processing.dagbag import DagBag

        bag = DagBag(dag_folder=file)
    except ImportError:  # Airflow 3.1
        from airflow.models import dagbag

        bag = dagbag.DagBag(dag_folder=file, include_examples=False)
    return dict(bag.dags), dict(bag.import_errors)

"""What moved between the supported Airflow versions, found wherever it is."""

from __future__ import annotations

try:  # Airflow 3.2 and newer
    from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSensorTimeout
except ImportError:  # Airflow 3.1
    from airflow.exceptions import (  # type: ignore[attr-defined,no-redef]
        AirflowException,
        AirflowFailException,
        AirflowSensorTimeout,
    )

try:  # Airflow 3.2 and newer
    from airflow.sdk import conf
except ImportError:  # Airflow 3.1
    from airflow.configuration import conf  # type: ignore[assignment]

__all__ = ["AirflowException", "AirflowFailException", "AirflowSensorTimeout", "conf", "default_deferrable"]


def default_deferrable() -> bool:
    """Airflow's ``[operators] default_deferrable``."""
    return conf.getboolean("operators", "default_deferrable", fallback=False)

"""Where Airflow's configuration says that files are kept."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from airflow_provider_klaviyo._compat import conf
from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError

_SECTION = "klaviyo"
_DAY = 86_400.0
_ON_THIS_MACHINE = {"LocalExecutor", "SequentialExecutor", "InProcessExecutor", "DebugExecutor"}


def storage_path() -> Any:
    """The configured ``storage_path``.

    :raises KlaviyoConfigurationError: when it is no path that Airflow knows.
    """
    configured = conf.get(_SECTION, "storage_path", fallback="").strip()
    if not configured:
        return Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser() / "klaviyo"
    if configured.startswith("file://"):
        return Path(configured.removeprefix("file://"))
    if "://" not in configured:
        return Path(configured).expanduser()
    from airflow.sdk import ObjectStoragePath

    try:
        return ObjectStoragePath(configured)
    except Exception as error:
        msg = f"[klaviyo] storage_path = {configured} cannot be used: {error}"
        raise KlaviyoConfigurationError(msg) from error


def keep_seconds() -> float:
    """How long reports and rejected rows are kept: ``keep_days`` in seconds."""
    return conf.getint(_SECTION, "keep_days", fallback=30) * _DAY


def state_problem() -> str:
    """Why a state under ``storage_path`` may be lost with the worker that wrote it; empty where it is not."""
    executors = conf.get("core", "executor", fallback="LocalExecutor")
    elsewhere = [
        name.strip()
        for name in executors.split(",")
        if name.strip().rpartition(":")[2].rpartition(".")[2] not in _ON_THIS_MACHINE
    ]
    if not elsewhere or conf.get(_SECTION, "storage_path", fallback="").strip():
        return ""
    return (
        f"This sync keeps state, and {', '.join(elsewhere)} may run its next try on another machine, where the "
        "default folder of the state is empty. Set [klaviyo] storage_path (AIRFLOW__KLAVIYO__STORAGE_PATH) to a "
        "place that all workers share, such as s3://bucket/folder or a network folder."
    )

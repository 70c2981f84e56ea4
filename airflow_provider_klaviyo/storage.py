"""Where Airflow's configuration says that files are kept."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from airflow_provider_klaviyo._compat import conf
from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError
from airflow_provider_klaviyo.state.remote import RemotePath

_SECTION = "klaviyo"
_DAY = 86_400.0
_USE = "Use a folder that all workers share, or an object store, such as s3://connection@bucket/folder"
_KEEPS_NOTHING = {
    "memory": "what is in memory is gone with the process",
    "http": "a web server takes no files",
    "https": "a web server takes no files",
}
_ON_THIS_MACHINE = {"LocalExecutor", "SequentialExecutor", "InProcessExecutor", "DebugExecutor"}


def storage_path() -> Path | RemotePath:
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
    return remote_path(configured)


def remote_path(configured: str) -> RemotePath:
    """The folder of an object store or a file server, as ``ObjectStoragePath`` writes it: ``s3://connection@bucket/folder``.

    :raises KlaviyoConfigurationError: when Airflow does not know such a store, or the connection, or when the store
        keeps nothing.
    """
    from airflow.sdk import BaseHook, ObjectStoragePath

    protocol = configured.partition("://")[0].lower()
    if reason := _KEEPS_NOTHING.get(protocol):
        msg = f"[klaviyo] storage_path = {configured} cannot be used: {reason}. {_USE}"
        raise KlaviyoConfigurationError(msg)
    try:
        path = ObjectStoragePath(configured)
        if conn_id := urlsplit(configured).netloc.rpartition("@")[0]:
            BaseHook.get_connection(conn_id)  # else some filesystems would take other credentials in silence
        return RemotePath(path.fs, path.path, configured)
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

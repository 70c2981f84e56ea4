"""Where Airflow's configuration says that files are kept."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from airflow_provider_klaviyo._compat import AirflowNotFoundException, conf
from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError
from airflow_provider_klaviyo.masking import show_place
from airflow_provider_klaviyo.state.remote import RemotePath
from airflow_provider_klaviyo.storage_connections import unusable_type

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

    :raises KlaviyoConfigurationError: when it is no path that Airflow knows, or one that is not the same everywhere.
    """
    configured = conf.get(_SECTION, "storage_path", fallback="").strip()
    if not configured:
        return Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser() / "klaviyo"
    is_local = "://" not in configured or configured.lower().startswith("file://")
    return _folder(configured) if is_local else remote_path(configured)


def _folder(configured: str) -> Path:
    path = Path(configured.partition("://")[2] or configured).expanduser()
    if not path.is_absolute():
        told = (
            "each process would look for it in the folder that it was started in. Write the whole path, from its first "
            f"/ on; a store has :// behind its kind. {_USE}"
        )
        raise _unusable(configured, told)
    return path


def remote_path(configured: str) -> RemotePath:
    """The folder of an object store or a file server, as ``ObjectStoragePath`` writes it: ``s3://connection@bucket/folder``.

    :raises KlaviyoConfigurationError: when Airflow does not know such a store, or the connection, or when the store
        keeps nothing.
    """
    from airflow.sdk import ObjectStoragePath

    protocol = configured.partition("://")[0].lower()
    if reason := _KEEPS_NOTHING.get(protocol):
        raise _unusable(configured, f"{reason}. {_USE}")
    try:
        _look_for_connection(configured)
        path = ObjectStoragePath(configured)
        return RemotePath(path.fs, path.path, configured)
    except KlaviyoConfigurationError:
        raise
    except Exception as error:
        raise _unusable(configured, str(error)) from error


def _look_for_connection(configured: str) -> None:
    """Ask Airflow before any filesystem is made: some take other credentials in silence where there is none."""
    from airflow.sdk import BaseHook

    parts = urlsplit(configured)
    conn_id, _, where = parts.netloc.rpartition("@")
    if not conn_id:
        return
    try:
        connection = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        name, colon, _ = conn_id.partition(":")
        shown = f"{name}:…" if colon else name  # a password may follow
        told = (
            f"Airflow has no connection {shown!r}, and what stands before @ is the id of a connection. Make that "
            f"connection, or mend its id ({parts.scheme}://connection@{where}); without id and @ the worker's own "
            "credentials are used"
        )
        raise _unusable(configured.replace(conn_id, shown, 1), told) from None
    if why := unusable_type(parts.scheme, connection.conn_type or "", connection.extra_dejson):
        told = f"{conn_id!r} is no connection to such a store: {why}. Name another one before @, or mend its type"
        raise _unusable(configured, told)


def _unusable(configured: str, why: str) -> KlaviyoConfigurationError:
    show_place(configured)
    return KlaviyoConfigurationError(f"[klaviyo] storage_path = {configured} cannot be used: {why}")


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

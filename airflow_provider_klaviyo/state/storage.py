"""What can be said of a storage that is of no use."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError, KlaviyoRetryableError
from airflow_provider_klaviyo.state.remote import StoreFailed

_UNUSABLE = (
    FileExistsError,
    FileNotFoundError,
    ImportError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


_TRY_AGAIN = (
    "A retry goes on from what was noted there. If it ends the same way, check [klaviyo] storage_path, its connection, "
    "and whether the workers reach the store."
)


@contextmanager
def in_words() -> Iterator[None]:
    """Say in words that a store has failed, wherever in a run that was.

    :raises KlaviyoRetryableError: naming what it was asked for, and what a retry does.
    """
    try:
        yield
    except StoreFailed as error:
        msg = f"The store of [klaviyo] storage_path has failed at {error.filename} ({error.strerror}). {_TRY_AGAIN}"
        raise KlaviyoRetryableError(msg) from error


@contextmanager
def usable(
    path: Any, what: str = "Nothing can be kept in", names: str = "the ids of the Dag, the task or the run"
) -> Iterator[None]:
    """Say in words that a place cannot be written to.

    :param what: cannot be done, before the path.
    :param names: what the path is named after.
    :raises KlaviyoConfigurationError: naming what to change, where another try would end the same way.
    :raises KlaviyoRetryableError: where there is no room, or the store is out of reach.
    """
    try:
        yield
    except _UNUSABLE as error:
        msg = f"{what} {path} ({error}). Check [klaviyo] storage_path."
        raise KlaviyoConfigurationError(msg) from error
    except OSError as error:
        if error.errno in _FULL:
            why = f"there is no room ({error.strerror})"
            msg = f"{what} {path}: {why}. Make some, or set another [klaviyo] storage_path."
            raise KlaviyoRetryableError(msg) from error
        if error.errno == errno.EROFS:
            msg = f"{what} {path} ({error}). Check [klaviyo] storage_path."
            raise KlaviyoConfigurationError(msg) from error
        if error.errno != errno.ENAMETOOLONG:
            msg = f"{what} {path} now ({error}). {_TRY_AGAIN}"
            raise KlaviyoRetryableError(msg) from error
        msg = f"{what} {path}: its name is too long. Shorten {names}, or set another [klaviyo] storage_path."
        raise KlaviyoConfigurationError(msg) from error

"""What can be said of a storage that is of no use."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError, KlaviyoRetryableError

_UNUSABLE = (
    FileExistsError,
    FileNotFoundError,
    ImportError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def usable(
    path: Any, what: str = "Nothing can be kept in", names: str = "the ids of the Dag, the task or the run"
) -> Iterator[None]:
    """Say in words that a place cannot be written to.

    :param what: cannot be done, before the path.
    :param names: what the path is named after.
    :raises KlaviyoConfigurationError: naming what to change, where another try would end the same way.
    :raises KlaviyoRetryableError: where there is no room.
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
            raise
        msg = f"{what} {path}: its name is too long. Shorten {names}, or set another [klaviyo] storage_path."
        raise KlaviyoConfigurationError(msg) from error

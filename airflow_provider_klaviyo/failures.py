"""Which failures end a task for good, told to Airflow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow_provider_klaviyo._compat import AirflowFailException
from airflow_provider_klaviyo.exceptions import (
    KlaviyoConfigurationError,
    KlaviyoRequestError,
    KlaviyoSyncFailed,
)
from airflow_provider_klaviyo.masking import mask


@contextmanager
def no_retry_in_vain() -> Iterator[None]:
    """Fail without an Airflow retry where one would end the same way: wrong settings, or what Klaviyo refused.

    :raises AirflowFailException: for these; other errors stay what they are.
    """
    try:
        yield
    except (KlaviyoConfigurationError, KlaviyoRequestError, KlaviyoSyncFailed) as error:
        raise AirflowFailException(mask(str(error))) from error

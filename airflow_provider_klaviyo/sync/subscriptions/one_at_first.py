"""One request of an endpoint at a time until Klaviyo has answered one, so that a wrong key costs one request."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from airflow_provider_klaviyo.client.endpoints import Endpoint
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.exceptions import KlaviyoError, KlaviyoRetryableError

_LOOK = 0.25
"""Seconds between two looks at whether the run is to stop."""


@dataclass(slots=True)
class Attempt:
    """A request that is about to leave; ``failure`` is what came of it, if not what it asked for."""

    failure: KlaviyoError | None = None


class OneAtFirst:
    """Whoever sends to the endpoint enters; safe to share among threads."""

    def __init__(self, client: KlaviyoClient, endpoint: Endpoint) -> None:
        self._client = client
        self._pace = client.pace(endpoint)
        self._first = threading.Lock()

    @contextmanager
    def entered(self) -> Iterator[Attempt]:
        """Wait until nobody else sends, or somebody was answered.

        After a failure that ends the run nobody enters any more: who waits is told to stop with it.

        :raises KlaviyoStopped: when the run is to stop.
        """
        attempt = Attempt()
        is_first = not self._pace.is_proven and self._gets_to_be_first()
        try:
            yield attempt
        finally:
            if is_first and self._goes_on(attempt.failure):
                self._first.release()

    def _gets_to_be_first(self) -> bool:
        while not self._first.acquire(timeout=_LOOK):
            self._client.check_stop()
        if self._pace.is_proven:
            self._first.release()
            return False
        return True

    def _goes_on(self, failure: KlaviyoError | None) -> bool:
        return failure is None or self._pace.is_proven or isinstance(failure, KlaviyoRetryableError)

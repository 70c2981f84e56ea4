"""Looks at Klaviyo again and again, in the triggerer, and never keeps its event loop waiting."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from airflow_provider_klaviyo.client.clock import Clock, SystemClock
from airflow_provider_klaviyo.exceptions import KlaviyoRetryableError
from airflow_provider_klaviyo.masking import words_of

log = logging.getLogger(__name__)

LOOK_SECONDS = 120.0
"""How long one look may take, retries included."""


class LookingTrigger(BaseTrigger):
    """Fires when a look says ``is_settled`` or the time is up; the event is the last look, or ``{"error": …}``.

    Subclasses say how to look; ``poll_interval`` is the seconds between two looks.
    """

    poll_interval: float
    clock: Clock = SystemClock()

    def look(self) -> dict[str, Any]:
        """What there is to see, as plain JSON, with ``is_settled``; runs in a thread and may block."""
        raise NotImplementedError

    def seconds_left(self) -> float:
        """How long to go on."""
        return math.inf

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until there is nothing more to wait for; every look runs in a thread, so that the loop stays free."""
        try:
            while True:
                seen = await sync_to_async(self._look_if_possible, thread_sensitive=False)()
                if (seen and seen["is_settled"]) or self.seconds_left() <= 0:
                    yield TriggerEvent(seen)  # type: ignore[no-untyped-call]
                    return
                await asyncio.sleep(min(self.poll_interval, max(self.seconds_left(), 0.0)))
        except Exception as error:
            told = {"error": f"{type(error).__name__}: {words_of(error)}"}
            yield TriggerEvent(told)  # type: ignore[no-untyped-call]

    def _look_if_possible(self) -> dict[str, Any] | None:
        try:
            return self.look()
        except KlaviyoRetryableError as error:  # the sensor's own timeout bounds how long an outage may last
            log.warning("Klaviyo cannot be looked at now: %s", error)
            return None

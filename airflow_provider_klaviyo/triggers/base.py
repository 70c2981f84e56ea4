"""Looks at Klaviyo again and again, in the triggerer, and never keeps its event loop waiting."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Mapping
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from airflow_provider_klaviyo.client.clock import Clock, SystemClock
from airflow_provider_klaviyo.exceptions import KlaviyoRetryableError
from airflow_provider_klaviyo.failures import is_known, way_to
from airflow_provider_klaviyo.masking import words_of

log = logging.getLogger(__name__)

LOOK_SECONDS = 120.0
"""How long one look may take, retries included."""


class LookingTrigger(BaseTrigger):
    """Fires when a look says ``is_settled`` or the time is up; the event is the last look, or ``{"error": …}``.

    Subclasses say how to look; ``poll_interval`` is the seconds between two looks, ``rest`` those before the first.
    """

    poll_interval: float
    rest: float = 0.0
    clock: Clock = SystemClock()

    def look(self) -> dict[str, Any]:
        """What there is to see, as plain JSON, with ``is_settled``; runs in a thread and may block."""
        raise NotImplementedError

    def told(self, seen: Mapping[str, Any]) -> str:
        """What a look has shown, in a sentence for the log."""
        raise NotImplementedError

    def seconds_left(self) -> float:
        """How long to go on."""
        return math.inf

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until there is nothing more to wait for; every look runs in a thread, so that the loop stays free."""
        told = ""
        try:
            await asyncio.sleep(min(self.rest, max(self.seconds_left(), 0.0)))
            while True:
                seen = await sync_to_async(self._look_if_possible, thread_sensitive=False)()
                if seen and told != (told := self.told(seen)):
                    log.info("%s", told)
                if (seen and seen["is_settled"]) or self.seconds_left() <= 0:
                    yield TriggerEvent(seen)  # type: ignore[no-untyped-call]
                    return
                await asyncio.sleep(min(self.poll_interval, max(self.seconds_left(), 0.0)))
        except Exception as error:
            if not is_known(error):
                log.error("The look at Klaviyo failed.\n%s", way_to(error))  # noqa: TRY400 - people may be in its words
            failure = {"error": f"{type(error).__name__}: {words_of(error)}"}
            yield TriggerEvent(failure)  # type: ignore[no-untyped-call]

    def _look_if_possible(self) -> dict[str, Any] | None:
        try:
            return self.look()
        except KlaviyoRetryableError as error:  # the sensor's own timeout bounds how long an outage may last
            log.warning("Klaviyo cannot be looked at now: %s", error)
            return None

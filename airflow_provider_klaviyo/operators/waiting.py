"""Waits for a state that another run has, without a worker: Airflow starts the task anew after a while."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NoReturn

from airflow_provider_klaviyo._compat import AirflowRescheduleException
from airflow_provider_klaviyo.masking import mask

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_klaviyo.client.clock import Clock
    from airflow_provider_klaviyo.state.errors import StateLocked

log = logging.getLogger(__name__)

_LATE = 300.0
"""Seconds by which Airflow may be late to start a task, before the next in line no longer waits for it."""


class Wait:
    """The wait of one task instance, over all times that it was started.

    :param lock_timeout: seconds that it may take.
    :param pause: seconds between two looks.
    :param soonest: seconds that any of them is apart, since Airflow 3.3 fails a task that starts anew at once: it takes
        the late news of the first start for that of the second.
    """

    def __init__(
        self, context: Context, clock: Clock, *, lock_timeout: float, pause: float, soonest: float
    ) -> None:
        is_back = context.get("task_reschedule_count")
        began = context["ti"].get_first_reschedule_date(context) if is_back else None
        self._pause = max(pause, soonest)
        self._soonest = soonest
        self._lock_timeout = lock_timeout
        self._clock = clock
        self._waited = max(clock.now() - began.timestamp(), 0.0) if began else 0.0

    @property
    def comes_again(self) -> float:
        """Seconds within which the task is started anew; 0 where the time is up."""
        return self._pause + _LATE if self._waited < self._lock_timeout else 0.0

    def go_on(self, locked: StateLocked) -> NoReturn:
        """Have the task started anew, as long as there is time.

        :raises AirflowRescheduleException: for Airflow, to start it anew.
        :raises StateLocked: when the time is up.
        """
        if not self.comes_again:
            waited = (
                f" This run has waited {self._waited:,.0f} s for it (lock_timeout)." if self._waited else ""
            )
            msg = f"{locked}{waited}"
            raise type(locked)(msg) from None
        pause = max(min(self._pause, max(self._lock_timeout - self._waited, 1.0)), self._soonest)
        log.warning(
            "This run waits for its turn, without a worker, and looks again in %.0f s; it gives up in %s s "
            "(lock_timeout). %s",
            pause,
            f"{self._lock_timeout - self._waited:,.0f}",
            mask(str(locked)),
        )
        raise AirflowRescheduleException(  # type: ignore[no-untyped-call]
            datetime.fromtimestamp(self._clock.now() + pause, UTC)
        )

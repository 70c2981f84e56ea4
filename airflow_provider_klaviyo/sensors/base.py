"""What the sensors share: they look, on a worker or in the triggerer, and outages do not end the wait."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseSensorOperator

from airflow_provider_klaviyo._compat import AirflowFailException, default_deferrable
from airflow_provider_klaviyo.client.clock import Clock, SystemClock
from airflow_provider_klaviyo.exceptions import KlaviyoRetryableError
from airflow_provider_klaviyo.failures import no_retry_in_vain, told_in_a_sentence
from airflow_provider_klaviyo.literals import ChecksLiterals, Reader
from airflow_provider_klaviyo.parameters import flag, not_negative

if TYPE_CHECKING:
    from airflow.sdk import Context


class KlaviyoSensor(ChecksLiterals, BaseSensorOperator):
    """Looks at Klaviyo until there is nothing more to wait for; subclasses say how to look.

    :param klaviyo_conn_id: the connection of type ``klaviyo`` (templated).
    :param deferrable: wait in the triggerer instead of on a worker; None is Airflow's ``default_deferrable``.
    """

    readers: ClassVar[Mapping[str, Reader]] = {"deferrable": flag}
    clock: Clock = SystemClock()
    """What tells the time."""

    def __init__(
        self, *, klaviyo_conn_id: str = "klaviyo_default", deferrable: bool | None = None, **kwargs: Any
    ) -> None:
        for name in kwargs.keys() & {"poke_interval", "timeout"}:
            not_negative(name, kwargs[name])  # Airflow says no more of an endless one than OverflowError
        super().__init__(**kwargs)
        self.klaviyo_conn_id = klaviyo_conn_id
        self.deferrable = default_deferrable() if deferrable is None else deferrable

    @told_in_a_sentence
    def execute(self, context: Context) -> Any:
        """Wait in the way that was asked for.

        :raises AirflowFailException: when a retry would not help: wrong settings, or what Klaviyo refuses.
        """
        if self.read("deferrable"):
            # What the triggerer sees at once, it tells so soon that Airflow 3.3 may fail the task.
            if done := self.poke(context):
                return getattr(done, "xcom_value", None)
            self._defer()
        return super().execute(context)

    def _defer(self) -> None:
        """Leave the waiting to the triggerer."""
        raise NotImplementedError

    def _look(self, context: Context) -> dict[str, Any]:
        """What there is to see, as the trigger tells it."""
        raise NotImplementedError

    def _look_if_possible(self, context: Context) -> dict[str, Any] | None:
        """The same; None in an outage, since the sensor's own timeout bounds how long one may last."""
        with no_retry_in_vain():
            try:
                return self._look(context)
            except KlaviyoRetryableError as error:
                self.log.warning("Klaviyo cannot be looked at now: %s", error)
                return None


def check_event(event: dict[str, Any] | None, what: str) -> None:
    """Fail when the trigger could not look.

    :param what: was waited for.
    """
    if event and event.get("error"):
        msg = f"Waiting for {what} failed: {event['error']}"
        raise AirflowFailException(msg)

"""Waits for a list to be there."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import PokeReturnValue

from airflow_provider_klaviyo._compat import AirflowSensorTimeout
from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError
from airflow_provider_klaviyo.parameters import exact_text, text, whole_number
from airflow_provider_klaviyo.sensors.base import KlaviyoSensor, check_event

if TYPE_CHECKING:
    from airflow.sdk import Context

_GRACE = timedelta(minutes=5)
"""The trigger knows when the time is up; Airflow's own timeout is for one that is lost."""


class KlaviyoListSensor(KlaviyoSensor):
    """Succeeds when a list exists, and holds enough profiles if that is asked for; returns the list's id.

    :param list_name: the list's name (templated).
    :param list_id: its id, in place of its name (templated).
    :param min_profiles: how many profiles it must hold. Klaviyo answers that 15 times a minute for the whole account,
        so poke rarely.
    :param klaviyo_conn_id: the connection of type ``klaviyo`` (templated).
    :param deferrable: wait in the triggerer instead of on a worker; None is Airflow's ``default_deferrable``.
    """

    template_fields: Sequence[str] = ("list_name", "list_id", "klaviyo_conn_id")

    def __init__(
        self,
        *,
        list_name: str | None = None,
        list_id: str | None = None,
        min_profiles: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.list_name = list_name
        self.list_id = list_id
        self.min_profiles = min_profiles

    def execute(self, context: Context) -> Any:
        """Wait in the way that was asked for; returns the list's id.

        :raises AirflowSensorTimeout: when the time is up; the list is named.
        :raises AirflowFailException: when a retry would not help.
        """
        try:
            return super().execute(context)
        except AirflowSensorTimeout as error:
            msg = f"{self._what()} did not appear in time. {error}"
            raise AirflowSensorTimeout(msg) from error

    def poke(self, context: Context) -> PokeReturnValue:
        """Look for the list once."""
        look = self._look_if_possible(context)
        if look is None:
            return PokeReturnValue(is_done=False)
        self.log.info("%s", self._seen(look))
        return PokeReturnValue(is_done=look["is_settled"], xcom_value=look["list_id"])

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> str:  # noqa: ARG002
        """Come back from the triggerer."""
        check_event(event, self._what())
        if not event or not event["is_settled"]:
            seen = self._seen(event) if event else "Klaviyo could not be looked at last."
            msg = f"{self._what()} did not appear in time, within {self.timeout:g} seconds. {seen}"
            raise AirflowSensorTimeout(msg)
        self.log.info("%s", self._seen(event))
        return str(event["list_id"])

    def _defer(self) -> None:
        from airflow_provider_klaviyo.triggers.lists import KlaviyoListTrigger

        name, list_id, least = self._target()
        trigger = KlaviyoListTrigger(
            list_name=name,
            list_id=list_id,
            min_profiles=least,
            klaviyo_conn_id=self.klaviyo_conn_id,
            poll_interval=self.poke_interval,
            until=self.clock.now() + self.timeout,
        )
        self.defer(
            trigger=trigger,
            method_name="execute_complete",
            timeout=timedelta(seconds=self.timeout) + _GRACE,
        )

    def _look(self, context: Context) -> dict[str, Any]:  # noqa: ARG002 - for those who need it
        from airflow_provider_klaviyo.hooks.klaviyo import KlaviyoHook
        from airflow_provider_klaviyo.triggers.lists import look_at_list

        return look_at_list(KlaviyoHook(self.klaviyo_conn_id), *self._target())

    def _target(self) -> tuple[str | None, str | None, int | None]:
        """The name or the id, and how many profiles are asked for."""
        name, list_id = exact_text("list_name", self.list_name), text("list_id", self.list_id)
        if bool(name) == bool(list_id):
            msg = "Give list_name or list_id, one of them."
            raise KlaviyoConfigurationError(msg)
        least = None if self.min_profiles is None else whole_number("min_profiles", self.min_profiles)
        return name, list_id, least

    def _what(self) -> str:
        what = f"The list {self.list_name!r}" if self.list_name else f"The list with the id {self.list_id}"
        return what if self.min_profiles is None else f"{what} with {self._target()[2]:,} profiles"

    def _seen(self, look: dict[str, Any]) -> str:
        if not look["list_id"]:
            return "There is no such list yet."
        held = "" if look["profiles"] is None else f" and holds {look['profiles']:,} profiles"
        return f"The list {look['list_id']} is there{held}."

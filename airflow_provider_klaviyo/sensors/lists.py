"""Waits for a list to be there."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator, PokeReturnValue

from airflow_provider_klaviyo._compat import AirflowFailException, AirflowSensorTimeout, default_deferrable

if TYPE_CHECKING:
    from airflow.sdk import Context

_GRACE = timedelta(minutes=5)
"""The trigger knows when the time is up; Airflow's own timeout is for one that is lost."""


class KlaviyoListSensor(BaseSensorOperator):
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
        klaviyo_conn_id: str = "klaviyo_default",
        deferrable: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.list_name = list_name
        self.list_id = list_id
        self.min_profiles = min_profiles
        self.klaviyo_conn_id = klaviyo_conn_id
        self.deferrable = default_deferrable() if deferrable is None else deferrable

    def execute(self, context: Context) -> Any:
        """Wait in the way that was asked for; returns the list's id.

        :raises AirflowSensorTimeout: when the time is up; the list is named.
        """
        if self.deferrable:
            self._defer()
        try:
            return super().execute(context)
        except AirflowSensorTimeout as error:
            msg = f"{self._what()} did not appear in time. {error}"
            raise AirflowSensorTimeout(msg) from error

    def poke(self, context: Context) -> PokeReturnValue:  # noqa: ARG002 - Airflow's signature
        """Look for the list once."""
        from airflow_provider_klaviyo.exceptions import (
            KlaviyoConfigurationError,
            KlaviyoRequestError,
            KlaviyoRetryableError,
        )
        from airflow_provider_klaviyo.hooks.klaviyo import KlaviyoHook
        from airflow_provider_klaviyo.triggers.lists import look_at_list

        try:
            look = look_at_list(KlaviyoHook(self.klaviyo_conn_id), *self._target(), self.min_profiles)
        except KlaviyoRetryableError as error:  # the sensor's own timeout bounds how long an outage may last
            self.log.warning("Klaviyo cannot be looked at now: %s", error)
            return PokeReturnValue(is_done=False)
        except (KlaviyoConfigurationError, KlaviyoRequestError) as error:
            raise AirflowFailException(str(error)) from error
        self.log.info("%s", self._seen(look))
        return PokeReturnValue(is_done=look["is_settled"], xcom_value=look["list_id"])

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> str:  # noqa: ARG002
        """Come back from the triggerer."""
        if event and event.get("error"):
            msg = f"Waiting for {self._what()} failed: {event['error']}"
            raise AirflowFailException(msg)
        if not event or not event["is_settled"]:
            seen = self._seen(event) if event else "Klaviyo could not be looked at last."
            msg = f"{self._what()} did not appear in time, within {self.timeout:g} seconds. {seen}"
            raise AirflowSensorTimeout(msg)
        self.log.info("%s", self._seen(event))
        return str(event["list_id"])

    def _defer(self) -> None:
        from airflow_provider_klaviyo.triggers.lists import KlaviyoListTrigger

        name, list_id = self._target()
        trigger = KlaviyoListTrigger(
            list_name=name,
            list_id=list_id,
            min_profiles=self.min_profiles,
            klaviyo_conn_id=self.klaviyo_conn_id,
            poll_interval=self.poke_interval,
            until=time.time() + self.timeout,
        )
        self.defer(
            trigger=trigger,
            method_name="execute_complete",
            timeout=timedelta(seconds=self.timeout) + _GRACE,
        )

    def _target(self) -> tuple[str | None, str | None]:
        from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError
        from airflow_provider_klaviyo.operators.options import text

        try:
            name, list_id = text("list_name", self.list_name), text("list_id", self.list_id)
        except KlaviyoConfigurationError as error:
            raise AirflowFailException(str(error)) from error
        if bool(name) == bool(list_id):
            msg = "Give list_name or list_id, one of them."
            raise AirflowFailException(msg)
        return name, list_id

    def _what(self) -> str:
        what = f"The list {self.list_name!r}" if self.list_name else f"The list with the id {self.list_id}"
        return what if self.min_profiles is None else f"{what} with {self.min_profiles:,} profiles"

    def _seen(self, look: dict[str, Any]) -> str:
        if not look["list_id"]:
            return "There is no such list yet."
        held = "" if look["profiles"] is None else f" and holds {look['profiles']:,} profiles"
        return f"The list {look['list_id']} is there{held}."

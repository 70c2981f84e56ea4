"""Waits for a list to be there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import PokeReturnValue

from airflow_provider_klaviyo._compat import AirflowSensorTimeout
from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError
from airflow_provider_klaviyo.failures import told_in_a_sentence
from airflow_provider_klaviyo.literals import Reader, Rule
from airflow_provider_klaviyo.parameters import exact_text, or_none, text, whole_number
from airflow_provider_klaviyo.sensors.base import KlaviyoSensor, check_event
from airflow_provider_klaviyo.wording import counted

if TYPE_CHECKING:
    from airflow.sdk import Context

_GRACE = timedelta(minutes=5)
"""The trigger knows when the time is up; Airflow's own timeout is for one that is lost."""


def one_of_them(list_name: str | None, list_id: str | None) -> None:
    if bool(list_name) == bool(list_id):
        msg = "Give list_name or list_id, one of them."
        raise KlaviyoConfigurationError(msg)


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
    readers: ClassVar[Mapping[str, Reader]] = {
        **KlaviyoSensor.readers,
        "list_name": exact_text,
        "list_id": text,
        "min_profiles": or_none(whole_number),
    }
    rules: ClassVar[Sequence[Rule]] = (one_of_them,)

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
        self.check_literals()

    @told_in_a_sentence
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

    @told_in_a_sentence
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
            rest=self.poke_interval,
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
        self.check_rules()
        return self.read("list_name"), self.read("list_id"), self.read("min_profiles")

    def _what(self) -> str:
        what = f"The list {self.list_name!r}" if self.list_name else f"The list with the id {self.list_id}"
        return (
            what if self.min_profiles is None else f"{what} with {counted(self._target()[2] or 0, 'profile')}"
        )

    def _seen(self, look: dict[str, Any]) -> str:
        if not look["list_id"]:
            return "There is no such list yet."
        held = "" if look["profiles"] is None else f" and holds {counted(look['profiles'], 'profile')}"
        return f"The list {look['list_id']} is there{held}."

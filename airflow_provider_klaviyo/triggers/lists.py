"""Waits for a list in the triggerer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_klaviyo.client.clock import moment_of
from airflow_provider_klaviyo.parameters import not_negative
from airflow_provider_klaviyo.triggers.base import LOOK_SECONDS, LookingTrigger

if TYPE_CHECKING:
    from airflow_provider_klaviyo.hooks.klaviyo import KlaviyoHook


def look_at_list(
    hook: KlaviyoHook, list_name: str | None, list_id: str | None, min_profiles: int | None
) -> dict[str, Any]:
    """Whether a list is there, as plain JSON: ``is_settled``, ``list_id`` and, where it was asked for, ``profiles``."""
    from airflow_provider_klaviyo.client.lists import count_members, find_list, name_of_list

    with hook.get_client(timeout=LOOK_SECONDS) as client:
        if list_id is None:
            found = find_list(client, list_name or "")
        else:
            found = list_id if name_of_list(client, list_id) is not None else None
        profiles = count_members(client, found) if found and min_profiles is not None else None
    is_full = min_profiles is None or (profiles or 0) >= min_profiles
    return {"is_settled": bool(found) and is_full, "list_id": found, "profiles": profiles}


class KlaviyoListTrigger(LookingTrigger):
    """Fires when the list is there, with what ``look_at_list`` tells; at ``until`` with what it saw last.

    :param until: seconds since the epoch, so that a triggerer that is restarted does not begin anew.
    :param rest: seconds before the first look.
    """

    def __init__(
        self,
        list_name: str | None,
        list_id: str | None,
        min_profiles: int | None,
        klaviyo_conn_id: str,
        poll_interval: float,
        until: float,
        rest: float = 0.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.list_name = list_name
        self.list_id = list_id
        self.min_profiles = min_profiles
        self.klaviyo_conn_id = klaviyo_conn_id
        self.poll_interval = not_negative("poll_interval", poll_interval)
        self.until = not_negative("until", until)
        self.rest = not_negative("rest", rest)
        self._end = moment_of(self.clock, until)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """How the triggerer makes this trigger again."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "list_name": self.list_name,
                "list_id": self.list_id,
                "min_profiles": self.min_profiles,
                "klaviyo_conn_id": self.klaviyo_conn_id,
                "poll_interval": self.poll_interval,
                "until": self.until,
                "rest": self.rest,
            },
        )

    def look(self) -> dict[str, Any]:
        """Look for the list."""
        from airflow_provider_klaviyo.hooks.klaviyo import KlaviyoHook

        return look_at_list(
            KlaviyoHook(self.klaviyo_conn_id), self.list_name, self.list_id, self.min_profiles
        )

    def told(self, seen: Mapping[str, Any]) -> str:
        """Whether the list is there, and how full it is."""
        if not seen["list_id"]:
            return f"Waiting for Klaviyo: there is no list {self.list_id or self.list_name} yet."
        if seen["profiles"] is None:
            return f"The list {seen['list_id']} is there."
        return f"The list {seen['list_id']} has {seen['profiles']:,} of {self.min_profiles:,} profiles."

    def seconds_left(self) -> float:
        """Until the sensor's time is up."""
        return self._end - self.clock.monotonic()

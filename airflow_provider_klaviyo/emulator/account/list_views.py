"""What members of a list show of a profile: it may lag behind the profile itself, or lack an identifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow_provider_klaviyo.emulator.account.account import Account
from airflow_provider_klaviyo.emulator.account.profile_store import Profile
from airflow_provider_klaviyo.emulator.requests.profile_schema import IDENTIFIERS


def as_member(account: Account, profile: Profile, resource: dict[str, Any]) -> dict[str, Any]:
    """A profile's resource as a page of members has it."""
    settings, attributes = account.settings, resource["attributes"]
    if settings.member_lag:
        attributes |= {name: _shown(account, profile, name) for name in IDENTIFIERS if name in attributes}
    for name in settings.hidden_of_members:
        if settings.hides_members_as == "absent":
            attributes.pop(name, None)
        elif name in attributes:
            attributes[name] = None
    return resource


def member_values(account: Account, profile: Profile, field: str) -> Sequence[str | float | None]:
    """What a filter of members compares."""
    values = account.profiles.values(profile, field)
    if not account.settings.member_lag:
        return values
    return (_shown(account, profile, field), *values[1:])


def _shown(account: Account, profile: Profile, field: str) -> str | None:
    return account.profiles.value_at(profile, field, account.clock.now() - account.settings.member_lag)

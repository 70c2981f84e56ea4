"""The account's lists and who is on them since when."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from airflow_provider_klaviyo.emulator.account.profile_store import Profile

OptIn = Literal["double_opt_in", "single_opt_in"]
OPT_IN_PROCESSES: tuple[OptIn, ...] = ("double_opt_in", "single_opt_in")


@dataclass(slots=True)
class ProfileList:
    """A list; `members` maps profile numbers to their place in the order of joining and when they joined."""

    id: str
    name: str
    opt_in_process: OptIn
    created: float
    updated: float
    members: dict[int, tuple[int, float]] = field(default_factory=dict)
    places: int = 0


class ListStore:
    """Lists by id, oldest first. Two of them may have one name."""

    def __init__(self) -> None:
        self._lists: dict[str, ProfileList] = {}

    def __iter__(self) -> Iterator[ProfileList]:
        return iter(self._lists.values())

    def get(self, list_id: str) -> ProfileList | None:
        """A list that exists."""
        return self._lists.get(list_id)

    def add(self, profile_list: ProfileList) -> None:
        """Keep a new list."""
        self._lists[profile_list.id] = profile_list

    def remove(self, list_id: str) -> None:
        """Delete a list; its members stay in the account."""
        del self._lists[list_id]

    def join(self, list_id: str, profile: Profile, now: float) -> None:
        """Put somebody on a list; who is on it already keeps the moment of joining."""
        profile_list = self._lists.get(list_id)
        if profile_list is not None and profile.number not in profile_list.members:
            profile_list.members[profile.number] = (profile_list.places, now)
            profile_list.places += 1

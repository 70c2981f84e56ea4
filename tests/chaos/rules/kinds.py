"""Which model holds for which kind of sync."""

from __future__ import annotations

from collections.abc import Collection

from tests.chaos.rules.base import Model
from tests.chaos.rules.consent import AskModel, GlobalModel, NewerModel, SubscribeModel
from tests.chaos.rules.lists import ListModel, UnsubscribeModel
from tests.chaos.rules.records import EventsModel, ProfilesModel


def model_of(kind: str, *, only_changes: bool, seeded: Collection[str]) -> Model:
    """The model for a kind of sync.

    :param seeded: whom the account has at first: subscribed, and on the list.
    """
    match kind:
        case "profiles":
            return ProfilesModel()
        case "events":
            return EventsModel()
        case "subscribe":
            return SubscribeModel()
        case "newer":
            return NewerModel()
        case "ask":
            return AskModel()
        case "unsubscribe":
            return UnsubscribeModel(seeded, only_changes=only_changes)
        case "globally":
            return GlobalModel(seeded)
    return ListModel(kind, only_changes=only_changes)

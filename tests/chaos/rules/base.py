"""What may be so in Klaviyo after some nights, whatever went wrong in them: for each person the states that the rules
permit.

A night is *quiet* when it ended with a run that came through: then there is one permitted state each. In a night that
was not quiet what the query asked for may have come through or not. The model of the twin knows quiet nights only, so
it is held to one state each, and shows that the model is right.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from tests.chaos.shop import Row
from tests.chaos.world import World


class Model(Protocol):
    """What may be so, by kind of sync."""

    def night(self, rows: Mapping[int, Row], *, is_quiet: bool) -> None:
        """A night has passed in which the query gave these rows."""

    def act(self, name: str, email: str) -> None:
        """Somebody has done something by hand, after a quiet night or where the order does not matter."""

    def refresh(self) -> None:
        """All is sent again in the night that begins, whoever was taken."""

    def faults(self, world: World) -> Iterable[str]:
        """What is not as it may be."""


class Base:
    """What most kinds have no need of."""

    def refresh(self) -> None:
        """Nobody is left as somebody's hand has left them."""

    def act(self, name: str, email: str) -> None:
        """Nothing that concerns this kind."""


def valid(rows: Mapping[int, Row]) -> dict[str, Row]:
    """The rows that can be sent, by address: the first of each counts."""
    found: dict[str, Row] = {}
    for row in rows.values():
        if row.is_valid:
            found.setdefault(str(row.email), row)
    return found


class Permitted(defaultdict[str, set[Any]]):
    """The permitted states of each person."""

    def __init__(self, at_first: object) -> None:
        super().__init__(lambda: {at_first})

    def become(self, key: str, state: object, *, surely: bool) -> None:
        self[key] = {state} if surely else {*self[key], state}

    def compare(self, what: str, seen: Mapping[str, object], nothing: object) -> Iterable[str]:
        for key in sorted({*self, *seen}):
            found = seen.get(key, nothing)
            if found not in self[key]:
                may = " or ".join(sorted(map(str, self[key])))
                yield f"{what} of {key} is {found}, and may be {may}"


def consents_of(world: World, emails: Iterable[str]) -> dict[str, object]:
    found = {email: world.klaviyo.consent(email=email) for email in list(emails)}
    return {
        email: consent["email"]
        for email, consent in found.items()
        if consent and consent["email"] != "NEVER_SUBSCRIBED"
    }

"""What may have become of profiles and events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tests.chaos.rules.base import Base, Permitted, valid
from tests.chaos.shop import Row
from tests.chaos.world import World


class ProfilesModel(Base):
    """The last values that were sent of each person."""

    def __init__(self) -> None:
        self._values = Permitted(None)

    def night(self, rows: Mapping[int, Row], *, is_quiet: bool) -> None:
        for email, row in valid(rows).items():
            self._values.become(email, (row.name, row.tier), surely=is_quiet)

    def faults(self, world: World) -> Iterable[str]:
        seen = {
            each["email"]: (each.get("first_name"), each.get("properties", {}).get("Tier"))
            for each in world.klaviyo.profiles()
        }
        yield from self._values.compare("the profile", seen, None)


class EventsModel(Base):
    """Each event once, as it was when it was first taken."""

    def __init__(self) -> None:
        self._events = Permitted(None)

    def night(self, rows: Mapping[int, Row], *, is_quiet: bool) -> None:
        for row in rows.values():
            before = self._events[str(row.id)]
            if row.is_valid and None in before:
                after = before | {(row.email, row.tier)}
                self._events[str(row.id)] = after - {None} if is_quiet else after

    def faults(self, world: World) -> Iterable[str]:
        seen: dict[str, object] = {}
        for event in world.klaviyo.events():
            order = str(event["properties"]["Order"])
            if order in seen:
                yield f"event {order} counts twice"
            seen[order] = (event["profile"]["email"], event["properties"]["Tier"])
        yield from self._events.compare("event", seen, None)

"""Who may be subscribed, asked, and unsubscribed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from tests.chaos.rules.base import Base, Permitted, consents_of, valid
from tests.chaos.shop import Row
from tests.chaos.world import World


class Objections(Base):
    """Whom something stands against: nobody else's doing ends that."""

    def __init__(self) -> None:
        self._opted_out: set[str] = set()
        self._suppressed: set[str] = set()

    def free(self, rows: Mapping[int, Row]) -> set[str]:
        """Who may be subscribed, of those whom the query names."""
        return set(valid(rows)) - self._opted_out - self._suppressed

    def act(self, name: str, email: str) -> None:
        if name == "opt_out":
            self._opted_out.add(email)
        elif name == "suppress":
            self._suppressed.add(email)
        elif name == "opt_in":
            self._opted_out.discard(email)


class SubscribeModel(Objections):
    """Who is subscribed and on the list."""

    def __init__(self) -> None:
        super().__init__()
        self._consents = Permitted(None)
        self._members = Permitted(False)

    def night(self, rows: Mapping[int, Row], *, is_quiet: bool) -> None:
        for email in self.free(rows):
            self._consents.become(email, "SUBSCRIBED", surely=is_quiet)
            self._members.become(email, True, surely=is_quiet)

    def act(self, name: str, email: str) -> None:
        super().act(name, email)
        if name in ("opt_out", "opt_in"):
            self._consents[email] = {"UNSUBSCRIBED" if name == "opt_out" else "SUBSCRIBED"}

    def faults(self, world: World) -> Iterable[str]:
        yield from self._consents.compare("consent", consents_of(world, self._consents), None)
        yield from self._members.compare("being a member", dict.fromkeys(world.members(), True), False)


class NewerModel(SubscribeModel):
    """The same, where consent that is newer than somebody's objection counts more."""

    def __init__(self) -> None:
        super().__init__()
        self._latest = 0.0
        self._since: dict[tuple[str, str], float] = {}

    def night(self, rows: Mapping[int, Row], *, is_quiet: bool) -> None:
        self._latest = max([self._latest, *(row.at for row in rows.values())])
        super().night(rows, is_quiet=is_quiet)

    def free(self, rows: Mapping[int, Row]) -> set[str]:
        return {
            email
            for email, row in valid(rows).items()
            if all(row.at > since for (who, _), since in self._since.items() if who == email)
        }

    def act(self, name: str, email: str) -> None:
        super().act(name, email)
        if name in ("opt_out", "suppress"):
            self._since[email, name] = self._latest
        elif name == "opt_in":
            self._since.pop((email, "opt_out"), None)


class AskModel(Objections):
    """How often each was asked for a confirmation: once, or never where a request for them may have left."""

    def __init__(self) -> None:
        super().__init__()
        self._asked = Permitted(0)
        self._confirmed: set[str] = set()
        self.doubted: set[str] = set()

    def night(self, rows: Mapping[int, Row], *, is_quiet: bool) -> None:
        for email in self.free(rows) - self._confirmed:
            self._asked.become(email, 1, surely=is_quiet and email not in self.doubted)

    def act(self, name: str, email: str) -> None:
        super().act(name, email)
        if name == "confirm":
            self._confirmed.add(email)

    def faults(self, world: World) -> Iterable[str]:
        seen = {person: count for (person, _, _), count in world.klaviyo.confirmations().items()}
        yield from self._asked.compare("how often they were asked", seen, 0)
        confirmed = dict.fromkeys(self._confirmed, "SUBSCRIBED")
        for email, consent in consents_of(world, self._asked).items():
            if consent == "SUBSCRIBED" and email not in confirmed:
                yield f"{email} is subscribed without having said yes"


class GlobalModel(Base):
    """Who is unsubscribed from everything."""

    def __init__(self, seeded: Collection[str]) -> None:
        self._consents = Permitted(None)
        self._consents |= {email: {"SUBSCRIBED"} for email in seeded}

    def night(self, rows: Mapping[int, Row], *, is_quiet: bool) -> None:
        for email in valid(rows):
            self._consents.become(email, "UNSUBSCRIBED", surely=is_quiet)

    def faults(self, world: World) -> Iterable[str]:
        yield from self._consents.compare("consent", consents_of(world, self._consents), None)

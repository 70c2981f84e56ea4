"""What may be so in Klaviyo after some nights, whatever went wrong in them: for each person the states that the rules
permit.

A night is *quiet* when it ended with a run that came through: then there is one permitted state each. In a night that
was not quiet what the query asked for may have come through or not. The model of the twin knows quiet nights only, so
it is held to one state each, and shows that the model is right.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
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


class _Base:
    """What most kinds have no need of."""

    def refresh(self) -> None:
        """Nobody is left as somebody's hand has left them."""

    def act(self, name: str, email: str) -> None:
        """Nothing that concerns this kind."""


def _valid(rows: Mapping[int, Row]) -> dict[str, Row]:
    """The rows that can be sent, by address: the first of each counts."""
    found: dict[str, Row] = {}
    for row in rows.values():
        if row.is_valid:
            found.setdefault(str(row.email), row)
    return found


class _Permitted(defaultdict[str, set[Any]]):
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


class ProfilesModel(_Base):
    """The last values that were sent of each person."""

    def __init__(self) -> None:
        self._values = _Permitted(None)

    def night(self, rows: Mapping[int, Row], *, is_quiet: bool) -> None:
        for email, row in _valid(rows).items():
            self._values.become(email, (row.name, row.tier), surely=is_quiet)

    def faults(self, world: World) -> Iterable[str]:
        seen = {
            each["email"]: (each.get("first_name"), each.get("properties", {}).get("Tier"))
            for each in world.klaviyo.profiles()
        }
        yield from self._values.compare("the profile", seen, None)


class EventsModel(_Base):
    """Each event once, as it was when it was first taken."""

    def __init__(self) -> None:
        self._events = _Permitted(None)

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


class ListModel:
    """Who is on the list.

    :param mode: ``add``, ``remove``, ``tracked`` or ``strict``.
    :param only_changes: whether who was taken stays as somebody's hand has left it.
    """

    def __init__(self, mode: str, *, only_changes: bool) -> None:
        self._mode = mode
        self._is_mirror = mode in ("tracked", "strict")
        self._members = _Permitted(False)
        self._keys: dict[int, set[str]] = defaultdict(set)
        self._settled: dict[int, str] = {}
        self._perhaps_settled: dict[int, str] = {}
        self._by_hand: set[str] = set()
        self._compares = mode == "tracked" or (only_changes and mode != "strict")

    def refresh(self) -> None:
        self._settled.clear()
        self._perhaps_settled.clear()

    def night(self, rows: Mapping[int, Row], *, is_quiet: bool) -> None:
        wanted = self._mode != "remove"
        valid = _valid(rows)
        for email, row in valid.items():
            self._keys[row.id].add(email)
            if self._settled.get(row.id) == email:
                continue  # nobody is sent again who was taken
            is_sent = self._perhaps_settled.get(row.id) != email
            before = self._members[email]
            self._members.become(email, wanted, surely=is_quiet and is_sent)
            if self._compares and is_quiet and is_sent:
                self._settle(row, before)
        if self._is_mirror:
            self._let_leave(rows, valid, is_quiet=is_quiet)
        for settled in (self._settled, self._perhaps_settled):
            for number in [*settled]:
                row = rows.get(number)
                if row and row.is_valid and row.email != settled[number]:
                    del settled[number]

    def _settle(self, row: Row, before: set[bool]) -> None:
        """A row that was taken is not sent again; one that was skipped, since nobody was on the list, is."""
        was_taken = {True} if self._mode != "remove" else before
        if was_taken == {True}:
            self._settled[row.id] = str(row.email)
        elif True in was_taken:
            self._perhaps_settled[row.id] = str(row.email)

    def _let_leave(self, rows: Mapping[int, Row], valid: Collection[str], *, is_quiet: bool) -> None:
        spared = {email for number, row in rows.items() if not row.is_valid for email in self._keys[number]}
        strangers = self._by_hand if self._mode == "strict" else set()
        known = {email for emails in self._keys.values() for email in emails} | strangers
        for email in known - spared - set(valid):
            self._members.become(email, False, surely=is_quiet)
        if is_quiet:
            for number in [*self._keys]:
                row = rows.get(number)
                if row is None:
                    del self._keys[number]
                elif row.is_valid:
                    self._keys[number] = {str(row.email)}

    def act(self, name: str, email: str) -> None:
        self._members[email] = {name == "join"}
        self._by_hand.add(email)

    def faults(self, world: World) -> Iterable[str]:
        if len(world.list_ids) > 1:
            yield f"there are {len(world.list_ids)} lists"
        yield from self._members.compare("being a member", dict.fromkeys(world.members(), True), False)


class _Objections(_Base):
    """Whom something stands against: nobody else's doing ends that."""

    def __init__(self) -> None:
        self._opted_out: set[str] = set()
        self._suppressed: set[str] = set()

    def free(self, rows: Mapping[int, Row]) -> set[str]:
        """Who may be subscribed, of those whom the query names."""
        return set(_valid(rows)) - self._opted_out - self._suppressed

    def act(self, name: str, email: str) -> None:
        if name == "opt_out":
            self._opted_out.add(email)
        elif name == "suppress":
            self._suppressed.add(email)
        elif name == "opt_in":
            self._opted_out.discard(email)


class SubscribeModel(_Objections):
    """Who is subscribed and on the list."""

    def __init__(self) -> None:
        super().__init__()
        self._consents = _Permitted(None)
        self._members = _Permitted(False)

    def night(self, rows: Mapping[int, Row], *, is_quiet: bool) -> None:
        for email in self.free(rows):
            self._consents.become(email, "SUBSCRIBED", surely=is_quiet)
            self._members.become(email, True, surely=is_quiet)

    def act(self, name: str, email: str) -> None:
        super().act(name, email)
        if name in ("opt_out", "opt_in"):
            self._consents[email] = {"UNSUBSCRIBED" if name == "opt_out" else "SUBSCRIBED"}

    def faults(self, world: World) -> Iterable[str]:
        yield from self._consents.compare("consent", _consents(world, self._consents), None)
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
            for email, row in _valid(rows).items()
            if all(row.at > since for (who, _), since in self._since.items() if who == email)
        }

    def act(self, name: str, email: str) -> None:
        super().act(name, email)
        if name in ("opt_out", "suppress"):
            self._since[email, name] = self._latest
        elif name == "opt_in":
            self._since.pop((email, "opt_out"), None)


class AskModel(_Objections):
    """How often each was asked for a confirmation: once, or never where a request for them may have left."""

    def __init__(self) -> None:
        super().__init__()
        self._asked = _Permitted(0)
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
        for email, consent in _consents(world, self._asked).items():
            if consent == "SUBSCRIBED" and email not in confirmed:
                yield f"{email} is subscribed without having said yes"


class UnsubscribeModel(ListModel):
    """Who is still on the list; nobody's consent to anything else has changed.

    :param members: who is on the list at first, and subscribed.
    """

    def __init__(self, members: Collection[str], *, only_changes: bool) -> None:
        super().__init__("remove", only_changes=only_changes)
        self._seeded = set(members)
        for email in members:
            self.act("join", email)

    def faults(self, world: World) -> Iterable[str]:
        yield from super().faults(world)
        for email, consent in _consents(world, self._members).items():
            if consent == "UNSUBSCRIBED" or (email in self._seeded and consent != "SUBSCRIBED"):
                yield f"{email} is {consent} now, by being unsubscribed from a list"


class GlobalModel(_Base):
    """Who is unsubscribed from everything."""

    def __init__(self, seeded: Collection[str]) -> None:
        self._consents = _Permitted(None)
        self._consents |= {email: {"SUBSCRIBED"} for email in seeded}

    def night(self, rows: Mapping[int, Row], *, is_quiet: bool) -> None:
        for email in _valid(rows):
            self._consents.become(email, "UNSUBSCRIBED", surely=is_quiet)

    def faults(self, world: World) -> Iterable[str]:
        yield from self._consents.compare("consent", _consents(world, self._consents), None)


def _consents(world: World, emails: Iterable[str]) -> dict[str, object]:
    found = {email: world.klaviyo.consent(email=email) for email in list(emails)}
    return {
        email: consent["email"]
        for email, consent in found.items()
        if consent and consent["email"] != "NEVER_SUBSCRIBED"
    }


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

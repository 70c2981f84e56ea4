"""Who may be on the list."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

from tests.chaos.rules.base import Permitted, consents_of, valid
from tests.chaos.shop import Row
from tests.chaos.world import World


class ListModel:
    """Who is on the list.

    :param mode: ``add``, ``remove``, ``tracked`` or ``strict``.
    :param only_changes: whether who was taken stays as somebody's hand has left it.
    """

    def __init__(self, mode: str, *, only_changes: bool) -> None:
        self._mode = mode
        self._is_mirror = mode in ("tracked", "strict")
        self._members = Permitted(False)
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
        found = valid(rows)
        for email, row in found.items():
            self._keys[row.id].add(email)
            if self._settled.get(row.id) == email:
                continue  # nobody is sent again who was taken
            is_sent = self._perhaps_settled.get(row.id) != email
            before = self._members[email]
            self._members.become(email, wanted, surely=is_quiet and is_sent)
            if self._compares and is_quiet and is_sent:
                self._settle(row, before)
        if self._is_mirror:
            self._let_leave(rows, found, is_quiet=is_quiet)
        for settled in (self._settled, self._perhaps_settled):
            for number in [*settled]:
                now = rows.get(number)
                if now is not None and now.is_valid and now.email != settled[number]:
                    del settled[number]

    def _settle(self, row: Row, before: set[bool]) -> None:
        """A row that was taken is not sent again; one that was skipped, since nobody was on the list, is."""
        was_taken = {True} if self._mode != "remove" else before
        if was_taken == {True}:
            self._settled[row.id] = str(row.email)
        elif True in was_taken:
            self._perhaps_settled[row.id] = str(row.email)

    def _let_leave(self, rows: Mapping[int, Row], present: Collection[str], *, is_quiet: bool) -> None:
        spared = {email for number, row in rows.items() if not row.is_valid for email in self._keys[number]}
        strangers = self._by_hand if self._mode == "strict" else set()
        known = {email for emails in self._keys.values() for email in emails} | strangers
        for email in known - spared - set(present):
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
        for email, consent in consents_of(world, self._members).items():
            if consent == "UNSUBSCRIBED" or (email in self._seeded and consent != "SUBSCRIBED"):
                yield f"{email} is {consent} now, by being unsubscribed from a list"

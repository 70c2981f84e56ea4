"""What people do by themselves, and other people by hand, in both accounts."""

from __future__ import annotations

import random
from collections.abc import Mapping

from tests.chaos.rules.base import Model
from tests.chaos.shop import Shop
from tests.chaos.watch import Story, Watch
from tests.chaos.world import World

_ACTS = {
    "add": ("leave",),
    "remove": ("join",),
    "tracked": ("leave", "stranger"),
    "strict": ("leave", "stranger"),
    "subscribe": ("opt_out", "opt_out", "suppress", "opt_in"),
    "newer": ("opt_out", "opt_out", "opt_out", "suppress", "opt_in"),
    "ask": ("opt_out", "suppress", "confirm", "confirm"),
    "unsubscribe": ("join",),
}
_AT_ANY_TIME = ("opt_out", "suppress", "opt_in", "stranger")
"""What ends the same whether or not a sync has come through before."""


class People:
    """They act in all accounts alike.

    :param models: of each account, which are told.
    """

    def __init__(
        self,
        kind: str,
        rng: random.Random,
        shop: Shop,
        models: Mapping[World, Model],
        watch: Watch,
        story: Story,
    ) -> None:
        self._acts = _ACTS.get(kind, ())
        self._rng = rng
        self._shop = shop
        self._models = models
        self._watch = watch
        self._story = story
        self._strangers = 0

    def act(self, *, is_quiet: bool) -> None:
        """Let some do something.

        :param is_quiet: whether the sync has come through in all accounts, so that they are alike.
        """
        for name in self._acts:
            if self._rng.random() < 0.5 or not (is_quiet or name in _AT_ANY_TIME):
                continue
            if emails := self._eligible(name):
                self._do(name, self._rng.choice(emails))

    def _eligible(self, name: str) -> list[str]:
        """Of whom an act makes sense in all accounts."""
        emails = {str(row.email) for rows in self._shop.nights for row in rows.values() if row.is_valid}
        if name == "stranger":
            self._strangers += 1
            return [f"hand{self._strangers}@shop.io"] if all(world.list_ids for world in self._models) else []
        for world in self._models:
            if name in ("leave", "join"):
                is_member = name == "leave"
                emails = {each for each in emails if (each in world.members()) is is_member}
            if name == "confirm":
                emails &= {person for person, _, _ in world.klaviyo.confirmations()}
        return sorted(emails)

    def _do(self, name: str, email: str) -> None:
        name = "join" if name == "stranger" else name
        self._story.counts[f"by hand: {name}"] += 1
        self._story.tell(f"  by hand: {name} {email}")
        self._watch.forget(email)
        for world, model in self._models.items():
            getattr(world, name)(email)
            model.act(name, email)

"""Who agreed to what, and who must not be written to: consent by channel, suppressions, and suppressions of one list.

Only people who ever said something take up room, and those of one request share one `Standing`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from airflow_provider_klaviyo.emulator.core.channels import CHANNELS, MARKETING, Consent

REASONS = ("HARD_BOUNCE", "INVALID_EMAIL", "SPAM_COMPLAINT", "UNSUBSCRIBE", "USER_SUPPRESSED")
#: What subscribing lifts (OpenAPI 2026-07-15, bulk_subscribe_profiles); addresses that do not exist stay suppressed.
LIFTED = ("UNSUBSCRIBE", "SPAM_COMPLAINT", "USER_SUPPRESSED")


class Standing(msgspec.Struct, frozen=True, gc=False):
    """Where people stand on a channel; `at` is when consent was given or withdrawn, `updated` when it was recorded."""

    consent: Consent
    at: float
    updated: float
    method: str = "API"
    source: str | None = None
    is_confirmed: bool = False


class ListSuppression(msgspec.Struct, frozen=True, gc=False):
    """Why and since when somebody hears nothing of a list."""

    reason: str
    at: float


class ConsentStore:
    """Consent and suppressions by profile number."""

    def __init__(self) -> None:
        self._standings: dict[str, dict[int, Standing]] = {
            channel: {} for channels in CHANNELS.values() for channel in channels
        }
        self._suppressions: dict[int, dict[str, float]] = {}
        self._list_suppressions: dict[str, dict[int, dict[str, ListSuppression]]] = {
            channel: {} for channel in MARKETING
        }
        self._quick_turns: dict[tuple[str, int], float] = {}

    def standing(self, number: int, channel: str) -> Standing | None:
        """Where somebody stands on a channel; None for who never said anything."""
        return self._standings[channel].get(number)

    def is_known(self, number: int) -> bool:
        """Whether there is anything to say of somebody."""
        if number in self._suppressions or any(number in each for each in self._standings.values()):
            return True
        return any(number in each for each in self._list_suppressions.values())

    def is_subscribed(self, number: int, channel: str) -> bool:
        """Whether somebody's consent to a channel is in force; suppressions do not count."""
        standing = self.standing(number, channel)
        return standing is not None and standing.consent == "SUBSCRIBED"

    def objects(self, number: int, channel: str) -> bool:
        """Whether somebody has opted out of a channel or, for e-mail, is suppressed for any reason."""
        standing = self.standing(number, channel)
        is_out = standing is not None and standing.consent == "UNSUBSCRIBED"
        return is_out or (channel == "email" and bool(self.suppressions(number)))

    def put(self, number: int, channel: str, standing: Standing | None) -> None:
        """Record where somebody stands; None forgets it."""
        if standing is None:
            self._standings[channel].pop(number, None)
        else:
            self._standings[channel][number] = standing

    # --------------------------------------------------------------------------------------------------------

    def suppressions(self, number: int) -> Mapping[str, float]:
        """Why somebody gets no e-mail, and since when."""
        return self._suppressions.get(number, {})

    def suppress(self, number: int, reason: str, at: float) -> None:
        """Suppress somebody; for a reason that holds already the first moment stays."""
        self._suppressions.setdefault(number, {}).setdefault(reason, at)

    def is_liftable(self, number: int) -> bool:
        """Whether subscribing to anything would let somebody have e-mail again who is suppressed."""
        return any(reason in self.suppressions(number) for reason in LIFTED)

    def lift(self, number: int, reasons: Iterable[str]) -> None:
        """Lift suppressions for these reasons."""
        held = self._suppressions.get(number, {})
        for reason in reasons:
            held.pop(reason, None)
        if not held:
            self._suppressions.pop(number, None)

    def list_suppressions(self, number: int, channel: str = "email") -> Mapping[str, ListSuppression]:
        """The lists that somebody hears nothing of."""
        return self._list_suppressions[channel].get(number, {})

    def suppress_on(self, number: int, channel: str, list_id: str, suppression: ListSuppression) -> None:
        """Suppress somebody for one list."""
        self._list_suppressions[channel].setdefault(number, {}).setdefault(list_id, suppression)

    def lift_on(self, number: int, channel: str, list_id: str) -> None:
        """Lift a suppression for one list."""
        held = self._list_suppressions[channel].get(number, {})
        held.pop(list_id, None)
        if not held:
            self._list_suppressions[channel].pop(number, None)

    def suppressed(self, *, on_lists: bool) -> Iterator[int]:
        """Everybody with a suppression of e-mail, or of a list's e-mail, in the order of creation."""
        return iter(sorted(self._list_suppressions["email"] if on_lists else self._suppressions))

    # --------------------------------------------------------------------------------------------------------

    def note_turn(self, number: int, channel: str, at: float, within: float) -> None:
        """Remember that a subscription by API is withdrawn, when that comes `within` seconds after it."""
        before = self.standing(number, channel)
        self._quick_turns.pop((channel, number), None)
        if (
            before is not None
            and (before.consent, before.method) == ("SUBSCRIBED", "API")
            and at - before.updated < within
        ):
            self._quick_turns[channel, number] = before.updated

    @property
    def has_turns(self) -> bool:
        """Whether anybody's next subscription may be a third turn."""
        return bool(self._quick_turns)

    def turns_too_often(self, number: int, channel: str, at: float, within: float) -> bool:
        """Whether subscribing now would be the third turn of a subscription that is not older than `within`."""
        first = self._quick_turns.get((channel, number))
        return first is not None and at - first < within

"""What kind of account the emulator plays, and the clock it lives by."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

#: Every scope that an operation of the emulator asks for, so that a key without a list of its own may do all.
ALL_SCOPES: tuple[str, ...] = (
    "accounts:read",
    "events:read",
    "events:write",
    "lists:read",
    "lists:write",
    "metrics:read",
    "profiles:read",
    "profiles:write",
    "subscriptions:read",
    "subscriptions:write",
)

DEFAULT_API_KEY = "pk_emulator"

_CHOICES: dict[str, tuple[object, ...]] = {
    "rate_limits": ("real", "off"),
    "page_times": ("real", "off"),
    "pointers": ("all", "one", "none", "field"),
    "import_errors": ("full", "pointer", "payload", "crossed"),
    "bulk_phones": ("dropped", "refused"),
    "bad_key_status": (400, 401),
    "default_opt_in": ("double_opt_in", "single_opt_in"),
    "conflicts": ("refuse", "take_over"),
    "suppression_jobs": ("mislead", "tell"),
    "hides_members_as": ("null", "absent"),
    "joined_times": ("seconds", "exact"),
    "ties": ("turn", "stay"),
}


class Clock(Protocol):
    """Where the emulator takes the time from: rate limit windows, import jobs and time stamps follow it."""

    def now(self) -> float:
        """Seconds since 1970, UTC."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> float:
        """Seconds since 1970, UTC."""
        return time.time()


class ManualClock:
    """A clock that stands still until it is moved, for tests without waiting."""

    def __init__(self, start: float = 1_790_000_000.0) -> None:
        self._now = start
        self._lock = threading.Lock()

    def now(self) -> float:
        """Seconds since 1970, UTC."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move the time on by `seconds`."""
        with self._lock:
            self._now += seconds


@dataclass(frozen=True, slots=True)
class Settings:
    """The account and the temper of an emulator.

    :param account_id: six characters, as `GET /api/accounts` answers.
    :param organization_name: the account's name.
    :param api_key: the private key with every scope; not used when `keys` is given.
    :param keys: private keys and their scopes. All of them share the account's rate limit windows.
    :param job_seconds: how long a bulk import job takes from its creation to `complete`.
    :param rate_limits: `real` refuses what passes a window; `off` lets it through and only counts it.
    :param time_factor: how much faster than real the windows pass: 10 makes a minute of six seconds.
    :param window_offset: seconds by which windows are shifted against the clock; Klaviyo's alignment is not known.
    :param count_refused: a refused request counts in its windows too (the stricter reading).
    :param pointers: how a 400 names bad records: `all` of them, `one` an answer, `none`, or only their `field`.
    :param import_errors: what an import error names its record by: the pointer into the request, the
        `original_payload`, or both; which of them Klaviyo fills is not known. `crossed` points at another record.
    :param counts_failures: a job's `failed_count` counts what was not imported; False counts it as completed.
    :param bulk_phones: an invalid number in a bulk import is `dropped` in silence, as real accounts do, or the request
        is `refused`, as Klaviyo's guide says.
    :param sms: whether the account can send SMS; without it nobody is known by a phone number alone.
    :param phone_regions: ISO countries whose numbers are accepted; None accepts every country.
    :param sms_regions: ISO countries whose numbers can be subscribed to SMS, those of the account's sending numbers;
        None is every country.
    :param age_gate: age that SMS consent asks for, where the account is age-gated; None where it is not.
    :param default_opt_in: the account's opt-in process, which counts where a subscription names no list.
    :param subscription_seconds: how long after its request a subscription or its end is worked off.
    :param history_seconds: the same for a historical subscription, which takes up to 20 minutes in a busy account; None
        is as long as for any other.
    :param plus_address_seconds: how long after its creation Klaviyo itself suppresses a profile whose address has a
        plus sign, as it was seen to do with those that the API makes; None is never.
    :param suppression_jobs: what jobs that suppress people, or lift that, say of themselves. `mislead`: they stay in
        `processing` for ever, with an end and every profile skipped, and are worked off all the same, as was seen in
        real accounts; `tell`: what became of them.
    :param page_times: `real` takes as long for a page of profiles as Klaviyo was seen to; `off` does not wait.
    :param toggle_seconds: subscribe, unsubscribe and subscribe of one profile within this time, and the last is
        ignored; 0 ignores none.
    :param list_unsubscribes_are_global: the account's setting that makes leaving a list a global unsubscription.
    :param member_lag: seconds that a list's members go on showing, and being found by, what an identifier was before
        it was written, while the profile itself shows it at once.
    :param hidden_of_members: identifiers that a list's members never show, though filters find them by these.
    :param hides_members_as: how they are hidden: `null`, or `absent`.
    :param joined_times: how a list shows when its members joined: in whole `seconds`, as Klaviyo does, or `exact`;
        it orders and filters by the exact time.
    :param ties: what becomes of the order of those who joined in one instant when the newest come first: they `turn`
        too, or they `stay`, which Klaviyo does not document.
    :param conflicts: what becomes of a record whose identifiers belong to several profiles, which Klaviyo does not
        document for every endpoint: `refuse` it, or let the profile of the first of them `take_over` the others.
    :param fake_domains: e-mail domains whose profiles are dropped in silence, as Klaviyo does with fake addresses.
    :param refuses_known_events: a bulk request with the unique id of a stored event is a 400, as one that repeats an id
        is; Klaviyo's words can be read so. Otherwise such an event is dropped in silence.
    :param bad_key_status: status for a missing or unknown key; Klaviyo's pages name both 401 and 400.
    :param revisions: the API revisions that are answered; the shapes are those of 2026-07-15.
    :param retired_before: revisions before this one are retired. They, and unknown ones, are answered in the shapes of
        2026-07-15 (Klaviyo falls forward in silence), unless the request opts out of that: then 410, or 400.
    :param unknown_members: whether answers have members that no client knows, as newer revisions have.
    :param repeats_values: whether a refusal repeats in its words what it refuses, as Klaviyo does with some values.
    :param max_any_values: how many values a filter's `any` may hold; Klaviyo names no limit, its clients use 100.
    :param checks_ids: a filter with a profile id that is not shaped as one is a 400; what Klaviyo does is not known.
    :param max_url_bytes: longest request target; Klaviyo names no limit.
    :param keep_bodies: how many of the last request bodies the log keeps.
    :param seed: seed of the ids that the emulator makes up.
    """

    account_id: str = "EmuLtr"
    organization_name: str = "Emulated Outfitters"
    api_key: str = field(default=DEFAULT_API_KEY, repr=False)
    keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    job_seconds: float = 2.0
    rate_limits: Literal["real", "off"] = "real"
    time_factor: float = 1.0
    window_offset: float = 0.0
    count_refused: bool = True
    pointers: Literal["all", "one", "none", "field"] = "all"
    import_errors: Literal["full", "pointer", "payload", "crossed"] = "full"
    counts_failures: bool = True
    bulk_phones: Literal["dropped", "refused"] = "dropped"
    sms: bool = True
    phone_regions: frozenset[str] | None = None
    sms_regions: frozenset[str] | None = None
    age_gate: int | None = None
    default_opt_in: Literal["double_opt_in", "single_opt_in"] = "double_opt_in"
    subscription_seconds: float = 2.0
    suppression_jobs: Literal["mislead", "tell"] = "mislead"
    history_seconds: float | None = None
    plus_address_seconds: float | None = None
    page_times: Literal["real", "off"] = "off"
    toggle_seconds: float = 1_800.0
    list_unsubscribes_are_global: bool = False
    member_lag: float = 0.0
    hidden_of_members: frozenset[str] = frozenset()
    hides_members_as: Literal["null", "absent"] = "null"
    joined_times: Literal["seconds", "exact"] = "seconds"
    ties: Literal["turn", "stay"] = "turn"
    conflicts: Literal["refuse", "take_over"] = "refuse"
    fake_domains: frozenset[str] = frozenset()
    refuses_known_events: bool = False
    bad_key_status: Literal[400, 401] = 401
    revisions: tuple[str, ...] = ("2026-07-15", "2026-10-15")
    retired_before: str = "2024-10-15"
    unknown_members: bool = False
    repeats_values: bool = False
    max_any_values: int = 100
    checks_ids: bool = False
    max_url_bytes: int = 8_192
    keep_bodies: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if len(self.account_id) != 6 or not self.account_id.isalnum():
            detail = f"account_id must be six letters or digits, not {self.account_id!r}"
            raise ValueError(detail)
        seconds = (
            "subscription_seconds",
            "history_seconds",
            "plus_address_seconds",
            "toggle_seconds",
            "member_lag",
        )
        if negative := [name for name in seconds if (getattr(self, name) or 0) < 0]:
            detail = f"{', '.join(negative)} must not be negative"
            raise ValueError(detail)
        if self.job_seconds < 0 or self.time_factor <= 0 or self.keep_bodies < 0:
            detail = "job_seconds and keep_bodies must not be negative, time_factor must be positive"
            raise ValueError(detail)
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                detail = f"{name} must be one of {choices}, not {getattr(self, name)!r}"
                raise ValueError(detail)

    def scopes_of(self, key: str) -> tuple[str, ...] | None:
        """The scopes of a private key, or None when the account has no such key."""
        if self.keys:
            scopes = self.keys.get(key)
            return None if scopes is None else tuple(scopes)
        return ALL_SCOPES if key == self.api_key else None

    def seconds_to_subscribe(self, *, is_historical: bool) -> float:
        """How long after its request a subscription is worked off."""
        own = self.history_seconds if is_historical else None
        return self.subscription_seconds if own is None else own

    @property
    def first_key(self) -> str:
        """The key that callers should use when they name none."""
        return next(iter(self.keys), self.api_key)

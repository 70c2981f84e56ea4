"""What the terms of a subscriptions sync must agree on: rules whose parameters are those of the operator.

Each takes some of the parameters, and can be asked as soon as those without a default are known. All of them raise
``KlaviyoConfigurationError``, which names the parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto

from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError
from airflow_provider_klaviyo.records.subscriptions.consent import CHANNELS
from airflow_provider_klaviyo.records.subscriptions.mapping import FIELDS, SUBSCRIBE
from airflow_provider_klaviyo.records.values.truth import FALSE, TRUE

_LIST_OR_ELSE = {
    "subscribe": (
        "subscribe needs list_name or list_id, or historical_import=True, or globally=True for the account's default: "
        "without a list Klaviyo stores nobody whom it does not know yet."
    ),
    "unsubscribe": (
        "unsubscribe needs list_name or list_id; to unsubscribe people from everything, say globally=True."
    ),
}

OUT, FIRST = "out", "first"
CONFLICTS = (OUT, FIRST)
"""What becomes of a channel of a person whose rows disagree: it is kept out, or the first row decides."""


class Resubscribe(Enum):
    """What lets people in again who have opted out."""

    NEVER = auto()
    NEWER_CONSENT = auto()
    ALWAYS = auto()

    @classmethod
    def of(cls, value: object) -> Resubscribe:
        """From the operator's parameter, also as a template renders it.

        :raises KlaviyoConfigurationError: for anything else; nothing at all must not let everybody in.
        """
        word = str(value).strip().lower()
        if word == "newer_consent":
            return cls.NEWER_CONSENT
        if word not in TRUE | FALSE:
            msg = f"resubscribe must be False, 'newer_consent' or True, not {value!r}."
            raise KlaviyoConfigurationError(msg)
        return cls.ALWAYS if word in TRUE else cls.NEVER


def mode_is_known(mode: str) -> None:
    if mode not in FIELDS:
        msg = f"mode must be 'subscribe' or 'unsubscribe', not {mode!r}."
        raise KlaviyoConfigurationError(msg)


def channels_are_known(channels: Sequence[str]) -> None:
    if not channels:
        msg = "channels is empty: name email, sms or both."
        raise KlaviyoConfigurationError(msg)
    if unknown := [channel for channel in channels if channel not in CHANNELS]:
        msg = f"channels knows {' and '.join(CHANNELS)}, not {', '.join(map(repr, unknown))}."
        raise KlaviyoConfigurationError(msg)
    if len(set(channels)) < len(channels):
        msg = f"channels names one channel twice: {', '.join(channels)}."
        raise KlaviyoConfigurationError(msg)


def one_list_is_named(list_name: str | None = None, list_id: str | None = None) -> None:
    if list_name and list_id:
        msg = "list_name and list_id are both given: use one of them."
        raise KlaviyoConfigurationError(msg)


def all_or_one_list(list_name: str | None = None, list_id: str | None = None, *, globally: bool) -> None:
    if (list_name or list_id) and globally:
        msg = "globally=True is for syncs without a list: leave it out, or leave the list out."
        raise KlaviyoConfigurationError(msg)


def list_or_else(
    mode: str, list_name: str | None, list_id: str | None, *, globally: bool, historical_import: bool
) -> None:
    needs_none = globally or (mode == SUBSCRIBE and historical_import)
    if not (list_name or list_id or needs_none):
        raise KlaviyoConfigurationError(_LIST_OR_ELSE[mode])


def belongs_to_subscribing(
    mode: str,
    custom_source: str | None = None,
    resubscribe: Resubscribe = Resubscribe.NEVER,
    ask_again_after: float | None = None,
    conflicts: str = OUT,
    *,
    historical_import: bool = False,
) -> None:
    given = {
        "historical_import": historical_import,
        "custom_source": custom_source,
        "resubscribe": resubscribe is not Resubscribe.NEVER,
        "ask_again_after": ask_again_after is not None,
        "conflicts": conflicts != OUT,
    }
    names = [name for name, value in given.items() if value]
    if mode != SUBSCRIBE and names:
        msg = f"{', '.join(names)}: for mode='subscribe' only. Leave it out to unsubscribe."
        raise KlaviyoConfigurationError(msg)


RULES = (
    mode_is_known,
    channels_are_known,
    one_list_is_named,
    all_or_one_list,
    list_or_else,
    belongs_to_subscribing,
)
"""In the order in which they are asked: each may rely on those before it."""

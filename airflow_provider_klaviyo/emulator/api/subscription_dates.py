"""Whether history fits what is known: a date of consent may not contradict the one that an account has.

Source: seen on real accounts (autumn 2026). Consent later than a subscription that is in force, or earlier than an
unsubscription, makes the whole request a 400.
"""

from __future__ import annotations

from collections.abc import Iterator

from airflow_provider_klaviyo.emulator.account.account import Account
from airflow_provider_klaviyo.emulator.account.consent_store import Standing
from airflow_provider_klaviyo.emulator.account.subscription_rules import parts_of
from airflow_provider_klaviyo.emulator.api.operations import timestamp
from airflow_provider_klaviyo.emulator.core.errors import Problem, pointer_to
from airflow_provider_klaviyo.emulator.requests.subscription_schema import PATHS, PROFILES, Wish, Wishes


def date_problems(account: Account, wishes: Wishes) -> list[Problem]:
    """What is wrong with the dates of a historical import."""
    if not wishes.is_historical:
        return []
    return [
        Problem(detail, pointer=pointer_to(PROFILES, index, "attributes", "subscriptions", *path))
        for index, wish in enumerate(wishes.records)
        for detail, path in _problems(account, wish)
    ]


def _problems(account: Account, wish: Wish) -> Iterator[tuple[str, tuple[str, ...]]]:
    for part in parts_of(account, wish):
        for channel in part.channels:
            given = wish.channels[channel]
            held = None if part.profile is None else account.consents.standing(part.profile.number, channel)
            if given is not None and held is not None and (detail := _contradiction(given, held)):
                yield detail, (*PATHS[channel], "consented_at")


def _contradiction(given: float, held: Standing) -> str | None:
    sent, known = timestamp(given), timestamp(held.at)
    if held.consent == "SUBSCRIBED" and given > held.at:
        return f"backdated consent date [{sent}] is after current subscription date [{known}]"
    if held.consent == "UNSUBSCRIBED" and given < held.at:
        return f"backdated consent date [{sent}] is before current unsubscription date [{known}]"
    return None

"""What becomes of people when a request to unsubscribe them is worked off.

Sources: OpenAPI 2026-07-15, description of bulk_unsubscribe_profiles; the guide "Collect email and SMS consent via
API".
"""

from __future__ import annotations

from airflow_provider_klaviyo.emulator.account.account import Account
from airflow_provider_klaviyo.emulator.account.consent_audit import IncidentKind
from airflow_provider_klaviyo.emulator.account.consent_store import ListSuppression, Standing
from airflow_provider_klaviyo.emulator.account.subscription_rules import Part, created, identify, parts_of
from airflow_provider_klaviyo.emulator.core.channels import MARKETING
from airflow_provider_klaviyo.emulator.requests.subscription_schema import Wish, Wishes


def unsubscribe(account: Account, wishes: Wishes, records: list[Wish], at: float) -> None:
    """Unsubscribe people: members of the named list from it, everybody else from everything."""
    for wish in records:
        if account.is_fake(wish.email):
            continue
        parts = parts_of(account, wish)
        if all(part.profile is None for part in parts):
            parts = created(account, wish, parts, at)
        else:
            identify(account, wish, parts, at)
        members = _members(account, wishes.list_id, parts)
        for part in parts:
            _withdraw(account, wishes.list_id, part, at, is_member=part.group in members)
        _leave(account, wishes.list_id, parts)


def _members(account: Account, list_id: str | None, parts: list[Part]) -> set[str]:
    """The parts, by group, whose profiles are on the list before anybody leaves it."""
    found = None if list_id is None else account.lists.get(list_id)
    if found is None:
        return set()
    return {part.group for part in parts if part.profile is not None and part.profile.number in found.members}


def _withdraw(account: Account, list_id: str | None, part: Part, at: float, *, is_member: bool) -> None:
    if part.profile is None:
        return
    number, consents = part.profile.number, account.consents
    if list_id is not None and not is_member and part.group in part.channels:
        account.audit.note(IncidentKind.UNSUBSCRIBED_GLOBALLY, part.person, part.group, list_id, at)
    for channel in part.channels:
        consents.note_turn(number, channel, at, account.settings.toggle_seconds)
        if is_member and list_id is not None and channel in MARKETING:
            consents.suppress_on(number, channel, list_id, ListSuppression("UNSUBSCRIBE", at))
            if not account.settings.list_unsubscribes_are_global:
                continue
        consents.put(number, channel, Standing("UNSUBSCRIBED", at, at))
        if channel == "email":
            consents.suppress(number, "UNSUBSCRIBE", at)
    part.profile.updated = at


def _leave(account: Account, list_id: str | None, parts: list[Part]) -> None:
    found = None if list_id is None else account.lists.get(list_id)
    if found is not None:
        for part in parts:
            if part.profile is not None:
                found.leave(part.profile.number)

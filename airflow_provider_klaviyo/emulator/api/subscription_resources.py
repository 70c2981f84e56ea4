"""Consent as profiles show it (OpenAPI 2026-07-15, `Subscriptions`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_klaviyo.emulator.account.consent_store import ConsentStore, Standing
from airflow_provider_klaviyo.emulator.account.profile_store import Profile
from airflow_provider_klaviyo.emulator.api.operations import timestamp

NEVER = "NEVER_SUBSCRIBED"


def subscriptions(consents: ConsentStore, profile: Profile) -> Mapping[str, Any]:
    """Where somebody stands on every channel."""
    if consents.is_known(profile.number):
        return _subscriptions(consents, profile)
    return _SILENT[profile.email is not None]


def _subscriptions(consents: ConsentStore, profile: Profile) -> Mapping[str, Any]:
    tracking = consents.standing(profile.number, "email.open_tracking")
    return {
        "email": {
            "marketing": _email(consents, profile),
            "open_tracking": {
                **_consent(tracking, "can_receive"),
                "last_updated": _updated(tracking),
                "created_timestamp": _updated(tracking),
                "metadata": None,
                "valid_until": None,
            },
        },
        "sms": {
            "marketing": _sms(consents.standing(profile.number, "sms"), "can_receive_sms_marketing"),
            "transactional": _sms(
                consents.standing(profile.number, "sms.transactional"), "can_receive_sms_transactional"
            ),
        },
        "mobile_push": {"marketing": _consent(None, "can_receive_push_marketing")},
        "whatsapp": None,
    }


def consent_of(standing: Standing | None) -> str:
    """The word for where somebody stands."""
    return NEVER if standing is None else standing.consent


def _email(consents: ConsentStore, profile: Profile) -> dict[str, Any]:
    standing = consents.standing(profile.number, "email")
    # Who never said anything may get e-mail (implied consent), who is suppressed or has opted out may not.
    may_receive = profile.email is not None and not consents.objects(profile.number, "email")
    return {
        **_consent(standing, "can_receive_email_marketing"),
        "can_receive_email_marketing": may_receive,
        **_method(standing),
        "custom_method_detail": None if standing is None else standing.source,
        "double_optin": None if standing is None else standing.is_confirmed,
        "suppression": [
            {"reason": reason, "timestamp": timestamp(at)}
            for reason, at in consents.suppressions(profile.number).items()
        ],
        "list_suppressions": [
            {"list_id": list_id, "reason": each.reason, "timestamp": timestamp(each.at)}
            for list_id, each in consents.list_suppressions(profile.number).items()
        ],
    }


def _sms(standing: Standing | None, can_receive: str) -> dict[str, Any]:
    return {**_consent(standing, can_receive), **_method(standing)}


def _consent(standing: Standing | None, can_receive: str) -> dict[str, Any]:
    return {
        can_receive: standing is not None and standing.consent == "SUBSCRIBED",
        "consent": consent_of(standing),
        "consent_timestamp": None if standing is None else timestamp(standing.at),
    }


def _method(standing: Standing | None) -> dict[str, Any]:
    return {
        "method": None if standing is None else standing.method,
        "method_detail": None if standing is None else "",
        "last_updated": _updated(standing),
    }


def _updated(standing: Standing | None) -> str | None:
    return None if standing is None else timestamp(standing.updated)


_SILENT = [
    _subscriptions(ConsentStore(), Profile(0, email, None, None, b"{}", 0.0, 0.0))
    for email in (None, "a@b.c")
]
"""What people show who never said anything, without an address and with one."""

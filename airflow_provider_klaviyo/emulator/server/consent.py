"""The part of the emulator that is about consent: worlds to start from, people who confirm, and a judge."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from airflow_provider_klaviyo.emulator.account.account import Account
from airflow_provider_klaviyo.emulator.account.consent_audit import Incident, IncidentKind
from airflow_provider_klaviyo.emulator.account.consent_store import REASONS, ListSuppression, Standing
from airflow_provider_klaviyo.emulator.account.profile_store import Profile
from airflow_provider_klaviyo.emulator.account.subscription_rules import confirm
from airflow_provider_klaviyo.emulator.api.subscription_resources import consent_of, subscriptions
from airflow_provider_klaviyo.emulator.core.channels import CHANNELS, MARKETING

_ALL_CHANNELS = tuple(channel for channels in CHANNELS.values() for channel in channels)


class ConsentPart:
    """What tests ask of the emulator about consent. Channels are `email` and `sms`; times are seconds since 1970."""

    _account: Account

    def set_consent(
        self,
        profile_id: str,
        channel: str,
        consent: Literal["SUBSCRIBED", "UNSUBSCRIBED", "NEVER_SUBSCRIBED"],
        *,
        at: float | None = None,
        method: str = "PREFERENCE_PAGE",
        source: str | None = None,
    ) -> None:
        """Put somebody's consent as it should be, as if by their own doing: no incident, no 30-minute rule.

        Who is unsubscribed from e-mail is suppressed for it too, who is subscribed is no longer.
        """
        if channel not in _ALL_CHANNELS or consent not in ("SUBSCRIBED", "UNSUBSCRIBED", "NEVER_SUBSCRIBED"):
            detail = f"no consent {consent!r} to {channel!r}; channels are {', '.join(_ALL_CHANNELS)}"
            raise ValueError(detail)
        with self._account.lock:
            now = self._account.settle()
            number, consents = self._profile(profile_id).number, self._account.consents
            moment = now if at is None else at
            if consent == "NEVER_SUBSCRIBED":
                consents.put(number, channel, None)
            else:
                consents.put(number, channel, Standing(consent, moment, now, method, source))
            if channel == "email":
                consents.lift(number, ("UNSUBSCRIBE",))
                if consent == "UNSUBSCRIBED":
                    consents.suppress(number, "UNSUBSCRIBE", moment)

    def suppress(
        self,
        profile_id: str,
        reason: str = "USER_SUPPRESSED",
        list_id: str | None = None,
        *,
        channel: str = "email",
        at: float | None = None,
    ) -> None:
        """Suppress somebody for all e-mail, or on a channel for one list."""
        if reason not in REASONS or channel not in MARKETING or (list_id is None and channel != "email"):
            detail = f"no suppression for {reason!r} on {channel!r}; reasons are {', '.join(REASONS)}"
            raise ValueError(detail)
        with self._account.lock:
            now = self._account.settle()
            number, moment = self._profile(profile_id).number, now if at is None else at
            if list_id is None:
                self._account.consents.suppress(number, reason, moment)
            else:
                suppression = ListSuppression(reason, moment)
                self._account.consents.suppress_on(number, channel, list_id, suppression)

    def unsuppress(
        self,
        profile_id: str,
        reason: str | None = None,
        list_id: str | None = None,
        *,
        channel: str = "email",
    ) -> None:
        """Lift suppressions of all e-mail (one reason, or every), or the one for a list."""
        with self._account.lock:
            self._account.settle()
            number = self._profile(profile_id).number
            if list_id is None:
                self._account.consents.lift(number, REASONS if reason is None else (reason,))
            else:
                self._account.consents.lift_on(number, channel, list_id)

    def confirm(
        self, *, email: str | None = None, phone_number: str | None = None, list_id: str | None = None
    ) -> int:
        """Let somebody say yes to what they were asked by a confirmation message, at once.

        For one list, or for whatever they were asked; returns how many questions were answered.
        """
        with self._account.lock:
            now = self._account.settle()
            return confirm(self._account, email=email, phone_number=phone_number, list_id=list_id, at=now)

    # --------------------------------------------------------------------------------------------------------

    def subscriptions(self, profile_id: str) -> Mapping[str, Any]:
        """Somebody's consent in full, as `additional-fields[profile]=subscriptions` shows it."""
        with self._account.lock:
            self._account.settle()
            return subscriptions(self._account.consents, self._profile(profile_id))

    def consent(self, **identifier: str) -> dict[str, str] | None:
        """Consent to marketing by channel of the profile with one identifier; None when there is no such profile.

        The letter case of an address does not count.
        """
        ((field, value),) = identifier.items()
        with self._account.lock:
            self._account.settle()
            profile = self._account.profiles.holder(field, value)
            if profile is None:
                return None
            return {
                channel: consent_of(self._account.consents.standing(profile.number, channel))
                for channel in MARKETING
            }

    def incidents(self, kind: IncidentKind | str | None = None) -> list[Incident]:
        """The last 10,000 things that a careful client would not have done to people, of one kind or of all."""
        with self._account.lock:
            self._account.settle()
            return [each for each in self._account.audit.incidents if kind in (None, each.kind)]

    def resubscriptions(self) -> dict[str, dict[str, int]]:
        """How often requests subscribed people who had opted out or were suppressed, by channel.

        `global` counts opt-outs and suppressions of all e-mail, `list` suppressions for the named list.
        """
        everywhere = self._counts(IncidentKind.RESUBSCRIBED)
        on_list = self._counts(IncidentKind.RESUBSCRIBED_ON_LIST)
        return {channel: {"global": everywhere[channel], "list": on_list[channel]} for channel in MARKETING}

    def accidental_unsubscribes(self) -> dict[str, int]:
        """How often a call that named a list unsubscribed somebody globally, who was not on it; by channel."""
        return self._counts(IncidentKind.UNSUBSCRIBED_GLOBALLY)

    def confirmations(self) -> dict[tuple[str, str, str | None], int]:
        """Confirmation messages that were sent, by (address or number, channel, list)."""
        with self._account.lock:
            self._account.settle()
            return {key: each.messages for key, each in self._account.audit.questions.items()}

    def _counts(self, kind: IncidentKind) -> dict[str, int]:
        with self._account.lock:
            self._account.settle()
            return self._account.audit.counts(kind)

    def _profile(self, profile_id: str) -> Profile:
        profile = self._account.profiles.with_id(profile_id)
        if profile is None:
            detail = f"no profile {profile_id}"
            raise ValueError(detail)
        return profile

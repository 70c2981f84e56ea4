"""What a mapping of a subscriptions sync may name, and what can be told of one without the query."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from airflow_provider_klaviyo.records.mapping import (
    IDENTIFIERS,
    MappingError,
    check_match_by,
    check_only,
    choose_identifier,
)
from airflow_provider_klaviyo.records.profiles.mapping import PHONE_REGION
from airflow_provider_klaviyo.records.subscriptions.consent import CHANNELS

SUBSCRIBE, UNSUBSCRIBE = "subscribe", "unsubscribe"
"""The modes."""

CONSENTED_AT, DATE_OF_BIRTH = "consented_at", "age_gated_date_of_birth"
"""Fields that Klaviyo knows by these names."""

CONSENT_FLAGS = tuple(f"consent.{channel}" for channel in CHANNELS)

FIELDS = {
    SUBSCRIBE: (*IDENTIFIERS, PHONE_REGION, *CONSENT_FLAGS, CONSENTED_AT, DATE_OF_BIRTH),
    UNSUBSCRIBE: ("email", "phone_number", PHONE_REGION, *CONSENT_FLAGS),
}
"""What a mapping knows, by mode; Klaviyo takes people by address and number alone where they unsubscribe."""


def check_mapping(mode: str, mapping: Mapping[str, str] | None = None, match_by: str | None = None) -> None:
    """Check what does not depend on the query.

    :raises MappingError: for a field that this sync does not send, or when nothing that is mapped identifies a person.
    """
    if mapping is None:
        check_match_by(match_by, identifiers_of(mode))
        return
    check_only(mapping, FIELDS[mode], elsewhere(mode))
    named = [name for name in IDENTIFIERS if name in mapping]
    choose_identifier(named, match_by, identifiers_of(mode))


def check_channels(mapping: Collection[str] | None, channels: Sequence[str]) -> None:
    """Check that every channel has its identifier.

    :param mapping: the fields that are mapped; None where the columns decide.
    :raises MappingError: when one has not.
    """
    for channel in channels:
        name = CHANNELS[channel]
        if mapping is not None and name not in mapping:
            msg = (
                f"channels has {channel!r}, which goes by {name}, and nothing is mapped to {name}: map a column "
                "to it, or leave the channel out."
            )
            raise MappingError(msg)


def identifiers_of(mode: str) -> Sequence[str]:
    """What may identify people in a mode."""
    return [name for name in IDENTIFIERS if name in FIELDS[mode]]


def elsewhere(mode: str) -> str:
    """What to say to somebody who maps another field."""
    return (
        f"This sync changes consent only: map identifiers ({', '.join(FIELDS[mode])}), and send other fields with "
        "KlaviyoSyncProfilesOperator."
    )

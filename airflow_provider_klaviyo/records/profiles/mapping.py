"""What a mapping of a profiles sync may name, and what can be told of one without the query."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from airflow_provider_klaviyo.records.mapping import (
    IDENTIFIERS,
    PROPERTIES,
    MappingError,
    check_fields,
    check_match_by,
    choose_identifier,
)

EXCHANGE_ID = "_kx"
"""By which Klaviyo's own tracking knows somebody: no identifier of a sync, and never cleared either."""

TEXTS = ("first_name", "last_name", "organization", "title", "locale", "image", EXCHANGE_ID)
LOCATION = "location."
LOCATION_TEXTS = ("address1", "address2", "city", "country", "region", "zip", "timezone", "ip")
LOCATION_COORDINATES = ("latitude", "longitude")

PHONE_REGION = "phone_region"

CLEARABLE = (
    *(name for name in TEXTS if name != EXCHANGE_ID),
    *(LOCATION + name for name in (*LOCATION_TEXTS, *LOCATION_COORDINATES)),
)
"""Standard fields that a NULL may clear; identifiers never are."""

FIELDS = (
    *IDENTIFIERS,
    *TEXTS,
    *(LOCATION + name for name in (*LOCATION_TEXTS, *LOCATION_COORDINATES)),
    PHONE_REGION,
)
"""What a profiles mapping knows besides ``properties.<name>`` (schema of ``bulk_import_profiles``)."""


def check_mapping(mapping: Mapping[str, str] | None = None, match_by: str | None = None) -> None:
    """Check what does not depend on the query.

    :raises MappingError: for a field that no profile has, or when nothing that is mapped identifies a person.
    """
    if mapping is None:
        check_match_by(match_by)
        return
    check_fields(mapping, FIELDS)
    choose_identifier(mapping, match_by)


def check_cleared(mapping: Mapping[str, str] | None, clear_nulls: bool | Sequence[str]) -> None:  # noqa: FBT001 - the parameter
    """Check that what is to be cleared is mapped.

    :raises MappingError: when it is not.
    """
    if mapping is not None:
        cleared_by(mapping, clear_nulls)


def cleared_by(fields: Collection[str], clear_nulls: bool | Sequence[str]) -> list[str]:  # noqa: FBT001 - the parameter
    """The fields that a NULL clears, of those that are mapped.

    :raises MappingError: when ``clear_nulls`` names another.
    """
    clearable = [name for name in fields if name in CLEARABLE or name.startswith(PROPERTIES)]
    if isinstance(clear_nulls, bool):
        return clearable if clear_nulls else []
    unknown = [name for name in clear_nulls if name not in clearable]
    if unknown:
        msg = (
            f"clear_nulls names {', '.join(unknown)}, which no column feeds or which is an identifier. "
            f"It can clear {', '.join(clearable) or 'nothing of this mapping'}."
        )
        raise MappingError(msg)
    return list(clear_nulls)

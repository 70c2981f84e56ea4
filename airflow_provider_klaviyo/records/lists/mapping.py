"""What a mapping of a list sync may name, and what can be told of one without the query."""

from __future__ import annotations

from collections.abc import Mapping

from airflow_provider_klaviyo.records.mapping import (
    IDENTIFIERS,
    MappingError,
    check_fields,
    check_match_by,
    choose_identifier,
)
from airflow_provider_klaviyo.records.profiles.mapping import FIELDS, PHONE_REGION

LIST_FIELDS = (*IDENTIFIERS, PHONE_REGION)
"""What a mapping of a list sync may name."""

OPT_IN_PROCESSES = ("single_opt_in", "double_opt_in")


def check_mapping(mapping: Mapping[str, str] | None = None, match_by: str | None = None) -> None:
    """Check what does not depend on the query.

    :raises MappingError: for a field that no member has, or when nothing that is mapped identifies a person.
    """
    if mapping is None:
        check_match_by(match_by)
        return
    refuse_other_fields(mapping)
    check_fields(mapping, LIST_FIELDS)
    choose_identifier([name for name in IDENTIFIERS if name in mapping], match_by)


def refuse_other_fields(mapping: Mapping[str, str]) -> None:
    """Check that nothing is mapped that profiles have and members have not.

    :raises MappingError: naming all such fields.
    """
    other = [name for name in mapping if name not in LIST_FIELDS]
    if known := [name for name in other if name in FIELDS or name.startswith("properties.")]:
        msg = (
            f"A list holds people, not their fields: mapping names {', '.join(known)}. Map only what identifies "
            f"people ({', '.join(IDENTIFIERS)}), and send fields with KlaviyoSyncProfilesOperator."
        )
        raise MappingError(msg)

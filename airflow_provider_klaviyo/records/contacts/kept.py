"""Identifiers in the one spelling that people are compared by: that of records, which Klaviyo keeps."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_provider_klaviyo.identity import comparable
from airflow_provider_klaviyo.records.contacts.email import check_emails
from airflow_provider_klaviyo.records.contacts.phone import PhoneNumbers

_NUMBERS = PhoneNumbers(None)


def as_kept(field: str, values: Sequence[str | None]) -> list[str | None]:
    """Values of an identifier as records have them; one that no record could have stays nearly as it is.

    :param field: ``klaviyo_id``, ``email``, ``phone_number`` or ``external_id``.
    :param values: in any spelling; numbers with their country code. None stays None.
    :returns: as many values, in the same order.
    """
    if field == "email":
        return [
            kept or (value and comparable(field, value))
            for kept, value in zip(check_emails(values)[0], values, strict=True)
        ]
    if field == "phone_number":
        return [kept or value for kept, value in zip(_NUMBERS.check(values)[0], values, strict=True)]
    return list(values)

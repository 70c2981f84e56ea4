"""Identifiers in the one spelling that people are compared by: that of records, which Klaviyo keeps."""

from __future__ import annotations

import re
from collections.abc import Sequence

from airflow_provider_klaviyo.identity import comparable
from airflow_provider_klaviyo.records.contacts.email import check_emails
from airflow_provider_klaviyo.records.contacts.phone import PhoneNumbers

_NUMBERS = PhoneNumbers(None)

_SEPARATOR = "\0"

_is_plain = re.compile(r"[!-~\0]*").fullmatch
"""Whether it is ASCII without blanks: of such addresses the check changes nothing but the case of letters."""


def as_kept(field: str, values: Sequence[str | None]) -> list[str | None]:
    """Values of an identifier as records have them; one that no record could have stays nearly as it is.

    :param field: ``klaviyo_id``, ``email``, ``phone_number`` or ``external_id``.
    :param values: in any spelling; numbers with their country code. None stays None.
    :returns: as many values, in the same order.
    """
    if field == "email":
        return _plain(values) or [
            kept or (value and comparable(field, value))
            for kept, value in zip(check_emails(values)[0], values, strict=True)
        ]
    if field == "phone_number":
        return [kept or value for kept, value in zip(_NUMBERS.check(values)[0], values, strict=True)]
    return list(values)


def _plain(addresses: Sequence[str | None]) -> list[str | None]:
    """All in lower case, in one go, where that is all there is to do; else nothing."""
    joined = _SEPARATOR.join([address or "" for address in addresses])
    texts = joined.lower().split(_SEPARATOR) if _is_plain(joined) else []
    if len(texts) != len(addresses):  # one of them holds the separator
        return []
    return [address and text for address, text in zip(addresses, texts, strict=True)]

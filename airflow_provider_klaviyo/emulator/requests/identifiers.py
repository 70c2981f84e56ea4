"""What Klaviyo accepts as an e-mail address and as a phone number, checked at the pace of a bulk import."""

from __future__ import annotations

import re
from functools import lru_cache

import phonenumbers

#: Klaviyo counts addresses of up to 100 characters as valid (guide "Events API overview").
MAX_EMAIL = 100
MAX_EXTERNAL_ID = 255

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)"
_TOP = r"(?:[A-Za-z]{2,63}|[Xx][Nn]--[A-Za-z0-9-]{0,58}[A-Za-z0-9])"
# ASCII only: that Klaviyo takes internationalised addresses is documented nowhere.
_EMAIL = re.compile(rf"(?=[^@]{{1,64}}@){_ATOM}(?:\.{_ATOM})*@(?:{_LABEL}\.)+{_TOP}").fullmatch
_E164 = re.compile(r"\+[1-9][0-9]{6,14}").fullmatch

BAD_EMAIL = "Invalid email address"
BAD_PHONE = "Invalid phone number format (Example of a valid format: +12345678901)"
BAD_REGION = "Phone number is valid but is not in a supported region for this account."


def is_email(text: str) -> bool:
    """Whether an address has the form that is accepted; nobody's mailbox is asked."""
    return len(text) <= MAX_EMAIL and _EMAIL(text) is not None


def is_phone_number(text: str) -> bool:
    """Whether a number is in E.164 form, of a country that exists, and of a length that occurs there."""
    if _E164(text) is None:
        return False
    for digits in (1, 2, 3):
        lengths = _national_lengths(text[1 : 1 + digits])
        if lengths:
            return len(text) - 1 - digits in lengths
    return False


@lru_cache(maxsize=2_048)
def _national_lengths(calling_code: str) -> frozenset[int]:
    """Lengths of the numbers behind a calling code, without it; empty when there is no such code."""
    code = int(calling_code)
    lengths: set[int] = set()
    for region in phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(code, ()):
        if region == phonenumbers.REGION_CODE_FOR_NON_GEO_ENTITY:
            metadata = phonenumbers.PhoneMetadata.metadata_for_nongeo_region(code, None)
        else:
            metadata = phonenumbers.PhoneMetadata.metadata_for_region(region, None)
        if metadata is not None and metadata.general_desc is not None:
            lengths.update(metadata.general_desc.possible_length)
    return frozenset(lengths)


def is_in_regions(number: str, regions: frozenset[str]) -> bool:
    """Whether an E.164 number belongs to one of the countries (ISO codes)."""
    return phonenumbers.region_code_for_number(phonenumbers.parse(number)) in regions

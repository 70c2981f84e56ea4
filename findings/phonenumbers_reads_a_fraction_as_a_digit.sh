#!/usr/bin/env bash
# phonenumbers 9.0.43 reads a number that was a float once as a longer, valid number of somebody else.
#
# A column of phone numbers that passed through a float (pandas with missing values, a spreadsheet) ends in ".0" as text.
# To the library the full stop is punctuation, so the zero becomes one more digit. Where a country has numbers of several
# lengths, the result is valid: a message goes to a stranger.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check phonenumbers==9.0.43
"$folder/venv/bin/python" - <<'PYTHON'
import phonenumbers

print("phonenumbers", phonenumbers.__version__)
found = {}
for text in ("+491711234567.0", "+6281234567890.0", "+43660123456.0", "+12125551234.0"):
    number = phonenumbers.parse(text, None)
    written = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    found[text] = (written, phonenumbers.is_valid_number(number))
    print(text, "is read as", written, "valid" if found[text][1] else "not valid")
assert found == {
    "+491711234567.0": ("+4917112345670", True),
    "+6281234567890.0": ("+62812345678900", True),
    "+43660123456.0": ("+436601234560", True),
    "+12125551234.0": ("+121255512340", False),
}
PYTHON

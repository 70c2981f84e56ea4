#!/usr/bin/env bash
# klaviyo-api 24.0.0 sends a null for every field of a profile that a dict does not have.
#
# The models of Klaviyo's own SDK keep apart what was set and what was not, unless they are made by `from_dict`: then
# each nullable field that is missing counts as set to null. A null clears the field on /api/profile-import, so an upsert
# of a first name would take away the last name, the address and the phone number that Klaviyo has. Models made by
# `model_validate` from the same dict send only what it has.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check klaviyo-api==24.0.0
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

from openapi_client import ApiClient
from openapi_client.models import ProfileUpsertQuery

body = {"data": {"type": "profile", "attributes": {"email": "sarah@shop.io", "first_name": "Sarah"}}}
client = ApiClient()
validated = client.sanitize_for_serialization(ProfileUpsertQuery.model_validate(body))
from_dict = client.sanitize_for_serialization(ProfileUpsertQuery.from_dict(body))
nulls = sorted(name for name, value in from_dict["data"]["attributes"].items() if value is None)
print("klaviyo-api", version("klaviyo-api"))
print("model_validate sends", validated["data"]["attributes"])
print("from_dict adds nulls for", ", ".join(nulls))
assert validated == body
assert {"last_name", "phone_number", "external_id"} <= set(nulls)
PYTHON

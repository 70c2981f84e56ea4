"""The requests that change people's consent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from airflow_provider_klaviyo.records.subscriptions.mapping import SUBSCRIBE


def consent_body(
    people: Sequence[bytes], mode: str, list_id: str | None, attributes: Mapping[str, object]
) -> bytes:
    """The request that subscribes or unsubscribes people, given as encoded records."""
    kind = "create" if mode == SUBSCRIBE else "delete"
    profiles = msgspec.Raw(b'{"data":[' + b",".join(people) + b"]}")
    given = {name: value for name, value in attributes.items() if value is not None}
    data: dict[str, object] = {
        "type": f"profile-subscription-bulk-{kind}-job",
        "attributes": {**given, "profiles": profiles},
    }
    if list_id is not None:
        data["relationships"] = {"list": {"data": {"type": "list", "id": list_id}}}
    return msgspec.json.encode({"data": data})

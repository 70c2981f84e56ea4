"""What people do to lists and profiles in Klaviyo by hand."""

from __future__ import annotations

from typing import Any

import requests

from airflow_provider_klaviyo.emulator import Emulator


def request(klaviyo: Emulator, method: str, path: str, document: dict[str, Any]) -> None:
    """Do something by hand."""
    answer = requests.request(
        method,
        klaviyo.url + path,
        json=document,
        headers={
            "Authorization": f"Klaviyo-API-Key {klaviyo.api_key}",
            "revision": "2026-07-15",
            "Content-Type": "application/vnd.api+json",
        },
        timeout=10,
    )
    assert answer.ok, answer.text


def change(klaviyo: Emulator, address: str, **attributes: str | None) -> str:
    """Change the profile that has an address; returns its id."""
    profile = klaviyo.profile(email=address)
    assert profile is not None
    resource = {"type": "profile", "id": profile["id"], "attributes": attributes}
    request(klaviyo, "PATCH", f"/api/profiles/{profile['id']}", {"data": resource})
    return str(profile["id"])


def put(klaviyo: Emulator, list_id: str, *addresses: str) -> None:
    """Put people on a list by hand."""
    profiles = klaviyo.add_profiles([{"email": each} for each in addresses])
    path = f"/api/lists/{list_id}/relationships/profiles"
    request(klaviyo, "POST", path, {"data": [{"type": "profile", "id": each} for each in profiles]})


def unsubscribe(klaviyo: Emulator, list_id: str, address: str) -> None:
    """Unsubscribe somebody from the e-mail of a list, which takes them off it."""
    word = {"email": {"marketing": {"consent": "UNSUBSCRIBED"}}}
    profile = {"type": "profile", "attributes": {"email": address, "subscriptions": word}}
    job = {
        "type": "profile-subscription-bulk-delete-job",
        "attributes": {"profiles": {"data": [profile]}},
        "relationships": {"list": {"data": {"type": "list", "id": list_id}}},
    }
    request(klaviyo, "POST", "/api/profile-subscription-bulk-delete-jobs", {"data": job})

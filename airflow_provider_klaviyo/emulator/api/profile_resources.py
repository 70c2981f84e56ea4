"""Profiles and lists as JSON:API resources.

Source: OpenAPI 2026-07-15, `ProfileResponseObjectResource`, `ListResponseObjectResource`.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from functools import lru_cache
from typing import Any

from airflow_provider_klaviyo.emulator.account.consent_store import ConsentStore
from airflow_provider_klaviyo.emulator.account.list_store import ProfileList
from airflow_provider_klaviyo.emulator.account.profile_store import Profile
from airflow_provider_klaviyo.emulator.api.operations import Call, M, timestamp
from airflow_provider_klaviyo.emulator.api.resources import flattened, links_of, sparse
from airflow_provider_klaviyo.emulator.api.subscription_resources import subscriptions
from airflow_provider_klaviyo.emulator.requests.profile_schema import IDENTIFIERS, LOCATION, TEXTS
from airflow_provider_klaviyo.emulator.requests.query import Page

PREDICTIVE_ANALYTICS = (
    "historic_clv",
    "predicted_clv",
    "total_clv",
    "historic_number_of_orders",
    "predicted_number_of_orders",
    "average_days_between_orders",
    "average_order_value",
    "churn_probability",
    "expected_date_of_next_order",
    "ranked_channel_affinity",
)


def attributes_of(
    profile: Profile,
    consents: ConsentStore,
    additional: frozenset[str],
    asked: Container[str] | None = None,
) -> dict[str, Any]:
    """The attributes of a profile that are asked for, or all; empty ones as null."""
    given = profile.attributes()
    attributes: dict[str, Any] = {name: given.get(name) for name in _PLAIN if asked is None or name in asked}
    attributes |= {name: make(profile, given) for name, make in _MADE if asked is None or name in asked}
    if "subscriptions" in additional:
        attributes["subscriptions"] = subscriptions(consents, profile)
    if "predictive_analytics" in additional:
        attributes["predictive_analytics"] = dict.fromkeys(PREDICTIVE_ANALYTICS)
    return attributes


_PLAIN = (*IDENTIFIERS, *TEXTS)
_MADE: tuple[tuple[str, Callable[[Profile, Mapping[str, Any]], Any]], ...] = (
    ("location", lambda _, given: {name: given.get("location", {}).get(name) for name in LOCATION}),
    ("properties", lambda _, given: given.get("properties", {})),
    ("created", lambda profile, _: timestamp(profile.created)),
    ("updated", lambda profile, _: timestamp(profile.updated)),
    ("last_event_date", lambda _, __: None),
)
_EVERYTHING = attributes_of(
    Profile(0, None, None, None, b"{}", 0.0, 0.0),
    ConsentStore(),
    frozenset(("subscriptions", "predictive_analytics")),
)
FIELDS = flattened(_EVERYTHING) | {"id"}
ADDITIONAL = frozenset(("subscriptions", "predictive_analytics"))
PAGE = Page(default=20, largest=100)
#: Predictive analytics are slower to read (OpenAPI 2026-07-15, get_profiles).
LOWERED = (("additional-fields[profile]", "predictive_analytics", M),)


def profile_resource(
    call: Call, profile: Profile, more: dict[str, Any] | None = None, *, is_sparse: bool = True
) -> dict[str, Any]:
    """A profile as JSON:API resource; a sparse fieldset keeps the relationships, as recorded from live answers."""
    names = _fieldset(call.query.fields.get("profile"), call.query.additional) if is_sparse else None
    asked = None if names is None else _outermost(names)
    profile_id = call.account.profiles.id_of(profile)
    path = f"/api/profiles/{profile_id}"
    attributes = attributes_of(profile, call.account.consents, call.query.additional, asked) | (more or {})
    relations = ("lists", "segments", "push-tokens")
    return {
        "type": "profile",
        "id": profile_id,
        "attributes": sparse(attributes, names),
        "relationships": {relation: links_of(call.root, path, relation) for relation in relations},
        "links": {"self": f"{call.root}{path}/"},
    }


@lru_cache(maxsize=256)
def _fieldset(names: frozenset[str] | None, additional: frozenset[str]) -> frozenset[str] | None:
    """The fields that were asked for; additional ones come on top, unless single members of them were asked for."""
    return None if names is None else names | (additional - _outermost(names))


@lru_cache(maxsize=256)
def _outermost(names: frozenset[str]) -> frozenset[str]:
    return frozenset(name.partition(".")[0] for name in names)


LIST_FIELDS = frozenset(("created", "id", "name", "opt_in_process", "updated"))


def list_resource(call: Call, each: ProfileList) -> dict[str, Any]:
    """A list as JSON:API resource."""
    path = f"/api/lists/{each.id}"
    names = call.query.fields.get("list")
    attributes = {
        "name": each.name,
        "created": timestamp(each.created),
        "updated": timestamp(each.updated),
        "opt_in_process": each.opt_in_process,
    }
    relations = ("profiles", "tags", "flow-triggers")
    return {
        "type": "list",
        "id": each.id,
        "attributes": sparse(attributes, names),
        "relationships": {relation: links_of(call.root, path, relation) for relation in relations},
        "links": {"self": f"{call.root}{path}/"},
    }

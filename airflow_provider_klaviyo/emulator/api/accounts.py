"""`/api/accounts`: which account a key belongs to."""

from __future__ import annotations

from typing import Any

from airflow_provider_klaviyo.emulator.api.operations import XS, Answer, Call, Operation
from airflow_provider_klaviyo.emulator.api.resources import flattened, sparse
from airflow_provider_klaviyo.emulator.core.errors import not_found
from airflow_provider_klaviyo.emulator.core.settings import Settings
from airflow_provider_klaviyo.emulator.requests.query import QueryRules

# Klaviyo's own SDK takes no null for some of these, though the schema has it.
_ADDRESS = {
    "address1": "1 Loopback Lane",
    "address2": "",
    "city": "Localhost",
    "region": "Local",
    "country": "United States",
    "zip": "12701",
}


def _attributes(settings: Settings) -> dict[str, Any]:
    name = settings.organization_name
    return {
        "test_account": True,
        "contact_information": {
            "default_sender_name": name,
            "default_sender_email": "hello@emulator.invalid",
            "website_url": None,
            "organization_name": name,
            "street_address": _ADDRESS,
        },
        "industry": None,
        "timezone": "UTC",
        "preferred_currency": "USD",
        "public_api_key": settings.account_id,
        "locale": "en-US",
    }


_QUERY = QueryRules(fields={"account": flattened(_attributes(Settings())) | {"id"}})


def _resource(call: Call) -> dict[str, Any]:
    settings = call.account.settings
    return {
        "type": "account",
        "id": settings.account_id,
        "attributes": sparse(_attributes(settings), call.query.fields.get("account")),
        "links": {"self": f"{call.root}/api/accounts/{settings.account_id}/"},
    }


def _list(call: Call) -> Answer:
    links = {"self": call.self_link, "next": None, "prev": None}
    return Answer(200, {"data": [_resource(call)], "links": links})


def _get(call: Call) -> Answer:
    if call.path["id"] != call.account.settings.account_id:
        detail = f"Account with id {call.path['id']} not found."
        raise not_found(detail)
    return Answer(200, {"data": _resource(call), "links": {"self": call.self_link}})


OPERATIONS = (
    Operation("get_accounts", "GET", "/api/accounts", ("accounts:read",), XS, _list, _QUERY),
    Operation("get_account", "GET", "/api/accounts/{id}", ("accounts:read",), XS, _get, _QUERY),
)

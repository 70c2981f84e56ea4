"""The few calls that people make themselves, through the hook."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from airflow_provider_klaviyo.client.answers import Answer, Document, error_of, read_document
from airflow_provider_klaviyo.client.endpoints import (
    CREATE_LIST,
    ENDPOINTS,
    GET_LISTS,
    GET_PROFILES,
    MIN_RATES,
    Endpoint,
)
from airflow_provider_klaviyo.client.filters import any_of, equals
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError

LOOKUP = 100
"""Values in one filter: as many as a page holds."""


def find_list(client: KlaviyoClient, name: str) -> str | None:
    """The id of the list of exactly this name.

    :raises KlaviyoConfigurationError: when several lists have it; all ids are named.
    """
    pages = client.pages(GET_LISTS, query={"filter": equals("name", name)})
    ids = [
        str(found["id"]) for page in pages for found in _resources(page) if _attribute(found, "name") == name
    ]
    if len(ids) > 1:
        msg = (
            f"Klaviyo has {len(ids)} lists named {name!r} ({', '.join(ids)}): use the id of the one you mean."
        )
        raise KlaviyoConfigurationError(msg)
    return ids[0] if ids else None


def create_list(client: KlaviyoClient, name: str, opt_in_process: str | None = None) -> str:
    """The id of the list of this name, created if there is none."""
    found = find_list(client, name)
    if found:
        return found
    attributes = {"name": name} | ({"opt_in_process": opt_in_process} if opt_in_process else {})
    body = msgspec.json.encode({"data": {"type": "list", "attributes": attributes}})
    return client.send(CREATE_LIST, body=body, read=_read_id)


def get_profiles(
    client: KlaviyoClient, field: str, values: Sequence[str], additional_fields: Sequence[str] = ()
) -> Iterator[Document]:
    """The profiles whose ``field`` (``id``, ``email``, ``phone_number``, ``external_id``) is any of the values."""
    for start in range(0, len(values), LOOKUP):
        query = {"filter": any_of(field, values[start : start + LOOKUP]), "page[size]": str(LOOKUP)}
        if additional_fields:
            query["additional-fields[profile]"] = ",".join(additional_fields)
        for page in client.pages(GET_PROFILES, query=query):
            yield from _resources(page)


def request(
    client: KlaviyoClient,
    method: str,
    path: str,
    query: Mapping[str, str] | None = None,
    json: Mapping[str, object] | None = None,
) -> Document:
    """Any endpoint's JSON; empty when the answer has none.

    An endpoint that the package does not use itself is called within the limits of Klaviyo's slowest, and repeated
    after a doubtful answer only when it reads.
    """
    body = None if json is None else msgspec.json.encode(json)
    return client.send(_endpoint(method.upper(), path), query=query, body=body, read=_read_any)


def _endpoint(method: str, path: str) -> Endpoint:
    for endpoint in ENDPOINTS:
        if (endpoint.method, endpoint.path) == (method, path):
            return endpoint
    name = f"{method} {path}"
    return Endpoint(name, method, path, (), MIN_RATES, is_repeatable=method == "GET")


def _read_id(endpoint: Endpoint, answer: Answer) -> str:
    created = read_document(endpoint, answer)["data"]
    return str(created["id"])  # type: ignore[index]  # another shape is a KlaviyoResponseError


def _read_any(endpoint: Endpoint, answer: Answer) -> Document:
    if not answer.is_success:
        raise error_of(endpoint, answer)
    return answer.document() or {}


def _resources(document: Document) -> list[Document]:
    listed = document["data"]
    return list(listed) if isinstance(listed, list) else []


def _attribute(resource: Document, name: str) -> object:
    attributes = resource.get("attributes")
    return attributes.get(name) if isinstance(attributes, Mapping) else None

"""The few calls that people make themselves, through the hook."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from airflow_provider_klaviyo.client.any_endpoint import addressed
from airflow_provider_klaviyo.client.endpoints import GET_PROFILES, Endpoint
from airflow_provider_klaviyo.client.filters import MAX_VALUES, any_of, in_filters
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.client.responses import Document, Response, error_of, read_collection, resources


def get_profiles(
    client: KlaviyoClient, field: str, values: Sequence[str], additional_fields: Sequence[str] = ()
) -> Iterator[Document]:
    """The profiles whose ``field`` (``id``, ``email``, ``phone_number``, ``external_id``) is any of the values."""
    for part in in_filters(values):
        query = {"filter": any_of(field, part), "page[size]": str(MAX_VALUES)}
        if additional_fields:
            query["additional-fields[profile]"] = ",".join(additional_fields)
        for page in client.pages(GET_PROFILES, query=query, read=read_collection):
            yield from resources(page)


def request(
    client: KlaviyoClient,
    method: str,
    path: str,
    query: Mapping[str, str] | None = None,
    json: Mapping[str, object] | None = None,
) -> Document:
    """Any endpoint's JSON; empty when the answer has none.

    It goes within the limits that Klaviyo has for the endpoint, and is repeated after a doubtful answer only when that
    is harmless whatever it says.

    :raises KlaviyoConfigurationError: when the method or the path is none of Klaviyo's API.
    """
    endpoint, resource_id, asked = addressed(method, path, query or {})
    body = None if json is None else msgspec.json.encode(json)
    return client.send(endpoint, resource_id=resource_id, query=asked, body=body, read=_read_any)


def _read_any(endpoint: Endpoint, response: Response) -> Document:
    if not response.is_success:
        raise error_of(endpoint, response)
    return response.document() or {}

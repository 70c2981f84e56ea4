"""Delivery of single profiles: the only call that clears standard fields."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_provider_klaviyo.client.endpoints import IMPORT_PROFILE, Endpoint
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.client.responses import Response, read_document
from airflow_provider_klaviyo.records.record import Problem, Record


def single_body(profile: bytes) -> bytes:
    """The request that upserts one profile.

    :param profile: encoded already, a resource of type ``profile``.
    """
    return b'{"data":' + profile + b"}"


def import_one(client: KlaviyoClient, record: Record) -> Sequence[Problem]:
    """Upsert one profile; what Klaviyo has left out of it, by its own account.

    Klaviyo names the field in ``X-Klaviyo-Partial-Failure`` (its community forum, 2025; not in its OpenAPI file).

    :returns: a problem for the field that it left out; empty when it took all.
    :raises KlaviyoRequestError: when Klaviyo refuses it.
    :raises KlaviyoError: when Klaviyo stays unreachable.
    """
    dropped = client.send(IMPORT_PROFILE, body=single_body(record.body), read=_read_partial_failure)
    return [Problem(dropped, "Klaviyo took the profile without this field")] if dropped else []


def _read_partial_failure(endpoint: Endpoint, answer: Response) -> str:
    read_document(endpoint, answer)
    return answer.partial_failure

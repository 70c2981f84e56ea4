"""Bulk import jobs: what is particular to them among Klaviyo's jobs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from airflow_provider_klaviyo.client.endpoints import (
    GET_IMPORT_ERRORS,
    GET_IMPORT_JOB,
    GET_IMPORT_JOBS,
    IMPORT_PROFILES,
)
from airflow_provider_klaviyo.client.jobs import JobKind, Listing
from airflow_provider_klaviyo.client.responses import text
from airflow_provider_klaviyo.identity import comparable

_PAGE = 100  # the most that Klaviyo gives in a page of jobs, and of their errors (OpenAPI 2026-07-15)
_IDENTIFIERS = {
    "id": "klaviyo_id",
    "email": "email",
    "phone_number": "phone_number",
    "external_id": "external_id",
}


def import_body(profiles: Sequence[bytes], list_id: str = "") -> bytes:
    """The request that starts a job.

    :param profiles: encoded already, each a resource of type ``profile``.
    :param list_id: a list that the people are put on.
    """
    relation = b""
    if list_id:
        relation = b',"relationships":{"lists":{"data":[{"type":"list","id":"%s"}]}}' % list_id.encode()
    parts = list(profiles) or [b""]  # joined at once, since a body of megabytes would be copied else
    parts[0] = b'{"data":{"type":"profile-bulk-import-job","attributes":{"profiles":{"data":[' + parts[0]
    parts[-1] += b"]}}" + relation + b"}}"
    return b",".join(parts)


def profile_identifiers(payload: Mapping[str, object]) -> dict[str, str]:
    """Whom a payload names, by the fields of mappings, each value as it is compared.

    :param payload: a document, a resource or its attributes: ``original_payload`` is an object of no documented shape.
    """
    return dict(_identifiers(payload))


def _identifiers(payload: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for key in ("data", "attributes"):
        nested = payload.get(key)
        inner = nested if isinstance(nested, Mapping) else payload
        payload = {"id": payload.get("id"), **inner}
    for key, field in _IDENTIFIERS.items():
        if value := text(payload.get(key)):
            yield field, comparable(field, value)


PROFILE_IMPORTS = JobKind(
    name="profile-bulk-import-job",
    noun="import job",
    record="profile",
    start=IMPORT_PROFILES,
    one=GET_IMPORT_JOB,
    newest=Listing(GET_IMPORT_JOBS, {"sort": "-created_at", "page[size]": str(_PAGE)}, _PAGE),
    errors=Listing(GET_IMPORT_ERRORS, {"page[size]": str(_PAGE)}, _PAGE),
    body=import_body,
    identifiers=profile_identifiers,
    sensor="KlaviyoImportJobSensor",
)

"""From a method and a path that somebody wrote to an endpoint of Klaviyo's with the windows that it is counted in.

Paths of Klaviyo's API are all alike (its OpenAPI file of 2026-07-15, https://github.com/klaviyo/openapi): ``/api/``, a
collection, maybe an id, and after that words. So an id is told by its place, and one operation has one name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote

from airflow_provider_klaviyo.client.endpoints import (
    ADD_TO_LIST,
    ENDPOINTS,
    REMOVE_FROM_LIST,
    Endpoint,
    windows,
)
from airflow_provider_klaviyo.client.rate_limit_slots import Rate
from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError

METHODS = ("GET", "POST", "PATCH", "DELETE")

_KNOWN = {(endpoint.method, endpoint.path): endpoint for endpoint in ENDPOINTS}

_HARMLESS_AGAIN = (ADD_TO_LIST, REMOVE_FROM_LIST)
"""What may be written again whatever the body says. Syncs may repeat more, since they make the bodies: an event without
a ``unique_id`` counts twice, and who is subscribed again is asked again."""

_ID = "{id}"
_WORD = re.compile(r"[a-z][a-z-]{0,79}")

_USUAL = windows(1, 15)
"""What all but the scarce ones permit at least."""

_REPORTS = ("campaign-values", "flow-values", "flow-series", "form-values", "form-series", "segment-values",
            "segment-series")  # fmt: skip
SCARCE: Mapping[str, tuple[Rate, ...]] = {
    **{f"POST /api/{each}-reports": windows(1, 2, 225) for each in _REPORTS},
    "POST /api/custom-metrics": windows(1, 15, 15),
    "PATCH /api/custom-metrics/{id}": windows(1, 15, 15),
    "PATCH /api/mapped-metrics/{id}": windows(1, 15, 30),
    "POST /api/flows": windows(1, 15, 100),
    "POST /api/segments": windows(1, 15, 100),
    "PATCH /api/segments/{id}": windows(1, 15, 100),
    "POST /api/images": windows(1, 15, 100),
    "POST /api/image-upload": windows(1, 15, 500),
    "POST /api/template-preview-send-jobs": windows(1, 15, 100),  # of Klaviyo's beta
}
"""Operations that Klaviyo counts in a day, or permits less than 15 times a minute; those of ``ENDPOINTS`` aside."""


class Addressed(NamedTuple):
    """An endpoint, and what a request to it names.

    :param resource_id: fills the endpoint's path.
    """

    endpoint: Endpoint
    resource_id: str
    query: dict[str, str]


def addressed(method: str, path: str, query: Mapping[str, str]) -> Addressed:
    """What a method, a path and a query are a request to.

    :param path: of Klaviyo's API, and no more than that, but for a query of its own.
    :raises KlaviyoConfigurationError: when it is anything else; the key must not go elsewhere.
    """
    before, _, own_query = path.partition("?")
    before = before.removesuffix("/")
    if fault := _fault(method.upper(), before, own_query):
        raise _unusable(fault)
    collection, *rest = [unquote(each) for each in before.split("/")[2:]]
    endpoint = _endpoint(method.upper(), collection, rest)
    return Addressed(endpoint, rest[0] if rest else "", _joined(own_query, query))


def _endpoint(method: str, collection: str, rest: Sequence[str]) -> Endpoint:
    path = "/".join(["/api", collection, *([_ID] if rest else []), *rest[1:]])
    if known := _KNOWN.get((method, path)):
        return replace(known, is_repeatable=method == "GET" or known in _HARMLESS_AGAIN)
    name = f"{method} {path}"
    return Endpoint(name, method, path, (), SCARCE.get(name, _USUAL), is_repeatable=method == "GET")


def _fault(method: str, path: str, query: str) -> str:
    """What is wrong with a request; empty where nothing is."""
    if method not in METHODS:
        return f"Its method is none of {', '.join(METHODS)}"
    if not path.startswith("/api/"):
        return 'Its path does not begin with "/api/"'
    segments = [unquote(each) for each in path.split("/")[2:]]
    if (
        any(re.search(r"[/\\@?#%\ufffd]", each) or not each.isprintable() for each in segments)
        or "#" in query
    ):
        return (
            'Its path has a character that none of Klaviyo\'s has, such as "@", "#", "\\" or an encoded "/"'
        )
    if any(each in ("", ".", "..") for each in segments):
        return 'Its path has a "..", a "." or nothing between two "/"'
    if not _WORD.fullmatch(segments[0]):
        return 'Its path has no word in small letters after "/api/"'
    if any(not _WORD.fullmatch(each) for each in segments[2:]):
        return "Its path has something else than words after the id"
    return ""


def _joined(own: str, more: Mapping[str, str]) -> dict[str, str]:
    try:
        pairs = parse_qsl(own, keep_blank_values=True, strict_parsing=True, errors="strict") if own else []
    except ValueError:
        pairs = []
    names = [*(name for name, _ in pairs), *more]
    if bool(own) is not bool(pairs) or len(set(names)) < len(names):
        fault = (
            "The query in its path cannot be read, or names a parameter twice, or one that query= names too"
        )
        raise _unusable(fault)
    return dict(pairs) | dict(more)


def _unusable(fault: str) -> KlaviyoConfigurationError:
    # What was written is not shown: by mistake it may be anything, such as an address.
    msg = (
        f"This is no request that the hook sends to Klaviyo. {fault}. Nothing was sent. Methods are "
        f'{", ".join(METHODS)}, and a path is one of Klaviyo\'s API, such as "/api/lists/Y6nRLr/profiles".'
    )
    return KlaviyoConfigurationError(msg)

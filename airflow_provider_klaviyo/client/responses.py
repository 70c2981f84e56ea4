"""From an HTTP answer to its JSON, or to the error that says what to do next."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

import msgspec

from airflow_provider_klaviyo.client.endpoints import Endpoint
from airflow_provider_klaviyo.exceptions import (
    ApiError,
    KlaviyoAuthenticationError,
    KlaviyoConfigurationError,
    KlaviyoError,
    KlaviyoForbiddenError,
    KlaviyoPermissionError,
    KlaviyoRateLimitError,
    KlaviyoRequestError,
    KlaviyoResponseError,
    KlaviyoRevisionError,
    KlaviyoServerError,
    mask,
)

Document = Mapping[str, object]
E = TypeVar("E", bound=KlaviyoError)

_AUTHENTICATION_CODES = {"authentication_failed", "not_authenticated", "invalid_api_key"}

_ABOUT_SCOPES = re.compile(r"\bscopes?\b|\b[a-z]+(-[a-z]+)*:(read|write)\b", re.IGNORECASE)
_NO_MORE_TOLD = re.compile(r"You do not have permission to perform this action\.?|", re.IGNORECASE)
"""What a refusal says that may be about scopes: it names them, or names nothing at all."""


@dataclass(frozen=True, slots=True)
class Response:
    """A raw HTTP answer; header names in lower case.

    :param arrived: when, in seconds since the epoch, by the client's clock; None where nobody looked at one.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    arrived: float | None = None

    @property
    def is_success(self) -> bool:
        """Whether Klaviyo did what was asked; which of the 2xx it says differs from its own pages."""
        return 200 <= self.status < 300

    @property
    def request_id(self) -> str:
        """What Klaviyo's support asks for; Cloudflare's id when Klaviyo itself did not answer."""
        return self.headers.get("x-klaviyo-req-id") or self.headers.get("cf-ray", "")

    @property
    def partial_failure(self) -> str:
        """The field that Klaviyo left out although it took the record, such as ``phone_number``."""
        return self.headers.get("x-klaviyo-partial-failure", "")

    @property
    def date(self) -> datetime | None:
        """When the server answered, by its own clock; None where it does not say."""
        return _http_date(self.headers.get("date", ""))

    def document(self) -> Document | None:
        """The body as a JSON object; None when it is empty, HTML or anything else."""
        try:
            decoded = msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        return decoded if isinstance(decoded, dict) else None


def read_document(endpoint: Endpoint, response: Response) -> Document:
    """The JSON of a success.

    :raises KlaviyoError: the error that the status stands for, or ``KlaviyoResponseError`` when a success
        does not hold what Klaviyo's schema promises.
    """
    if not response.is_success:
        raise error_of(endpoint, response)
    document = response.document()
    if document is None or document.get("data") is None:
        raise unreadable(endpoint, response)
    return document


def read_collection(endpoint: Endpoint, response: Response) -> Document:
    """The JSON of a page whose ``data`` is a list of objects.

    A page of another shape is never taken for an empty one: Klaviyo was seen to answer a long scan with 200 and
    ``data: null``, and with the page when asked again.

    :raises KlaviyoError: as ``read_document`` does.
    """
    document = read_document(endpoint, response)
    listed = document["data"]
    if not isinstance(listed, list) or not all(isinstance(each, Mapping) for each in listed):
        raise unreadable(endpoint, response)
    return document


def read_resources(endpoint: Endpoint, response: Response) -> Document:
    """The same where every one of them must have an id and attributes."""
    document = read_collection(endpoint, response)
    if not all(map(_is_resource, resources(document))):
        raise unreadable(endpoint, response)
    return document


def read_resource(endpoint: Endpoint, response: Response) -> Document:
    """One resource, with its id and attributes.

    :raises KlaviyoError: as ``read_document`` does.
    """
    resource = read_document(endpoint, response)["data"]
    if not isinstance(resource, Mapping) or not _is_resource(resource):
        raise unreadable(endpoint, response)
    return resource


def resources(page: Document) -> list[Document]:
    """The resources of a page that was read as a collection."""
    listed: list[Document] = page["data"]  # type: ignore[assignment]  # held to it when it was read
    return listed


def _is_resource(resource: Document) -> bool:
    found = resource.get("id")
    return isinstance(found, str) and bool(found) and isinstance(resource.get("attributes"), Mapping)


def attributes_of(resource: Document) -> Document:
    """The attributes of a resource; empty where it has none."""
    attributes = resource.get("attributes")
    return attributes if isinstance(attributes, Mapping) else {}


def read_accepted(endpoint: Endpoint, response: Response) -> str:
    """Make sure of a success whose body is empty (202, 204); returns the field that Klaviyo left out, if it did.

    :raises KlaviyoError: as ``read_document`` does; a page of a proxy is no success.
    """
    if not response.is_success:
        raise error_of(endpoint, response)
    if response.body.strip() and response.document() is None:
        raise unreadable(endpoint, response)
    return response.partial_failure


def error_of(endpoint: Endpoint, response: Response) -> KlaviyoError:
    """The typed error for a status that is not a success."""
    errors = api_errors(response)
    refused = _Refused(endpoint, response, errors)
    if any(error.code in _AUTHENTICATION_CODES for error in errors):
        return _bad_key(refused)
    if response.status in _BY_STATUS:
        return _BY_STATUS[response.status](refused)
    if response.status >= 500:
        return _failed(refused)
    if response.status >= 400 and errors:
        return _not_taken(refused)
    return _not_klaviyo(refused)


def api_errors(response: Response) -> tuple[ApiError, ...]:
    """The ``errors`` of the body; Klaviyo may leave out or empty any part of them."""
    document = response.document() or {}
    listed = document.get("errors")
    return (
        tuple(_api_error(entry) for entry in listed if isinstance(entry, dict))
        if isinstance(listed, list)
        else ()
    )


def _api_error(entry: Document) -> ApiError:
    source, meta, status = entry.get("source"), entry.get("meta"), entry.get("status")
    source_object = source if isinstance(source, dict) else {}
    return ApiError(
        status=status if isinstance(status, int) else 0,
        code=str(entry.get("code") or ""),
        title=str(entry.get("title") or ""),
        detail=str(entry.get("detail") or ""),
        pointer=str(source_object.get("pointer") or source_object.get("parameter") or ""),
        meta=meta if isinstance(meta, dict) else {},
    )


def retry_after(response: Response) -> float | None:
    """Seconds that the server asks to wait (``Retry-After``, as seconds or as a date), if it says so."""
    value = response.headers.get("retry-after", "").strip()
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        return _seconds_until(_http_date(value), response)
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def _seconds_until(timestamp: datetime | None, response: Response) -> float | None:
    """Both by the server's clock, where it tells its time: this host's may be another."""
    answered = response.date.timestamp() if response.date else response.arrived
    if timestamp is None or answered is None:
        return None
    return max(timestamp.timestamp() - answered, 0.0)


def _http_date(value: str) -> datetime | None:
    try:
        timestamp = parsedate_to_datetime(value)
    except ValueError:
        return None
    return timestamp if timestamp.tzinfo else timestamp.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Refused:
    endpoint: Endpoint
    response: Response
    errors: tuple[ApiError, ...]

    @property
    def request(self) -> str:
        return _request(self.endpoint)

    @property
    def message(self) -> str:
        return _message(self.response, self.errors)

    def make(self, kind: type[E], message: str) -> E:
        return kind(
            message,
            status=self.response.status,
            endpoint=self.endpoint.name,
            errors=self.errors,
            request_id=self.response.request_id,
        )


def _throttled(refused: _Refused) -> KlaviyoError:
    error = refused.make(KlaviyoRateLimitError, f"Klaviyo throttled {refused.request}: {refused.message}.")
    error.retry_after = retry_after(refused.response)
    return error


def _failed(refused: _Refused) -> KlaviyoError:
    error = refused.make(KlaviyoServerError, f"Klaviyo failed at {refused.request}: {refused.message}.")
    error.retry_after = retry_after(refused.response)
    return error


def _bad_key(refused: _Refused) -> KlaviyoError:
    msg = (
        f"Klaviyo does not accept the private API key of the connection ({refused.request}: {refused.message}). "
        "Check the connection's password field."
    )
    return refused.make(KlaviyoAuthenticationError, msg)


def _forbidden(refused: _Refused) -> KlaviyoError:
    if not refused.errors:
        msg = (
            f"{refused.request} was blocked before it reached Klaviyo's API ({refused.message}): "
            "by a firewall or proxy, not because of the key."
        )
        return refused.make(KlaviyoForbiddenError, msg)
    if not any(map(_may_be_about_scopes, refused.errors)):
        msg = (
            f"Klaviyo does not permit {refused.request}: {refused.message}. That is about the account (its plan, or a "
            "limit of its own), not about the scopes of the key: look there, or ask Klaviyo's support."
        )
        return refused.make(KlaviyoForbiddenError, msg)
    msg = (
        f"The key of the connection may not use {refused.request}: {refused.message}. "
        f"It needs the scopes {', '.join(refused.endpoint.scopes) or 'of that endpoint'}; "
        "scopes of a key cannot be changed, so create a new key."
    )
    return refused.make(KlaviyoPermissionError, msg)


def _may_be_about_scopes(error: ApiError) -> bool:
    if error.code == "forbidden":  # seen where the account lacks an entitlement
        return False
    return bool(_ABOUT_SCOPES.search(error.message) or _NO_MORE_TOLD.fullmatch(error.message.strip()))


def _retired(refused: _Refused) -> KlaviyoError:
    msg = (
        f"{refused.request} is gone: {refused.message}. "
        "The API revision of the connection is retired; set a newer one, or none for the package's own."
    )
    return refused.make(KlaviyoRevisionError, msg)


def unreadable(
    endpoint: Endpoint, response: Response, problem: str = "is not shaped as Klaviyo documents it"
) -> KlaviyoError:
    """The error for a success that does not hold what Klaviyo's schema promises."""
    refused = _Refused(endpoint, response, ())
    if response.document() is None:
        msg = f"{refused.request} answered {refused.message}. Is the connection's host right?"
    else:
        msg = f"The answer of {refused.request} {problem}."
    return refused.make(KlaviyoResponseError, msg)


def _not_taken(refused: _Refused) -> KlaviyoError:
    return refused.make(KlaviyoRequestError, f"Klaviyo refused {refused.request}: {refused.message}.")


def _not_klaviyo(refused: _Refused) -> KlaviyoError:
    """A redirect, or a refusal in another form than Klaviyo's: something else answers under this address."""
    msg = (
        f"{refused.request} answered {refused.message}, so it is not Klaviyo. Is the connection's host right?"
    )
    return refused.make(KlaviyoConfigurationError, msg)


_BY_STATUS = {
    401: _bad_key,
    403: _forbidden,
    408: _failed,
    410: _retired,
    413: _not_taken,  # a proxy may say so without Klaviyo's JSON
    429: _throttled,
}


def _request(endpoint: Endpoint) -> str:
    return f"{endpoint.name} ({endpoint.method} {endpoint.path})"


def _message(response: Response, errors: tuple[ApiError, ...]) -> str:
    message = mask("; ".join(dict.fromkeys(_described(error) for error in errors[:5]))).rstrip(".")
    if not message:
        kind = response.headers.get("content-type", "no content type").partition(";")[0]
        message = f"with {len(response.body):,} bytes of {kind} instead of Klaviyo's JSON"
    request_id = f" [request {response.request_id}]" if response.request_id else ""
    return f"{response.status} {message}{request_id}"


def _described(error: ApiError) -> str:
    where = f" at {error.pointer}" if error.pointer.strip("/") not in ("", "data") else ""
    return f"{error.message}{where}"

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

from airflow_provider_klaviyo.client.config import connection_named
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
)
from airflow_provider_klaviyo.masking import mask_quotes, shortened

Document = Mapping[str, object]
E = TypeVar("E", bound=KlaviyoError)

PROXY_CREDENTIALS = (
    "The proxy wants credentials (407), so Klaviyo got nothing: put them into HTTPS_PROXY or HTTP_PROXY, as in "
    "http://user:password@proxy:3128, or let NO_PROXY name the host."
)

_AUTHENTICATION_CODES = {"authentication_failed", "not_authenticated", "invalid_api_key"}

_ABOUT_SCOPES = re.compile(r"\bscopes?\b|\b[a-z]+(-[a-z]+)*:(read|write)\b", re.IGNORECASE)
_NO_MORE_TOLD = re.compile(r"You do not have permission to perform this action\.?|", re.IGNORECASE)
"""What a refusal says that may be about scopes: it names them, or names nothing at all."""


@dataclass(frozen=True, slots=True)
class Response:
    """A raw HTTP answer; header names in lower case.

    :param arrived: when, in seconds since the epoch, by the client's clock; None where nobody looked at one.
    :param awaited: seconds from the end of the request to the beginning of the answer.
    :param read_in: seconds from there to the end of the answer.
    :param conn_id: the connection whose key was used; empty where it is not known.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    arrived: float | None = None
    awaited: float = 0.0
    read_in: float = 0.0
    conn_id: str = ""

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
        return self._decoded()[0]

    @property
    def flaw(self) -> str:
        """Why the body is not a JSON object; empty when it is one."""
        return self._decoded()[1]

    def _decoded(self) -> tuple[Document | None, str]:
        # A refusal with a broken letter still says which records it is about.
        body = self.body if self.is_success else self.body.decode(errors="replace")
        try:
            decoded = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return None, str(error)
        except RecursionError:
            return None, "it is nested too deeply"
        return (decoded, "") if isinstance(decoded, dict) else (None, "it is no object")


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


def read_resource(endpoint: Endpoint, response: Response, *, expected_id: str = "") -> Document:
    """One resource, with its id and attributes.

    :param expected_id: what was asked for, if it was asked for by its id.
    :raises KlaviyoError: as ``read_document`` does.
    """
    resource = read_document(endpoint, response)["data"]
    if not isinstance(resource, Mapping) or not _is_resource(resource):
        raise unreadable(endpoint, response)
    if expected_id and resource["id"] != expected_id:
        raise unreadable(endpoint, response, "is about another id than the one that was asked for")
    return resource


def read_id(endpoint: Endpoint, response: Response) -> str:
    """The id of one resource, whatever else there is of it.

    :raises KlaviyoError: as ``read_document`` does.
    """
    resource = read_document(endpoint, response)["data"]
    if not isinstance(resource, Mapping) or not _has_id(resource):
        raise unreadable(endpoint, response, "names no id")
    return text(resource["id"])


def resources(page: Document) -> list[Document]:
    """The resources of a page that was read as a collection."""
    listed: list[Document] = page["data"]  # type: ignore[assignment]  # held to it when it was read
    return listed


def _is_resource(resource: Document) -> bool:
    return _has_id(resource) and isinstance(resource.get("attributes"), Mapping)


def _has_id(resource: Document) -> bool:
    found = resource.get("id")
    return isinstance(found, str) and bool(found)


def text(value: object) -> str:
    """What should be a text of JSON, or is a number in its place; empty for anything else."""
    return value if isinstance(value, str) else str(value) if isinstance(value, (int, float)) else ""


def words(value: object) -> str:
    """The same for people: not more than they read."""
    return shortened(text(value))


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
        code=words(entry.get("code")),
        title=words(entry.get("title")),
        detail=words(entry.get("detail")),
        pointer=text(source_object.get("pointer")) or text(source_object.get("parameter")),
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
    except (ValueError, OverflowError):
        return None
    return timestamp if timestamp.tzinfo else timestamp.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Refused:
    endpoint: Endpoint
    response: Response
    errors: tuple[ApiError, ...]

    @property
    def message(self) -> str:
        return _message(self.response, self.errors)

    @property
    def connection(self) -> str:
        return connection_named(self.response.conn_id)

    def make(self, kind: type[E], message: str) -> E:
        return kind(
            message,
            status=self.response.status,
            endpoint=self.endpoint.name,
            errors=self.errors,
            request_id=self.response.request_id,
        )


def _throttled(refused: _Refused) -> KlaviyoError:
    error = refused.make(KlaviyoRateLimitError, f"Klaviyo throttled {refused.endpoint}: {refused.message}.")
    error.retry_after = retry_after(refused.response)
    return error


def _failed(refused: _Refused) -> KlaviyoError:
    error = refused.make(KlaviyoServerError, f"Klaviyo failed at {refused.endpoint}: {refused.message}.")
    error.retry_after = retry_after(refused.response)
    return error


def _bad_key(refused: _Refused) -> KlaviyoError:
    msg = (
        f"Klaviyo does not accept the private API key of {refused.connection} ({refused.endpoint}: {refused.message}). "
        "Check its password field."
    )
    return refused.make(KlaviyoAuthenticationError, msg)


def _forbidden(refused: _Refused) -> KlaviyoError:
    if not refused.errors:
        msg = (
            f"{refused.endpoint} was blocked before it reached Klaviyo's API ({refused.message}): "
            "by a firewall or proxy, not because of the key."
        )
        return refused.make(KlaviyoForbiddenError, msg)
    if not any(map(_may_be_about_scopes, refused.errors)):
        msg = (
            f"Klaviyo does not permit {refused.endpoint}: {refused.message}. That is about the account (its plan, or a "
            "limit of its own), not about the scopes of the key: look there, or ask Klaviyo's support."
        )
        return refused.make(KlaviyoForbiddenError, msg)
    msg = (
        f"The key of {refused.connection} may not use {refused.endpoint}: {refused.message}. "
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
        f"{refused.endpoint} is gone: {refused.message}. "
        f"The API revision of {refused.connection} is retired; set a newer one, or none for the package's own."
    )
    return refused.make(KlaviyoRevisionError, msg)


def unreadable(endpoint: Endpoint, response: Response, problem: str = "") -> KlaviyoError:
    """The error for an answer that does not hold what Klaviyo's schema promises.

    :param problem: what is wrong, as a predicate; by default what shows in the answer.
    """
    refused = _Refused(endpoint, response, ())
    if problem:
        msg = f"The answer of {endpoint} {problem}."
    elif flaw := response.flaw:
        msg = f"{endpoint} answered {refused.message} ({flaw}). Is the connection's host right?"
    else:
        msg = f"The answer of {endpoint} is not shaped as Klaviyo documents it."
    return refused.make(KlaviyoResponseError, msg)


def too_large(endpoint: Endpoint, response: Response, limit: int) -> KlaviyoError:
    """The error for an answer that was not read to its end.

    :param limit: bytes that it may have.
    """
    msg = (
        f"The answer of {endpoint} has more than {limit:,} bytes, unpacked, so it was not read to its end: "
        f"Klaviyo has not so much to say there. Is the connection's host right?"
    )
    return _Refused(endpoint, response, ()).make(KlaviyoResponseError, msg)


def _not_taken(refused: _Refused) -> KlaviyoError:
    return refused.make(KlaviyoRequestError, f"Klaviyo refused {refused.endpoint}: {refused.message}.")


def _not_klaviyo(refused: _Refused) -> KlaviyoError:
    """A redirect, or a refusal in another form than Klaviyo's: something else answers under this address."""
    msg = f"{refused.endpoint} answered {refused.message}, so it is not Klaviyo. Is the connection's host right?"
    return refused.make(KlaviyoConfigurationError, msg)


def _proxy_refused(refused: _Refused) -> KlaviyoError:
    return refused.make(KlaviyoConfigurationError, f"{PROXY_CREDENTIALS} ({refused.endpoint})")


_BY_STATUS = {
    401: _bad_key,
    403: _forbidden,
    407: _proxy_refused,
    408: _failed,
    410: _retired,
    413: _not_taken,  # a proxy may say so without Klaviyo's JSON
    429: _throttled,
}


def _message(response: Response, errors: tuple[ApiError, ...]) -> str:
    message = mask_quotes("; ".join(dict.fromkeys(_described(error) for error in errors[:5]))).rstrip(".")
    if not message:
        kind = response.headers.get("content-type", "no content type").partition(";")[0]
        message = f"with {len(response.body):,} bytes of {kind} instead of Klaviyo's JSON"
    request_id = f" [request {response.request_id}]" if response.request_id else ""
    return f"{response.status} {message}{request_id}"


def _described(error: ApiError) -> str:
    where = f" at {error.pointer}" if error.pointer.strip("/") not in ("", "data") else ""
    return f"{error.message}{where}"

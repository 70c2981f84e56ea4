"""From a request to an answer: key, revision, operation, rate limits, scopes, body and parameters, in this order.

What Klaviyo does in which order is not documented. Rate limits come before everything that costs work, so that a
request which is refused for other reasons still counts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import unquote

import msgspec

from airflow_provider_klaviyo.emulator.account.account import Account
from airflow_provider_klaviyo.emulator.api import (
    accounts,
    bulk_imports,
    events,
    lists,
    metrics,
    profiles,
    subscriptions,
    suppressions,
)
from airflow_provider_klaviyo.emulator.api.operations import MAX_BODY_BYTES, Answer, Call, Operation
from airflow_provider_klaviyo.emulator.api.repeated_values import with_values
from airflow_provider_klaviyo.emulator.api.unknown_members import with_unknown_members
from airflow_provider_klaviyo.emulator.core.errors import ApiError, Problem, invalid, not_found, throttled
from airflow_provider_klaviyo.emulator.core.faults import Fault, Faults
from airflow_provider_klaviyo.emulator.core.page_times import page_seconds
from airflow_provider_klaviyo.emulator.core.settings import Settings
from airflow_provider_klaviyo.emulator.core.windows import Admission, Windows
from airflow_provider_klaviyo.emulator.requests.query import parse_query

CONTENT_TYPE = "application/vnd.api+json"

OPERATIONS: tuple[Operation, ...] = (
    *accounts.OPERATIONS,
    *profiles.OPERATIONS,
    *bulk_imports.OPERATIONS,
    *lists.OPERATIONS,
    *events.OPERATIONS,
    *metrics.OPERATIONS,
    *subscriptions.OPERATIONS,
    *suppressions.OPERATIONS,
)

_REVISION = re.compile(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])(\.[a-z]+)?").fullmatch
_JSON_TYPES = ("application/vnd.api+json", "application/json")


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came over the wire; header names are lower-case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    root: str

    @property
    def operation(self) -> Operation | None:
        """The operation that its method and path name."""
        return next((each for each, _ in _at(self.path) if each.method == self.method), None)


@dataclass(frozen=True, slots=True)
class Response:
    """An answer, ready to be sent; `seconds` is how long it takes besides."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    records: int = 0
    problems: tuple[Problem, ...] = field(default=(), repr=False)
    seconds: float = 0.0


class Api:
    """Klaviyo's endpoints over one account."""

    def __init__(self, account: Account, windows: Windows, faults: Faults) -> None:
        self._account = account
        self._windows = windows
        self._faults = faults

    def answer(self, request: Request, faults: tuple[Fault, ...] = ()) -> Response:
        """Carry out a request, or say why not; `faults` are those that strike it."""
        headers: dict[str, str] = {}
        try:
            answer = self._carry_out(request, headers, faults)
        except ApiError as error:
            # What the windows said goes with every answer but a 429.
            kept = {} if error.status == 429 else headers
            if error.status == 400 and self._account.settings.repeats_values:
                error = with_values(error, request.body)
            error = _blurred(error, _pointers(self._account.settings, faults))
            return self._response(error.status, error.document(), {**kept, **error.headers})
        response = self._response(answer.status, answer.document, headers, answer.records)
        if request.operation is None or self._account.settings.page_times == "off":
            return response
        seconds = page_seconds(request.operation.id, request.query, answer.document)
        return replace(response, seconds=seconds)

    def _response(
        self, status: int, document: Mapping[str, Any] | None, headers: Mapping[str, str], records: int = 0
    ) -> Response:
        if document is not None and self._account.settings.unknown_members:
            document = with_unknown_members(document)
        body = b"" if document is None else msgspec.json.encode(document)
        has_type = body and status != 429  # as recorded from live answers
        return Response(
            status, {"Content-Type": CONTENT_TYPE, **headers} if has_type else headers, body, records
        )

    def count(self, request: Request) -> None:
        """Count a request in its windows without carrying it out."""
        if request.operation is not None:
            self._look_at_windows(request.operation, request)

    def _carry_out(self, request: Request, headers: dict[str, str], faults: tuple[Fault, ...]) -> Answer:
        settings = self._account.settings
        scopes = _scopes(request, settings)
        _check_revision(request, settings)
        operation, path = _route(request)
        headers |= self._admit(operation, request)
        _check_scopes(operation, scopes)
        if len(request.path) + len(request.query) > settings.max_url_bytes:
            raise ApiError(414, [Problem("The URL is too long.", pointer="/data", title="URI too long.")])
        _check_body(operation, request)
        query = parse_query(request.query, operation.query, settings)
        target = request.path.rstrip("/")
        call = Call(self._account, path, query, request.body, request.root, target, faults)
        return operation.answer(call)

    def _admit(self, operation: Operation, request: Request) -> dict[str, str]:
        admission = self._look_at_windows(operation, request)
        if admission.retry_after is not None:
            raise throttled(admission.retry_after)
        return admission.headers()

    def _look_at_windows(self, operation: Operation, request: Request) -> Admission:
        # Parameters lower the limit before they are checked, so they are only looked at here.
        pairs = dict(part.partition("=")[::2] for part in unquote(request.query).split("&"))
        rates = operation.rates_for(pairs)
        return self._windows.admit(operation.id, rates, self._account.clock.now(), self._account.settings)


def _scopes(request: Request, settings: Settings) -> tuple[str, ...]:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if not key.strip() or scheme != "Klaviyo-API-Key":
        title = "Authentication credentials were not provided."
        detail = (
            "Missing or invalid authorization scheme. Please make sure your request has an Authorization header of "
            "the form 'Klaviyo-API-Key your-private-api-key'."
        )
        raise ApiError(
            settings.bad_key_status,
            [Problem(detail, pointer="/data/", code="not_authenticated", title=title)],
        )
    scopes = settings.scopes_of(key.strip())
    if scopes is None:
        detail = "Incorrect authentication credentials."
        raise ApiError(
            settings.bad_key_status,
            [Problem(detail, pointer="/data/", code="authentication_failed", title=detail)],
        )
    return scopes


def _check_revision(request: Request, settings: Settings) -> None:
    revision = request.headers.get("revision", "")
    if not revision:
        detail = "A revision header is required, such as 'revision: 2026-07-15'."
        raise invalid(detail, "/data/")
    if not _REVISION(revision):
        detail = "The revision must have the form YYYY-MM-DD[.suffix]."
        raise invalid(detail, "/data/")
    if request.headers.get("x-klaviyo-revision-fall-forward-opt-out", "") != "1":
        return
    if revision[:10] < settings.retired_before:
        detail = f"Revision {revision} is retired and no longer available."
        raise ApiError(410, [Problem(detail, pointer="/data/", code="gone", title="Gone.")])
    if revision not in settings.revisions:
        known = ", ".join(settings.revisions)
        detail = f"Revision {revision} is not available. The emulator answers {known}."
        raise invalid(detail, "/data/")


def _route(request: Request) -> tuple[Operation, dict[str, str]]:
    found = {operation.method: (operation, path) for operation, path in _at(request.path)}
    if not found:
        detail = "The requested path does not exist."
        raise not_found(detail)
    if request.method not in found:
        problem = Problem(
            f'Method "{request.method}" not allowed.',
            pointer="/data",
            code="method_not_allowed",
            title="Method not allowed.",
        )
        raise ApiError(405, [problem], headers={"Allow": ", ".join(sorted(found))})
    return found[request.method]


def _at(path: str) -> list[tuple[Operation, dict[str, str]]]:
    matches = ((operation, operation.match(path)) for operation in OPERATIONS)
    return [(operation, found) for operation, found in matches if found is not None]


def _check_scopes(operation: Operation, scopes: tuple[str, ...]) -> None:
    missing = [scope for scope in operation.scopes if scope not in scopes]
    if missing:
        detail = f"You do not have permission to perform this action. Missing scope(s): {', '.join(missing)}"
        title = "You do not have permission to perform this action."
        raise ApiError(403, [Problem(detail, pointer="/data/", code="permission_denied", title=title)])


def _check_body(operation: Operation, request: Request) -> None:
    if len(request.body) > MAX_BODY_BYTES:
        detail = "The maximum allowed payload size is 5MB."
        raise ApiError(
            413, [Problem(detail, pointer="/data", code="payload_too_large", title="Payload too large.")]
        )
    if not operation.has_body:
        if request.body:
            detail = "This endpoint takes no body."
            raise invalid(detail)
        return
    media_type, _, parameters = request.headers.get("content-type", "").partition(";")
    encoding = request.headers.get("content-encoding", "identity")
    is_utf8 = parameters.strip().lower() in ("", "charset=utf-8")
    if media_type.strip().lower() not in _JSON_TYPES or not is_utf8 or encoding != "identity":
        detail = f"Unsupported media type. Send {CONTENT_TYPE}, without content encoding."
        code, title = "unsupported_media_type", "Unsupported media type."
        raise ApiError(415, [Problem(detail, pointer="/data", code=code, title=title)])


def _pointers(settings: Settings, faults: tuple[Fault, ...]) -> str:
    kinds = {str(fault.kind) for fault in faults}
    if "pointers_none" in kinds:
        return "none"
    return "one" if "pointers_one" in kinds else settings.pointers


def _blurred(error: ApiError, pointers: str) -> ApiError:
    """A 400 that tells less than it knows."""
    if error.status != 400 or pointers == "all":
        return error
    if pointers == "one":
        return ApiError(400, error.problems[:1])
    if pointers == "field":
        return ApiError(400, [replace(each, pointer=_field_of(each.pointer)) for each in error.problems])
    return ApiError(400, [Problem("Invalid input.")])


def _field_of(pointer: str | None) -> str | None:
    """The bare field that a pointer names, where it names one of a record."""
    before, found, field = (pointer or "").rpartition("/attributes/")
    return field if found and before.startswith("/data/attributes/") else pointer

"""What can go wrong, sorted by what to do next.

::

    KlaviyoError
    ├── KlaviyoConfigurationError      fix the connection, the key or the Dag; repeating changes nothing
    │   ├── KlaviyoAuthenticationError     the key is wrong (401)
    │   ├── KlaviyoForbiddenError          Klaviyo, or what stands before it, does not permit the call (403)
    │   │   └── KlaviyoPermissionError         the key lacks a scope
    │   ├── KlaviyoRevisionError           the API revision is retired (410)
    │   └── KlaviyoAccountError            the key belongs to another account
    ├── KlaviyoRetryableError          try again later
    │   ├── KlaviyoRateLimitError          too many requests (429)
    │   ├── KlaviyoServerError             Klaviyo failed (5xx)
    │   ├── KlaviyoConnectionError         no answer: refused, reset, timed out
    │   ├── KlaviyoResponseError           an answer that is not Klaviyo's (not JSON, wrong shape)
    │   └── KlaviyoTimeout                 the sync's time is up
    ├── KlaviyoRequestError            Klaviyo refused what was sent (other 4xx)
    ├── KlaviyoStopped                 the run was told to stop
    └── KlaviyoSyncFailed              too many rows were rejected, or people may not be removed; carries the report
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class ApiError:
    """One entry of the ``errors`` of an answer (JSON:API)."""

    status: int
    code: str
    title: str
    detail: str
    pointer: str
    meta: Mapping[str, object]

    @property
    def message(self) -> str:
        """Klaviyo's message, in full: it may hold an address, so it belongs into the rejects file only."""
        return self.detail or self.title or self.code


class KlaviyoError(Exception):
    """Root of all errors of this package.

    ``was_repeated`` is True when an earlier try of the same request had no clear answer: what Klaviyo says now may not
    be true of that one.

    :param message: what happened, where, and what to do; logged, so it must hold no address and no key.
    :param status: HTTP status of the answer, if there was one.
    :param endpoint: Klaviyo's operation, such as ``bulk_import_profiles``.
    :param errors: the ``errors`` of the answer.
    :param request_id: Klaviyo's id of the answer, for its support.
    """

    was_repeated: bool = False

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        endpoint: str = "",
        errors: Sequence[ApiError] = (),
        request_id: str = "",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.endpoint = endpoint
        self.errors = tuple(errors)
        self.request_id = request_id

    @property
    def code(self) -> str:
        """Klaviyo's error code, such as ``permission_denied``; empty when there was none."""
        return self.errors[0].code if self.errors else ""


class KlaviyoConfigurationError(KlaviyoError):
    """The connection, the key or the Dag must be changed; the same run would fail again."""


class KlaviyoAuthenticationError(KlaviyoConfigurationError):
    """Klaviyo does not know this key."""


class KlaviyoForbiddenError(KlaviyoConfigurationError):
    """The account's plan, a limit of its own, or a firewall does not permit the call."""


class KlaviyoPermissionError(KlaviyoForbiddenError):
    """The key is good but lacks a scope."""


class KlaviyoRevisionError(KlaviyoConfigurationError):
    """The API revision is retired."""


class KlaviyoAccountError(KlaviyoConfigurationError):
    """The key belongs to another account than the connection expects."""


class KlaviyoRetryableError(KlaviyoError):
    """The same request may succeed later."""

    retry_after: float | None = None


class KlaviyoRateLimitError(KlaviyoRetryableError):
    """Klaviyo throttled the request; ``retry_after`` is in seconds."""


class KlaviyoServerError(KlaviyoRetryableError):
    """Klaviyo answered 5xx; whether it did what was asked is not known."""


class KlaviyoConnectionError(KlaviyoRetryableError):
    """There was no answer.

    ``sent`` is False when the request certainly never reached Klaviyo.
    """

    sent: bool = True


class KlaviyoResponseError(KlaviyoRetryableError):
    """The answer is not Klaviyo's: not JSON, or of another shape."""


class KlaviyoTimeout(KlaviyoRetryableError):
    """The time that the sync may take is used up."""


class KlaviyoRequestError(KlaviyoError):
    """Klaviyo refused what was sent; sending it again unchanged would be refused again."""


class KlaviyoStopped(KlaviyoError):
    """The run was told to stop (task cleared, marked or killed)."""


class KlaviyoSyncFailed(KlaviyoError):
    """More rows were rejected than ``max_rejected`` allows, or a mirror would remove more people than it may.

    Every good row was sent.

    ``report`` is the run's summary, as the task returns it.
    """

    def __init__(self, message: str, report: Mapping[str, object]) -> None:
        super().__init__(message)
        self.report = report

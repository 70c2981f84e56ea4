"""When a request is sent again, how long to wait before, and when to give up: pure functions over the error."""

from __future__ import annotations

import random

from airflow_provider_klaviyo.client.endpoints import Endpoint
from airflow_provider_klaviyo.client.rate_limit_slots import longest_window
from airflow_provider_klaviyo.exceptions import (
    KlaviyoConnectionError,
    KlaviyoError,
    KlaviyoRateLimitError,
    KlaviyoRequestError,
    KlaviyoResponseError,
    KlaviyoRetryableError,
    KlaviyoStopped,
    KlaviyoTimeout,
)

MIN_WAIT = 1.0
"""Seconds. Klaviyo was seen to send ``Retry-After: 0``, so its word has a floor."""

MAX_WAIT = 60.0
"""Seconds: as long as Klaviyo's steady window, after which a throttled caller may go on."""

MAX_ASKED = 120.0
"""Seconds: more is believed of Klaviyo's own answer only, and of an endpoint with a longer window than that."""

_THROTTLED = "throttled"
"""The code of Klaviyo's own 429."""

UNREACHED_PATIENCE = 45.0
"""Seconds to try a host that never answered this client: more likely a wrong host than an outage."""

_PROXY_CREDENTIALS = 407
"""The status with which a proxy refuses a request that lacks them: it passes none of those on."""

UNREADABLE_TRIES = 4
"""Tries for answers that are not Klaviyo's JSON: a proxy may recover, a wrong host will not."""


def is_repeatable(endpoint: Endpoint, error: BaseException) -> bool:
    """Whether sending the request again is safe and may help."""
    if not isinstance(error, KlaviyoRetryableError) or isinstance(error, KlaviyoTimeout):
        return False
    return endpoint.is_repeatable or was_not_processed(error)


def was_not_processed(error: KlaviyoRetryableError) -> bool:
    """Whether Klaviyo certainly did nothing: it throttled the request, or never got it."""
    return isinstance(error, KlaviyoRateLimitError) or (
        isinstance(error, KlaviyoConnectionError) and not error.sent
    )


def may_be_done(error: KlaviyoError) -> bool:
    """Whether Klaviyo may have done what was asked although it did not say so.

    What answers in another form than Klaviyo's is a proxy, which may have passed the request on.
    """
    if error.was_repeated or isinstance(error, KlaviyoStopped):
        return True
    if isinstance(error, (KlaviyoTimeout, KlaviyoRequestError)):
        return False
    if isinstance(error, KlaviyoRetryableError):
        return not was_not_processed(error)
    return error.status not in (None, _PROXY_CREDENTIALS) and not error.errors


def wait_before(endpoint: Endpoint, error: BaseException, tries: int) -> float:
    """Seconds to wait after the given number of tries: what Klaviyo asks for, else exponentially more, with jitter."""
    asked = error.retry_after if isinstance(error, KlaviyoRetryableError) else None
    if asked is not None:
        believed = min(max(asked, MIN_WAIT), _longest_believed(endpoint, error))
        return believed + random.uniform(0.0, 0.5)  # noqa: S311 - jitter, not a secret
    longest = min(MAX_WAIT, MIN_WAIT * 2.0 ** min(tries - 1, 10))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311


def _longest_believed(endpoint: Endpoint, error: BaseException) -> float:
    """Seconds that an answer may ask to wait.

    Klaviyo itself throttles until a window is over, so for as long as the endpoint's longest one. Whatever else
    answers, such as a proxy, would stop everybody who shares the limits, and knows nothing of them.
    """
    is_klaviyos = isinstance(error, KlaviyoRateLimitError) and error.code == _THROTTLED
    return max(MAX_ASKED, longest_window(endpoint.rates)) if is_klaviyos else MAX_ASKED


def is_hopeless(error: BaseException, *, tries: int, elapsed: float, was_reached: bool) -> bool:
    """Whether trying on would only hide a wrong host, ``elapsed`` seconds after the first try."""
    if isinstance(error, KlaviyoResponseError):
        return tries >= UNREADABLE_TRIES
    return isinstance(error, KlaviyoConnectionError) and not was_reached and elapsed >= UNREACHED_PATIENCE

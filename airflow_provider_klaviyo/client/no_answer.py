"""From an exchange that brought no answer to the error that says what to do next."""

from __future__ import annotations

import re
import ssl

import requests
from urllib3.exceptions import NewConnectionError

from airflow_provider_klaviyo.client.config import BASE_URL
from airflow_provider_klaviyo.client.endpoints import Endpoint
from airflow_provider_klaviyo.client.responses import PROXY_CREDENTIALS, words
from airflow_provider_klaviyo.exceptions import (
    KlaviyoConfigurationError,
    KlaviyoConnectionError,
    KlaviyoError,
)
from airflow_provider_klaviyo.masking import mask

_UNUSABLE = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidProxyURL,
    requests.exceptions.InvalidSchema,
)

_WANTS_CREDENTIALS = re.compile(r"Tunnel connection failed: 407\b")


def no_answer(
    base_url: str, endpoint: Endpoint, error: Exception, *, sent: bool, seconds: float
) -> KlaviyoError:
    """The error for a request that has no answer.

    :param error: what ``requests``, or what it stands on, has raised; its words hold the URL with its query.
    :param sent: whether the request had begun to leave.
    :param seconds: since the first attempt to connect.
    """
    if problem := "" if sent else _setting_at_fault(error):
        return KlaviyoConfigurationError(f"{problem} ({endpoint})", endpoint=endpoint.name)
    what = "No answer from" if sent else "Could not connect to"
    msg = (
        f"{what} {base_url} for {endpoint} after {seconds:.1f} s: {_cause(error).rstrip('.')}."
        f"{_hint(base_url, error)}"
    )
    failure = KlaviyoConnectionError(msg, endpoint=endpoint.name)
    failure.sent = sent
    return failure


def _setting_at_fault(error: Exception) -> str:
    """What of this host's settings keeps any request from leaving; empty when it is none that is known."""
    if isinstance(error, _UNUSABLE):
        return f"The connection's host or a proxy setting is not a usable URL: {_cause(error)}"
    if _WANTS_CREDENTIALS.search(str(error)):
        return PROXY_CREDENTIALS
    if type(error) is OSError:  # what the network raises, ``requests`` wraps
        return (
            f"{mask(str(error))}. Correct or unset REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE, whichever names it."
        )
    return ""


def _hint(base_url: str, error: Exception) -> str:
    if isinstance(error, requests.exceptions.ProxyError):
        return " That is the proxy, not Klaviyo: see HTTPS_PROXY, HTTP_PROXY and NO_PROXY of this host."
    is_handshake = isinstance(error, requests.exceptions.SSLError) and not _is_about_certificate(error)
    if not is_handshake or base_url == BASE_URL:
        return ""
    host = base_url.removeprefix("https://")
    return f" If it speaks plain HTTP, write http://{host} into the connection's host."


def _is_about_certificate(error: object) -> bool:
    """Whether a refused certificate is what an error, or one inside of it, is about."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return True
    inner = (getattr(error, "reason", None), *getattr(error, "args", ()))
    return any(isinstance(each, BaseException) and _is_about_certificate(each) for each in inner)


def _cause(error: BaseException) -> str:
    """The innermost cause in a few words; outer ones repeat the URL with its query."""
    inner: BaseException = error
    while nested := _nested(inner):
        inner = nested
    text = str(inner).rpartition(": ")[2] if isinstance(inner, NewConnectionError) else str(inner)
    return f"{type(inner).__name__}: {mask(words(text.partition('(Caused by')[0].partition('?')[0]))}"


def _nested(error: BaseException) -> BaseException | None:
    reason = getattr(error, "reason", None)
    if isinstance(reason, BaseException):
        return reason
    return next((argument for argument in error.args if isinstance(argument, BaseException)), None)

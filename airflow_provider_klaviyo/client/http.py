"""One HTTP exchange: a kept connection per thread, the key as an object, a bound on the time of the whole answer."""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections.abc import Mapping
from urllib.parse import urlencode

import requests
from requests.auth import AuthBase
from urllib3.exceptions import HTTPError, NewConnectionError

from airflow_provider_klaviyo import __version__
from airflow_provider_klaviyo.client.config import BASE_URL, KlaviyoConfig
from airflow_provider_klaviyo.client.endpoints import Endpoint
from airflow_provider_klaviyo.client.responses import Response
from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError, KlaviyoConnectionError, mask

CONNECT_TIMEOUT = 10.0
_CHUNK = 64 * 1024
_JSON_API = "application/vnd.api+json"
_NO_FALL_FORWARD = "X-Klaviyo-Revision-Fall-Forward-Opt-Out"
"""Asks for an error where a revision is retired; without it Klaviyo may answer in another revision's shapes (its page
of revision changes, October 2026)."""


class QueryMask(logging.Filter):
    """Cuts the query of Klaviyo's URLs out of urllib3's own lines: filters name people."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every line pass, without queries."""
        if isinstance(record.args, tuple):
            record.args = tuple(map(_without_query, record.args))
        return True


def _without_query(argument: object) -> object:
    if isinstance(argument, str) and "/api/" in argument and "?" in argument:
        return f"{argument.partition('?')[0]}?***"
    return argument


for _name in ("urllib3.connection", "urllib3.connectionpool"):
    logging.getLogger(_name).addFilter(QueryMask())


class KeyAuth(AuthBase):
    """Signs requests; also keeps ``requests`` from looking for other credentials in ``.netrc``."""

    def __init__(self, api_key: str) -> None:
        self._api_key = api_key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Klaviyo-API-Key {self._api_key}"
        return request


class HttpTransport:
    """Sends requests to the host of a connection; safe to share among threads."""

    def __init__(self, config: KlaviyoConfig) -> None:
        self._config = config
        self._local = threading.local()
        self._sessions: list[requests.Session] = []
        self._lock = threading.Lock()

    def exchange(
        self, endpoint: Endpoint, path: str, query: Mapping[str, str], body: bytes | None
    ) -> Response:
        """Send one request and read its answer, whatever its status.

        :raises KlaviyoConnectionError: without an answer; ``sent`` says whether Klaviyo may have got the request.
        """
        url = self._url(path, query)
        started = time.monotonic()
        try:
            with self._session().request(
                endpoint.method,
                url,
                data=body,
                timeout=(min(CONNECT_TIMEOUT, self._config.timeout), self._config.timeout),
                allow_redirects=False,
                stream=True,
            ) as response:
                content = self._read(response, started + self._config.timeout)
                headers = {name.lower(): value for name, value in response.headers.items()}
                return Response(response.status_code, headers, content)
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidProxyURL) as error:
            msg = f"The connection's host or a proxy setting is not a usable URL: {mask(str(error))}"
            raise KlaviyoConfigurationError(msg, endpoint=endpoint.name) from None
        except (requests.RequestException, HTTPError, OSError) as error:
            # Not chained: the words of the original hold the URL with its query, so maybe addresses.
            raise self._no_answer(endpoint, error, time.monotonic() - started) from None

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            sessions, self._sessions = self._sessions, []
        for session in sessions:
            session.close()

    def _url(self, path: str, query: Mapping[str, str]) -> str:
        url = self._config.base_url.rstrip("/") + path
        return f"{url}?{urlencode(query)}" if query else url

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
            session.auth = KeyAuth(self._config.api_key)
            session.headers.update(
                {
                    "revision": self._config.revision,
                    _NO_FALL_FORWARD: "1",
                    "Accept": _JSON_API,
                    "Content-Type": _JSON_API,
                    "User-Agent": f"airflow-provider-klaviyo/{__version__}",
                }
            )
            with self._lock:
                self._sessions.append(session)
        return session

    def _read(self, response: requests.Response, deadline: float) -> bytes:
        # `requests` bounds the wait for each piece only: a body that trickles would never end.
        pieces = []
        while piece := response.raw.read1(_CHUNK, decode_content=True):
            pieces.append(piece)
            if time.monotonic() > deadline:
                msg = f"the answer was not complete after {self._config.timeout:g} seconds"
                raise requests.exceptions.ReadTimeout(msg)
        return b"".join(pieces)

    def _no_answer(self, endpoint: Endpoint, error: Exception, seconds: float) -> KlaviyoConnectionError:
        sent = not _never_connected(error)
        what = "No answer from" if sent else "Could not connect to"
        msg = (
            f"{what} {self._config.base_url} for {endpoint.name} ({endpoint.method} {endpoint.path}) "
            f"after {seconds:.1f} s: {_cause(error).rstrip('.')}.{self._hint(error)}"
        )
        failure = KlaviyoConnectionError(msg, endpoint=endpoint.name)
        failure.sent = sent
        return failure

    def _hint(self, error: Exception) -> str:
        is_handshake = isinstance(error, requests.exceptions.SSLError) and not _is_about_certificate(error)
        if not is_handshake or self._config.base_url == BASE_URL:
            return ""
        host = self._config.base_url.removeprefix("https://")
        return f" If it speaks plain HTTP, write http://{host} into the connection's host."


def _never_connected(error: BaseException) -> bool:
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return True
    if isinstance(error, requests.exceptions.SSLError):  # others may strike while the answer is read
        return _is_about_certificate(error)
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(reason, NewConnectionError)


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
    return f"{type(inner).__name__}: {mask(text.partition('(Caused by')[0].partition('?')[0])}"


def _nested(error: BaseException) -> BaseException | None:
    reason = getattr(error, "reason", None)
    if isinstance(reason, BaseException):
        return reason
    return next((argument for argument in error.args if isinstance(argument, BaseException)), None)

"""One HTTP exchange, from the name of the host to the last byte: so long and so large, and no longer or larger."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from http.client import HTTPException
from typing import Any
from urllib.parse import urlencode

import requests
from requests.auth import AuthBase
from urllib3.exceptions import HTTPError

from airflow_provider_klaviyo import __version__
from airflow_provider_klaviyo.client.bodies import ENCODING, BodyTooLarge, BodyUnreadable, read_body
from airflow_provider_klaviyo.client.bounded import OutOfTime, ToldToStop, call_bounded
from airflow_provider_klaviyo.client.config import KlaviyoConfig
from airflow_provider_klaviyo.client.connections import Line, Sessions
from airflow_provider_klaviyo.client.endpoints import Endpoint
from airflow_provider_klaviyo.client.no_answer import no_answer
from airflow_provider_klaviyo.client.responses import Response, too_large, unreadable
from airflow_provider_klaviyo.exceptions import KlaviyoError, KlaviyoStopped

CONNECT_TIMEOUT = 10.0

STOP_GRACE = 2.0
"""Seconds that an exchange has left when it is time to stop: its answer may name a job. Airflow kills after five."""

_JSON_API = "application/vnd.api+json"
_NO_FALL_FORWARD = "X-Klaviyo-Revision-Fall-Forward-Opt-Out"
"""Asks for an error where a revision is retired; without it Klaviyo may answer in another revision's shapes (its page
of revision changes, October 2026)."""


class KeyAuth(AuthBase):
    """Signs requests; also keeps ``requests`` from looking for other credentials in ``.netrc``."""

    def __init__(self, api_key: str) -> None:
        self._api_key = api_key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Klaviyo-API-Key {self._api_key}"
        return request


class HttpTransport:
    """Sends requests to the host of a connection; safe to share among threads.

    An exchange is over after the connection's ``timeout``, whatever happens.

    :param stop: asked several times a second while a request is under way; True ends it.
    """

    def __init__(self, config: KlaviyoConfig, *, stop: Callable[[], bool] | None = None) -> None:
        self._config = config
        self._stop = stop
        self._timeout = (min(CONNECT_TIMEOUT, config.timeout), config.timeout)
        self._sessions = Sessions(self._make_session)
        self._environment: Mapping[str, Any] | None = None

    def exchange(
        self, endpoint: Endpoint, path: str, query: Mapping[str, str], body: bytes | None
    ) -> Response:
        """Send one request and read its answer, whatever its status.

        :raises KlaviyoConnectionError: without an answer; ``sent`` says whether Klaviyo may have got the request.
        :raises KlaviyoResponseError: for an answer that is larger than the endpoint's can be, or cannot be unpacked.
        :raises KlaviyoConfigurationError: when a setting of this host keeps the request from leaving.
        :raises KlaviyoStopped: when told to stop.
        """
        started = time.monotonic()
        line = Line(time.monotonic)
        try:
            with line:
                return call_bounded(
                    lambda: self._talk(line, endpoint, path, query, body),
                    seconds=self._config.timeout,
                    stop=self._stop,
                    grace=STOP_GRACE,
                )
        except ToldToStop:
            msg = f"The run was told to stop before {endpoint.name} was answered."
            raise KlaviyoStopped(msg, endpoint=endpoint.name) from None
        except OutOfTime:
            late = requests.Timeout(f"the answer was not complete after {self._config.timeout:g} seconds")
            raise self._no_answer(endpoint, late, line, started) from None
        except (requests.RequestException, HTTPError, HTTPException, OSError, ValueError) as error:
            # Not chained: the words of the original hold the URL with its query, so maybe addresses.
            raise self._no_answer(endpoint, error, line, started) from None

    def close(self) -> None:
        """Close all connections."""
        self._sessions.close()

    def _make_session(self) -> requests.Session:
        session = requests.Session()
        session.auth = KeyAuth(self._config.api_key)
        session.headers.update(
            {
                "revision": self._config.revision,
                _NO_FALL_FORWARD: "1",
                "Accept": _JSON_API,
                "Accept-Encoding": ENCODING,
                "Content-Type": _JSON_API,
                "User-Agent": f"airflow-provider-klaviyo/{__version__}",
            }
        )
        return session

    def _talk(
        self, line: Line, endpoint: Endpoint, path: str, query: Mapping[str, str], body: bytes | None
    ) -> Response:
        line.carry()
        session = self._sessions.take()
        try:
            request = self._request(session, endpoint, path, query, body)
            with session.send(request, **self._settings(session), timeout=self._timeout) as answer:
                heard = time.monotonic()
                response = self._read(endpoint, answer)
                awaited = heard - (line.awaited_since or heard)
                return replace(response, awaited=awaited, read_in=time.monotonic() - heard)
        finally:
            self._sessions.give_back(session, is_usable=line.let_go())

    def _request(
        self,
        session: requests.Session,
        endpoint: Endpoint,
        path: str,
        query: Mapping[str, str],
        body: bytes | None,
    ) -> requests.PreparedRequest:
        url = self._config.base_url.rstrip("/") + path
        request = session.prepare_request(requests.Request(endpoint.method, url, data=body))
        if query:  # put on here, since ``requests`` would go over it byte by byte
            request.url = f"{request.url}?{urlencode(query)}"
        return request

    def _settings(self, session: requests.Session) -> Mapping[str, Any]:
        """What the environment says of proxies and certificates; read once, as all requests go to one host."""
        if self._environment is None:
            self._environment = session.merge_environment_settings(
                self._config.base_url, {}, stream=True, verify=None, cert=None
            )
        return {**self._environment, "allow_redirects": False}

    def _read(self, endpoint: Endpoint, answer: requests.Response) -> Response:
        headers = {name.lower(): value for name, value in answer.headers.items()}
        response = Response(answer.status_code, headers, b"")
        # urllib3 1.26 would take a body that breaks off for a whole one.
        answer.raw.enforce_content_length = True
        limit = endpoint.largest_answer if response.is_success else endpoint.largest_refusal
        try:
            return replace(response, body=read_body(answer.raw, headers.get("content-encoding", ""), limit))
        except BodyTooLarge:
            raise too_large(endpoint, response, limit) from None
        except BodyUnreadable as error:
            raise unreadable(endpoint, response, f"cannot be read: {error}") from None

    def _no_answer(self, endpoint: Endpoint, error: Exception, line: Line, started: float) -> KlaviyoError:
        seconds = time.monotonic() - started
        return no_answer(self._config.base_url, endpoint, error, sent=line.was_sent, seconds=seconds)

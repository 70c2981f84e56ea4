"""From an Airflow connection to a client of Klaviyo."""

from __future__ import annotations

import datetime as dt
import logging
import math
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow.sdk import BaseHook

from airflow_provider_klaviyo.client.clock import Clock, SystemClock
from airflow_provider_klaviyo.connection import (
    CONN_TYPE,
    EXTRA_FIELDS,
    HIDDEN_FIELDS,
    PLACEHOLDERS,
    RELABELING,
    config_of,
    find_connection,
    rate_limit_conn_id,
)
from airflow_provider_klaviyo.exceptions import (
    KlaviyoConfigurationError,
    KlaviyoError,
    KlaviyoPermissionError,
)

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from airflow_provider_klaviyo.client.config import KlaviyoConfig
    from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
    from airflow_provider_klaviyo.client.rate_limit import WindowStore

log = logging.getLogger(__name__)

_CALL_SECONDS = 600.0
"""What a call by hand may take, waits for rate limits and retries included."""

_TEST_TIMEOUT = 6.0
"""Seconds for one request of the Test button: Airflow's own patience ends after 60 (``[connection_test] timeout``)."""


class Tested(NamedTuple):
    """What a test of a connection has found; ``is_accepted`` is whether Klaviyo accepts its key."""

    is_fine: bool
    words: str
    is_accepted: bool


class KlaviyoHook(BaseHook):
    """Speaks to Klaviyo with the key and the limits of a connection.

    :param klaviyo_conn_id: the connection, of type ``klaviyo``.
    """

    conn_name_attr = "klaviyo_conn_id"
    default_conn_name = "klaviyo_default"
    conn_type = CONN_TYPE
    hook_name = "Klaviyo"

    clock: Clock = SystemClock()
    """What tells the time, here and in the clients."""

    test_seconds = 15.0
    """After so long the Test button tries no more."""

    def __init__(self, klaviyo_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.klaviyo_conn_id = klaviyo_conn_id

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """The extra fields of the form, for Airflow 3.1; newer ones read the provider's metadata."""
        from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
        from wtforms import StringField

        return {
            field.name: StringField(field.label, widget=BS3TextFieldWidget(), description=field.description)
            for field in EXTRA_FIELDS
        }

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Labels, placeholders and hidden fields of the form, for Airflow 3.1."""
        return {
            "hidden_fields": list(HIDDEN_FIELDS),
            "relabeling": dict(RELABELING),
            "placeholders": dict(PLACEHOLDERS),
        }

    @cached_property
    def connection(self) -> Connection:
        """The Airflow connection.

        :raises KlaviyoError: when there is none.
        """
        return find_connection(self.klaviyo_conn_id, self.conn_name_attr)

    def get_conn(self) -> KlaviyoClient:
        """The same as ``get_client()``, under the name that Airflow knows."""
        return self.get_client()

    def get_client(
        self, *, timeout: float | None = None, stop: Callable[[], bool] | None = None
    ) -> KlaviyoClient:
        """A client within the connection's rate limits; close it, or use it in ``with``.

        :param timeout: seconds from now, after which nothing is tried any more; None for no bound.
        :param stop: asked at least each second while the client waits; True ends the wait.
        :raises KlaviyoConfigurationError: when a field of the connection cannot work, or the timeout never ends.
        """
        if timeout is not None and not math.isfinite(timeout):
            msg = f"timeout must be a number of seconds with an end, or None for no bound, not {timeout!r}."
            raise KlaviyoConfigurationError(msg)
        config = config_of(self.connection)
        if notice := _retirement_notice(config, self.clock):
            log.warning("%s", notice)
        return self._client(config, timeout, stop)

    def _client(
        self, config: KlaviyoConfig, timeout: float | None, stop: Callable[[], bool] | None = None
    ) -> KlaviyoClient:
        from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
        from airflow_provider_klaviyo.client.rate_limit import RateLimiter

        limiter = RateLimiter(
            self._windows(), account=config.quota_name, share=config.rate_limit_share, clock=self.clock
        )
        deadline = None if timeout is None else self.clock.monotonic() + timeout
        return KlaviyoClient(config, limiter, clock=self.clock, deadline=deadline, stop=stop)

    @property
    def names_account(self) -> bool:
        """Whether the connection says which account its key must belong to."""
        return bool(self.named_account_id)

    @property
    def named_account_id(self) -> str | None:
        """The account that the connection says that its key must belong to, if it does."""
        return config_of(self.connection).account_id

    def check_account(self, client: KlaviyoClient) -> None:
        """Make sure that the key belongs to the connection's ``account_id``, if there is one.

        :raises KlaviyoAccountError: when it does not.
        """
        from airflow_provider_klaviyo.client.account import check_account

        check_account(client, shared_folder())

    def account_id(self, client: KlaviyoClient) -> str:
        """The id of the account that the key belongs to (scope ``accounts:read``), asked for once an hour."""
        from airflow_provider_klaviyo.client.account import known_account_id

        return known_account_id(client, shared_folder())

    def test_connection(self) -> tuple[bool, str]:
        """Which account the key reaches, or exactly what is wrong; for the Test button."""
        tested = tested_connection(self)
        return tested.is_fine, tested.words

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        json: Mapping[str, object] | None = None,
    ) -> Mapping[str, object]:
        """Call any endpoint of Klaviyo's API, such as ``hook.request("GET", "/api/metrics")``.

        It waits for the endpoint's rate limit, which it shares with the syncs. After an answer that was lost only what
        reads is sent again.

        :param method: ``GET``, ``POST``, ``PATCH`` or ``DELETE``.
        :param path: begins with ``/api/``; may have a query.
        :param query: more of the query.
        :param json: the body.
        :returns: the JSON of the answer; empty when there is none.
        :raises KlaviyoError: see ``airflow_provider_klaviyo.exceptions``.
        """
        from airflow_provider_klaviyo.client.by_hand import request

        with self.get_client(timeout=_CALL_SECONDS) as client:
            return request(client, method, path, query, json)

    def find_list(self, name: str) -> str | None:
        """The id of the list of exactly this name, else of the one without the blanks around it; None where neither is.

        :raises KlaviyoConfigurationError: when several lists have that name; their ids are named.
        """
        from airflow_provider_klaviyo.client.lists import find_list

        with self.get_client(timeout=_CALL_SECONDS) as client:
            return find_list(client, name)

    def create_list(self, name: str, *, opt_in_process: str | None = None) -> str:
        """The id of the list of this name, created if there is none (Klaviyo allows 150 creations a day).

        :param opt_in_process: ``single_opt_in`` or ``double_opt_in`` for a new list; None for the account's default.
        """
        from airflow_provider_klaviyo.client.lists import create_list

        with self.get_client(timeout=_CALL_SECONDS) as client:
            return create_list(client, name, opt_in_process)

    def get_profiles(
        self, values: Sequence[str], *, field: str = "email", additional_fields: Sequence[str] = ()
    ) -> list[Mapping[str, object]]:
        """The profiles of some people, as Klaviyo describes them; 100 people a request.

        :param field: what ``values`` are: ``id``, ``email``, ``phone_number`` or ``external_id``. Klaviyo keeps
            addresses in lower case and compares exactly.
        :param additional_fields: ``subscriptions``, ``predictive_analytics``.
        """
        from airflow_provider_klaviyo.client.by_hand import get_profiles

        with self.get_client(timeout=_CALL_SECONDS) as client:
            return list(get_profiles(client, field, values, additional_fields))

    def _windows(self) -> WindowStore:
        from airflow_provider_klaviyo.client.rate_limit_files import FileWindows
        from airflow_provider_klaviyo.client.rate_limit_redis import RedisWindows, with_timeouts

        redis_conn_id = rate_limit_conn_id(self.connection)
        if not redis_conn_id:
            return FileWindows(shared_folder())
        shared = find_connection(redis_conn_id, "rate_limit_conn_id")
        if shared.conn_type != "redis":
            msg = f"rate_limit_conn_id={redis_conn_id!r} is a connection of type {shared.conn_type!r}, not redis."
            raise KlaviyoConfigurationError(msg)
        where = f"connection {redis_conn_id}, {shared.host}:{shared.port or 6379}"
        return RedisWindows(with_timeouts(BaseHook.get_hook(redis_conn_id).get_conn()), where=where)


def tested_connection(hook: KlaviyoHook) -> Tested:
    """Which account the key of a hook reaches, or exactly what is wrong, and whether Klaviyo accepts the key."""
    from airflow_provider_klaviyo.client.account import get_account

    try:
        config = config_of(hook.connection, is_named=False)  # the button's has an id for the moment
        quick = replace(config, timeout=min(config.timeout, _TEST_TIMEOUT))
        with hook._client(quick, hook.test_seconds) as client:  # noqa: SLF001 - its own module
            account = get_account(client)
            expected = client.config.account_id
    except KlaviyoPermissionError:
        words = (
            "Klaviyo accepts the key, but the scope accounts:read is missing, so the account cannot be shown. "
            "Syncs that keep no state work without it, unless account_id is set; only_changes, mirrors and "
            "subscriptions need it. Scopes of a key cannot be changed: create a new key."
        )
        return Tested(is_fine=False, words=words, is_accepted=True)
    except KlaviyoError as error:
        return Tested(is_fine=False, words=str(error), is_accepted=False)
    if expected and account.id != expected:
        words = f"The key belongs to account {account}, but the connection's account_id is {expected}."
        return Tested(is_fine=False, words=words, is_accepted=True)
    kind = ", a test account" if account.is_test else ""
    notice = _retirement_notice(config, hook.clock)
    words = f"Connected to the Klaviyo account {account}{kind}. {notice}".rstrip()
    return Tested(is_fine=True, words=words, is_accepted=True)


def _retirement_notice(config: KlaviyoConfig, clock: Clock) -> str:
    return config.retirement_notice(dt.datetime.fromtimestamp(clock.now(), dt.UTC).date())


def shared_folder() -> Path:
    """Where the processes of this host and user share rate limits; private, and small."""
    return Path(tempfile.gettempdir()) / f"airflow-provider-klaviyo-{os.getuid()}"

"""What a client needs to know: where Klaviyo is, as whom to speak, and how much it may use."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError

BASE_URL = "https://a.klaviyo.com"
REVISION = "2026-07-15"
"""The API revision that the package is written for (https://developers.klaviyo.com, versioning policy)."""

_LIFE_YEARS = 2
"""After so many years Klaviyo retires a revision (its versioning policy)."""

_NOTICE = dt.timedelta(days=183)

_MAX_TIMEOUT = 3_600
_REVISION = re.compile(r"\d{4}-\d{2}-\d{2}(\.\w+)?")


@dataclass(frozen=True, slots=True)
class KlaviyoConfig:
    """Connection settings, checked.

    :param api_key: private API key (``pk_…``).
    :param base_url: where Klaviyo, a proxy or the emulator answers.
    :param revision: API revision, ``YYYY-MM-DD``.
    :param account_id: the account that the key must belong to, if given.
    :param timeout: seconds that one request may take, from connecting to the last byte of its answer.
    :param rate_limit_share: part of the account's quota to use, above 0 and up to 1.
    :param conn_id: the connection that the settings are of, for messages.
    :raises KlaviyoConfigurationError: for a value that cannot work; the message names the field.
    """

    api_key: str = field(repr=False)
    base_url: str = BASE_URL
    revision: str = REVISION
    account_id: str | None = None
    timeout: float = 60.0
    rate_limit_share: float = 0.9
    conn_id: str = ""

    def __post_init__(self) -> None:
        where = connection_named(self.conn_id)
        if problem := _key_problem(self.api_key, where):
            raise KlaviyoConfigurationError(problem)
        if problem := _url_problem(self.base_url):
            msg = f"In {where}, host must be {problem}"
            raise KlaviyoConfigurationError(msg)
        if not _REVISION.fullmatch(self.revision):
            msg = f"In {where}, revision {self.revision!r} is not a date like {REVISION}."
            raise KlaviyoConfigurationError(msg)
        if not 0 < self.timeout <= _MAX_TIMEOUT:
            msg = f"In {where}, timeout must be above 0 and at most {_MAX_TIMEOUT} seconds, not {self.timeout:g}."
            raise KlaviyoConfigurationError(msg)
        if not 0 < self.rate_limit_share <= 1:
            msg = (
                f"In {where}, rate_limit_share must be above 0 and at most 1, not {self.rate_limit_share:g}."
            )
            raise KlaviyoConfigurationError(msg)

    def retirement_notice(self, today: dt.date) -> str:
        """What to say from half a year before Klaviyo retires the revision; empty before that."""
        retires = _retirement_of(self.revision)
        if retires is None or today < retires - _NOTICE:
            return ""
        when = f"retires on {retires}" if today < retires else f"was to be retired on {retires}"
        whose = "Upgrade this package" if self.revision == REVISION else "Take revision out of the connection"
        return f"Klaviyo's API revision {self.revision} {when}. {whose}, before syncs begin to fail."

    @property
    def quota_name(self) -> str:
        """Whose quota is used: the account if known, else the key, never the key itself.

        All private keys of an account share one quota (Klaviyo's guide to rate limits).
        """
        return self.account_id or hashlib.sha256(f"{self.base_url}\0{self.api_key}".encode()).hexdigest()[:32]


def _retirement_of(revision: str) -> dt.date | None:
    """The day on which a revision retires; None where its text is no day that Klaviyo can have released one."""
    try:
        released = dt.date.fromisoformat(revision[:10])
        return released.replace(year=released.year + _LIFE_YEARS)
    except ValueError:
        return None


def connection_named(conn_id: str) -> str:
    """A connection as messages name it, where its id is known."""
    return f"the connection {conn_id!r}" if conn_id else "the connection"


def _key_problem(key: str, where: str) -> str:
    if not key:
        return f"There is no private API key in {where}: put it into the password field (it begins with pk_)."
    if not key.isascii() or not key.isprintable() or " " in key:
        return f"The private API key of {where} holds characters that no key has; copy it again."
    return ""


def _url_problem(url: str) -> str:
    """What a URL must be and is not; empty where nothing is wrong with it."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        return f"a URL such as {BASE_URL}: {error}."
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return f"a URL such as {BASE_URL}, not {parts.scheme or parts.path!r}."
    if parts.query or parts.fragment or parts.username:
        return "a plain base URL, without user, query or fragment."
    if parts.path.strip("/") == "api" or parts.path.rstrip("/").endswith("/api"):
        return "the base URL without /api: that is added to it."
    return ""

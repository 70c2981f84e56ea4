"""An operator's parameters, checked once they are rendered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError

if TYPE_CHECKING:
    from airflow_provider_klaviyo.operators.base import KlaviyoSyncOperator

_TRUE = {"true", "t", "yes", "y", "on", "1"}
_FALSE = {"false", "f", "no", "n", "off", "0", "none", ""}


@dataclass(frozen=True, slots=True)
class SyncOptions:
    """The parameters that all sync types share, in the types that the run needs."""

    sql: str
    primary_key: Sequence[str]
    timezone: tzinfo
    drops_invalid: bool
    max_rejected: float
    is_preview: bool
    waits: bool
    poll_interval: float
    timeout: float

    @classmethod
    def of(cls, operator: KlaviyoSyncOperator) -> SyncOptions:
        """Read an operator.

        :raises KlaviyoConfigurationError: for a parameter that cannot work; the message names it.
        """
        return cls(
            sql=_sql(operator.sql),
            primary_key=names(operator.primary_key),
            timezone=_timezone(operator.timezone),
            drops_invalid=_choice("on_invalid", operator.on_invalid, ("drop_field", "reject"))
            == "drop_field",
            max_rejected=_max_rejected(operator.max_rejected),
            is_preview=flag("preview", operator.preview),
            waits=flag("wait_for_completion", operator.wait_for_completion),
            poll_interval=_positive("poll_interval", operator.poll_interval),
            timeout=_positive("timeout", operator.timeout),
        )

    def allows(self, rejected: int, rows_read: int) -> bool:
        """Whether so many rejected rows are within ``max_rejected``."""
        return rejected <= self.most_rejected(rows_read)

    def most_rejected(self, rows_read: int) -> int:
        """How many rows may be rejected: a float is a share of the rows, an int a number."""
        if isinstance(self.max_rejected, int):
            return self.max_rejected
        return int(self.max_rejected * rows_read + 1e-9)


def flag(name: str, value: object) -> bool:
    """A boolean, also as a template renders it.

    :raises KlaviyoConfigurationError: for a word that is neither.
    """
    if value is None or isinstance(value, (bool, int)):
        return bool(value)
    word = str(value).strip().lower()
    if word not in _TRUE | _FALSE:
        msg = f"{name} must be true or false, not {value!r}."
        raise KlaviyoConfigurationError(msg)
    return word in _TRUE


def names(value: str | Sequence[str] | None) -> Sequence[str]:
    """One name or several, as a sequence."""
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)


def _sql(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        msg = "sql is empty: give a query or the name of a .sql file."
        raise KlaviyoConfigurationError(msg)
    return value


def _timezone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError, TypeError, AttributeError):
        msg = f"timezone must be an IANA name such as Europe/Berlin, not {name!r}."
        raise KlaviyoConfigurationError(msg) from None


def _choice(name: str, value: object, allowed: Sequence[str]) -> str:
    if value not in allowed:
        msg = f"{name} must be {' or '.join(map(repr, allowed))}, not {value!r}."
        raise KlaviyoConfigurationError(msg)
    return str(value)


def _max_rejected(value: object) -> float:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or value < 0 or (isinstance(value, float) and not value <= 1):  # type: ignore[operator]
        msg = f"max_rejected must be a number of rows (int) or a share between 0.0 and 1.0 (float), not {value!r}."
        raise KlaviyoConfigurationError(msg)
    return value  # type: ignore[return-value]


def _positive(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        msg = f"{name} must be above 0 seconds, not {value!r}."
        raise KlaviyoConfigurationError(msg)
    return float(value)

"""The parameters of operators and sensors, read once their templates are rendered: each kind of value in one place."""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta, tzinfo
from typing import Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError
from airflow_provider_klaviyo.records.values.truth import FALSE, TRUE
from airflow_provider_klaviyo.sync.source.query import BLANK

T = TypeVar("T")

_FOR_EVER = 100 * 366 * 86_400
"""Seconds that are as good as endless, such as ``inf``."""

_SHARE = re.compile(r"\d*\.\d+")
_NOTHING = {"none", "null", ""}


def flag(name: str, value: object) -> bool:
    """A boolean, also as a template renders it.

    :raises KlaviyoConfigurationError: for anything that is neither; nothing at all is neither, since a misspelt
        variable renders to it and must not turn a preview into writes.
    """
    if isinstance(value, (bool, int)):
        return bool(value)
    word = str(value).strip().lower()
    if word not in TRUE | FALSE:
        msg = f"{name} must be true or false, not {value!r}."
        raise KlaviyoConfigurationError(msg)
    return word in TRUE


def flag_or_none(name: str, value: object) -> bool | None:
    """A boolean, or None where nothing was chosen."""
    return (
        None
        if value is None or (isinstance(value, str) and value.strip().lower() in _NOTHING - {""})
        else flag(name, value)
    )


def short_text(name: str, value: object, limit: int) -> str | None:
    """A text of fewer than ``limit`` characters, or None for what a template renders to nothing."""
    short = text(name, value)
    if short is not None and len(short) >= limit:
        msg = f"{name} must have fewer than {limit} characters, not {len(short)}."
        raise KlaviyoConfigurationError(msg)
    return short


def text(name: str, value: object) -> str | None:
    """A text, or None for what a template renders to nothing."""
    if value is None or (isinstance(value, str) and value.strip().lower() in _NOTHING):
        return None
    if not isinstance(value, str):
        msg = f"{name} must be a text, not {value!r}."
        raise KlaviyoConfigurationError(msg)
    return value.strip()


def text_if_given(name: str, value: object) -> str | None:
    """A text, or None where the parameter was left out.

    :raises KlaviyoConfigurationError: for one that a template rendered to nothing, which would mean something else.
    """
    given = text(name, value)
    if value is not None and given is None:
        msg = f"{name} was given, and is {value!r}: check its template, or leave it out."
        raise KlaviyoConfigurationError(msg)
    return given


def exact_text(name: str, value: object) -> str | None:
    """A text with the blanks around it, or None for what a template renders to nothing."""
    return None if text(name, value) is None else str(value)


def named(name: str, value: object) -> str:
    """A text with the blanks around it, of which there must be one."""
    given = exact_text(name, value)
    if given is None:
        msg = f"{name} is empty: give the list a name."
        raise KlaviyoConfigurationError(msg)
    return given


def exact_text_if_given(name: str, value: object) -> str | None:
    """A text with the blanks around it, or None where the parameter was left out.

    :raises KlaviyoConfigurationError: for one that a template rendered to nothing.
    """
    return None if text_if_given(name, value) is None else str(value)


def names(name: str, value: object) -> Sequence[str]:
    """One name or several, as a sequence; a template may have rendered them to the text of a list."""
    plain = _plain(value)
    if plain is None:
        return ()
    found = (plain,) if isinstance(plain, str) else plain
    if not isinstance(found, Sequence) or not all(isinstance(part, str) and part for part in found):
        msg = f"{name} must be a name or a list of names, not {value!r}."
        raise KlaviyoConfigurationError(msg)
    return tuple(found)


def flag_or_names(name: str, value: object) -> bool | Sequence[str]:
    """A boolean, or names."""
    plain = _plain(value)
    if plain is None:
        return False
    is_flag = isinstance(plain, (bool, int)) or (
        isinstance(plain, str) and plain.strip().lower() in TRUE | FALSE
    )
    return flag(name, plain) if is_flag else names(name, plain)


def _plain(value: object) -> object:
    """What a template rendered to text, as it was meant: nothing, a list or a mapping; other text as it is."""
    if not isinstance(value, str):
        return value
    if value.strip().lower() in _NOTHING:
        return None
    if value.strip()[0] not in "[({":
        return value
    try:
        return ast.literal_eval(value.strip())
    except (ValueError, SyntaxError):
        return value


def mapping_or_none(name: str, value: object) -> Mapping[Any, Any] | None:
    plain = _plain(value)
    if plain is None or isinstance(plain, Mapping):
        return plain
    msg = f"{name} must be a mapping, not {value!r}."
    raise KlaviyoConfigurationError(msg)


def mapping_of_text(name: str, value: object) -> Mapping[str, str] | None:
    mapping = mapping_or_none(name, value)
    for field, column in (mapping or {}).items():
        if not isinstance(field, str) or not isinstance(column, str) or not column:
            msg = (
                f"{name} must give a column's name for each field of Klaviyo, but has {field!r}: {column!r}."
            )
            raise KlaviyoConfigurationError(msg)
    return mapping


def query_parameters(name: str, value: object) -> Mapping[str, Any] | Sequence[Any] | None:
    plain = _plain(value)
    if plain is None or (isinstance(plain, (Mapping, Sequence)) and not isinstance(plain, str)):
        return plain
    msg = f"{name} must be a mapping or a list, not {value!r}."
    raise KlaviyoConfigurationError(msg)


def query(name: str, value: object) -> str:
    if isinstance(value, str) and (query := value.strip(BLANK)):
        if query.endswith(".sql") and not query.split()[1:]:
            raise KlaviyoConfigurationError(no_such_file(query))
        return value
    if value is None or isinstance(value, str):
        msg = f"{name} is empty: give a query or the name of a .sql file."
    else:
        msg = (
            f"{name} must be the text of one query or the name of a .sql file, not a {type(value).__name__}: "
            "each query needs a task of its own."
        )
    raise KlaviyoConfigurationError(msg)


def no_such_file(name: str) -> str:
    """What to say of a text that only looks like the name of a ``.sql`` file."""
    shown = "A query" if name.split()[1:] else repr(name)
    return (
        f"{shown} ends in .sql, so it is taken for the name of a file, and Airflow finds none of that name in the "
        "Dag's folder and its template_searchpath. For a file, check the path and write it out: Airflow reads none "
        "whose name a template renders. For a query, let it end otherwise, such as with a semicolon."
    )


def not_in_templates(error: Exception) -> str:
    """What to say where the template of a mapped task names what templates do not know."""
    return (
        f"A template of this mapped task cannot be rendered: {error}. What is expanded has no name of its own in "
        'templates: write {{ task.parameters.shard }} where parameters=[{"shard": …}, …] are expanded, '
        "{{ task.op_kwargs.shard }} where a decorated function is, or give each instance its values by expand_kwargs. "
        "Nothing was sent."
    )


def zone(name: str, value: object) -> tzinfo:
    """A time zone; UTC where none is given."""
    written = text(name, value) or "UTC"
    try:
        return ZoneInfo(written)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        hint = f": did you mean {near!r}?" if (near := _near_timezone(written)) else "."
        msg = f"{name} must be an IANA name such as Europe/Berlin, not {written!r}{hint}"
        raise KlaviyoConfigurationError(msg) from None


def _near_timezone(name: str) -> str | None:
    """The zone that a name nearly is: by its city, in other letters, or with a slip of the pen."""
    wanted = "_".join(name.casefold().split())
    zones = {zone.casefold(): zone for zone in sorted(available_timezones())}
    cities = {zone.rpartition("/")[2]: zone for zone in zones if "/" in zone}
    near = difflib.get_close_matches(wanted, zones, n=1)
    zone = cities.get(wanted.rpartition("/")[2], near[0] if near else "")
    return zones.get(zone)


def choice(name: str, value: object, allowed: Sequence[str]) -> str:
    """One of a few words."""
    if value not in allowed:
        msg = f"{name} must be {' or '.join(map(repr, allowed))}, not {value!r}."
        raise KlaviyoConfigurationError(msg)
    return str(value)


def one_of(*allowed: str) -> Callable[[str, object], str]:
    """What reads one of a few words."""
    return lambda name, value: choice(name, value, allowed)


def or_none(read: Callable[[str, object], T]) -> Callable[[str, object], T | None]:
    """What reads the same, or None."""
    return lambda name, value: None if value is None else read(name, value)


def rows_or_share(name: str, value: object) -> float:
    """A number of rows, or a share of them."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or value < 0 or (isinstance(value, float) and not value <= 1):  # type: ignore[operator]
        msg = f"{name} must be a number of rows (int) or a share between 0.0 and 1.0 (float), not {value!r}."
        raise KlaviyoConfigurationError(msg)
    return value  # type: ignore[return-value]


def people_or_share(name: str, value: object) -> float | None:
    """A number of people, a share of them, or None for no limit; the first two also as a template renders them.

    :raises KlaviyoConfigurationError: for anything else; the word None is no such, since what is missing renders so.
    """
    if value is None:
        return None
    if isinstance(value, str):
        value = _number_in(value)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or value < 0 or (isinstance(value, float) and not value <= 1):  # type: ignore[operator]
        msg = (
            f"{name} must be a number of people (int), a share between 0.0 and 1.0 (float) or None, "
            f"not {value!r}."
        )
        raise KlaviyoConfigurationError(msg)
    return value  # type: ignore[return-value]


def _number_in(text: str) -> object:
    """The whole number or the share that a text has; the text itself where it has none."""
    digits = text.strip()
    if digits.isdecimal():
        return int(digits)
    return float(digits) if _SHARE.fullmatch(digits) else text


def not_negative(name: str, value: object) -> float:
    """Seconds, 0 among them."""
    if isinstance(value, timedelta):
        return not_negative(name, value.total_seconds())
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < _FOR_EVER:
        msg = f"{name} must be a number of seconds, 0 or more, not {value!r}."
        raise KlaviyoConfigurationError(msg)
    return float(value)


def whole_number(name: str, value: object) -> int:
    """How many of something, also as a template renders it.

    :raises KlaviyoConfigurationError: for anything that cannot be counted to.
    """
    digits = str(value).strip()
    if not isinstance(value, (int, str)) or isinstance(value, bool) or not digits.isdecimal():
        msg = f"{name} must be a whole number, 0 or more, not {value!r}."
        raise KlaviyoConfigurationError(msg)
    return int(digits)


def positive(name: str, value: object) -> float:
    """Seconds, but for none at all and for endless ones.

    :raises KlaviyoConfigurationError: for anything else.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < _FOR_EVER:
        msg = f"{name} must be a number of seconds, above 0 and with an end, not {value!r}."
        raise KlaviyoConfigurationError(msg)
    return float(value)

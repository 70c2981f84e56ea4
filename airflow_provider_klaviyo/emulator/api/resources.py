"""JSON:API resources: sparse fieldsets, links and pages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any, TypeVar

from airflow_provider_klaviyo.emulator.api.operations import Call
from airflow_provider_klaviyo.emulator.requests.query import bad_cursor

T = TypeVar("T")


def flattened(attributes: Mapping[str, Any], prefix: str = "") -> frozenset[str]:
    """The names of attributes and, with dots, of their members: what `fields[…]` may name."""
    names: set[str] = set()
    for name, value in attributes.items():
        names.add(prefix + name)
        if isinstance(value, Mapping):
            names |= flattened(value, f"{prefix}{name}.")
    return frozenset(names)


@lru_cache(maxsize=256)
def _holders(names: frozenset[str]) -> frozenset[str]:
    """The names of what holds a member that is named."""
    return frozenset(name[:at] for name in names for at, letter in enumerate(name) if letter == ".")


def sparse(attributes: Mapping[str, Any], names: frozenset[str] | None, prefix: str = "") -> dict[str, Any]:
    """The attributes that a sparse fieldset names; None names all."""
    if names is None:
        return dict(attributes)
    kept: dict[str, Any] = {}
    for name, value in attributes.items():
        path = prefix + name
        if path in names:
            kept[name] = value
        elif path in _holders(names):
            kept[name] = sparse(value, names, path + ".") if isinstance(value, Mapping) else value
    return kept


def links_of(root: str, path: str, relation: str) -> dict[str, Any]:
    """The links of a relationship."""
    return {
        "links": {"self": f"{root}{path}/relationships/{relation}/", "related": f"{root}{path}/{relation}/"}
    }


def page(
    call: Call,
    rows: Iterable[T],
    *,
    resource: Callable[[T], dict[str, Any]],
    position: Callable[[T], int],
    is_descending: bool = False,
) -> dict[str, Any]:
    """A page of resources with its links.

    `position` numbers the rows, which come in its order; the cursor is the position of a page's last row.
    """
    found = list(islice(after_cursor(call, rows, position, is_descending=is_descending), call.query.size + 1))
    shown = found[: call.query.size]
    last = str(position(shown[-1])) if len(found) > len(shown) else None
    links = {"self": call.self_link, "next": call.next_link(last), "prev": None}
    return {"data": [resource(row) for row in shown], "links": links}


def after_cursor(
    call: Call, rows: Iterable[T], position: Callable[[T], int], *, is_descending: bool
) -> Iterator[T]:
    """Rows behind the cursor."""
    if call.query.after is None:
        yield from rows
        return
    after = cursor_position(call)
    for row in rows:
        if position(row) < after if is_descending else position(row) > after:
            yield row


def cursor_position(call: Call) -> int:
    """The number in the cursor."""
    try:
        return int(call.query.after or "")
    except ValueError:
        raise bad_cursor() from None

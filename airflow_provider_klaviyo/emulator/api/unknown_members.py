"""Members that no client knows yet, put into answers: newer revisions add some, which clients are to ignore."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_HINTS = {"agent_hints": [{"hint": "Ask for fewer fields.", "docs": None}]}
_UNKNOWN = {"added_later": {"since": "2027-01-15", "values": [1, None, "a"]}}


def with_unknown_members(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with unknown members at every level, `meta.agent_hints` of revision 2026-10-15 among them."""
    added = {**document, "meta": {**document.get("meta", {}), **_HINTS}, "jsonapi": {"version": "1.1"}}
    for name in ("data", "included", "errors"):
        if name in document:
            added[name] = _in(document[name])
    return added


def _in(found: Any) -> Any:
    if isinstance(found, list):
        return [_in(each) for each in found]
    if not isinstance(found, Mapping):
        return found
    resource = {**found, **_UNKNOWN}
    for name in ("attributes", "relationships", "links", "source"):
        if isinstance(found.get(name), Mapping):
            resource[name] = {**found[name], **_UNKNOWN}
    return resource

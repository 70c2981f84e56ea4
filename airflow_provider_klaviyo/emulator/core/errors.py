"""Klaviyo's error documents.

Shape: OpenAPI 2026-07-15, `components.responses.ClientError`; words and codes as recorded from live answers
where there are any.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_BARE = (401, 404, 500)
#: As recorded from live answers: these, and a missing permission, come without `links` and `meta`.

RATE_LIMIT_LINK = "https://developers.klaviyo.com/en/docs/rate_limits_and_error_handling#rate-limits"


@dataclass(frozen=True, slots=True)
class Problem:
    """One entry of an error document."""

    detail: str
    pointer: str | None = None
    parameter: str | None = None
    code: str = "invalid"
    title: str = "Invalid input."
    meta: Mapping[str, Any] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)

    def as_error(self, status: int) -> dict[str, Any]:
        """The problem as a member of `errors`."""
        source = {"pointer": self.pointer, "parameter": self.parameter}
        is_bare = status in _BARE or self.code == "permission_denied"
        error = {
            "id": str(uuid.uuid4()),
            "status": status,
            "code": self.code,
            "title": self.title,
            "detail": self.detail,
            "source": {name: value for name, value in source.items() if value is not None},
        }
        return error if is_bare else {**error, "links": dict(self.links), "meta": dict(self.meta)}


class ApiError(Exception):
    """An answer of the 4xx family."""

    def __init__(
        self, status: int, problems: Sequence[Problem], *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, problems[0].detail)
        self.status = status
        self.problems = tuple(problems)
        self.headers = dict(headers or {})

    def document(self) -> dict[str, Any]:
        """The answer's body."""
        return {"errors": [problem.as_error(self.status) for problem in self.problems]}


def invalid(detail: str, pointer: str | None = "/data") -> ApiError:
    """A 400 that points into the body."""
    return ApiError(400, [Problem(detail, pointer=pointer)])


def invalid_parameter(detail: str, parameter: str) -> ApiError:
    """A 400 that names a query parameter."""
    return ApiError(400, [Problem(detail, parameter=parameter)])


def not_found(detail: str) -> ApiError:
    """A 404 for something that does not exist (any more)."""
    return ApiError(404, [Problem(detail, pointer="/data/", code="not_found", title="Not found.")])


def duplicate_profile(profile_id: str) -> ApiError:
    """The 409 for identifiers that belong to another profile."""
    problem = Problem(
        "A profile already exists with one of these identifiers.",
        pointer="/data/attributes",
        code="duplicate_profile",
        title="Conflict.",
        meta={"duplicate_profile_id": profile_id},
    )
    return ApiError(409, [problem])


def throttled(seconds: int) -> ApiError:
    """The 429 of a full window."""
    unit = "second" if seconds == 1 else "seconds"
    problem = Problem(
        f"Request was throttled. Expected available in {seconds} {unit}.",
        pointer="/data",
        code="throttled",
        title="Request was throttled.",
        links={"type": RATE_LIMIT_LINK},
    )
    return ApiError(429, [problem], headers={"Retry-After": str(seconds)})


def pointer_to(base: str, *parts: str | int) -> str:
    """A JSON pointer (RFC 6901) below `base`."""
    escaped = (str(part).replace("~", "~0").replace("/", "~1") for part in parts)
    return "/".join([base.rstrip("/"), *escaped])

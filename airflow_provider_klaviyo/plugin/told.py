"""A report as the pages read it: of any release, and of one that is damaged whatever there is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from airflow_provider_klaviyo.sync.report_file import FORMAT
from airflow_provider_klaviyo.sync.summary import OUTCOMES

_MOST = 10**15


class Unreadable(Exception):
    """A report is no JSON object; the message says what it is."""


def number(values: Mapping[str, Any], name: str) -> float:
    """A number that is there, else 0."""
    value = values.get(name)
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return 0.0
    return float(value) if 0 <= value < _MOST else 0.0  # nothing that is counted is below 0; NaN is neither


def text(values: Mapping[str, Any], name: str) -> str:
    """A text that is there, else nothing."""
    value = values.get(name)
    return value if isinstance(value, str) else ""


def mapping(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A JSON object that is there, else an empty one."""
    value = values.get(name)
    return value if isinstance(value, Mapping) else {}


def objects(values: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """The JSON objects of an array that is there."""
    value = values.get(name)
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def examples_of(reason: Mapping[str, Any]) -> list[int]:
    """The numbers of the first rows that have a reason."""
    numbers = reason.get("examples")
    return [each for each in numbers if isinstance(each, int)][:3] if isinstance(numbers, list) else []


class Told(dict[str, Any]):
    """What a report says."""

    @classmethod
    def of(cls, content: bytes) -> Told:
        """Read the file.

        :raises Unreadable: when it holds no JSON object.
        """
        try:
            values = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise Unreadable(str(error)) from error
        if not isinstance(values, dict):
            msg = "it holds no object"
            raise Unreadable(msg)
        return cls(values)

    @property
    def is_newer(self) -> bool:
        """Whether a release wrote it whose format this one does not know."""
        return number(self, "format") > FORMAT

    @property
    def status(self) -> str:
        """How it stands, also of a report that does not say."""
        return text(self, "status") or ("failed" if self.get("error") else "succeeded")

    @property
    def counts(self) -> dict[str, int]:
        """Rows by outcome."""
        return {name: int(number(self, name)) for name in OUTCOMES}

    @property
    def seconds(self) -> float:
        """How long the run took, or takes by now."""
        return number(self, "duration")

    @property
    def failure(self) -> str:
        """Why the task fails."""
        return text(self, "failure") or ("" if self.status == "running" else text(self, "error"))

    def moment(self, name: str) -> float | None:
        """A time in seconds since the epoch."""
        try:
            return datetime.fromisoformat(text(self, name)).timestamp()
        except (ValueError, OverflowError, OSError):
            return None

    @property
    def points(self) -> list[tuple[float, float, float, float]]:
        """Seconds, rows read, rows with a verdict and requests, in the order of time."""
        found: list[tuple[float, float, float, float]] = []
        points = mapping(self, "throughput").get("points")
        for point in points if isinstance(points, list) else ():
            if isinstance(point, list) and len(point) >= 4:
                seconds, read, settled, requests = (number({"": each}, "") for each in point[:4])
                if not found or seconds > found[-1][0]:
                    found.append((seconds, read, settled, requests))
        return found

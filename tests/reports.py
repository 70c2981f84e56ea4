"""The documented format of reports, which every report that a test writes is held to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

SCHEMA = Path(__file__).parents[1] / "docs" / "report.schema.json"


def check_report(report: dict[str, Any]) -> None:
    """Hold a report to the schema, to the law, and to have nothing that the schema does not name."""
    problem = next(_validator().iter_errors(report), None)
    assert problem is None, f"{problem.json_path}: {problem.message}"
    outcomes = ("accepted", "unchanged", "skipped", "rejected", "pending")
    assert report["rows_read"] == sum(report[name] for name in outcomes), "the law is broken"
    assert (report["failure"] is None) == (report["status"] != "failed")


def check_reports(folder: Path) -> None:
    """Hold every report below a folder to the format; those of other formats are a test's own."""
    for path in folder.rglob("*.report.json"):
        try:
            report = json.loads(path.read_bytes())
        except (ValueError, RecursionError):
            continue  # a test has damaged it
        if isinstance(report, dict) and report.get("format") == 1:
            check_report(report)


@pytest.fixture(autouse=True)
def reports_have_the_format(request: pytest.FixtureRequest) -> Iterator[None]:
    """Hold every report that a test writes to it, in the folders whose ``conftest`` has this fixture."""
    folder = request.getfixturevalue("tmp_path") if "tmp_path" in request.fixturenames else None
    yield
    if folder:
        check_reports(folder)


@cache
def _validator() -> Any:
    import jsonschema

    return jsonschema.Draft202012Validator(_closed(json.loads(SCHEMA.read_text())))


def _closed(schema: Any) -> Any:
    """The schema without leave for what it does not name."""
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: _closed(each) for name, each in schema.items()}
    if isinstance(closed.get("properties"), dict) and closed.get("type") in ("object", ["object", "null"]):
        closed.setdefault("additionalProperties", False)
    return closed

"""The README is true."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

import airflow_provider_klaviyo
from airflow_provider_klaviyo import exceptions
from airflow_provider_klaviyo.client.endpoints import SCOPES, scopes_of
from airflow_provider_klaviyo.connection import EXTRA_FIELDS
from airflow_provider_klaviyo.get_provider_info import get_provider_info
from airflow_provider_klaviyo.records.profiles.mapper import FIELDS

ROOT = Path(airflow_provider_klaviyo.__file__).parents[1]
README = ROOT / "README.md"
pytestmark = pytest.mark.skipif(not README.exists(), reason="the README is not beside the installed package")


def readme() -> str:
    return README.read_text()


def test_every_snippet_is_a_tested_example() -> None:
    quoted = re.findall(r"<!-- \[START (\w+)\] from (\S+) -->\n```python\n(.*?)```", readme(), re.DOTALL)
    assert quoted
    for name, file, code in quoted:
        source = (ROOT / file).read_text().partition(f"# [START {name}]\n")[2].partition(f"# [END {name}]")[0]
        indent = len(source) - len(source.lstrip(" "))
        lines = [line[indent:] for line in source.rstrip().splitlines()]
        assert "\n".join(lines) + "\n" == code


def test_every_parameter_of_an_operator_has_its_row() -> None:
    source = ROOT / "airflow_provider_klaviyo" / "operators"
    for file in source.glob("*.py"):
        for node in ast.walk(ast.parse((source / file).read_text())):
            if isinstance(node, ast.FunctionDef) and node.name == "__init__":
                for argument in node.args.kwonlyargs:
                    assert re.search(rf"^\| .*`{argument.arg}`", readme(), re.MULTILINE), argument.arg


def test_every_field_of_klaviyo_is_told() -> None:
    for field in FIELDS:
        told = f"`{field}`" if "." not in field else f".{field.partition('.')[2]}`"
        assert told in readme() or field == "_kx", field


def test_every_field_of_the_connection_and_every_option_is_told() -> None:
    for field in EXTRA_FIELDS:
        assert f"| `{field.name}` |" in readme()
    for option in get_provider_info()["config"]["klaviyo"]["options"]:
        assert f"`[klaviyo] {option}`" in readme()


@pytest.mark.parametrize("sync_type", SCOPES)
def test_the_scopes_are_those_that_the_endpoints_ask_for(sync_type: str) -> None:
    row = f"| {sync_type} | {' '.join(f'`{scope}`' for scope in scopes_of(sync_type))} |"
    assert row in readme()


def test_the_example_summary_has_the_keys_and_obeys_the_law() -> None:
    summary: dict[str, Any] = json.loads(re.search(r'\{"sync_type".*?\}', readme(), re.DOTALL)[0])  # type: ignore[index]
    outcomes = ("accepted", "unchanged", "skipped", "rejected", "pending")
    assert summary["rows_read"] == sum(summary[outcome] for outcome in outcomes)


def test_every_file_that_is_linked_exists() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", readme()):
        assert (ROOT / target).exists(), target


def test_the_tree_of_errors_is_complete() -> None:
    drawn = set(re.findall(r"Klaviyo\w+", (exceptions.__doc__ or "")))
    defined = {name for name in vars(exceptions) if name.startswith("Klaviyo")}
    assert defined == drawn

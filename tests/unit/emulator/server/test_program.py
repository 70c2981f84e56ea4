"""`python -m airflow_provider_klaviyo.emulator`."""

from __future__ import annotations

import ast
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests

import airflow_provider_klaviyo
from airflow_provider_klaviyo import emulator as package
from airflow_provider_klaviyo.emulator.__main__ import main

ROOT = Path(airflow_provider_klaviyo.__file__).parents[1]


def _started(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "airflow_provider_klaviyo.emulator", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
    )


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_listens_and_stops_cleanly(tmp_path: Path, stop: signal.Signals) -> None:
    seed = tmp_path / "people.jsonl"
    seed.write_text("\n".join(json.dumps({"email": f"p{number}@mail.com"}) for number in range(3)))
    arguments = (
        "--api-key",
        "pk_demo",
        "--account-id",
        "DEMO01",
        "--seed",
        str(seed),
        "--job-seconds",
        "0.5",
    )
    with _started(*arguments) as process:
        assert process.stdout is not None
        line = process.stdout.readline().strip()
        version = re.escape(airflow_provider_klaviyo.__version__)
        where = r"(http://127\.0\.0\.1:\d+) \(account DEMO01, key pk_demo\)"
        found = re.fullmatch(rf"Klaviyo emulator {version} listening on {where}", line)
        assert found, line
        answer = requests.get(
            f"{found[1]}/api/profiles",
            headers={"Authorization": "Klaviyo-API-Key pk_demo", "revision": "2026-07-15"},
            timeout=10,
        )
        assert len(answer.json()["data"]) == 3
        process.send_signal(stop)
        assert process.wait(timeout=10) == 0
        assert process.stdout.read() == ""


@pytest.mark.parametrize(
    "arguments",
    [["--rate-limits", "some"], ["--account-id", "x"], ["--host", "everywhere"], ["--job-seconds", "-1"]],
    ids=" ".join,
)
def test_arguments_that_make_no_sense_end_it(arguments: list[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)


def _imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


def test_it_takes_nothing_from_the_package_but_the_version() -> None:
    """It would share the client's mistakes otherwise."""
    imported = set().union(*(_imports(path) for path in Path(package.__file__).parent.glob("*.py")))
    ours = {name for name in imported if name.startswith("airflow")}
    outside = {name for name in ours if not name.startswith("airflow_provider_klaviyo.emulator")}
    assert outside == {"airflow_provider_klaviyo.__version__"}

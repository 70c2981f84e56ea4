"""The demo, as a newcomer starts it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

import pytest

from airflow_provider_klaviyo.demo.printout import find_problems
from airflow_provider_klaviyo.demo.shop import FAULTY, make_shop

ROOT = Path(__file__).resolve().parents[2]
CUSTOMERS = 300

GOOD: dict[str, Any] = {
    "rows_read": 10, "accepted": 5, "unchanged": 1, "skipped": 3, "rejected": 1, "pending": 0, "preview": False,
}  # fmt: skip


@pytest.fixture
def klaviyo() -> Iterator[str]:
    """An account that is reached by a key: the emulator, in a process of its own."""
    command = [sys.executable, "-u", "-m", "airflow_provider_klaviyo.emulator", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        found = re.search(r"http://[\w.]+:\d+", process.stdout.readline())
        assert found
        yield found.group()
        process.terminate()


def demo(folder: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "airflow_provider_klaviyo.demo", "--folder", str(folder)]
    inherited = {name: value for name, value in os.environ.items() if name != "KLAVIYO_API_KEY"}
    return subprocess.run(
        [*command, "--dags", str(ROOT / "dags_examples"), "--customers", str(CUSTOMERS), *options],
        env=inherited | environment, capture_output=True, text=True, check=False, cwd=folder,
    )  # fmt: skip


def stats(url: str) -> Any:
    with build_opener(ProxyHandler({})).open(f"{url}/_emulator/stats", timeout=10) as answer:
        return json.load(answer)


@pytest.mark.slow
def test_every_row_of_the_shop_is_accounted_for(tmp_path: Path) -> None:
    ended = demo(tmp_path)

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"{CUSTOMERS + len(FAULTY)} rows read" in ended.stdout
    assert f"holds {CUSTOMERS + 2} profiles" in ended.stdout
    for name in ("F01", "F02", "F03", "F04", "F05", "F06", "F07", "F08"):
        assert name in ended.stdout


@pytest.mark.slow
def test_an_account_of_ones_own_is_only_read_unless_writing_is_asked_for(
    tmp_path: Path, klaviyo: str
) -> None:
    ended = demo(tmp_path, "--host", klaviyo, KLAVIYO_API_KEY="pk_emulator")

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "a preview: nothing is written" in ended.stdout
    assert list(tmp_path.rglob("*.preview-1.json"))
    assert stats(klaviyo)["writes"] == {}
    assert stats(klaviyo)["stored"]["profiles"] == 0
    assert (
        "pk_emulator" not in "".join(path.read_text() for path in [tmp_path / "airflow.log"]) + ended.stdout
    )


def test_options_for_an_account_need_its_key(tmp_path: Path) -> None:
    ended = demo(tmp_path, "--write")

    assert ended.returncode == 1
    assert "KLAVIYO_API_KEY holds no API key" in ended.stderr
    assert not list(tmp_path.iterdir())


def test_the_shop_is_the_same_every_time(tmp_path: Path) -> None:
    rows = [make_shop(tmp_path / name, 50) for name in ("one.db", "two.db")]

    assert rows == [50 + len(FAULTY)] * 2
    assert (tmp_path / "one.db").read_bytes() == (tmp_path / "two.db").read_bytes()


def test_a_good_run_has_no_problems() -> None:
    assert find_problems(GOOD, 5, succeeded=True, preview=False) == []


@pytest.mark.parametrize(
    ("changes", "stored", "succeeded", "preview", "words"),
    [
        ({}, 5, False, False, "Dag run failed"),
        ({"rows_read": 11}, 5, True, False, "do not add up"),
        ({"pending": 1, "skipped": 2}, 5, True, False, "still pending"),
        ({}, None, True, True, "was to be a preview"),
        ({}, 4, True, False, "emulator holds 4"),
    ],
    ids=["failed", "lost row", "pending", "not a preview", "not in Klaviyo"],
)
def test_a_run_that_went_wrong_says_how(
    changes: dict[str, Any], stored: int | None, succeeded: bool, preview: bool, words: str
) -> None:
    (problem,) = find_problems(GOOD | changes, stored, succeeded=succeeded, preview=preview)

    assert words in problem

"""The demo's own Klaviyo and its own Airflow, started as anyone would start them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from airflow_provider_klaviyo.demo.printout import say, short

DAG = "klaviyo_profiles"

_LOG_LINE = re.compile(r"\S+ \[(?P<level>\w+)\s*\] (?P<message>.*?)\s*\[(?P<logger>[\w.]+)\](?: \w+=.*)?")
_COLOUR = re.compile(r"\x1b\[[\d;]*m")


class DemoError(Exception):
    """The demo cannot go on; the message says why."""


@dataclass(frozen=True, slots=True)
class Demo:
    """Where the demo works."""

    dags: Path
    folder: Path

    @property
    def shop(self) -> Path:
        return self.folder / "shop.db"

    @property
    def log(self) -> Path:
        return self.folder / "airflow.log"

    @property
    def storage(self) -> Path:
        return self.folder / "klaviyo"


@contextmanager
def emulator(demo: Demo) -> Iterator[str]:
    """A local Klaviyo for as long as the block runs; its URL."""
    said = demo.folder / "emulator.log"
    command = [sys.executable, "-u", "-m", "airflow_provider_klaviyo.emulator", "--port", "0"]
    with said.open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        url = _find_url(said, process)
        say(f"Klaviyo   the emulator, at {url}")
        yield url
    finally:
        process.terminate()
        process.wait()


def _find_url(said: Path, process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        found = re.search(r"http://[\w.]+:\d+", said.read_text())
        if found:
            return found.group()
        time.sleep(0.05)
    msg = f"The emulator did not start:\n{said.read_text()}"
    raise DemoError(msg)


def airflow_environment(demo: Demo, key: str, url: str, *, preview: bool) -> dict[str, str]:
    """The settings of an Airflow of the demo's own; nothing of the user's own Airflow is reached."""
    home = demo.folder / "airflow"
    settings = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(demo.dags),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
        "AIRFLOW__KLAVIYO__STORAGE_PATH": f"file://{demo.storage}",
        "AIRFLOW_CONN_SHOP": json.dumps({"conn_type": "sqlite", "host": str(demo.shop)}),
        "AIRFLOW_CONN_KLAVIYO_DEFAULT": json.dumps({"conn_type": "klaviyo", "password": key, "host": url}),
        "KLAVIYO_PREVIEW": str(preview).lower(),
        "NO_COLOR": "1",
        "PYTHONUNBUFFERED": "1",
    }
    return {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")} | settings


def show_account(environment: Mapping[str, str], *, preview: bool) -> None:
    """Say whose account the key opens.

    :raises DemoError: when it opens none.
    """
    os.environ.update(environment)  # before the first import of Airflow
    from airflow_provider_klaviyo.hooks.klaviyo import KlaviyoHook

    reached, words = KlaviyoHook().test_connection()
    if not reached:
        raise DemoError(words)
    what = "a preview: nothing is written" if preview else "real: the made-up customers are written there"
    say(f"Klaviyo   {words}\n          This run is {what}.")


def migrate(demo: Demo, environment: Mapping[str, str]) -> None:
    """Make Airflow's metadata database, or bring it up to date.

    :raises DemoError: when Airflow could not.
    """
    started = time.monotonic()
    say("Airflow   migrating its metadata database ...")
    command = airflow("db", "migrate")
    with demo.log.open("wb") as log:
        ended = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False
        )
    if ended.returncode:
        msg = f"Airflow could not make its metadata database:\n\n{_tail(demo.log)}"
        raise DemoError(msg)
    say(f"          done in {time.monotonic() - started:.0f} s")


def run_dag(demo: Demo, environment: Mapping[str, str]) -> bool:
    """Run the Dag, its log going to a file and the provider's words to the terminal; whether it succeeded."""
    shutil.rmtree(demo.storage, ignore_errors=True)
    say(f"Dag       airflow dags test {DAG} ...")
    pipe, null, command = subprocess.PIPE, subprocess.DEVNULL, airflow("dags", "test", DAG)
    with (
        demo.log.open("a") as log,
        subprocess.Popen(
            command, env=environment, text=True, stdin=null, stdout=pipe, stderr=subprocess.STDOUT
        ) as process,
    ):
        for line in cast("Iterator[str]", process.stdout):
            log.write(line)
            if words := _worth_showing(line):
                say(f"          {words.replace(f'{Path.cwd()}/', '')}")
    return process.returncode == 0


def airflow(*arguments: str) -> list[str]:
    """A command line of this Python's own Airflow."""
    return [sys.executable, "-m", "airflow", *arguments]


def _worth_showing(line: str) -> str:
    """The provider's own words, and errors."""
    found = _LOG_LINE.fullmatch(_COLOUR.sub("", line).strip())
    if not found:
        return ""
    is_ours = found["logger"].startswith("airflow_provider_klaviyo")
    return found["message"] if is_ours or found["level"] in ("error", "critical") else ""


def newest_report(demo: Demo) -> dict[str, Any]:
    """The report file that the run left.

    :raises DemoError: when there is none.
    """
    reports = sorted(demo.storage.rglob("*.report.json"), key=lambda path: path.stat().st_mtime)
    if not reports:
        msg = f"The Dag left no report. The end of its log ({short(demo.log)}):\n\n{_tail(demo.log)}"
        raise DemoError(msg)
    return cast("dict[str, Any]", json.loads(reports[-1].read_text()))


def read_rejects(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The lines of the report's rejects file."""
    path = report["rejected_path"]
    return [json.loads(line) for line in Path(path).read_text().splitlines()] if path else []


def _tail(log: Path, lines: int = 25) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])

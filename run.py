#!/usr/bin/env python3
"""Two commands that need nothing but Python: ``python3 run.py demo`` and ``python3 run.py tests``.

Both make ``.venv`` beside this file on their first start and go straight to work from then on. Whatever follows
the command goes to the demo (``python3 run.py demo --help``) or to pytest (``python3 run.py tests -k phone``).
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
INSTALLED = VENV / "installed.json"  # group -> fingerprint of what was installed
LOG = VENV / "install.log"
OLDEST_PYTHON = (3, 11)

USAGE = """\
usage: python3 run.py demo  [options]       a sync from an SQL shop into a local Klaviyo, through a real Airflow
       python3 run.py tests [pytest args]   the tests; the last lines name what could not run here
       python3 run.py install GROUP...      only install dependency groups of pyproject.toml into .venv
"""


class SetupError(Exception):
    """The environment could not be made; the message says what to do."""


def main(argv: list[str]) -> int:
    commands = {"demo": demo, "tests": tests, "install": install}
    if not argv or argv[0] not in commands:
        print(USAGE, end="")
        return 0 if argv[:1] in (["-h"], ["--help"]) else 2
    try:
        return commands[argv[0]](argv[1:])
    except SetupError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def demo(argv: list[str]) -> int:
    """Run the demo; its options and its report are its own (``airflow_provider_klaviyo/demo.py``)."""
    ensure("demo")
    return call("airflow_provider_klaviyo.demo", *argv)


def tests(argv: list[str]) -> int:
    """Run pytest with everything that this machine can carry; what it cannot is named in the last lines."""
    ensure("test")
    if not answers(5432):
        attempt("postgres")
    attempt("mysql")
    attempt("sources")
    attempt("stores")
    attempt("celery")
    return call("pytest", "--numprocesses=auto", "--dist=worksteal", *argv)


def install(argv: list[str]) -> int:
    """Install groups by name, each of which must succeed."""
    ensure(*argv)
    return 0


def call(module: str, *argv: str) -> int:
    return subprocess.call([str(PYTHON), "-m", module, *argv], cwd=ROOT)


# -----------------------------------------------------------------------------------------------------------


def ensure(*groups: str) -> None:
    """Make ``.venv`` and install the package with these groups, unless that was done for this very pyproject.toml.

    :raises SetupError: when it cannot be done.
    """
    check_machine()
    installed = read_installed()
    missing = [group for group in groups if installed.get(group) != fingerprint()]
    if not missing:
        return
    started = time.monotonic()
    requirements = read_requirements(missing)
    make_venv()
    say(f"Installing {', '.join(missing)} into {VENV.name} (once; up to a minute or two) ...")
    LOG.write_text("")
    pip_install(["--editable", str(ROOT), *requirements])
    INSTALLED.write_text(json.dumps(installed | dict.fromkeys(missing, fingerprint())))
    say(f"Installed in {time.monotonic() - started:.0f} s.")


def attempt(group: str) -> None:
    """Install a group that not every machine can carry; a failure is remembered until the machine's tools change."""
    failed = fingerprint(*map(str, map(shutil.which, ("cc", "pkg-config", "mariadb_config", "mysql_config"))))
    if read_installed().get(group) == failed:
        return
    try:
        ensure(group)
    except SetupError:
        say(f"Group {group!r} could not be installed (see {LOG}): its tests will be named as not run.")
        INSTALLED.write_text(json.dumps(read_installed() | {group: failed}))


def fingerprint(*more: str) -> str:
    """What an installation depends on: the requirements, the Python, and where the checkout lies."""
    parts = [(ROOT / "pyproject.toml").read_text(), sys.version, str(ROOT), *more]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def answers(port: int) -> bool:
    """Whether something listens on this port of this machine."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def check_machine() -> None:
    if sys.version_info < OLDEST_PYTHON:
        found, oldest = sys.version.split()[0], ".".join(map(str, OLDEST_PYTHON))
        msg = f"This needs Python {oldest} or newer and was started with {found}. Try: python{oldest} run.py ..."
        raise SetupError(msg)
    if os.name == "nt":
        msg = "Airflow does not run on Windows itself; start this in WSL (Windows Subsystem for Linux)."
        raise SetupError(msg)


def read_installed() -> dict[str, str]:
    if not (PYTHON.exists() and INSTALLED.exists()):
        return {}
    try:
        return dict(json.loads(INSTALLED.read_text()))
    except ValueError:  # cut off while it was written
        return {}


def make_venv() -> None:
    if PYTHON.exists() and succeeds([str(PYTHON), "-m", "pip", "--version"]):
        return
    if importlib.util.find_spec("ensurepip") is None:
        msg = (
            "This Python cannot make virtual environments: its venv module is packaged apart.\n"
            "On Debian and Ubuntu: apt-get install python3-venv, then start this again."
        )
        raise SetupError(msg)
    say(f"Making {VENV.name} with Python {sys.version.split()[0]} ...")
    command = [sys.executable, "-m", "venv", "--clear", str(VENV)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        msg = f"python -m venv {VENV} failed:\n{made.stdout}{made.stderr}"
        raise SetupError(msg)


def read_requirements(groups: list[str]) -> list[str]:
    """The requirements of dependency groups (PEP 735), included groups too."""
    import tomllib  # since Python 3.11, which check_machine has asked for by now

    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    unknown = [group for group in groups if group not in table]
    if unknown:
        msg = f"pyproject.toml has no dependency group {', '.join(unknown)}; it has {', '.join(table)}."
        raise SetupError(msg)

    def expand(entry: str | dict[str, str]) -> list[str]:
        if isinstance(entry, str):
            return [entry]
        return [requirement for each in table[entry["include-group"]] for requirement in expand(each)]

    return [requirement for group in groups for requirement in expand({"include-group": group})]


def pip_install(arguments: list[str]) -> None:
    """Install with uv, which takes seconds where pip takes minutes; with pip where uv is not to be had.

    Both take proxies and certificates from the environment. pip also reads its own configuration files, so it gets
    a try where uv failed.
    """
    pip = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check"]
    uv = [str(PYTHON), "-m", "uv", "pip", "install", "--no-progress", "--python", str(PYTHON)]
    if succeeds([str(PYTHON), "-m", "uv", "--version"]) or succeeds([*pip, "uv"]):
        if succeeds([*uv, *arguments]):
            return
        say("uv could not; trying pip ...")
    if not succeeds([*pip, *arguments]):
        tail = "\n".join(LOG.read_text().splitlines()[-15:])
        msg = (
            f"The packages could not be installed. The last lines of {LOG}:\n\n{tail}\n\n"
            "Where PyPI is reached through a proxy or a mirror: set HTTPS_PROXY, PIP_INDEX_URL, PIP_CERT; start again."
        )
        raise SetupError(msg)


def succeeds(command: list[str]) -> bool:
    """Whether a command ends well; what it says goes to the log."""
    with (LOG if VENV.exists() else Path(os.devnull)).open("a") as log:
        ended = subprocess.run(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False
        )
    return ended.returncode == 0


def say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

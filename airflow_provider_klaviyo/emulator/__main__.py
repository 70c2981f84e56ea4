"""`python -m airflow_provider_klaviyo.emulator`: the emulator as a program."""

from __future__ import annotations

import argparse
import ipaddress
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from airflow_provider_klaviyo import __version__
from airflow_provider_klaviyo.emulator import Emulator, Settings

_DEFAULTS = Settings()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the emulator until SIGTERM or SIGINT."""
    options = _parser().parse_args(arguments)
    emulator = Emulator(_settings(options), host=options.host or "127.0.0.1", port=options.port)
    if options.seed:
        emulator.add_profiles(_profiles(options.seed))
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with emulator:
        print(_announcement(emulator), flush=True)  # noqa: T201 - the program's one line
        while not stop.wait(3_600):
            pass
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m airflow_provider_klaviyo.emulator", description=__doc__)
    parser.add_argument("--host", type=_address, help="address to listen on (default: loopback only)")
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: a free one)")
    parser.add_argument("--api-key", default=_DEFAULTS.api_key, help="the private key (default: %(default)s)")
    parser.add_argument(
        "--account-id", default=_DEFAULTS.account_id, help="the account's id (default: %(default)s)"
    )
    parser.add_argument(
        "--job-seconds", type=float, default=_DEFAULTS.job_seconds, help="how long an import job takes"
    )
    parser.add_argument(
        "--rate-limits", choices=("real", "off"), default="real", help="refuse what passes a limit"
    )
    parser.add_argument(
        "--time-factor", type=float, default=1.0, help="how much faster rate limit windows pass"
    )
    parser.add_argument("--keep-bodies", type=int, default=0, help="how many request bodies the log keeps")
    parser.add_argument("--seed", type=Path, help="JSON file with profiles: an array, or one object a line")
    return parser


def _address(text: str) -> str:
    return str(ipaddress.ip_address(text)) if text != "localhost" else "127.0.0.1"


def _settings(options: argparse.Namespace) -> Settings:
    try:
        return Settings(
            account_id=options.account_id,
            api_key=options.api_key,
            job_seconds=options.job_seconds,
            rate_limits=options.rate_limits,
            time_factor=options.time_factor,
            keep_bodies=options.keep_bodies,
        )
    except ValueError as error:
        raise SystemExit(str(error)) from None


def _profiles(path: Path) -> list[dict[str, Any]]:
    text = path.read_bytes().strip()
    if text.startswith(b"["):
        return msgspec.json.decode(text, type=list[dict[str, Any]])
    return [msgspec.json.decode(line, type=dict[str, Any]) for line in text.splitlines() if line.strip()]


def _announcement(emulator: Emulator) -> str:
    account = f"account {emulator.account_id}, key {emulator.api_key}"
    return f"Klaviyo emulator {__version__} listening on {emulator.url} ({account})"


if __name__ == "__main__":
    sys.exit(main())

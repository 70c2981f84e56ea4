"""``python -m airflow_provider_klaviyo``: the commands, each by a module that adds itself to the parser.

A command takes its options and a way to ask the user, prints, and returns the exit status.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from airflow_provider_klaviyo.cli import doctor, examples, preview, state
from airflow_provider_klaviyo.client.clock import Clock, SystemClock
from airflow_provider_klaviyo.exceptions import KlaviyoError


def main(
    arguments: Sequence[str] | None = None, ask: Callable[[str], str] = input, clock: Clock | None = None
) -> int:
    """Run a command; returns the exit status.

    :param ask: puts a question to the user.
    :param clock: real time if None.
    """
    options = parser().parse_args(arguments)
    options.now = (clock or SystemClock()).now
    try:
        code: int = options.run(options, ask)
    except (KlaviyoError, LookupError) as error:
        print(error.args[0], file=sys.stderr)
        return 1
    return code


def parser() -> argparse.ArgumentParser:
    """What reads the command line."""
    made = argparse.ArgumentParser(prog="python -m airflow_provider_klaviyo")
    groups = made.add_subparsers(required=True, metavar="COMMAND")
    for command in (doctor, examples, preview, state):
        command.add_to(groups)
    return made

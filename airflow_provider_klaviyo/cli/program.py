"""``python -m airflow_provider_klaviyo``: the commands, each by a module that adds itself to the parser.

A command takes its options and a way to ask the user, prints, and returns the exit status.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence

from airflow_provider_klaviyo.cli import doctor, examples, preview, state
from airflow_provider_klaviyo.client.clock import Clock, SystemClock
from airflow_provider_klaviyo.exceptions import KlaviyoError
from airflow_provider_klaviyo.failures import way_to
from airflow_provider_klaviyo.masking import mask

log = logging.getLogger(__name__)


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
    except (Exception, KeyboardInterrupt) as error:
        log.debug("The way to the failure:\n%s", way_to(error))
        print(_sentence(error), file=sys.stderr)
        return 1
    return code


def _sentence(error: BaseException) -> str:
    """What a command that failed says."""
    if isinstance(error, KeyboardInterrupt):
        return "Stopped."
    if isinstance(error, EOFError):
        return "Nobody answers here: --yes goes on without a question."
    if isinstance(error, KlaviyoError) or type(error) is LookupError:
        return str(error)
    if isinstance(error, OSError):
        return f"{error.strerror}: {error.filename}" if error.strerror and error.filename else str(error)
    words = f"{type(error).__name__}: {mask(str(error))}".replace("\n", " ")
    return f"{words} (with AIRFLOW__LOGGING__LOGGING_LEVEL=DEBUG the log shows where)"


def parser() -> argparse.ArgumentParser:
    """What reads the command line."""
    made = argparse.ArgumentParser(prog="python -m airflow_provider_klaviyo")
    groups = made.add_subparsers(required=True, metavar="COMMAND")
    for command in (doctor, examples, preview, state):
        command.add_to(groups)
    return made

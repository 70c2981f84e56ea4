"""``python -m airflow_provider_klaviyo examples``: the example Dags, which come with the package."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable
from pathlib import Path

from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError

_PACKAGE = Path(__file__).resolve().parents[1]
_FOLDER = "dags_examples"
"""In a wheel in the package, in a checkout beside it."""


def add_to(groups: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Make the command known."""
    examples = groups.add_parser("examples", help="copy the example Dags, or list them")
    examples.add_argument(
        "folder", nargs="?", type=Path, help="where to, such as dags; without it they are listed"
    )
    examples.set_defaults(run=_examples)


def _examples(options: argparse.Namespace, ask: Callable[[str], str]) -> int:  # noqa: ARG001 - one signature for all
    if options.folder and options.folder.exists() and not options.folder.is_dir():
        msg = f"{options.folder} is no folder: name the one that the examples are to be copied to."
        raise KlaviyoConfigurationError(msg)
    for example in _found():
        if options.folder is None:
            print(f"{example.name}: {_told(example)}")
        else:
            _copy(example, options.folder)
    return 0


def _found() -> list[Path]:
    folder = next(each / _FOLDER for each in (_PACKAGE, _PACKAGE.parent) if (each / _FOLDER).is_dir())
    return sorted(folder.glob("*.py"))


def _told(example: Path) -> str:
    """The first line of what an example says of itself."""
    return example.read_text().partition('"""')[2].partition("\n")[0]


def _copy(example: Path, folder: Path) -> None:
    """Copy an example, and leave a file of its name as it is."""
    folder.mkdir(parents=True, exist_ok=True)
    copy = folder / example.name
    if copy.exists():
        print(f"{copy} is there already, and stays as it is.")
    else:
        shutil.copyfile(example, copy)
        print(copy)

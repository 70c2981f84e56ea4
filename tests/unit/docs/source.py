"""What the package's source says: the texts in it, as patterns."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import airflow_provider_klaviyo

PACKAGE = Path(airflow_provider_klaviyo.__file__).parent
GAP = "\0"
"""Stands for a value in a text."""


@cache
def modules() -> tuple[tuple[str, ast.Module], ...]:
    """Every module with its path below the package."""
    files = sorted(PACKAGE.rglob("*.py"))
    return tuple((str(file.relative_to(PACKAGE)), ast.parse(file.read_text())) for file in files)


@cache
def texts() -> tuple[str, ...]:
    """Every text in the package, the values that are put into it as gaps."""
    return tuple(text for _, module in modules() for node in ast.walk(module) if (text := _text(node)))


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.sub(r"%(?:\.\d)?[sdrg]", GAP, node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) or GAP for part in node.values)
    return ""


@cache
def is_said(phrase: str) -> bool:
    """Whether the package says this; … stands for anything, and | is where another text is put in."""
    return all(map(_is_said, phrase.split("|")))


def _is_said(phrase: str) -> bool:
    pattern = re.compile(".*".join(re.escape(part.strip()) for part in phrase.split("…")), re.DOTALL)
    return any(pattern.search(text) for text in texts())


@cache
def reason_words() -> set[str]:
    """The words that reasons begin with."""
    return {found[1] for text in texts() if (found := re.match(r"([a-z]+(?:_[a-z]+)+): \S", text))}


@cache
def told_beside_the_counts() -> set[str]:
    """What sync types tell for the report: keys of what is made where they tell."""
    found: set[str] = set()
    for path, module in modules():
        for function in ast.walk(module) if path.startswith("sync") else ():
            if isinstance(function, ast.FunctionDef) and re.search("^_?report_|awaited", function.name):
                for node in ast.walk(function):
                    if isinstance(node, ast.Dict):
                        found |= {key.value for key in node.keys if isinstance(key, ast.Constant)}
    return found

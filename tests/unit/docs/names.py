"""The names of code in the pages for those who change the package, and whether the code has them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.unit.docs.pages import ROOT, prose_of
from tests.unit.docs.source import PACKAGE, modules

_PATH = re.compile(r"/|\.(?:py|md|toml)$")
_PLACED = (
    re.compile(r"`(?P<name>\w+)` in\s+`(?P<path>[\w/]+\.py)`"),
    re.compile(r"`(?P<path>[\w/]+\.py)`(?::\s| \()`(?P<name>\w+)`"),
)


def names_in(page: str) -> list[str]:
    """What stands in code in a page's text."""
    return re.findall(r"`([^`\n]+)`", prose_of(page))


def placed_in(page: str) -> list[tuple[str, str]]:
    """Names of which a page's text says in which module they are: the path, then the name."""
    return [(found["path"], found["name"]) for each in _PLACED for found in each.finditer(prose_of(page))]


def exists(name: str) -> bool:
    """Whether it is a file or folder, by its path below the package or the repository, or a name in the code."""
    return path_of(name) is not None if _PATH.search(name) else name in _identifiers()


def path_of(name: str) -> Path | None:
    """The file or folder that a path means; None where there is none."""
    return next((root / name for root in (PACKAGE, PACKAGE.parent, ROOT) if (root / name).exists()), None)


def is_given_in(path: str, name: str) -> bool:
    """Whether a module gives this name to something."""
    file = path_of(path)
    return file is not None and name in _given_in(ast.parse(file.read_text()))


@cache
def _identifiers() -> frozenset[str]:
    """Every name that the package gives to something, and what the modules of the tests give to the whole of them."""
    names = {name for _, module in modules() for name in _given_in(module)}
    for file in sorted((ROOT / "tests").rglob("*.py")):
        names |= {name for statement in ast.parse(file.read_text()).body for name in _given_by(statement)}
    return frozenset(names)


def _given_in(module: ast.Module) -> set[str]:
    return {name for node in ast.walk(module) for name in _given_by(node)}


def _given_by(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.arg(arg=name):
            yield name
        case ast.Assign(targets=targets):
            yield from (each.id for each in targets if isinstance(each, ast.Name))
            yield from (each.attr for each in targets if isinstance(each, ast.Attribute))
        case ast.AnnAssign(target=ast.Name(id=name) | ast.Attribute(attr=name)):
            yield name

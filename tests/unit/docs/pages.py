"""The documentation as text: its tables, snippets, sections and links."""

from __future__ import annotations

import os.path
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[3]
FILES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")

_MARK = re.compile(r"<!-- table: (.+) -->")
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def pages() -> dict[str, str]:
    """Every page by its path in the repository."""
    paths = [ROOT / name for name in FILES] + sorted((ROOT / "docs").glob("*.md"))
    return {str(path.relative_to(ROOT)): path.read_text() for path in paths}


# --- tables -------------------------------------------------------------------------------------------------------


class Row(NamedTuple):
    """A row, and the number of its line in the page."""

    line: int
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table; ``name`` is what the comment above it says, and ``before`` the page up to there."""

    name: str
    header: tuple[str, ...]
    rows: tuple[Row, ...]
    before: str

    def column(self, title: str) -> list[str]:
        """The cells below a title."""
        return [row.cells[self.header.index(title)] for row in self.rows]


def tables_of(page: str) -> Iterator[Table]:
    """The tables of a page's text; one without a name above it has an empty name."""
    lines = page.splitlines()
    in_code = False
    for number, line in enumerate(lines):
        in_code ^= line.startswith("```")
        if in_code or not line.startswith("|") or (number and lines[number - 1].startswith("|")):
            continue
        length = next((n for n, each in enumerate(lines[number:]) if not each.startswith("|")), len(lines))
        (_, header), _, *rows = [Row(n, cells_of(lines[n])) for n in range(number, number + length)]
        assert {len(row.cells) for row in rows} <= {len(header)}, f"a row of another length: {line}"
        mark = _MARK.fullmatch(lines[number - 1]) if number else None
        yield Table(mark[1] if mark else "", header, tuple(rows), "\n".join(lines[:number]))


def cells_of(line: str) -> tuple[str, ...]:
    """The cells of a line."""
    return tuple(cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1])


def code_in(cell: str) -> list[str]:
    """The words in code."""
    return re.findall(r"`([^`]+)`", cell)


# --- snippets -----------------------------------------------------------------------------------------------------


def blocks_of(page: str, language: str) -> list[str]:
    """The fenced blocks of a language; of none, where that is empty."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return [block for named, block in fenced if named == language]


def commands_of(page: str) -> list[str]:
    """The lines of blocks without a language."""
    return [line for block in blocks_of(page, "") for line in block.splitlines()]


def prose_of(page: str) -> str:
    """The page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page, flags=re.MULTILINE | re.DOTALL)


# --- links --------------------------------------------------------------------------------------------------------


def anchors_of(page: str) -> set[str]:
    """What a link may name in a page, by GitHub's rules."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", prose_of(page), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        assert slug not in found, f"two headings {heading!r}"
        found.add(slug)
    return found


def links_of(page: str) -> list[str]:
    """Where the links of a page lead, those of other sites left out."""
    return [target for target in _LINK.findall(prose_of(page)) if "://" not in target]


def resolved(page: str, target: str) -> tuple[str, str]:
    """The path in the repository and the anchor that a link of a page leads to."""
    path, _, anchor = target.partition("#")
    return (os.path.normpath(str(Path(page).parent / path)) if path else page), anchor


def broken_links(texts: Mapping[str, str]) -> list[str]:
    """Links of these pages to files or headings that are not there."""
    broken = []
    for page, text in texts.items():
        for target in links_of(text):
            path, anchor = resolved(page, target)
            there = path in texts or (ROOT / path).exists()
            if not there or (anchor and (path not in texts or anchor not in anchors_of(texts[path]))):
                broken.append(f"{page}: {target}")
    return broken

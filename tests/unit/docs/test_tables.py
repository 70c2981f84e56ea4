"""Every table of the documentation says what the code does; without any one of its rows it is found out."""

from __future__ import annotations

import pytest

from tests.unit.docs.held import CHECKS, FREE, FREE_PAGES
from tests.unit.docs.pages import Row, Table, pages, tables_of


def page_of(name: str) -> str:
    """The text of the page that has a table."""
    found = [text for text in pages().values() if f"<!-- table: {name} -->" in text]
    assert len(found) == 1, f"{len(found)} pages have the table {name}"
    return found[0]


def table_of(text: str, name: str) -> Table:
    return next(table for table in tables_of(text) if table.name == name)


def test_every_table_has_a_name_and_is_held() -> None:
    held = [text for page, text in pages().items() if page not in FREE_PAGES]
    names = [table.name for text in held for table in tables_of(text)]
    assert sorted(names) == sorted({*CHECKS, *FREE})


@pytest.mark.parametrize("name", CHECKS)
def test_the_table_says_what_the_code_does(name: str) -> None:
    CHECKS[name](table_of(page_of(name), name))


def is_found_out(name: str, lines: list[str]) -> bool:
    try:
        CHECKS[name](table_of("\n".join(lines), name))
    except AssertionError:
        return True
    return False


@pytest.mark.parametrize("name", CHECKS)
def test_no_row_may_be_missing_or_be_there_twice(name: str) -> None:
    lines = page_of(name).splitlines()
    rows = table_of(page_of(name), name).rows
    assert rows
    for row in rows:
        assert is_found_out(name, [*lines[: row.line], *lines[row.line + 1 :]]), row
        assert is_found_out(name, [*lines[: row.line], lines[row.line], *lines[row.line :]]), row


def changed(row: Row, column: int, cell: str) -> str:
    cells = list(row.cells)
    cells[column] = cell
    return f"| {' | '.join(cells)} |"


@pytest.mark.parametrize("name", CHECKS)
def test_no_default_may_be_another(name: str) -> None:
    lines = page_of(name).splitlines()
    table = table_of(page_of(name), name)
    if "default" not in table.header:
        return
    column = table.header.index("default")
    for row in table.rows:
        if name == "connection" and row.cells[column] in ("required", "Klaviyo itself"):
            continue  # the form's own fields have no default in the code
        for other in ("`another`", "required", ""):
            if row.cells[column] != other:
                other_row = changed(row, column, other)
                assert is_found_out(name, [*lines[: row.line], other_row, *lines[row.line + 1 :]]), other_row


@pytest.mark.parametrize("name", [name for name in CHECKS if name.startswith("parameters of Klaviyo")])
def test_no_mark_of_a_template_may_be_another(name: str) -> None:
    lines = page_of(name).splitlines()
    table = table_of(page_of(name), name)
    if "templated" not in table.header:
        assert name == "parameters of KlaviyoHook"
        return
    column = table.header.index("templated")
    for row in table.rows:
        other_row = changed(row, column, "" if row.cells[column] else "yes")
        assert is_found_out(name, [*lines[: row.line], other_row, *lines[row.line + 1 :]]), other_row

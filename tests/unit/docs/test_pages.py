"""Snippets, commands and links of the documentation work, and a page is found from its neighbours."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import json
import re
import shlex
from collections.abc import Iterator

import pytest
import requests

from airflow_provider_klaviyo.cli.program import parser as command_parser
from airflow_provider_klaviyo.connection import EXTRA_FIELDS
from airflow_provider_klaviyo.emulator import Emulator, Settings
from airflow_provider_klaviyo.emulator.__main__ import _parser as emulator_parser
from tests.unit.docs.held import CLASSES, FREE_PAGES, OURS, all_parameters
from tests.unit.docs.names import exists, is_given_in, names_in, placed_in
from tests.unit.docs.pages import (
    ROOT,
    anchors_of,
    blocks_of,
    broken_links,
    commands_of,
    links_of,
    pages,
    prose_of,
    resolved,
    tables_of,
)

USER_PAGES = (
    "profiles",
    "events",
    "lists",
    "subscriptions",
    "sources",
    "functions",
    "state",
    "errors",
    "alerts",
    "assets",
    "report",
    "limits",
    "sharding",
    "hook",
    "hightouch",
    "testing",
)
PAGES = {f"docs/{name}.md" for name in USER_PAGES}
PYTHON = [
    (page, code) for page, text in sorted(pages().items()) for code in blocks_of(text, "python")
]  # a list, for pytest
COMMANDS = [(page, line) for page, text in sorted(pages().items()) for line in commands_of(text)]

# --- snippets -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", sorted(PAGES | {"README.md"}))
def test_every_snippet_that_is_quoted_stands_in_a_file_that_is_tested(page: str) -> None:
    text = pages()[page]
    quoted = re.findall(
        r"<!-- \[START (\w+)\] from (\S+) -->\n```python\n(.*?)```\n<!-- \[END (\w+)\] -->", text, re.DOTALL
    )
    assert len(quoted) == text.count("[START ") == text.count("[END ")
    for name, file, code, end in quoted:
        assert name == end
        source = (ROOT / file).read_text().partition(f"# [START {name}]\n")[2].partition(f"# [END {name}]")[0]
        indent = len(source) - len(source.lstrip(" "))
        lines = [line[indent:] for line in source.rstrip().splitlines()]
        assert "\n".join(lines) + "\n" == code


@pytest.mark.parametrize(("page", "code"), PYTHON)
def test_every_snippet_compiles_and_names_what_there_is(page: str, code: str) -> None:
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("airflow_provider_klaviyo"):
            module = importlib.import_module(str(node.module))
            assert all(hasattr(module, each.name) for each in node.names)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in OURS:
            named = {each.arg for each in node.keywords if each.arg}
            takes_more = any(each.arg is None for each in node.keywords)
            assert named <= set(all_parameters(OURS[node.func.id])) | AIRFLOWS
            missing = {
                name
                for name, each in all_parameters(OURS[node.func.id]).items()
                if each.default is each.empty and name not in named
            }
            assert takes_more or not missing


AIRFLOWS = {"task_id", "outlets", "retries", "poke_interval", "timeout", "mode", "trigger_rule"}
"""What every operator or sensor of Airflow's takes, as far as the pages name it."""

OTHERS = {
    *(field.name for field in EXTRA_FIELDS),
    *(field.name for field in dataclasses.fields(Settings)),
    *("field", "additional_fields", "stop", "query", "json"),  # of the hook
    *("status", "email", "clock"),  # of faults, people and the emulator
    *("slack_webhook_conn_id", "text"),  # of Slack's notifier
    *("max_active_runs", "max_active_tis_per_dag", "task_ids"),  # of Dags, tasks, and templates
    *("columns", "page_size"),  # of decorated functions
}


def test_every_parameter_that_is_named_with_a_value_exists() -> None:
    known = {name for kind in OURS.values() for name in all_parameters(kind)} | AIRFLOWS | OTHERS
    for page in sorted(PAGES | {"README.md"}):
        for code in re.findall(r"`([^`\n]+)`", prose_of(pages()[page])):
            for name in re.findall(r"(?:^|[(, ])([a-z_]+)=(?!=)", code):
                assert name in known, f"{page}: {code}"


# --- commands -----------------------------------------------------------------------------------------------------


def commands(start: str) -> Iterator[list[str]]:
    for _, line in COMMANDS:
        if line.startswith(start):
            yield shlex.split(line.removeprefix(start))


def test_the_commands_are_understood() -> None:
    shown = list(commands("python -m airflow_provider_klaviyo "))
    assert {each[1] for each in shown if each[0] == "state"} == {"list", "show", "reset", "release", "forget"}
    assert {each[0] for each in shown} == {"state", "doctor", "preview", "examples"}
    for arguments in shown:
        assert command_parser().parse_args(arguments)


def test_the_command_that_starts_the_emulator_is_understood() -> None:
    given = [
        [word for word in arguments if word != "&"]
        for arguments in commands("python -m airflow_provider_klaviyo.emulator ")
    ]
    assert given
    assert {emulator_parser().parse_args(arguments).port for arguments in given} == {8010}


def test_what_is_asked_of_the_emulator_is_answered() -> None:
    with Emulator() as emulator:
        asked = list(commands("curl -s "))
        assert asked
        for arguments in asked:
            method = arguments[arguments.index("-X") + 1] if "-X" in arguments else "GET"
            body = arguments[arguments.index("-d") + 1] if "-d" in arguments else None
            (url,) = (each for each in arguments if each.startswith("http://127.0.0.1:8010"))
            here = url.replace("http://127.0.0.1:8010", emulator.url)
            answer = requests.request(method, here, data=body, timeout=10)
            assert answer.ok, (arguments, answer.text)


def test_the_people_that_the_emulator_is_seeded_with_are_accepted() -> None:
    (block,) = blocks_of(pages()["docs/testing.md"], "json")
    with Emulator() as emulator:
        assert len(emulator.add_profiles([json.loads(line) for line in block.splitlines()])) == 2


def test_the_example_summary_has_the_keys_and_obeys_the_law() -> None:
    (block,) = blocks_of(pages()["docs/errors.md"], "json")
    summary = json.loads(block)
    table = next(table for table in tables_of(pages()["docs/errors.md"]) if table.name == "summary")
    told = [word for row in table.rows for word in re.findall(r"`(\w+)`", row.cells[0])]
    keys = [*summary, "job_ids", "accepted_earlier", "rows_without_line", "shards"]
    assert keys == sorted(told, key=keys.index)
    outcomes = ("accepted", "unchanged", "skipped", "rejected", "pending")
    assert summary["rows_read"] == sum(summary[outcome] for outcome in outcomes)


# --- pages and links ----------------------------------------------------------------------------------------------


def test_every_link_leads_to_a_file_or_a_heading() -> None:
    assert broken_links(pages()) == []


@pytest.mark.parametrize(
    "link", ["b.md", "../c.md", "a.md#tow", "#tow", "../LICENSE#one", "a.md#one-1", "../docs"]
)
def test_a_link_that_leads_nowhere_is_found(link: str) -> None:
    text = f"# One\n\nSee [this]({link}) and [that](#one).\n"
    assert broken_links({"docs/a.md": text}) == ([] if link == "../docs" else [f"docs/a.md: {link}"])


def test_headings_get_the_anchors_that_github_gives_them() -> None:
    text = (
        "# Look at a state, reset it\n\n## What SQL's values become\n\n```\n# no heading\n```\n## A `b_c`\n"
    )
    assert anchors_of(text) == {"look-at-a-state-reset-it", "what-sqls-values-become", "a-b_c"}


def test_no_page_is_forgotten_here() -> None:
    assert {page for page in pages() if page.startswith("docs/")} - FREE_PAGES == PAGES


@pytest.mark.parametrize("page", sorted(PAGES))
def test_a_page_begins_with_an_example_and_ends_with_its_neighbours(page: str) -> None:
    text = pages()[page]
    assert "\n```" in text.partition("\n## ")[0]
    last = text.rstrip().splitlines()[-1]
    assert last.startswith("Next: ")
    neighbours = {resolved(page, target)[0] for target in links_of(last)}
    assert "README.md" in neighbours
    assert len(neighbours & PAGES - {page}) >= 2


@pytest.mark.parametrize("page", sorted(FREE_PAGES))
def test_a_page_for_those_who_change_the_package_names_what_there_is(page: str) -> None:
    text = pages()[page]
    assert [name for name in names_in(text) if not exists(name)] == []
    assert [place for place in placed_in(text) if not is_given_in(*place)] == []


@pytest.mark.parametrize(
    "name",
    ["sync/nowhere.py", "sync/nothing/", "Ledgers", "was_repeate", "a_b.py", "two words", "Session.dump"],
)
def test_a_name_that_the_code_has_not_is_found(name: str) -> None:
    assert names_in(f"See `{name}`.") == [name]
    assert not exists(name)


@pytest.mark.parametrize("text", ["`Ledger` in `state/journal.py`", "`state/journal.py`: `Ledger`"])
def test_a_name_that_stands_elsewhere_is_found(text: str) -> None:
    ((path, name),) = placed_in(text)
    assert exists(path)
    assert exists(name)
    assert not is_given_in(path, name)


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_the_pages_for_those_who_change_the_package_are_found(page: str) -> None:
    linked = {resolved(page, target)[0] for target in links_of(pages()[page])}
    assert linked >= FREE_PAGES


def test_the_readme_is_short_and_leads_to_every_page_and_to_errors_at_once() -> None:
    readme = pages()["README.md"]
    assert len(readme.encode()) < 12_000
    linked = {resolved("README.md", target)[0] for target in links_of(readme)}
    assert linked >= PAGES
    assert "(docs/errors.md)" in readme.partition("\n## ")[0]


def test_each_operator_and_sensor_is_linked_to_the_page_with_its_table() -> None:
    readme = pages()["README.md"]
    for name, kind in CLASSES.items():
        target = re.search(rf"\[`{re.escape(name)}`\]\((\S+)\)", readme)
        assert target, name
        page, _ = resolved("README.md", target[1])
        assert f"<!-- table: parameters of {kind.__name__} -->" in pages()[page]

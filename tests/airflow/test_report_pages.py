"""The report in Airflow's UI: a real API server, a real browser, and people who may see more or less.

``KLAVIYO_TESTS_PICTURES`` names a folder that pictures for the documentation are written into.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from airflow_provider_klaviyo.emulator import Emulator, Settings
from tests.airflow.api_server import api_server, browser_of, find_chromium
from tests.reports import check_reports

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

ROOT = Path(__file__).resolve().parents[2]
PATH = "/team1"
"""What the Airflow of these tests is served below, as some are."""

DAG, TASK, OTHER_TASK = "shop_to_klaviyo", "sync_customers", "something_else"
USERS = {"admin": "admin", "viewer": "viewer", "reader": "viewer", "stranger": "viewer"}
"""Who there is, and the role of each; the password is the name. ``guests`` says who sees less than their role."""

OUTCOMES = ("accepted", "unchanged", "skipped", "rejected", "pending")
PHONE, LAPTOP = (390, 844), (1366, 900)

pytestmark = [pytest.mark.slow, pytest.mark.airflow]


@dataclass
class Shop:
    """A shop, its Dag, its runs, and the Airflow that shows them."""

    url: str
    storage: Path
    klaviyo: Emulator
    runs: list[str]
    sync: Callable[..., None]

    def page_of(self, run_id: str, task_id: str = TASK, map_index: str = "-1", dag_id: str = DAG) -> str:
        """The page by itself, without Airflow's frame."""
        return f"{self.url}/klaviyo/task/{dag_id}/{quote(run_id, safe='')}/{task_id}/{map_index}"

    def report(self, run_id: str) -> dict[str, Any]:
        reports = [json.loads(path.read_bytes()) for path in self.storage.rglob("*.report.json")]
        (found,) = [each for each in reports if each["task"]["run_id"] == run_id]
        return found


@pytest.fixture(scope="module")
def chromium() -> str:
    return find_chromium("the report was not looked at in a browser")


@pytest.fixture(scope="module")
def shop(
    chromium: str, run_in_airflow: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shop]:
    from airflow import sdk
    from airflow.providers.standard.operators.empty import EmptyOperator

    from airflow_provider_klaviyo.operators.profiles import KlaviyoSyncProfilesOperator
    from tests.integration.conftest import run_operator

    home, storage = tmp_path_factory.mktemp("airflow"), tmp_path_factory.mktemp("storage")
    database = home / "shop.sqlite"

    def operator(**parameters: Any) -> Any:
        settings = {"sql": "SELECT * FROM customers ORDER BY id", "primary_key": "id", "only_changes": True}
        return KlaviyoSyncProfilesOperator(
            task_id=TASK, sql_conn_id="shop", poll_interval=0.2, **(settings | parameters)
        )

    def fill(first: int, last: int, email: str = "p{}@shop.io") -> None:
        with sqlite3.connect(database) as connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS customers (id INTEGER, email TEXT, first_name TEXT)"
            )
            rows = [(number, email.format(number), f"Zoe{number}") for number in range(first, last + 1)]
            connection.executemany("INSERT INTO customers VALUES (?, ?, ?)", rows)
        connection.close()

    def sync(run_id: str, **parameters: Any) -> None:
        run_operator(operator(**parameters), run_id=run_id, dag_id=DAG)

    account = Settings(account_id=f"K{secrets.token_hex(3)[1:]}", job_seconds=0.0, rate_limits="off")
    with pytest.MonkeyPatch.context() as patch, Emulator(account) as klaviyo:
        connection = {"conn_type": "klaviyo", "password": klaviyo.api_key, "host": klaviyo.url}
        patch.setenv("AIRFLOW_CONN_KLAVIYO_DEFAULT", json.dumps(connection))
        patch.setenv("AIRFLOW_CONN_SHOP", json.dumps({"conn_type": "sqlite", "host": str(database)}))
        patch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", str(storage))
        with sdk.DAG(DAG, schedule=None, start_date=dt.datetime(2026, 11, 1, tzinfo=dt.UTC)) as dag:
            operator(max_rejected=100) >> EmptyOperator(task_id=OTHER_TASK)
        fill(1, 300)
        first = run_in_airflow(dag).run_id
        fill(301, 340)
        fill(341, 360, "<b>zoe{}</b>.nowhere")
        fill(361, 366, "p1@shop.io")
        sync("scheduled__2", max_rejected=100)
        fill(367, 420)
        fill(421, 450, "nobody {}")
        sync("scheduled__3", max_rejected=0)
        settings = {
            "AIRFLOW__CORE__AUTH_MANAGER": "tests.airflow.guests.GuestList",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(
                f"{name}:{role}" for name, role in USERS.items()
            ),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(home / "plugins"),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")])),
        }
        (home / "passwords.json").write_text(json.dumps({name: name for name in USERS}))
        (home / "plugins").mkdir()
        if not [each for each in entry_points(group="airflow.plugins") if "klaviyo" in each.value]:
            # A checkout that was installed before it had the plugin; that the wheel has it is another test's.
            line = "from airflow_provider_klaviyo.plugin.airflow_plugin import KlaviyoPlugin  # noqa: F401\n"
            (home / "plugins" / "klaviyo_plugin.py").write_text(line)
        with api_server(home, settings, PATH) as url:
            yield Shop(url, storage, klaviyo, [first, "scheduled__2", "scheduled__3"], sync)
        check_reports(storage)


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with browser_of(chromium) as browser:
        yield browser


Visit = Callable[..., "BrowserContext"]


@pytest.fixture
def visit(browser: Browser, shop: Shop) -> Iterator[Visit]:
    """Log in as somebody; a context is a browser of their own."""
    opened: list[BrowserContext] = []

    def as_user(name: str | None, size: tuple[int, int] = LAPTOP, **options: Any) -> BrowserContext:
        viewport = {"width": size[0], "height": size[1]}
        context = browser.new_context(viewport=viewport, locale="en-US", **options)
        opened.append(context)
        if name:
            answer = context.request.post(f"{shop.url}/auth/token", data={"username": name, "password": name})
            token = answer.json()["access_token"]
            context.add_cookies([{"name": "_token", "value": token, "url": shop.url}])
        return context

    yield as_user
    for context in opened:
        context.close()


def shown_counts(page: Any) -> dict[str, int]:
    """Rows by outcome, as the table says."""
    table = page.get_by_role("region", name="Rows by outcome")
    cells = table.locator("tbody tr").evaluate_all(
        "rows => rows.map(row => [row.cells[0].innerText.trim(), row.cells[1].innerText])"
    )
    return {name: int(count.replace(",", "")) for name, count in cells}


def picture(page: Page, name: str, before: str) -> None:
    """Keep the page as it is above a heading, where pictures are asked for."""
    if folder := os.environ.get("KLAVIYO_TESTS_PICTURES"):
        page.set_viewport_size({"width": 920, "height": 900})
        end = page.get_by_role("heading", name=before, exact=True).bounding_box()
        assert end
        clip = {"x": 0, "y": 0, "width": 920, "height": int(end["y"]) - 12}
        page.screenshot(path=str(Path(folder) / f"{name}.png"), clip=clip)  # type: ignore[arg-type]


def test_the_tab_of_a_task_instance_says_what_the_report_says(shop: Shop, visit: Visit) -> None:
    page = visit("admin").new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{shop.url}/dags/{DAG}/runs/{quote(shop.runs[0], safe='')}/tasks/{TASK}")
    page.get_by_role("link", name="Klaviyo report").click()
    frame = page.frame_locator("iframe")
    frame.get_by_role("heading", level=1).wait_for()
    report = shop.report(shop.runs[0])

    assert shown_counts(frame) == {name: report[name] for name in OUTCOMES}
    assert "succeeded" in frame.get_by_role("heading", level=1).inner_text()
    assert (
        f"{report['requests']}"
        in frame.get_by_text("requests sent").locator("xpath=following::dd[1]").inner_text()
    )
    assert {url for url in asked if not url.startswith((shop.url, "data:", "blob:"))} == set()


def test_the_task_that_is_no_sync_says_so_in_its_tab(shop: Shop, visit: Visit) -> None:
    page = visit("admin").new_page()
    page.goto(
        f"{shop.url}/dags/{DAG}/runs/{quote(shop.runs[0], safe='')}/tasks/{OTHER_TASK}/plugin/klaviyo_report"
    )
    page.frame_locator("iframe").get_by_text("This task is a EmptyOperator").wait_for()


def test_the_page_of_all_syncs_leads_to_each(shop: Shop, visit: Visit) -> None:
    page = visit("viewer").new_page()
    page.goto(f"{shop.url}/plugin/klaviyo_syncs")
    frame = page.frame_locator("iframe")
    row = frame.get_by_role("row").filter(has_text=TASK)
    assert "failed" in row.inner_text()
    row.get_by_role("link", name=TASK).click()
    frame.get_by_role("heading", name="What became of 450 rows").wait_for()


def test_a_failed_run_says_why_and_what_to_do_and_shows_the_runs_before(shop: Shop, visit: Visit) -> None:
    page = visit("admin").new_page()
    page.goto(shop.page_of(shop.runs[2]))
    text = page.locator("main").inner_text()
    report = shop.report(shop.runs[2])

    assert report["failure"] in text
    assert "Mend what the reasons below name" in text
    runs = page.get_by_role("region", name="The last runs, newest first").get_by_role("link")
    assert runs.all_inner_texts() == shop.runs[::-1]
    for reason in report["reasons"]:
        assert reason["reason"] in text
    assert "<b>zoe341</b>.nowhere" in text, "who sees logs sees examples, and they are text"
    assert page.locator("main b").count() == 0
    runs.last.click()
    page.get_by_role("heading", name="What became of 300 rows").wait_for()


@pytest.mark.parametrize(
    ("name", "page", "rejects"),
    [
        ("admin", 200, 200),
        ("viewer", 200, 200),
        ("reader", 200, 403),
        ("stranger", 403, 403),
        (None, 401, 401),
    ],
)
def test_who_may_see_what(shop: Shop, visit: Visit, name: str | None, page: int, rejects: int) -> None:
    request = visit(name).request
    url = shop.page_of(shop.runs[2])
    shown = request.get(url)
    downloaded = request.get(f"{url.replace('/task/', '/rejects/')}?try_number=1")
    listed = request.get(f"{shop.url}/klaviyo/syncs")

    assert (shown.status, downloaded.status) == (page, rejects)
    assert ("zoe341" in shown.text()) == (rejects == 200)
    assert ("zoe341" in downloaded.text()) == (rejects == 200)
    assert (TASK in listed.text()) == (page == 200)
    if rejects == 200:
        lines = [json.loads(line) for line in downloaded.text().splitlines()]
        report = shop.report(shop.runs[2])
        assert sum(line["outcome"] == "rejected" for line in lines) == report["rejected"]
        assert downloaded.headers["content-disposition"].startswith("attachment")
    for answer in (shown, downloaded):
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_run_with_rejected_rows_shows_examples_of_them(shop: Shop, visit: Visit) -> None:
    page = visit("admin").new_page()
    page.goto(shop.page_of(shop.runs[1]))
    picture(page, "report", before="Files")
    reasons = page.get_by_role("region", name="Reasons, most rows first").inner_text()
    report = shop.report(shop.runs[1])
    for reason in report["reasons"]:
        assert reason["reason"] in reasons
        for number in reason["examples"]:
            assert f"row {number}, key {number}" in reasons


def test_the_policy_permits_nothing_from_outside(shop: Shop, visit: Visit) -> None:
    policy = visit("admin").request.get(shop.page_of(shop.runs[0])).headers["content-security-policy"]
    sources = dict(each.strip().split(" ", 1) for each in policy.split(";"))
    assert sources["default-src"] == "'none'"
    assert re.fullmatch(r"'nonce-[\w-]{20,}'", sources["script-src"])
    assert sources["connect-src"] == sources["frame-ancestors"] == "'self'"
    assert "http" not in policy


@pytest.mark.parametrize("size", [PHONE, LAPTOP], ids=["phone", "laptop"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_the_screen_and_can_be_read(
    shop: Shop, visit: Visit, scheme: Any, size: tuple[int, int]
) -> None:
    page = visit("admin", size, color_scheme=scheme).new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.goto(shop.page_of(shop.runs[2]))

    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for selector in ("h1", "td", ".soft", ".badge", "a", ".advice p"):
        assert page.evaluate(CONTRAST, selector) >= 4.5, selector
    assert problems == [], "such as the policy's"


CONTRAST = """selector => {
  const light = text => {
    const parts = text.match(/[\\d.]+/g).slice(0, 3).map(part => part / 255)
      .map(part => part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
  };
  const behind = element => {
    for (let each = element; each; each = each.parentElement) {
      const colour = getComputedStyle(each).backgroundColor;
      if (!/, 0\\)$/.test(colour)) { return colour; }
    }
  };
  return Math.min(...[...document.querySelectorAll(selector)].map(element => {
    const pair = [light(getComputedStyle(element).color), light(behind(element))].sort((a, b) => a - b);
    return (pair[1] + 0.05) / (pair[0] + 0.05);
  }));
}"""


def test_what_airflow_is_set_to_goes_before_what_the_system_is(shop: Shop, visit: Visit) -> None:
    page = visit("admin", color_scheme="light").new_page()
    page.goto(shop.page_of(shop.runs[0]))
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.evaluate("localStorage.setItem('theme', 'dark')")
    page.reload()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light


def test_it_is_reached_by_keyboard(shop: Shop, visit: Visit) -> None:
    page = visit("admin").new_page()
    page.goto(shop.page_of(shop.runs[2]))
    reached = []
    for _ in range(30):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
    assert "rejects" in reached
    assert "SUMMARY" in reached
    assert page.evaluate("[...document.querySelectorAll('svg[role=img]')].every(each => each.ariaLabel)")
    assert page.evaluate("document.querySelectorAll('h1').length") == 1


def test_without_script_it_shows_the_same(shop: Shop, visit: Visit) -> None:
    page = visit("admin", java_script_enabled=False).new_page()
    page.goto(shop.page_of(shop.runs[2]))
    assert page.get_by_role("heading", name="What became of 450 rows").is_visible()


def test_it_is_live_while_the_run_goes_on(shop: Shop, visit: Visit) -> None:
    run_id = "scheduled__4"
    shop.klaviyo.set(job_seconds=6.0)
    run = threading.Thread(
        target=shop.sync, args=(run_id,), kwargs={"max_rejected": 100, "full_refresh": True}
    )
    run.start()
    try:
        page = visit("admin").new_page()
        url, deadline = shop.page_of(run_id), time.monotonic() + 30
        while "What became of" not in page.request.get(url).text() and time.monotonic() < deadline:
            pass
        page.goto(url)
        page.evaluate("window.isTheSame = true")
        assert "running" in page.get_by_role("heading", level=1).inner_text()
        page.get_by_role("heading", level=1).filter(has_text="succeeded").wait_for(timeout=60_000)
        assert page.evaluate("window.isTheSame"), "nobody has loaded it anew"
        assert "succeeded" in page.get_by_role("status").inner_text(), "a screen reader is told"
    finally:
        run.join(60)
        shop.klaviyo.set(job_seconds=0.0)
    report = shop.report(run_id)
    assert shown_counts(page) == {name: report[name] for name in OUTCOMES}


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ({"run_id": "never"}, "There is no report of this task instance"),
        ({"task_id": OTHER_TASK}, "This task is a EmptyOperator"),
        ({"map_index": "{MAP_INDEX}"}, "What became of 300 rows"),
        ({"map_index": "7"}, "AIRFLOW__KLAVIYO__STORAGE_PATH"),
    ],
    ids=["no such run", "another task", "not mapped, as the UI says it", "storage elsewhere"],
)
def test_where_there_is_nothing_it_says_why(
    shop: Shop, visit: Visit, address: dict[str, str], words: str
) -> None:
    answer = visit("admin").request.get(shop.page_of(**({"run_id": shop.runs[0]} | address)))
    assert answer.status == 200
    assert words in answer.text()


@pytest.mark.parametrize("dag_id", ["~", "..", "%2e%2e%2f%2e%2e"])
def test_nothing_outside_of_the_storage_is_reached(shop: Shop, visit: Visit, dag_id: str) -> None:
    request = visit("admin").request
    for page in (shop.page_of("x", dag_id=dag_id), shop.page_of("../../x", "..", dag_id=dag_id)):
        assert "What became of" not in request.get(page).text()
        assert request.get(page.replace("/task/", "/rejects/") + "?try_number=1").status in (403, 404)

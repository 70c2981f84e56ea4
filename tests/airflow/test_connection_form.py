"""The connection form: what Airflow's web interface makes of it, and what the Test button answers."""

from __future__ import annotations

import json
import secrets
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_klaviyo.connection import EXTRA_FIELDS, PLACEHOLDERS
from airflow_provider_klaviyo.emulator import ALL_SCOPES, Emulator, Settings
from airflow_provider_klaviyo.hooks.klaviyo import KlaviyoHook
from tests.airflow.api_server import api_server, browser_of, find_chromium, free_port

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

KEY = "pk_5f0a7d3c9e1b4826f0"
KEY_WITHOUT_ACCOUNTS = "pk_81c2e6b07d9f45a3c1"
UNKNOWN_KEY = "pk_00dead00beef00dead"
OTHER_ACCOUNT = "Other1"

NAME = "Emulated Outfitters"
CONN_ID = "klaviyo_form"


@pytest.fixture
def klaviyo() -> Iterator[Emulator]:
    keys = {KEY: ALL_SCOPES, KEY_WITHOUT_ACCOUNTS: ("profiles:write",)}
    # An account of the test's own: everybody on this machine shares the rate limit windows of an account's id.
    settings = Settings(account_id=f"K{secrets.token_hex(3)[1:]}", organization_name=NAME, rate_limits="off")
    with Emulator(settings, keys=keys) as emulator:
        yield emulator


# --------------------------------------------------------------------------------------------- what the form is made of


@pytest.fixture(scope="module")
def form() -> dict[str, Any]:
    """What ``GET /ui/connections/hook_meta`` tells the web interface about our connection type."""
    from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService

    (found,) = [meta for meta in HookMetaService.hook_meta_data() if meta.connection_type == "klaviyo"]
    return found.model_dump(mode="json")


def test_form_names_url_and_key_and_shows_what_they_look_like(form: dict[str, Any]) -> None:
    fields = form["standard_fields"]

    assert form["hook_name"] == "Klaviyo"
    assert fields["host"] == {"hidden": False, "title": "Base URL", "placeholder": "https://a.klaviyo.com"}
    assert fields["password"] == {"hidden": False, "title": "Private API key", "placeholder": "pk_…"}


def test_form_hides_what_klaviyo_has_not(form: dict[str, Any]) -> None:
    hidden = {name for name, field in form["standard_fields"].items() if field and field["hidden"]}

    assert hidden == {"login", "url_schema"}


def test_form_has_every_extra_field_in_order_with_label_and_explanation(form: dict[str, Any]) -> None:
    shown = [
        (name, field["schema"]["title"], field["description"]) for name, field in form["extra_fields"].items()
    ]

    assert shown == [(field.name, field.label, field.description) for field in EXTRA_FIELDS]


def test_form_lets_every_extra_field_be_empty(form: dict[str, Any]) -> None:
    for name, field in form["extra_fields"].items():
        assert "null" in field["schema"]["type"], name
        assert field["value"] is None, name


# -------------------------------------------------------------------------------------------- what the Test button says

PressTest = Callable[..., tuple[bool, str]]


@pytest.fixture
def press_test(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> PressTest:
    """Test a connection as Airflow does: as a URI in the environment. No answer may hold a key."""
    from airflow.sdk import Connection

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # rate limit windows of the test's own

    def press(
        host: str,
        key: str | None = KEY,
        *,
        conn_id: str = CONN_ID,
        button: type[KlaviyoHook] = KlaviyoHook,
        **extra: object,
    ) -> tuple[bool, str]:
        fields = {"conn_type": "klaviyo", "host": host, "password": key, "extra": json.dumps(extra)}
        connection = Connection(conn_id=conn_id, **fields)  # type: ignore[arg-type]
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", connection.get_uri())
        done, message = button(conn_id).test_connection()
        assert not key or key not in message
        return done, message

    return press


class ImpatientHook(KlaviyoHook):
    test_seconds = 0.2


@pytest.fixture
def impatient(press_test: PressTest) -> PressTest:
    """The button gives up at once where it would try again; its words are the same."""
    return partial(press_test, button=ImpatientHook)


@contextmanager
def website() -> Iterator[str]:
    """A host that greets with a page of HTML whatever it is asked."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b"<!doctype html><title>Welcome</title>"
            self.send_response(404 if "missing" in self.path else 200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def silence() -> Iterator[str]:
    """A host that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_good_key_is_answered_with_its_account(klaviyo: Emulator, press_test: PressTest) -> None:
    assert press_test(klaviyo.url) == (
        True,
        f"Connected to the Klaviyo account {klaviyo.account_id} ({NAME}), a test account.",
    )


@pytest.mark.parametrize(
    "extra",
    [
        {"timeout": 15, "rate_limit_share": 0.5, "revision": "2026-07-15"},
        {"timeout": "15", "rate_limit_share": "0.5", "revision": "2026-07-15"},
        dict.fromkeys(field.name for field in EXTRA_FIELDS),
        dict.fromkeys((field.name for field in EXTRA_FIELDS), ""),
        {},
    ],
    ids=["numbers, as 3.2 and newer save them", "text, as 3.1 saves it", "nulls", "empty text", "nothing"],
)
def test_extra_is_understood_in_every_form_in_which_it_is_saved(
    klaviyo: Emulator, press_test: PressTest, extra: dict[str, object]
) -> None:
    done, message = press_test(klaviyo.url, **extra)

    assert done, message


def test_key_of_the_expected_account_is_good(klaviyo: Emulator, press_test: PressTest) -> None:
    done, message = press_test(klaviyo.url, account_id=klaviyo.account_id)

    assert done, message


@pytest.mark.usefixtures("klaviyo")
def test_an_account_id_that_airflow_took_for_a_number_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Airflow 3.1 takes "38e848" in a connection's URI."""
    connection = {"conn_type": "klaviyo", "password": KEY, "extra": {"account_id": float("38e848")}}
    monkeypatch.setenv(f"AIRFLOW_CONN_{CONN_ID.upper()}", json.dumps(connection))
    done, message = KlaviyoHook(CONN_ID).test_connection()
    assert not done
    assert "account_id has come as a number" in message


def test_key_of_another_account_is_told_with_both_accounts(klaviyo: Emulator, press_test: PressTest) -> None:
    done, message = press_test(klaviyo.url, account_id=OTHER_ACCOUNT)

    assert not done
    assert f"{klaviyo.account_id} ({NAME})" in message
    assert f"account_id is {OTHER_ACCOUNT}" in message


@pytest.mark.parametrize("status", [401, 400])
def test_unknown_key_is_told_as_such(klaviyo: Emulator, press_test: PressTest, status: int) -> None:
    klaviyo.set(bad_key_status=status)

    done, message = press_test(klaviyo.url, UNKNOWN_KEY)

    assert not done
    assert "does not accept the private API key" in message


def test_key_that_may_not_read_the_account_is_told_which_scope_it_lacks(
    klaviyo: Emulator, press_test: PressTest
) -> None:
    done, message = press_test(klaviyo.url, KEY_WITHOUT_ACCOUNTS)

    assert not done
    assert "accounts:read is missing" in message
    assert "Syncs that keep no state work without it" in message


@pytest.mark.parametrize("key", [None, "", "  "])
def test_missing_key_is_told_without_asking_klaviyo(
    klaviyo: Emulator, press_test: PressTest, key: str | None
) -> None:
    done, message = press_test(klaviyo.url, key)

    assert not done
    assert "no private API key" in message
    assert klaviyo.requests() == []


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"timeout": "soon"}, "timeout must be a number"),
        ({"rate_limit_share": 0}, "rate_limit_share must be above 0"),
        ({"revision": "july"}, "revision 'july' is not a date"),
        ({"acount_id": "abc123"}, "unknown extra fields: acount_id"),
    ],
    ids=["timeout", "rate_limit_share", "revision", "misspelt"],
)
def test_field_that_cannot_work_is_named(
    klaviyo: Emulator, press_test: PressTest, extra: dict[str, object], words: str
) -> None:
    done, message = press_test(klaviyo.url, **extra)

    assert not done
    assert words in message
    assert klaviyo.requests() == []


def test_host_that_cannot_be_reached_is_named(impatient: PressTest) -> None:
    url = f"http://127.0.0.1:{free_port()}"

    done, message = impatient(url)

    assert not done
    assert f"Could not connect to {url}" in message
    assert "refused" in message


def test_host_that_says_nothing_is_named(impatient: PressTest) -> None:
    with silence() as url:
        done, message = impatient(url, timeout=0.3)

    assert not done
    assert f"No answer from {url}" in message


@pytest.mark.parametrize("path", ["", "/missing"], ids=["200", "404"])
def test_host_that_is_not_klaviyo_is_told_as_such(impatient: PressTest, path: str) -> None:
    with website() as url:
        done, message = impatient(url + path)

    assert not done
    assert "text/html instead of Klaviyo's JSON" in message
    assert "Is the connection's host right?" in message


@pytest.mark.slow
@pytest.mark.timeout(30)
def test_wrong_hosts_are_told_while_somebody_still_waits_for_the_answer(press_test: PressTest) -> None:
    """Airflow itself gives up after 60 seconds ([connection_test] timeout), and says nothing of use then."""
    with website() as page, silence() as mute, ThreadPoolExecutor() as pool:
        hosts = {"closed": f"http://127.0.0.1:{free_port()}", "page": page, "mute": mute}
        pressed = [pool.submit(press_test, url, conn_id=f"{CONN_ID}_{name}") for name, url in hosts.items()]
        answers = [each.result() for each in pressed]

    assert [done for done, _ in answers] == [False, False, False]


# ------------------------------------------------------------------------------------------------------- in a browser


@pytest.fixture(scope="module")
def chromium() -> str:
    """Path of a Chromium; playwright drives it."""
    return find_chromium("the connection form was not looked at in a browser")


@pytest.fixture(scope="module")
def airflow_url(
    chromium: str, airflow_database: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """An API server of the module's own, where everybody is an admin."""
    settings = {
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
    }
    with api_server(tmp_path_factory.mktemp("airflow"), settings) as url:
        yield url


class Connections:
    """Airflow's page of connections, as somebody uses it."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self._url = url
        page.goto(f"{url}/auth/token/login")  # no password is asked for; some versions need the visit
        page.goto(f"{url}/connections")

    def add(self, conn_id: str) -> Locator:
        """The form for a new connection of our type."""
        self.page.get_by_role("button", name="Add Connection").click()
        dialog = self.page.get_by_role("dialog")
        dialog.locator("[name=connection_id]").fill(conn_id)
        dialog.get_by_role("combobox").first.click()
        self.page.keyboard.type("klaviyo")
        self.page.keyboard.press("Enter")
        dialog.locator("[name=password]").wait_for()
        return dialog

    def edit(self, conn_id: str) -> Locator:
        """The form of a saved connection."""
        self._row(conn_id).get_by_role("button", name="Edit Connection").click()
        dialog = self.page.get_by_role("dialog")
        dialog.locator("[name=password]").wait_for()
        return dialog

    def save(self, dialog: Locator) -> None:
        dialog.get_by_role("button", name="Save").click()
        dialog.wait_for(state="detached")

    def test(self, conn_id: str) -> tuple[str, str]:
        """Press Test in the list: headline and words of the note that pops up."""
        button = self._row(conn_id).get_by_role("button", name="Test Connection")
        with self.page.expect_response("**/connections/test") as waiting:
            button.click()
        message = str(waiting.value.json()["message"])
        notes = self.page.locator("[data-scope=toast][data-part=root]")
        note = notes.filter(has_text=message).first  # an earlier one of the same words may still be seen
        headline, words = (note.locator(f"[data-part={part}]") for part in ("title", "description"))
        return headline.inner_text(), words.inner_text()

    def saved(self, conn_id: str) -> dict[str, Any]:
        """What the API tells of a saved connection."""
        return dict(self.page.request.get(self._api(conn_id)).json())

    def shown(self, conn_id: str) -> str:
        """All that page and API tell at the moment."""
        return self.page.content() + str(self.saved(conn_id))

    def _api(self, conn_id: str) -> str:
        return f"{self._url}/api/v2/connections/{conn_id}"

    def _row(self, conn_id: str) -> Locator:
        return self.page.get_by_role("row").filter(has_text=conn_id)


@pytest.fixture
def connections(chromium: str, airflow_url: str) -> Iterator[Connections]:
    with browser_of(chromium) as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 1400}, locale="en-US")
        yield Connections(page, airflow_url)


@pytest.mark.slow
def test_browser_shows_labels_examples_and_explanations_and_hides_the_key(connections: Connections) -> None:
    dialog = connections.add("klaviyo_shown")
    standard = dialog.inner_text()
    unfold_extras(dialog)
    shown = dialog.inner_text()

    assert not {"Login", "Schema", "Password", "Host"} & set(standard.split())
    assert standard.index("Base URL") < standard.index("Private API key")
    assert dialog.locator("[name=host]").get_attribute("placeholder") == "https://a.klaviyo.com"
    assert dialog.locator("[name=password]").get_attribute("placeholder") == "pk_…"
    assert dialog.locator("[name=password]").get_attribute("type") == "password"
    assert dialog.locator("[name=port]").get_attribute("placeholder") == PLACEHOLDERS["port"]
    places = [shown.find(text) for field in EXTRA_FIELDS for text in (field.label, field.description)]
    assert -1 not in places
    assert places == sorted(places)


@pytest.mark.slow
def test_browser_saves_a_connection_tests_it_and_keeps_its_key_and_extras(
    connections: Connections, klaviyo: Emulator
) -> None:
    dialog = connections.add("klaviyo_kept")
    dialog.locator("[name=host]").fill(klaviyo.url)
    dialog.locator("[name=port]").fill(
        "443"
    )  # as the placeholder and the README say; the URL has the real one
    dialog.locator("[name=password]").fill(KEY)
    unfold_extras(dialog)
    dialog.locator("#element_account_id").fill(klaviyo.account_id)
    number(dialog, "Timeout (seconds)").fill("15")
    number(dialog, "Rate limit share").fill("0.5")
    dialog.locator("#element_revision").click()  # a number is taken over when it is left
    connections.save(dialog)

    headline, message = connections.test("klaviyo_kept")
    assert headline == "Test Connection Successful"
    assert f"{klaviyo.account_id} ({NAME})" in message

    dialog = connections.edit("klaviyo_kept")
    assert dialog.locator("[name=password]").input_value() == "***"
    unfold_extras(dialog)
    assert dialog.locator("#element_account_id").input_value() == klaviyo.account_id
    assert number(dialog, "Timeout (seconds)").input_value() == "15"
    assert number(dialog, "Rate limit share").input_value() == "0.5"
    number(dialog, "Timeout (seconds)").fill("")
    dialog.locator("#element_revision").click()
    connections.save(dialog)

    extra = json.loads(connections.saved("klaviyo_kept")["extra"])
    assert not extra["timeout"]
    assert (extra["account_id"], float(extra["rate_limit_share"])) == (klaviyo.account_id, 0.5)
    assert connections.test("klaviyo_kept")[0] == "Test Connection Successful"
    assert KEY not in connections.shown("klaviyo_kept")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "account_id", "words"),
    [
        (UNKNOWN_KEY, "", "does not accept the private API key"),
        (KEY_WITHOUT_ACCOUNTS, "", "accounts:read is missing"),
        (KEY, OTHER_ACCOUNT, f"account_id is {OTHER_ACCOUNT}"),
    ],
    ids=["unknown key", "scope missing", "other account"],
)
def test_browser_shows_what_is_wrong_and_never_the_key(
    connections: Connections, klaviyo: Emulator, key: str, account_id: str, words: str
) -> None:
    conn_id = f"klaviyo_wrong_{secrets.token_hex(4)}"
    dialog = connections.add(conn_id)
    dialog.locator("[name=host]").fill(klaviyo.url)
    dialog.locator("[name=port]").fill(
        "443"
    )  # as the placeholder and the README say; the URL has the real one
    dialog.locator("[name=password]").fill(key)
    unfold_extras(dialog)
    dialog.locator("#element_account_id").fill(account_id)
    connections.save(dialog)

    headline, message = connections.test(conn_id)

    assert headline == "Test Connection Failed"
    assert words in message
    assert key not in connections.shown(conn_id)


def unfold_extras(dialog: Locator) -> None:
    """Until 3.3 the extra fields are folded away at first."""
    field = dialog.locator("#element_account_id")
    field.wait_for(state="attached")
    if not field.is_visible():
        dialog.get_by_role("button", name="Extra Fields", exact=True).click()
        field.wait_for()


def number(dialog: Locator, label: str) -> Locator:
    """The input of a number: a spin button in newer versions, a line of text in 3.1."""
    return dialog.locator(f"xpath=.//*[normalize-space(text())='{label}']/following::input[1]")

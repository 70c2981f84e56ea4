"""A connection that cannot be used: what a task says of it, and whether a retry follows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from airflow_provider_klaviyo._compat import AirflowFailException, AirflowNotFoundException
from airflow_provider_klaviyo.emulator import Emulator
from airflow_provider_klaviyo.exceptions import KlaviyoError
from airflow_provider_klaviyo.hooks.klaviyo import KlaviyoHook
from tests.integration.conftest import Shop, Sync

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("klaviyo", "shop")]


def way_to(error: BaseException | None) -> Iterator[BaseException]:
    while error:
        yield error
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize("parameter", ["klaviyo_conn_id", "sql_conn_id"])
def test_one_that_is_missing_is_named_with_its_parameter_and_the_way_to_it(
    sync: Sync, parameter: str
) -> None:
    run = sync(**{parameter: "shopp"})
    assert isinstance(run.error, KlaviyoError), "a retry may find it, where a secrets backend did not answer"
    assert str(run.error) == (
        f"{parameter}='shopp': Airflow has no connection of this id. Create it in Airflow (Admin > Connections), or "
        "set AIRFLOW_CONN_SHOPP where tasks run. If it is in a secrets backend, that may not have answered."
    )
    assert any(isinstance(each, AirflowNotFoundException) for each in way_to(run.error))
    assert str(run.error) in run.report["failure"]


@pytest.mark.parametrize("parameter", ["klaviyo_conn_id", "sql_conn_id"])
def test_one_whose_variable_is_malformed_is_told_from_one_that_is_missing(
    sync: Sync, parameter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SHOPP", '{"conn_type": "klaviyo", "password": "pk_secret",')
    run = sync(**{parameter: "shopp"})
    assert isinstance(run.error, AirflowFailException)
    assert str(run.error) == (
        f"{parameter}='shopp': AIRFLOW_CONN_SHOPP is set, but Airflow can read no connection from it. Check its JSON, "
        "or its URI."
    )


def test_one_that_shares_the_limits_and_is_missing_is_named(
    sync: Sync, klaviyo: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = {"rate_limit_conn_id": "rediss"}
    connection = {"conn_type": "klaviyo", "password": klaviyo.api_key, "host": klaviyo.url, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_SHARED", json.dumps(connection))
    run = sync(klaviyo_conn_id="shared")
    assert str(run.error).startswith("rate_limit_conn_id='rediss': Airflow has no connection of this id.")


def test_the_test_button_says_it_in_the_same_words() -> None:
    is_fine, words = KlaviyoHook("shopp").test_connection()
    assert not is_fine
    assert words.startswith("klaviyo_conn_id='shopp': Airflow has no connection of this id.")


def test_a_hook_of_ones_own_raises_an_error_of_this_package(shop: Shop) -> None:
    with pytest.raises(KlaviyoError, match="'shopp'") as told:
        KlaviyoHook("shopp").get_client()
    assert isinstance(told.value.__cause__, AirflowNotFoundException)


@pytest.mark.parametrize("conn_type", ["sqlite", "http", "generic"])
def test_one_of_another_type_is_refused_and_its_password_sent_to_nobody(
    sync: Sync, klaviyo: Emulator, conn_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = {"conn_type": conn_type, "password": klaviyo.api_key, "host": klaviyo.url}
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps(connection))
    run = sync(klaviyo_conn_id="other")
    assert isinstance(run.error, AirflowFailException)
    assert str(run.error).startswith(
        f"klaviyo_conn_id='other' is a connection of type {conn_type!r}, not 'klaviyo'"
    )
    assert klaviyo.requests() == []


def test_one_without_a_type_is_refused(
    sync: Sync, klaviyo: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps({"password": klaviyo.api_key, "host": klaviyo.url}))
    run = sync(klaviyo_conn_id="other")
    assert isinstance(run.error, AirflowFailException)
    assert klaviyo.requests() == []


def test_one_from_a_uri_is_of_the_type_that_begins_it(
    sync: Sync, shop: Shop, klaviyo: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.fill_with_people(1)
    address = klaviyo.url.removeprefix("http://")
    monkeypatch.setenv("AIRFLOW_CONN_BY_URI", f"klaviyo://:{klaviyo.api_key}@{address}/http")
    assert sync(klaviyo_conn_id="by_uri").counts() == {"rows_read": 1, "accepted": 1}
    monkeypatch.setenv("AIRFLOW_CONN_BY_URI", f"http://:{klaviyo.api_key}@{address}/http")
    assert "of type 'http', not 'klaviyo'" in str(sync(klaviyo_conn_id="by_uri").error)


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch, klaviyo: Emulator) -> Callable[..., None]:
    """Have a connection ``ours`` to Klaviyo, but for what is changed."""

    def connect(**changed: object) -> None:
        connection = {"conn_type": "klaviyo", "password": klaviyo.api_key, "host": klaviyo.url, **changed}
        monkeypatch.setenv("AIRFLOW_CONN_OURS", json.dumps(connection))

    return connect


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"password": "pk_wrong"}, "does not accept the private API key of the connection 'ours'"),
        ({"password": "pk_reader"}, "The key of the connection 'ours' may not use bulk_import_profiles"),
        ({"password": ""}, "no private API key in the connection 'ours'"),
        ({"password": "pk_a b"}, "The private API key of the connection 'ours' holds characters"),
        ({"host": "ftp://a.klaviyo.com"}, "In the connection 'ours', host must be a URL"),
        ({"extra": {"revision": "july"}}, "In the connection 'ours', revision 'july' is not a date"),
        ({"extra": {"timeout": 0}}, "In the connection 'ours', timeout must be above 0"),
        ({"extra": {"timeout": "soon"}}, "In the connection 'ours', timeout must be a number"),
        ({"extra": {"rate_limit_share": 2}}, "In the connection 'ours', rate_limit_share must be"),
        (
            {"extra": {"account_id": "XyZ987"}},
            "The key of the connection 'ours' belongs to the Klaviyo account",
        ),
        ({"extra": {"acount_id": "XyZ987"}}, "In the connection 'ours' are unknown extra fields: acount_id"),
    ],
    ids=str,
)
def test_what_is_wrong_with_one_is_told_with_its_id(
    sync: Sync,
    shop: Shop,
    klaviyo: Emulator,
    connect: Callable[..., None],
    changed: dict[str, object],
    words: str,
) -> None:
    klaviyo.set(keys={"pk_reader": ("accounts:read", "profiles:read")})
    shop.fill_with_people(1)
    connect(**changed)
    run = sync(klaviyo_conn_id="ours")
    assert words in str(run.error)
    assert words in run.report["failure"]

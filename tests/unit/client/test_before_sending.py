"""What keeps a request from leaving: nothing was sent then, and the message says what to mend."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import threading
from pathlib import Path

import pytest

from airflow_provider_klaviyo.client.config import KlaviyoConfig
from airflow_provider_klaviyo.client.endpoints import UNSUBSCRIBE
from airflow_provider_klaviyo.client.http import HttpTransport
from airflow_provider_klaviyo.client.retry import is_repeatable, may_be_done
from airflow_provider_klaviyo.exceptions import (
    KlaviyoConfigurationError,
    KlaviyoConnectionError,
    KlaviyoError,
)
from tests.conftest import absent
from tests.hostile import SLOW, HostileServer, Manner, answering, raw
from tests.unit.client.test_exchange import are_over, comes_true

SECURE, PLAIN = "https://klaviyo.invalid", "http://klaviyo.invalid"


@pytest.fixture(autouse=True)
def _no_settings_of_this_host(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "NO_PROXY",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
    ):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def refusal(url: str, *, timeout: float = 10.0) -> KlaviyoError:
    """What a request ends with that must never be sent twice."""
    with pytest.raises(KlaviyoError) as caught:
        HttpTransport(KlaviyoConfig("pk_x", base_url=url, timeout=timeout)).exchange(
            UNSUBSCRIBE, UNSUBSCRIBE.path, {}, b"{}"
        )
    return caught.value


def assert_may_be_sent_again(error: KlaviyoError) -> None:
    assert isinstance(error, KlaviyoConnectionError), error
    assert not error.sent
    assert is_repeatable(UNSUBSCRIBE, error)
    assert not may_be_done(error)


@pytest.fixture
def nobody() -> str:
    """An address where nobody listens."""
    server = HostileServer(answering("200 OK", b"{}"))
    with server:
        return server.url


@pytest.mark.parametrize(("url", "name"), [(SECURE, "HTTPS_PROXY"), (PLAIN, "HTTP_PROXY")])
def test_a_proxy_that_is_not_there(url: str, name: str, nobody: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, nobody)
    error = refusal(url)
    assert_may_be_sent_again(error)
    assert "Could not connect to" in str(error)
    assert "That is the proxy, not Klaviyo: see HTTPS_PROXY, HTTP_PROXY and NO_PROXY" in str(error)


@pytest.mark.parametrize(
    "manner",
    [answering("403 Forbidden", b""), answering("502 Bad Gateway", b"down"), raw(b""), raw(b"SSH-2.0\r\n")],
    ids=["403", "502", "hangs up", "no proxy"],
)
def test_a_proxy_that_does_not_let_us_through(manner: Manner, monkeypatch: pytest.MonkeyPatch) -> None:
    with HostileServer(manner) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        assert_may_be_sent_again(refusal(SECURE))


@pytest.mark.parametrize(("url", "name"), [(SECURE, "HTTPS_PROXY"), (PLAIN, "HTTP_PROXY")])
def test_a_proxy_that_wants_credentials(url: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with HostileServer(answering("407 Proxy Authentication Required", b"<html>")) as proxy:
        monkeypatch.setenv(name, proxy.url)
        error = refusal(url) if url == SECURE else _answered(url)
    assert isinstance(error, KlaviyoConfigurationError)
    assert "The proxy wants credentials (407), so Klaviyo got nothing" in str(error)
    assert not may_be_done(error)


def _answered(url: str) -> KlaviyoError:
    """The same where the proxy's refusal is an answer like any other."""
    from airflow_provider_klaviyo.client.responses import error_of

    transport = HttpTransport(KlaviyoConfig("pk_x", base_url=url))
    return error_of(UNSUBSCRIBE, transport.exchange(UNSUBSCRIBE, UNSUBSCRIBE.path, {}, b"{}"))


@pytest.mark.parametrize("name", ["silence", "a slow status line", "headers one by one", "a slow header"])
def test_a_proxy_that_never_lets_us_through(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with HostileServer(SLOW[name]) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        assert_may_be_sent_again(refusal(SECURE, timeout=0.3))
        assert comes_true(are_over)
        assert comes_true(lambda: proxy.is_alone)


def test_a_proxy_whose_url_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:port")
    assert type(refusal(SECURE)) is KlaviyoConfigurationError


def test_certificates_that_are_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "none.pem"))
    with HostileServer(answering("200 OK", b"{}")) as server:
        error = refusal(server.url.replace("http", "https"))
        assert server.requests == []
    assert type(error) is KlaviyoConfigurationError
    assert str(tmp_path / "none.pem") in str(error)
    assert "Correct or unset REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE" in str(error)
    assert not may_be_done(error)


def test_certificates_that_are_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "some.pem").write_text("certainly none")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "some.pem"))
    with HostileServer(answering("200 OK", b"{}")) as server:
        assert_may_be_sent_again(refusal(server.url.replace("http", "https")))


@pytest.fixture(scope="module")
def own_certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate that nobody vouches for, in one file."""
    if not shutil.which("openssl"):
        absent("openssl", "openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    made = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    named = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "own.pem"]
    subprocess.run(["openssl", "req", *made, *named], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture
def secured(own_certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own_certificate / "own.pem", own_certificate / "key.pem")
    return context


def test_a_certificate_that_nobody_vouches_for(secured: ssl.SSLContext) -> None:
    with HostileServer(answering("200 OK", b"{}"), tls=secured) as server:
        error = refusal(server.url)
        assert_may_be_sent_again(error)
        assert "certificate verify failed" in str(error)
        assert server.requests == []


def test_a_host_that_is_silent_from_the_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    with HostileServer(answering("200 OK", b"{}")) as server:
        monkeypatch.setattr(server, "_talk", lambda peer: over.wait(10) and peer.close())
        assert_may_be_sent_again(refusal(server.url.replace("http", "https"), timeout=0.3))
        assert comes_true(are_over)
        over.set()


@pytest.mark.parametrize("name", SLOW)
def test_an_answer_that_never_ends_is_given_up_over_tls_too(
    name: str, secured: ssl.SSLContext, own_certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(own_certificate / "own.pem"))
    with HostileServer(SLOW[name], tls=secured) as server:
        error = refusal(server.url, timeout=0.3)
        assert isinstance(error, KlaviyoConnectionError)
        assert error.sent
        assert len(server.requests) == 1
        assert comes_true(are_over)
        assert comes_true(lambda: server.is_alone)


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"], ids=["none", "cut"]
)
def test_what_fails_while_the_answer_is_read_may_have_arrived(
    answer: bytes, secured: ssl.SSLContext, own_certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(own_certificate / "own.pem"))
    with HostileServer(raw(answer), tls=secured) as server:
        error = refusal(server.url)
    assert isinstance(error, KlaviyoConnectionError)
    assert error.sent
    assert may_be_done(error)

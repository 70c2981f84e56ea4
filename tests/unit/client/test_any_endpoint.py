"""From what somebody wrote to an endpoint and the windows that it is counted in."""

from __future__ import annotations

import pytest

from airflow_provider_klaviyo.client.any_endpoint import METHODS, addressed
from airflow_provider_klaviyo.client.endpoints import ENDPOINTS, windows
from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda each: each.name)
def test_what_syncs_call_has_their_windows(endpoint: object) -> None:
    found = addressed(endpoint.method.lower(), endpoint.path.replace("{id}", "Y6nRLr") + "/", {})  # type: ignore[attr-defined]
    assert (found.endpoint.name, found.endpoint.rates) == (endpoint.name, endpoint.rates)  # type: ignore[attr-defined]
    assert found.resource_id == ("Y6nRLr" if "{id}" in endpoint.path else "")  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("path", "name", "resource_id"),
    [
        ("/api/metrics", "GET /api/metrics", ""),
        ("/api/profiles/01GDDKASAP8TKDDA2GRZDSVP4H", "GET /api/profiles/{id}", "01GDDKASAP8TKDDA2GRZDSVP4H"),
        ("/api/profiles/lists", "GET /api/profiles/{id}", "lists"),
        ("/api/tags/a-b/relationships/lists", "GET /api/tags/{id}/relationships/lists", "a-b"),
        ("/api/catalog-items/$custom:::$default:::SAMPLE%20A", "GET /api/catalog-items/{id}",
         "$custom:::$default:::SAMPLE A"),
    ],
)  # fmt: skip
def test_one_operation_has_one_name_whatever_the_id(path: str, name: str, resource_id: str) -> None:
    endpoint, found, _ = addressed("GET", path, {})
    assert (endpoint.name, found) == (name, resource_id)


@pytest.mark.parametrize(
    "path",
    [
        "@evil.example/api/lists",
        "https://evil.example/api/lists",
        "//evil.example/api/lists",
        "api/lists",
        "",
        "/",
        "/api",
        "/api/",
        "/client/events",
        "/API/lists",
        "/api//lists",
        "/api/lists//profiles",
        "/api/@evil.example/x",
        "/api/lists/ada@shop.io",
        "/api/lists/ada%40shop.io",
        "/api/../oauth/token",
        "/api/lists/..",
        "/api/lists/%2e%2e/x",
        "/api/lists/%2E./x",
        "/api/lists/./profiles",
        "/api/lists/%252e%252e/x",
        "/api/lists/a%2Fb",
        "/api/lists/a\\b",
        "/api/lists/a%5Cb",
        "/api/lists/a#b",
        "/api/lists/a%23b",
        "/api/lists?x=1#b",
        "/api/lists/a%3Fb",
        "/api/lists/a\r\nHost: evil.example",
        "/api/lists/a%0d%0ab",
        "/api/lists/a%00",
        "/api/lists/\ud800",
        "/api/lists/%ff",
        "/api/lists\t",
        "/api/+4915123456789",
        "/api/lists/A/01GDDKASAP",
        "/api/" + "a" * 300,
        " /api/lists",
    ],
)
def test_nothing_but_a_path_of_klaviyos_api_is_taken(path: str) -> None:
    with pytest.raises(
        KlaviyoConfigurationError, match=r"Nothing was sent\..*/api/lists/Y6nRLr/profiles"
    ) as caught:
        addressed("GET", path, {})
    assert not any(part in str(caught.value) for part in ("evil", "ada", "4915"))


@pytest.mark.parametrize("method", ["PUT", "HEAD", "OPTIONS", "CONNECT", "TRACE", "", "GET /x HTTP/1.1\r\n"])
def test_other_methods_are_refused(method: str) -> None:
    with pytest.raises(KlaviyoConfigurationError, match="GET, POST, PATCH, DELETE"):
        addressed(method, "/api/lists", {})


def test_a_query_is_split_off_and_joined() -> None:
    asked = addressed("GET", '/api/profiles?filter=equals(email,"a%2Bb%40x.io")&page[size]=5', {"sort": "id"})
    assert asked.endpoint.name == "get_profiles"
    assert asked.query == {"filter": 'equals(email,"a+b@x.io")', "page[size]": "5", "sort": "id"}
    assert addressed("GET", "/api/profiles?", {}).query == {}


@pytest.mark.parametrize(
    "path", ["/api/profiles?sort=id", "/api/profiles?a=1&a=2", "/api/profiles?x", "/api/profiles?a=%ff"]
)
def test_a_query_that_says_two_things_is_refused(path: str) -> None:
    with pytest.raises(KlaviyoConfigurationError, match="The query in its path"):
        addressed("GET", path, {"sort": "email"})


@pytest.mark.parametrize("method", METHODS)
def test_only_what_is_harmless_is_repeated(method: str) -> None:
    """Subscribing again asks people again, and events may come without a unique id: bodies are not ours."""
    for endpoint in ENDPOINTS:
        found = addressed(endpoint.method, endpoint.path.replace("{id}", "A"), {}).endpoint
        harmless = endpoint.method == "GET" or endpoint.path.endswith("/relationships/profiles")
        assert found.is_repeatable is harmless, endpoint.name
    assert addressed(method, "/api/coupons", {}).endpoint.is_repeatable is (method == "GET")


def test_scarce_endpoints_have_their_own_windows() -> None:
    assert addressed("POST", "/api/campaign-values-reports", {}).endpoint.rates == windows(1, 2, 225)
    assert addressed("PATCH", "/api/custom-metrics/A", {}).endpoint.rates == windows(1, 15, 15)


@pytest.mark.parametrize(
    ("path", "query", "rates"),
    [
        ("/api/profiles", {"additional-fields[profile]": "subscriptions,predictive_analytics"}, windows(10, 150)),
        ("/api/profiles?additional-fields%5Bprofile%5D=predictive_analytics", {}, windows(10, 150)),
        ("/api/profiles", {"additional-fields[profile]": "subscriptions"}, windows(75, 750)),
        ("/api/lists/A/profiles", {"additional-fields[profile]": "predictive_analytics"}, windows(10, 150)),
        ("/api/lists/A", {"additional-fields[list]": "profile_count"}, windows(1, 15)),
        ("/api/lists/A", {}, windows(75, 750)),
        ("/api/profiles/A", {"include": "lists"}, windows(1, 15)),
    ],
)  # fmt: skip
def test_a_parameter_may_lower_the_limit(path: str, query: dict[str, str], rates: object) -> None:
    asked = addressed("GET", path, query)
    assert asked.endpoint.asked_with(asked.query).rates == rates

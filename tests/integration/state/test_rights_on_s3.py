"""The rights that the page of stores names are all that is used of S3, and none of them is too many."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from airflow_provider_klaviyo.storage import remote_path
from tests.integration.conftest import Shop, Sync

pytestmark = pytest.mark.integration

PAGE = Path(__file__).resolve().parents[3] / "docs" / "state.md"


def right(method: str, path: str, query: str) -> str:
    """What a role must be allowed for a request (Amazon's "Actions defined by Amazon S3")."""
    asked = parse_qs(query, keep_blank_values=True)
    is_object = "/" in path.strip("/")
    if method == "GET" and not is_object:
        return "ListBucket" if asked.get("list-type") == ["2"] else f"{method} {path}?{query}"
    if method == "DELETE" and "uploadId" in asked:
        return "AbortMultipartUpload"
    names = {"GET": "GetObject", "HEAD": "GetObject", "PUT": "PutObject", "DELETE": "DeleteObject"}
    if method == "POST" and is_object:
        return "PutObject"  # begins and ends a file of several parts
    return names[method] if is_object and method in names else f"{method} {path}?{query}"


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """The rights that were used since the bucket is there."""
    pytest.importorskip("moto.server", reason="moto is not installed")
    from tests.benchmarks.state import CountedS3

    rights: set[str] = set()

    class Watched(CountedS3):
        def _counted(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            rights.add(right(environ["REQUEST_METHOD"], environ["PATH_INFO"], environ["QUERY_STRING"]))
            return super()._counted(environ, start_response)

    server = Watched()
    server.start()
    server.bucket("watched")
    rights.clear()
    monkeypatch.setenv("AIRFLOW_CONN_WATCHED", server.connection)
    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", "s3://watched@watched/klaviyo")
    yield rights
    server.stop()


@pytest.mark.usefixtures("klaviyo")
def test_what_is_done_in_a_bucket_needs_the_rights_of_the_page(
    shop: Shop, sync: Sync, used: set[str]
) -> None:
    shop.fill_with_people(5)
    shop.execute("UPDATE customers SET email = 'nobody' WHERE id = 1")
    for number in range(2):
        sync(primary_key="id", only_changes=True, run_id=f"run {number}")
    large = remote_path("s3://watched@watched/klaviyo/large")
    large.create(iter([bytes(6 << 20)] * 3))
    with pytest.raises(OSError, match="RuntimeError"):
        large.create(_broken_off())
    (row,) = [line for line in PAGE.read_text().splitlines() if line.startswith("| Amazon S3 |")]
    assert used == set(re.findall(r"`(?:s3:)?([A-Z]\w+)`", row))


def _broken_off() -> Iterator[bytes]:
    yield bytes(60 << 20)
    raise RuntimeError

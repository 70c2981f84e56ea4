"""A running emulator on a clock that stands still, and somebody to talk to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from airflow_provider_klaviyo.emulator import Emulator, ManualClock, Settings

JOBS = "/api/profile-bulk-import-jobs"
SUBSCRIBE = "/api/profile-subscription-bulk-create-jobs"
UNSUBSCRIBE = "/api/profile-subscription-bulk-delete-jobs"


class Caller:
    """Speaks to an emulator as a client does; every call is a request over the socket."""

    def __init__(self, emulator: Emulator, **headers: str | None) -> None:
        self._emulator = emulator
        self._session = requests.Session()
        self._session.trust_env = False
        self.headers: dict[str, str | None] = {
            "Authorization": f"Klaviyo-API-Key {emulator.api_key}",
            "revision": "2026-07-15",
            **headers,
        }

    def close(self) -> None:
        self._session.close()

    def call(self, method: str, path: str, document: Any = None, **options: Any) -> requests.Response:
        url = path if path.startswith("http") else self._emulator.url + path
        headers = {**self.headers, **options.pop("headers", {})}
        if document is not None:
            options["json"] = document
            headers.setdefault("Content-Type", "application/vnd.api+json")
        return self._session.request(method, url, headers=headers, timeout=30, **options)

    def get(self, path: str, **parameters: Any) -> requests.Response:
        return self.call("GET", path, params=parameters or None)

    def post(self, path: str, document: Any) -> requests.Response:
        return self.call("POST", path, document)

    def data(self, path: str, **parameters: Any) -> Any:
        response = self.get(path, **parameters)
        assert response.status_code == 200, response.text
        return response.json()["data"]

    def pages(self, path: str, **parameters: Any) -> Iterator[list[Any]]:
        """All pages, as `links.next` leads."""
        response = self.get(path, **parameters)
        while True:
            document = response.json()
            yield document["data"]
            if document["links"]["next"] is None:
                return
            response = self.get(document["links"]["next"])

    def bulk_import(self, *people: dict[str, Any], lists: tuple[str, ...] = ()) -> requests.Response:
        """A bulk import of people given by their attributes."""
        resources = [{"type": "profile", "attributes": person} for person in people]
        return self.post(JOBS, self.bulk_body(*resources, lists=lists))

    def subscribe(
        self, *people: dict[str, Any], list_id: str | None = None, **more: Any
    ) -> requests.Response:
        """Subscribe people given by their attributes; who names no channels gets those of their identifiers."""
        return self.post(SUBSCRIBE, self.consent_body("SUBSCRIBED", *people, list_id=list_id, **more))

    def unsubscribe(self, *people: dict[str, Any], list_id: str | None = None) -> requests.Response:
        """Unsubscribe people given by their attributes."""
        return self.post(UNSUBSCRIBE, self.consent_body("UNSUBSCRIBED", *people, list_id=list_id))

    @staticmethod
    def consent_body(
        consent: str, *people: dict[str, Any], list_id: str | None = None, **more: Any
    ) -> dict[str, Any]:
        marketing = {"marketing": {"consent": consent}}
        names = {"email": "email", "phone_number": "sms"}
        resources = []
        for person in people:
            channels = {channel: marketing for name, channel in names.items() if name in person}
            attributes = {"subscriptions": channels, **person}
            profile_id = attributes.pop("id", None)
            resources.append(
                {"type": "profile", "attributes": attributes} | ({"id": profile_id} if profile_id else {})
            )
        verb = "create" if consent == "SUBSCRIBED" else "delete"
        data: dict[str, Any] = {
            "type": f"profile-subscription-bulk-{verb}-job",
            "attributes": {"profiles": {"data": resources}, **more},
        }
        if list_id:
            data["relationships"] = {"list": {"data": {"type": "list", "id": list_id}}}
        return {"data": data}

    @staticmethod
    def bulk_body(*resources: Any, lists: tuple[str, ...] = ()) -> dict[str, Any]:
        data: dict[str, Any] = {
            "type": "profile-bulk-import-job",
            "attributes": {"profiles": {"data": list(resources)}},
        }
        if lists:
            data["relationships"] = {"lists": {"data": [{"type": "list", "id": each} for each in lists]}}
        return {"data": data}

    @staticmethod
    def profile_body(profile_id: str | None = None, meta: Any = None, **attributes: Any) -> dict[str, Any]:
        data: dict[str, Any] = {"type": "profile", "attributes": attributes}
        data |= {"id": profile_id} if profile_id else {}
        data |= {"meta": meta} if meta else {}
        return {"data": data}

    @staticmethod
    def errors_of(response: requests.Response) -> list[tuple[str | None, str]]:
        """(pointer or parameter, detail) of each error."""
        return [
            (error["source"].get("pointer") or error["source"].get("parameter"), error["detail"])
            for error in response.json()["errors"]
        ]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def emulator(clock: ManualClock) -> Iterator[Emulator]:
    with Emulator(Settings(job_seconds=4.0), clock=clock) as running:
        yield running


@pytest.fixture
def make_caller() -> type[Caller]:
    """For emulators of a test's own; close what it makes."""
    return Caller


@pytest.fixture
def caller(emulator: Emulator) -> Iterator[Caller]:
    caller = Caller(emulator)
    yield caller
    caller.close()

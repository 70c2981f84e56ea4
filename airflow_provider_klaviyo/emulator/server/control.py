"""`/_emulator`: faults on order, and a look behind the scenes. No key is asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sized
from itertools import islice
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from airflow_provider_klaviyo.emulator.account.account import Account
from airflow_provider_klaviyo.emulator.account.consent_audit import Question
from airflow_provider_klaviyo.emulator.account.profile_store import Profile
from airflow_provider_klaviyo.emulator.account.subscription_rules import confirm
from airflow_provider_klaviyo.emulator.api.dispatch import Response
from airflow_provider_klaviyo.emulator.api.event_resources import plain_event
from airflow_provider_klaviyo.emulator.core.errors import Problem
from airflow_provider_klaviyo.emulator.core.faults import Fault, Faults
from airflow_provider_klaviyo.emulator.core.settings import Settings
from airflow_provider_klaviyo.emulator.core.windows import Windows
from airflow_provider_klaviyo.emulator.server.request_log import RequestLog

PREFIX = "/_emulator"
_PAGE = 1_000


class Control:
    """What tests and demos can do that Klaviyo's customers cannot."""

    def __init__(self, account: Account, *, windows: Windows, faults: Faults, log: RequestLog) -> None:
        self._account = account
        self._windows = windows
        self._faults = faults
        self._log = log

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self._account.settings

    def answer(self, method: str, path: str, query: str, body: bytes) -> Response:
        """Answer a request below `/_emulator`."""
        name, _, rest = path.removeprefix(PREFIX).strip("/").partition("/")
        action = _ACTIONS.get((method, name))
        if action is None:
            known = sorted(f"{verb} {PREFIX}/{each}" for verb, each in _ACTIONS)
            return _problem(404, f"There is no {method} {path}. There are: {', '.join(known)}")
        try:
            return action(self, dict(parse_qsl(query)), rest, body)
        except (ValueError, TypeError, msgspec.MsgspecError) as error:
            return _problem(400, str(error))

    # --------------------------------------------------------------------------------------------------------

    def stats(self) -> dict[str, Any]:
        """Writes by operation, statuses, windows, what is stored, and what was done to people's consent."""
        with self._account.lock:
            self._account.settle()
            stored = {
                "profiles": len(self._account.profiles),
                "lists": sum(1 for _ in self._account.lists),
                "jobs": len(self._account.jobs),
                "events": len(self._account.events),
            }
            flow_starts = self._account.events.flow_starts
        windows = self._windows.stats()
        return {
            "stored": stored,
            "flow_starts": flow_starts,
            "writes": self._log.writes(),
            "statuses": self._log.statuses(),
            "consent": self._consent_stats(),
            "exceeded": sum(each.exceeded for each in windows),
            "windows": [dataclasses.asdict(each) for each in windows],
        }

    def _consent_stats(self) -> Mapping[str, Any]:
        with self._account.lock:
            return self._account.audit.stats()

    def profiles(self, first: int = 0) -> Iterator[dict[str, Any]]:
        """Stored profiles from a number on, as plain attributes with their id."""
        with self._account.lock:
            self._account.settle()
            total = len(self._account.profiles)
        for number in range(first, total):
            with self._account.lock:
                yield self._plain(self._account.profiles[number])

    def events(self, first: int = 0) -> Iterator[dict[str, Any]]:
        """Stored events from a number on, with everything that is known of them."""
        with self._account.lock:
            self._account.settle()
            total = len(self._account.events)
        for number in range(first, total):
            with self._account.lock:
                yield plain_event(self._account, self._account.events[number])

    def _plain(self, profile: Profile) -> dict[str, Any]:
        return {"id": self._account.profiles.id_of(profile), **profile.attributes()}

    def change_settings(self, changes: Mapping[str, Any]) -> Settings:
        """Replace settings; the account's id stays what it is."""
        unknown = set(changes) - {each.name for each in dataclasses.fields(Settings)} | set(changes) & {
            "account_id"
        }
        if unknown:
            detail = f"cannot be set: {', '.join(sorted(unknown))}"
            raise ValueError(detail)
        current = {each.name: getattr(self.settings, each.name) for each in dataclasses.fields(Settings)}
        self._account.settings = msgspec.convert(current | dict(changes), Settings)
        return self._account.settings

    def cancel_job(self, job_id: str) -> bool:
        """Cancel a job that is not settled; False when there is none."""
        with self._account.lock:
            now = self._account.settle()
            job = self._account.jobs.get(job_id)
            if job is None or job.is_settled:
                return False
            self._account.jobs.cancel(job, now)
            return True

    def reset(self) -> None:
        """An empty account, no faults, fresh windows, an empty log; settings stay."""
        self._account.clear()
        self._windows.clear()
        self._faults.clear()
        self._log.clear()

    # --------------------------------------------------------------------------------------------------------

    def _get_requests(self, query: dict[str, str], _: str, __: bytes) -> Response:
        entries = self._log.entries(query.get("operation"), int(query.get("after", "0")))
        shown = entries[: int(query.get("limit", str(len(entries) or 1)))]
        return _json({"count": len(entries), "requests": [entry.as_dict() for entry in shown]})

    def _get_profiles(self, query: dict[str, str], _: str, __: bytes) -> Response:
        return _page("profiles", query, self.profiles, self._account.profiles)

    def _get_events(self, query: dict[str, str], _: str, __: bytes) -> Response:
        return _page("events", query, self.events, self._account.events)

    def _get_stats(self, _: dict[str, str], __: str, ___: bytes) -> Response:
        return _json(self.stats())

    def _get_faults(self, _: dict[str, str], __: str, ___: bytes) -> Response:
        return _json({"faults": self._faults.listing()})

    def _post_faults(self, _: dict[str, str], __: str, body: bytes) -> Response:
        return _json({"number": self._faults.order(_fault(msgspec.json.decode(body)))}, status=201)

    def _delete_faults(self, _: dict[str, str], number: str, __: bytes) -> Response:
        if not number:
            self._faults.clear()
        elif not self._faults.remove(int(number)):
            return _problem(404, f"There is no fault {number}.")
        return Response(204, {}, b"")

    def _post_reset(self, _: dict[str, str], __: str, ___: bytes) -> Response:
        self.reset()
        return Response(204, {}, b"")

    def _get_settings(self, _: dict[str, str], __: str, ___: bytes) -> Response:
        return _json(_shown(self.settings))

    def _post_settings(self, _: dict[str, str], __: str, body: bytes) -> Response:
        return _json(_shown(self.change_settings(msgspec.json.decode(body, type=dict[str, Any]))))

    def _get_incidents(self, query: dict[str, str], _: str, __: bytes) -> Response:
        with self._account.lock:
            self._account.settle()
            found = [each for each in self._account.audit.incidents if query.get("kind") in (None, each.kind)]
        return _json({"incidents": found})

    def _get_confirmations(self, _: dict[str, str], __: str, ___: bytes) -> Response:
        with self._account.lock:
            self._account.settle()
            questions = [_question(each) for each in self._account.audit.questions.values()]
        return _json({"confirmations": questions})

    def _post_confirmations(self, _: dict[str, str], __: str, body: bytes) -> Response:
        order = msgspec.json.decode(body, type=_Yes)
        with self._account.lock:
            now = self._account.settle()
            count = confirm(self._account, **msgspec.structs.asdict(order), at=now)
        return _json({"confirmed": count})

    def _post_jobs(self, _: dict[str, str], rest: str, __: bytes) -> Response:
        job_id, verb = rest.partition("/")[::2]
        if verb != "cancel" or not self.cancel_job(job_id):
            return _problem(404, "There is no such job to cancel: POST /_emulator/jobs/{id}/cancel")
        return Response(204, {}, b"")


class _Yes(msgspec.Struct, forbid_unknown_fields=True):
    """Who confirms, as `Emulator.confirm` takes it."""

    email: str | None = None
    phone_number: str | None = None
    list_id: str | None = None


def _question(question: Question) -> dict[str, Any]:
    return {
        "person": question.person,
        "channel": question.channel,
        "list_id": question.list_id,
        "messages": question.messages,
        "is_open": question.channels is not None,
    }


def _fault(order: Any) -> Fault:
    if not isinstance(order, dict):
        detail = "a fault is an object"
        raise TypeError(detail)
    unknown = set(order) - {each.name for each in dataclasses.fields(Fault)}
    if unknown:
        detail = f"a fault has no {', '.join(sorted(unknown))}"
        raise ValueError(detail)
    return msgspec.convert(order, Fault)


def _shown(settings: Settings) -> dict[str, Any]:
    """Settings without the keys."""
    hidden = {each.name for each in dataclasses.fields(Settings) if not each.repr}
    return {
        each.name: getattr(settings, each.name)
        for each in dataclasses.fields(Settings)
        if each.name not in hidden
    }


def _page(
    name: str, query: Mapping[str, str], rows: Callable[[int], Iterator[dict[str, Any]]], stored: Sized
) -> Response:
    first, limit = int(query.get("offset", "0")), int(query.get("limit", str(_PAGE)))
    shown = list(islice(rows(first), limit))
    count = len(stored)
    following = first + len(shown) if first + len(shown) < count else None
    return _json({"count": count, name: shown, "next_offset": following})


def _json(document: Any, status: int = 200) -> Response:
    return Response(status, {"Content-Type": "application/json"}, msgspec.json.encode(document))


def _problem(status: int, detail: str) -> Response:
    return _json({"errors": [Problem(detail).as_error(status)]}, status)


_ACTIONS: dict[tuple[str, str], Callable[[Control, dict[str, str], str, bytes], Response]] = {
    ("GET", "requests"): Control._get_requests,  # noqa: SLF001 - the class's own table
    ("GET", "profiles"): Control._get_profiles,  # noqa: SLF001
    ("GET", "events"): Control._get_events,  # noqa: SLF001
    ("GET", "stats"): Control._get_stats,  # noqa: SLF001
    ("GET", "faults"): Control._get_faults,  # noqa: SLF001
    ("POST", "faults"): Control._post_faults,  # noqa: SLF001
    ("DELETE", "faults"): Control._delete_faults,  # noqa: SLF001
    ("POST", "reset"): Control._post_reset,  # noqa: SLF001
    ("GET", "settings"): Control._get_settings,  # noqa: SLF001
    ("POST", "settings"): Control._post_settings,  # noqa: SLF001
    ("GET", "incidents"): Control._get_incidents,  # noqa: SLF001
    ("GET", "confirmations"): Control._get_confirmations,  # noqa: SLF001
    ("POST", "confirmations"): Control._post_confirmations,  # noqa: SLF001
    ("POST", "jobs"): Control._post_jobs,  # noqa: SLF001
}

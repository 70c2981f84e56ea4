"""``python -m airflow_provider_klaviyo doctor``: whether a connection, and what syncs need besides, is fine.

It looks from where it runs, so run it where the workers run. It reads from Klaviyo and writes nothing there.
"""

from __future__ import annotations

import argparse
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from airflow_provider_klaviyo.client.account import get_account
from airflow_provider_klaviyo.client.by_hand import request
from airflow_provider_klaviyo.client.endpoints import GET_ACCOUNTS
from airflow_provider_klaviyo.connection import rate_limit_conn_id
from airflow_provider_klaviyo.exceptions import KlaviyoPermissionError
from airflow_provider_klaviyo.hooks.klaviyo import KlaviyoHook, Tested, shared_folder, tested_connection
from airflow_provider_klaviyo.state.stores import store_of
from airflow_provider_klaviyo.storage import state_problem, storage_path

_SECONDS = 6.0
"""What a check may take, repeated requests included: whoever looks on finds out sooner by asking again."""

_LATE = 30.0
"""Seconds by which this host's clock may be wrong before consent and lists suffer from it."""

_READS = {
    "accounts:read": "/api/accounts",
    "lists:read": "/api/lists",
    "profiles:read": "/api/profiles?page[size]=1",
}
"""A request for each scope that lets read; scopes that let write cannot be tried without writing."""

_CHECKS = ("connection", "scopes", "storage", "rate limits", "clock")
_FINE, _WRONG, _UNKNOWN = "fine", "WRONG", "?"


class Finding(NamedTuple):
    """What a check has found."""

    verdict: str
    words: str


def add_to(groups: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Make the command known."""
    doctor = groups.add_parser("doctor", help="check connection, scopes, storage, rate limits and clock")
    doctor.add_argument("conn_id", nargs="?", default=KlaviyoHook.default_conn_name)
    doctor.set_defaults(run=_doctor)


def _doctor(options: argparse.Namespace, ask: Callable[[str], str]) -> int:  # noqa: ARG001 - one signature for all
    hook = KlaviyoHook(options.conn_id)
    hook.test_seconds = _SECONDS
    findings = _of_connection(hook) | {"storage": _asked(_storage)}
    for name in _CHECKS:
        finding = findings[name]
        print(f"{finding.verdict:6}{name}: {finding.words}")
    return 0 if all(finding.verdict == _FINE for finding in findings.values()) else 1


def _of_connection(hook: KlaviyoHook) -> dict[str, Finding]:
    """What there is to say of a connection; a check whose ground has failed would only say the same again."""
    settings = _asked(lambda: _settings(hook))
    if settings.verdict != _FINE:
        return {
            "connection": settings,
            **dict.fromkeys(("scopes", "rate limits", "clock"), _see("connection")),
        }
    limits = _asked(lambda: _limits(hook))
    if limits.verdict != _FINE:
        return {
            "rate limits": limits,
            **dict.fromkeys(("connection", "scopes", "clock"), _see("rate limits")),
        }
    tested = _tested(hook)
    return {
        "connection": _finding(is_fine=tested.is_fine, words=tested.words),
        "scopes": _asked(lambda: _scopes(hook)) if tested.is_accepted else _see("connection"),
        "rate limits": limits,
        "clock": _asked(lambda: _clock(hook)) if tested.is_accepted else _see("connection"),
    }


def _tested(hook: KlaviyoHook) -> Tested:
    try:
        return tested_connection(hook)
    except Exception as error:  # as in ``_asked``
        return Tested(is_fine=False, words=_words_of(error), is_accepted=False)


def _words_of(error: Exception) -> str:
    return str(error) or type(error).__name__


def _see(ground: str) -> Finding:
    return Finding(_UNKNOWN, f"not checked, see {ground}")


def _finding(*, is_fine: bool, words: str) -> Finding:
    return Finding(_FINE if is_fine else _WRONG, words)


def _asked(check: Callable[[], tuple[bool, str]]) -> Finding:
    try:
        is_fine, words = check()
    except (
        Exception
    ) as error:  # whatever it is belongs into the list, and the next check may still tell something
        return Finding(_WRONG, _words_of(error))
    return _finding(is_fine=is_fine, words=words)


def _settings(hook: KlaviyoHook) -> tuple[bool, str]:
    """Whether there is a connection that a client can be made of."""
    hook.get_client().close()
    return True, "can work"


def _scopes(hook: KlaviyoHook) -> tuple[bool, str]:
    missing = list(_missing_scopes(hook))
    if missing:
        return False, (
            f"the key lacks {', '.join(missing)}. Scopes of a key cannot be changed: create a new key with what the "
            "README names for your sync types."
        )
    return True, (
        f"the key may read ({', '.join(_READS)}). What it may write cannot be tried without writing: the first sync "
        "names what is missing."
    )


def _missing_scopes(hook: KlaviyoHook) -> Iterator[str]:
    with hook.get_client(timeout=_SECONDS) as client:
        for scope, path in _READS.items():
            try:
                request(client, "GET", path)
            except KlaviyoPermissionError:
                yield scope


def _storage() -> tuple[bool, str]:
    """Create, read and delete a file, and have two create one name."""
    folder = storage_path()
    place = folder / f"doctor-{uuid.uuid4().hex}"
    store = store_of(place)
    content = uuid.uuid4().hex.encode()
    try:
        store.prove_exclusive("No state can be kept in", "two runs could damage the state")
        store.put("probe", content)
        is_same = store.read("probe") == content
        store.delete("probe")
        is_gone = not store.holds("probe")
    except OSError as error:
        return False, f"{folder} ({error}): check [klaviyo] storage_path, and who may write there."
    finally:
        if isinstance(place, Path):
            with suppress(OSError):
                place.rmdir()
    if not (is_same and is_gone):
        return (
            False,
            f"{folder} does not give back what was written there: choose another [klaviyo] storage_path.",
        )
    if problem := state_problem():
        return False, problem
    return True, f"{folder} takes files, gives them back, creates each once and deletes them."


def _limits(hook: KlaviyoHook) -> tuple[bool, str]:
    redis = rate_limit_conn_id(hook.connection)
    sharers = (
        f"all hosts, by the connection {redis}" if redis else f"this host's processes, in {shared_folder()}"
    )
    deadline = hook.clock.monotonic() + _SECONDS
    with (
        hook.get_client(timeout=_SECONDS) as client,
        client.limiter.permit("doctor", GET_ACCOUNTS.rates, hold=1.0, deadline=deadline),
    ):
        return True, f"shared by {sharers}."


def _clock(hook: KlaviyoHook) -> tuple[bool, str]:
    with hook.get_client(timeout=_SECONDS) as client:
        with suppress(KlaviyoPermissionError):
            get_account(client)
        ahead = hook.clock.now() - client.server_now()
    if abs(ahead) > _LATE:
        where = "ahead of" if ahead > 0 else "behind"
        return False, (
            f"this host is {abs(ahead):,.0f} s {where} Klaviyo's time, by which it judges how old events "
            "and consent are: have the host set its clock (NTP)."
        )
    return True, f"within {_LATE:.0f} s of Klaviyo's."

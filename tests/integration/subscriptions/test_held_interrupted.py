"""Airflow's timeouts come in the midst of anything: whoever is held back then is sent to nobody, and has a line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator
from airflow_provider_klaviyo.sync.rejects import RejectsFile
from airflow_provider_klaviyo.sync.scratch.chunk_file import ChunkFile
from airflow_provider_klaviyo.sync.subscriptions import held_unsubscribes
from airflow_provider_klaviyo.sync.subscriptions.delivery import UncheckedDelivery
from airflow_provider_klaviyo.sync.subscriptions.held_unsubscribes import HeldUnsubscribes
from airflow_provider_klaviyo.sync.subscriptions.unsubscribe import UnsubscribeDelivery
from tests.integration.conftest import Run
from tests.integration.subscriptions.conftest import BOTH, ConsentSync, email_of, phone_of

pytestmark = pytest.mark.integration

WISHES = {"email": "email", "consent.email": "email_ok"}
ROWS = 24


class Interruption(Exception):
    """As Airflow's execution timeout."""


@contextmanager
def interrupted(
    monkeypatch: pytest.MonkeyPatch, owner: type, name: str, call: int, *, is_before: bool
) -> Iterator[None]:
    """Have the n-th call of a method broken off, before or after it has done its work."""
    original: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def method(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call and is_before:
            raise Interruption
        result = original(*arguments)
        if calls == call:
            raise Interruption
        return result

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, method)
        yield


def check(run: Run) -> None:
    """Every row has one verdict, and who is pending has a line that says so."""
    counts = run.counts()
    lines = [line for line in run.rejects if line["outcome"] != "warning"]
    assert len({line["row_number"] for line in lines}) == len(lines)
    written = Counter(line["outcome"] for line in lines)
    for outcome in ("skipped", "rejected", "pending"):
        assert written[outcome] == counts.get(outcome, 0)


@pytest.mark.parametrize("is_before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize(
    ("owner", "name", "calls"),
    [(RejectsFile, "write", (1, 2, 5, 7, 9)), (ChunkFile, "add", (1, 3)), (ChunkFile, "__getitem__", (1, 3))],
    ids=["a line", "keeping", "releasing"],
)
def test_a_timeout_while_people_are_held_back_leaves_every_row_explained_once(
    klaviyo: Emulator,
    words: Any,
    chunks: Any,
    consent_sync: ConsentSync,
    monkeypatch: pytest.MonkeyPatch,
    owner: type,
    name: str,
    calls: tuple[int, ...],
    is_before: bool,
) -> None:
    chunks(5)
    sql = words(*({"email": email_of(n % 16), "email_ok": "f" if n % 5 == 3 else "t"} for n in range(ROWS)))
    settings = {"sql": sql, "mapping": WISHES, "list_id": klaviyo.add_list("VIP")}
    undisturbed = consent_sync(**settings, preview=True).counts()
    for call in calls:
        with interrupted(monkeypatch, owner, name, call, is_before=is_before):
            run = consent_sync(**settings, run_id=f"{name} {call}")
        assert isinstance(run.error, Interruption)
        check(run)
        assert run.counts()["pending"] > 0
    run = consent_sync(**settings, run_id="last")
    check(run)
    assert run.counts()["skipped"] == undisturbed["skipped"]


@pytest.mark.parametrize("is_before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize(
    ("owner", "name", "calls"),
    [
        (RejectsFile, "write", (1, 4, 11)),
        (ChunkFile, "add", (2,)),
        (HeldUnsubscribes, "complete", (1,)),
        (HeldUnsubscribes, "drop_first", (1,)),
        (HeldUnsubscribes, "judge", (1, 3)),
        (UnsubscribeDelivery, "_send", (1,)),
        (UnsubscribeDelivery, "_wait", (1,)),
    ],
    ids=["a line", "keeping", "dividing", "releasing", "bringing together", "sending", "waiting"],
)
@pytest.mark.parametrize("globally", [True, False], ids=["from everything", "from a list"])
def test_a_timeout_while_rows_are_brought_together_leaves_every_row_explained_once(
    klaviyo: Emulator,
    words: Any,
    chunks: Any,
    consent_sync: ConsentSync,
    monkeypatch: pytest.MonkeyPatch,
    owner: type,
    name: str,
    calls: tuple[int, ...],
    is_before: bool,
    globally: bool,
) -> None:
    """People have two numbers each, so that every second row is divided among two requests."""
    if globally and owner is UnsubscribeDelivery:
        owner, name = UncheckedDelivery, "_send" if name == "_send" else "finish"
    chunks(5)
    monkeypatch.setattr(held_unsubscribes, "AT_ONCE", 4)
    consent_sync.patience = 0.5
    people = [{"email": email_of(n), "phone_number": phone_of(n)} for n in range(8)]
    ids = klaviyo.add_profiles([*people, *({"phone_number": phone_of(n)} for n in range(8, 16))])
    for each in ids:
        klaviyo.set_consent(each, "email", "SUBSCRIBED")
    rows = [
        {"id": str(n), "email": email_of(n % 8), "phone": phone_of(n % 16), "email_ok": "t", "sms_ok": "t"}
        for n in range(ROWS)
    ]
    settings = {
        "mode": "unsubscribe",
        "sql": words(*rows, {"id": "99", "email": "nobody", "email_ok": "t"}),
        "mapping": BOTH | {"consent.email": "email_ok", "consent.sms": "sms_ok"},
        "channels": ("email", "sms"),
        "max_rejected": 1.0,
        "primary_key": "id",
        "only_changes": True,
        **({"globally": True} if globally else {"list_id": klaviyo.add_list("Club", ids)}),
    }
    for call in calls:
        with interrupted(monkeypatch, owner, name, call, is_before=is_before):
            run = consent_sync(**settings, run_id=f"{name} {call}")
        if run.error:
            check(run)
    run = consent_sync(**settings, run_id="last")
    check(run)

"""Memory does not grow with the people who are held back: each result in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[3]
SUBSCRIBE = """
import datetime as dt, resource, sys, tempfile
from pathlib import Path
from airflow_provider_klaviyo.records.subscriptions.mapper import SubscriptionMapper, SubscriptionOptions
from airflow_provider_klaviyo.sync.subscriptions.consent_words import HeardMapper, Objections
from airflow_provider_klaviyo.sync.subscriptions.held import HeldForConsent

options = SubscriptionOptions("subscribe", ("email", "sms"))
names = ("email", "phone_number", "external_id", "consent.email", "consent.sms")
fields = {name: place for place, name in enumerate(names)}
for size in map(int, sys.argv[1:]):
    objections = Objections(Path(tempfile.mkdtemp()))
    hold = HeldForConsent(Path(tempfile.mkdtemp()), objections)
    mapper = HeardMapper(SubscriptionMapper(fields, options, dt.datetime.now(dt.UTC)), objections.hear)
    for first in range(1, size, 2_000):
        rows = [
            (f"p{n}@shop.io", f"+1415{2_000_000 + n}", str(n), n % 3 > 0, n % 2) for n in range(first, first + 2_000)
        ]
        hold.keep(mapper.map(rows, first).records)
    hold.complete()
    sent = 0
    while records := hold.first():
        sent += len(hold.judge(records).records)
        hold.drop_first()
    hold.close()
    objections.close()
    print(sent, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""
UNSUBSCRIBE = """
import datetime as dt, resource, sys, tempfile
from pathlib import Path
from airflow_provider_klaviyo.records.subscriptions.mapper import SubscriptionMapper, SubscriptionOptions
from airflow_provider_klaviyo.sync.subscriptions.held_unsubscribes import HeldUnsubscribes
from airflow_provider_klaviyo.sync.subscriptions.grouping import GroupByAddress

options = SubscriptionOptions("unsubscribe", ("email", "sms"))
fields = {name: place for place, name in enumerate(("email", "phone_number", "consent.email", "consent.sms"))}
for size in map(int, sys.argv[1:]):
    groups = GroupByAddress(Path(tempfile.mkdtemp()))
    hold = HeldUnsubscribes(Path(tempfile.mkdtemp()), groups, needs_every_row=False, duplicate="")
    mapper = SubscriptionMapper(fields, options, dt.datetime.now(dt.UTC))
    for first in range(1, size, 2_000):
        numbers = range(first, first + 2_000)
        rows = [(f"p{n // 2}@shop.io", f"+1415{2_000_000 + n // 2}", n % 2, 1 - n % 2) for n in numbers]
        hold.keep(mapper.map(rows, first).records)
    hold.complete()
    sent = 0
    while records := hold.first():
        sent += sum(len(person.originals) for person in hold.judge(records).records)
        hold.drop_first()
    hold.close()
    groups.close()
    print(sent, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""
SMALL, LARGE = 24_000, 96_000
MOST = 12  # MB; the larger result alone is ten times that


@pytest.mark.parametrize("program", [SUBSCRIBE, UNSUBSCRIBE], ids=["subscribe", "unsubscribe"])
def test_who_is_held_back_until_every_row_is_read_takes_no_more_memory(program: str) -> None:
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, str(SMALL), str(LARGE)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    (small_sent, small_peak), (large_sent, large_peak) = (
        map(int, line.split()) for line in process.stdout.splitlines()
    )
    assert large_sent == 4 * small_sent
    assert large_peak - small_peak < MOST

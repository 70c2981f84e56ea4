"""What goes wrong between a client and Klaviyo, drawn at random: all that the emulator can do, but for silent loss.

Klaviyo tells nobody when it drops events or a subscription after its 202, so nobody could do anything about it: jobs
that are stuck or cancelled are those of imports, and of unsubscriptions, whose outcome a list shows.
"""

from __future__ import annotations

import random

from airflow_provider_klaviyo.emulator.core.faults import Fault, FaultKind
from tests.chaos.syncs import Sync

_BODIES = ('{"data": null}', "{}", "[]", '{"data": {}}', '{"data": [null]}', '{"data": [', "html", "empty")
"""Answers with a good status that are none: nobody may be taken for unknown, or a page for the last one."""

_WRITES = {
    "profiles": ("bulk_import_profiles",),
    "events": ("bulk_create_events",),
    "add": ("bulk_import_profiles",),
    "remove": ("remove_profiles_from_list",),
    "tracked": ("bulk_import_profiles", "remove_profiles_from_list"),
    "strict": ("bulk_import_profiles", "remove_profiles_from_list"),
    "subscribe": ("bulk_subscribe_profiles",),
    "newer": ("bulk_subscribe_profiles",),
    "ask": ("bulk_subscribe_profiles",),
    "unsubscribe": ("bulk_unsubscribe_profiles",),
    "globally": ("bulk_unsubscribe_profiles",),
}
_TELLS_LATER = ("profiles", "add", "tracked", "strict", "unsubscribe")


def some_faults(rng: random.Random, sync: Sync) -> list[Fault]:
    """The faults of one run, none in a part of them."""
    return [_fault(rng, sync) for _ in range(rng.choice((0, 1, 2, 2, 3)))]


def _fault(rng: random.Random, sync: Sync) -> Fault:
    kinds = [FaultKind.STATUS, FaultKind.STATUS_AFTER, FaultKind.RESET_BEFORE, FaultKind.RESET_AFTER]
    kinds += [FaultKind.NOT_JSON, FaultKind.REFUSE_RECORDS]
    if sync.kind in _TELLS_LATER:
        kinds += [FaultKind.JOB_STUCK, FaultKind.JOB_CANCELLED, FaultKind.JOB_CANCELLED]
    if sync.has_jobs:
        kinds += [FaultKind.JOB_FAILS]
    kind = rng.choice(kinds)
    writes = _WRITES[sync.kind]
    operation = rng.choice((None, *writes, *writes))
    often = rng.random() < 0.4
    return Fault(
        kind,
        operation=operation,
        count=None if often else rng.choice((1, 1, 2, 6)),
        skip=rng.choice((0, 0, 1, 2, 3)),
        probability=rng.choice((0.1, 0.3)) if often else 1.0,
        seed=rng.randrange(1_000),
        status=rng.choice((429, 429, 500, 502, 503, 504) if kind is FaultKind.STATUS else (500, 502, 503)),
        retry_after=rng.choice((None, 0, 1, 30)),
        body=rng.choice(_BODIES) if kind is FaultKind.NOT_JSON else "json",
        records=rng.randrange(3),
        match=f"{rng.randrange(10)}v0@" if kind is FaultKind.REFUSE_RECORDS or rng.random() < 0.5 else "",
    )

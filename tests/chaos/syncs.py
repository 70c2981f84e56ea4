"""The syncs that are run: every sync type and mode, with batches small enough that there are several."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from airflow_provider_klaviyo.client.endpoints import MAX_EVENT_PROFILE_BYTES, MAX_PROFILE_BYTES
from airflow_provider_klaviyo.records.events.mapper import EventOptions
from airflow_provider_klaviyo.records.profiles.mapper import ProfileOptions
from airflow_provider_klaviyo.records.subscriptions.mapper import SubscriptionOptions
from airflow_provider_klaviyo.sync.batching import BatchLimits
from airflow_provider_klaviyo.sync.events.sync_type import EventsSync
from airflow_provider_klaviyo.sync.lists.leaving import MirrorRules
from airflow_provider_klaviyo.sync.lists.mirror import MirrorList
from airflow_provider_klaviyo.sync.lists.sync_type import AddToList, RemoveFromList
from airflow_provider_klaviyo.sync.lists.target import ListTarget
from airflow_provider_klaviyo.sync.options import SyncOptions
from airflow_provider_klaviyo.sync.profiles.sync_type import ProfilesSync
from airflow_provider_klaviyo.sync.storage import Storage
from airflow_provider_klaviyo.sync.subscriptions.agreement import Resubscribe
from airflow_provider_klaviyo.sync.subscriptions.sync_type import SubscriptionsSync
from airflow_provider_klaviyo.sync.subscriptions.terms import Terms

LIST = "Chaos"
KINDS = (
    "profiles",
    "events",
    "add",
    "remove",
    "tracked",
    "strict",
    "subscribe",
    "newer",
    "ask",
    "unsubscribe",
    "globally",
)
JOBS = ("profiles", "add", "tracked", "strict")
"""Those whose requests start jobs, so that they can be deferred."""

_BATCH = BatchLimits(4, 1_000_000)


class _Profiles(ProfilesSync):
    limits: ClassVar = _BATCH


class _Events(EventsSync):
    limits: ClassVar = _BATCH


class _Add(AddToList):
    limits: ClassVar = _BATCH


class _Remove(RemoveFromList):
    limits: ClassVar = _BATCH


class _Mirror(MirrorList):
    limits: ClassVar = _BATCH


class _Subscriptions(SubscriptionsSync):
    limits: ClassVar = _BATCH


@dataclass(frozen=True)
class Sync:
    """A sync of the shop's rows.

    :param kind: one of ``KINDS``.
    """

    kind: str
    only_changes: bool

    @property
    def has_list(self) -> bool:
        return self.kind not in ("profiles", "events", "globally")

    @property
    def has_objections(self) -> bool:
        """Whether rows are left alone for what people have said, until the state knows them as subscribed."""
        return self.only_changes and self.kind in ("subscribe", "newer")

    @property
    def has_jobs(self) -> bool:
        return self.kind in JOBS

    def options(self, *, full_refresh: bool = False, defers: bool = False) -> SyncOptions:
        return SyncOptions(
            mapping=self._mapping,
            primary_key=("id",),
            only_changes=self.only_changes,
            full_refresh=full_refresh,
            max_rejected=1.0,
            poll_interval=5.0,
            timeout=1_800.0,
            is_deferrable=defers and self.has_jobs,
            defer_after=0,
        )

    def sync_type(self, storage: Path, now: float) -> Any:
        """The sync type.

        :param now: the time of the host, in seconds since the epoch.
        """
        profile = ProfileOptions(max_bytes=MAX_PROFILE_BYTES)
        target = ListTarget(LIST, None, True, None, Storage(storage).list_creation)
        match self.kind:
            case "profiles":
                return _Profiles(self._mapping, profile)
            case "events":
                options = EventOptions(
                    profile=ProfileOptions(max_bytes=MAX_EVENT_PROFILE_BYTES),
                    now=dt.datetime.fromtimestamp(now, dt.UTC),
                    max_bytes=_BATCH.max_bytes,
                    metric="Placed Order",
                    primary_key=("id",),
                )
                return _Events(self._mapping, options)
            case "add":
                return _Add(target, self._mapping, profile)
            case "remove":
                return _Remove(target, self._mapping, profile)
            case "tracked" | "strict":
                rules = MirrorRules(None, True, False, lambda rejected, rows: True)
                return _Mirror(target, self._mapping, profile, rules, strict=self.kind == "strict")
        return _Subscriptions(
            self._terms,
            self._mapping,
            SubscriptionOptions(mode=self._terms.mode, channels=("email",)),
            only_changes=self.only_changes,
            waits=True,
        )

    @property
    def _terms(self) -> Terms:
        if self.kind == "globally":
            return Terms("unsubscribe", ("email",), globally=True)
        mode = "unsubscribe" if self.kind == "unsubscribe" else "subscribe"
        word = Resubscribe.NEWER_CONSENT if self.kind == "newer" else Resubscribe.NEVER
        return Terms(mode, ("email",), list_name=LIST, resubscribe=word)

    @property
    def _mapping(self) -> dict[str, str]:
        if self.kind == "profiles":
            return {"email": "email", "first_name": "name", "properties.Tier": "tier"}
        if self.kind == "events":
            return {
                "profile.email": "email",
                "time": "at",
                "properties.Order": "id",
                "properties.Tier": "tier",
            }
        return {"email": "email"} | ({"consented_at": "at"} if self.kind == "newer" else {})

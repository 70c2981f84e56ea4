"""The account that the emulator plays: everything that a request can change, behind one lock."""

from __future__ import annotations

import threading
from functools import partial

from airflow_provider_klaviyo.emulator.account.agenda import Agenda
from airflow_provider_klaviyo.emulator.account.consent_audit import ConsentAudit
from airflow_provider_klaviyo.emulator.account.consent_store import ConsentStore
from airflow_provider_klaviyo.emulator.account.event_store import EventStore
from airflow_provider_klaviyo.emulator.account.import_jobs import ImportJobs
from airflow_provider_klaviyo.emulator.account.list_store import ListStore
from airflow_provider_klaviyo.emulator.account.profile_store import Profile, ProfileStore
from airflow_provider_klaviyo.emulator.account.suppression_jobs import SuppressionJobs
from airflow_provider_klaviyo.emulator.core.ids import Ids
from airflow_provider_klaviyo.emulator.core.settings import Clock, Settings
from airflow_provider_klaviyo.emulator.requests.profile_schema import Change


class Account:
    """Stores of one account. Whoever reads or writes them holds `lock` and has called `settle`."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.settings = settings
        self.clock = clock
        self.lock = threading.RLock()
        self.clear()

    def clear(self) -> None:
        """Start over with an empty account."""
        with self.lock:
            self.ids = Ids(self.settings.account_id, self.settings.seed)
            self.profiles = ProfileStore(
                self.ids, on_created=self._suspect, takes_over=lambda: self.settings.conflicts == "take_over"
            )
            self.lists = ListStore()
            self.events = EventStore(self.ids)
            self.consents = ConsentStore()
            self.audit = ConsentAudit()
            self.agenda = Agenda()
            self.suppressions = SuppressionJobs()
            self.jobs = ImportJobs(self.profiles, join=self.lists.join, is_fake=self._is_fake)

    def settle(self) -> float:
        """Let everything happen that is due by now, and say what time it is."""
        now = self.clock.now()
        self.agenda.settle(now, before=self.jobs.settle)
        self.jobs.settle(now)
        self.agenda.settle(now, before=self.jobs.settle)  # what those jobs have set in motion
        return now

    def is_fake(self, email: str | None) -> bool:
        """Whether an address is one that is dropped in silence."""
        domains = self.settings.fake_domains
        return bool(domains) and email is not None and email.partition("@")[2] in domains

    def _suspect(self, profile: Profile) -> None:
        """Have a new profile suppressed by and by, if its address looks like one of many of one person."""
        seconds = self.settings.plus_address_seconds
        if seconds is not None and "+" in (profile.email or "").partition("@")[0]:
            suppress = partial(self.consents.suppress, profile.number, "USER_SUPPRESSED")
            self.agenda.add(profile.created + seconds, suppress)

    def _is_fake(self, change: Change) -> bool:
        return self.is_fake(change.email)

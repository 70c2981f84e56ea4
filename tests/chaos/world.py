"""One account with its clock, its storage and its people, and the runs that work on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from airflow_provider_klaviyo.emulator import Emulator, Settings
from tests.chaos.clock import SharedClock
from tests.chaos.runs import UNDISTURBED, Assignment, Result, Strike, perform, perform_apart
from tests.chaos.syncs import LIST, Sync

KEY = "pk_chaos"


class World:
    """A Klaviyo, and a host that syncs the shop to it.

    :param folder: of this world alone.
    :param database: the shop's, which several worlds share.
    """

    def __init__(self, folder: Path, database: Path, sync: Sync, settings: dict[str, Any]) -> None:
        folder.mkdir()
        self.folder = folder
        self.clock = SharedClock(folder / "clock")
        self.klaviyo = Emulator(Settings(api_key=KEY, keep_bodies=100_000, **settings), clock=self.clock)
        self._database = str(database)
        self._sync = sync
        self._tries: dict[str, int] = {}

    @contextmanager
    def open(self) -> Iterator[World]:
        with self.klaviyo:
            yield self

    def run(
        self,
        night: int,
        due: float,
        *,
        full_refresh: bool = False,
        defers: bool = False,
        resumes: bool = False,
        strike: Strike = UNDISTURBED,
        is_apart: bool = False,
    ) -> Result:
        """One try of a night's run, or the second half of a deferred one."""
        run_id = f"night {night}"
        if not resumes:
            self._tries[run_id] = self._tries.get(run_id, 0) + 1
        assignment = Assignment(
            url=self.klaviyo.url,
            key=KEY,
            database=self._database,
            folder=self.folder,
            sync=self._sync,
            run_id=run_id,
            due=due,
            try_number=self._tries[run_id],
            full_refresh=full_refresh,
            defers=defers,
            resumes=resumes,
            strike=strike,
        )
        return perform_apart(assignment) if is_apart else perform(assignment)

    # --- people ---------------------------------------------------------------------------------------------

    @property
    def list_ids(self) -> list[str]:
        account = self.klaviyo._account
        with account.lock:
            return [each.id for each in account.lists if each.name == LIST]

    def know(self, email: str) -> str:
        """The id of somebody's profile, made where there is none."""
        return self.klaviyo.add_profiles([{"email": email}])[0]

    def members(self) -> set[str]:
        """The addresses of those on the list."""
        return {each["email"] for list_id in self.list_ids for each in self.klaviyo.members(list_id)}

    def join(self, email: str) -> None:
        """Somebody is put on the list by hand."""
        number, account = self.know(email), self.klaviyo._account
        with account.lock:
            profile = account.profiles.with_id(number)
            assert profile is not None
            for list_id in self.list_ids:
                account.lists.join(list_id, profile, account.settle())

    def leave(self, email: str) -> None:
        """Somebody is taken off the list by hand."""
        number, account = self.know(email), self.klaviyo._account
        with account.lock:
            profile = account.profiles.with_id(number)
            assert profile is not None
            for list_id in self.list_ids:
                found = account.lists.get(list_id)
                if found is not None:
                    found.members.pop(profile.number, None)

    def opt_out(self, email: str) -> None:
        self.klaviyo.set_consent(self.know(email), "email", "UNSUBSCRIBED")

    def opt_in(self, email: str) -> None:
        self.klaviyo.set_consent(self.know(email), "email", "SUBSCRIBED")

    def suppress(self, email: str) -> None:
        self.klaviyo.suppress(self.know(email))

    def confirm(self, email: str) -> None:
        self.klaviyo.confirm(email=email)

    def free_jobs(self) -> None:
        """End what would hang for ever: as when Klaviyo's people have seen to it."""
        for job in self.klaviyo.jobs():
            if not job.is_settled and any(fault.kind == "job_stuck" for fault in job.faults):
                self.klaviyo.cancel_job(job.id)

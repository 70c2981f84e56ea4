"""The emulator as an object: a server in a thread of its own, and what tests want to know of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from itertools import repeat
from types import TracebackType
from typing import Any, Self

from airflow_provider_klaviyo.emulator.account.account import Account
from airflow_provider_klaviyo.emulator.account.import_jobs import ImportJob
from airflow_provider_klaviyo.emulator.account.list_store import OptIn, ProfileList
from airflow_provider_klaviyo.emulator.api.dispatch import Api
from airflow_provider_klaviyo.emulator.core.faults import Fault, Faults
from airflow_provider_klaviyo.emulator.core.settings import Clock, Settings, SystemClock
from airflow_provider_klaviyo.emulator.core.windows import Windows
from airflow_provider_klaviyo.emulator.requests.profile_schema import IMPORT, check_profile
from airflow_provider_klaviyo.emulator.server.consent import ConsentPart
from airflow_provider_klaviyo.emulator.server.control import Control
from airflow_provider_klaviyo.emulator.server.http import Server
from airflow_provider_klaviyo.emulator.server.request_log import LoggedRequest, RequestLog


class Emulator(ConsentPart):
    """A local Klaviyo over HTTP.

    Listens from `start` (or `with`) until `stop`; in between everything else may be called from any thread.

    :param settings: the account and how it behaves.
    :param keys: private keys with their scopes, in place of `settings.keys`.
    :param clock: where windows, jobs and time stamps take the time from.
    :param host: address to listen on.
    :param port: port to listen on; 0 takes a free one.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        keys: Mapping[str, Sequence[str]] | None = None,
        clock: Clock | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self._account = Account(settings or Settings(), clock or SystemClock())
        self._windows = Windows()
        self._faults = Faults()
        self._log = RequestLog()
        self._control = Control(self._account, windows=self._windows, faults=self._faults, log=self._log)
        self._address = (host, port)
        self._server: Server | None = None
        self._thread: threading.Thread | None = None
        if keys is not None:
            self.set(keys={key: tuple(scopes) for key, scopes in keys.items()})

    def start(self) -> Self:
        """Listen, in a thread of its own."""
        api = Api(self._account, self._windows, self._faults)
        self._server = Server(
            self._address,
            api=api,
            control=self._control,
            faults=self._faults,
            log=self._log,
            clock=self._account.clock,
        )
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.01},
            name="klaviyo-emulator",
            daemon=True,
        )
        self._thread.start()
        return self

    def stop(self) -> None:
        """Close the socket and every connection; what is stored can still be looked at."""
        if self._server is not None and self._thread is not None:
            self._server.stop()
            self._thread.join()
        self._server = self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # --------------------------------------------------------------------------------------------------------

    @property
    def port(self) -> int:
        """The port it listens on."""
        if self._server is None:
            detail = "the emulator is not running"
            raise RuntimeError(detail)
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """The base URL for clients, without a path."""
        host = self._address[0]
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self._account.settings

    @property
    def account_id(self) -> str:
        """The account's id."""
        return self.settings.account_id

    @property
    def api_key(self) -> str:
        """The first private key."""
        return self.settings.first_key

    def set(self, **changes: Any) -> None:
        """Change settings by name while it runs."""
        self._control.change_settings(changes)

    # --------------------------------------------------------------------------------------------------------

    def profiles(self) -> list[dict[str, Any]]:
        """Everybody who is stored: attributes that are set, and the id. For many, see `iter_profiles`."""
        return list(self.iter_profiles())

    def iter_profiles(self) -> Iterator[dict[str, Any]]:
        """Everybody who is stored, one after the other."""
        return self._control.profiles()

    def count(self) -> int:
        """How many profiles are stored."""
        with self._account.lock:
            self._account.settle()
            return len(self._account.profiles)

    def profile(self, **identifier: str) -> dict[str, Any] | None:
        """The profile with one identifier, such as `email="a@example.com"`; None when there is none."""
        ((field, value),) = identifier.items()
        with self._account.lock:
            self._account.settle()
            profile = self._account.profiles.with_identifier(field, value)
            return (
                None
                if profile is None
                else {"id": self._account.profiles.id_of(profile), **profile.attributes()}
            )

    def add_profiles(self, profiles: Sequence[Mapping[str, Any]], *, keep_case: bool = False) -> list[str]:
        """Store profiles given by their attributes, by the rules of `/api/profile-import`; returns their ids.

        Addresses are stored in lower case unless `keep_case` has them stay as they are.
        """
        return [self._add_profile(attributes, keep_case=keep_case) for attributes in profiles]

    def _add_profile(self, attributes: Mapping[str, Any], *, keep_case: bool) -> str:
        resource = {"type": "profile", "attributes": dict(attributes)}
        change = check_profile(resource, "", IMPORT, self.settings)
        if isinstance(change, list):
            reasons = "; ".join(f"{problem.pointer}: {problem.detail}" for problem in change)
            raise ValueError(reasons)  # noqa: TRY004 - a list of problems stands for a bad value
        if keep_case:
            change.email = attributes.get("email")
        with self._account.lock:
            now = self._account.settle()
            profile = self._account.profiles.owner(change)
            if profile is None:
                profile = self._account.profiles.create(change, now)
            else:
                self._account.profiles.update(profile, change, now)
            return self._account.profiles.id_of(profile)

    def add_email(self, profile_id: str, email: str) -> None:
        """Give a profile a further address, in lower case: filters find it by it, and it shows its main one.

        That Klaviyo's filters do so is not documented; it is the stricter reading for those who look people up.
        """
        with self._account.lock:
            profile = self._account.profiles.with_id(profile_id)
            if profile is None:
                detail = f"no profile {profile_id}"
                raise ValueError(detail)
            self._account.profiles.add_email(profile, email)

    def add_list(
        self,
        name: str,
        profile_ids: Sequence[str] = (),
        opt_in_process: OptIn = "single_opt_in",
        joined: Sequence[float] = (),
    ) -> str:
        """Make a list with these members, who joined at these times, or else now; returns its id."""
        with self._account.lock:
            now = self._account.settle()
            profile_list = ProfileList(self._account.ids.list(), name, opt_in_process, now, now)
            self._account.lists.add(profile_list)
            for profile_id, moment in zip(profile_ids, joined or repeat(now), strict=bool(joined)):
                profile = self._account.profiles.with_id(profile_id)
                if profile is None:
                    detail = f"no profile {profile_id}"
                    raise ValueError(detail)
                self._account.lists.join(profile_list.id, profile, moment)
            return profile_list.id

    def members(self, list_id: str) -> list[dict[str, Any]]:
        """Who is on a list, in the order of joining."""
        with self._account.lock:
            self._account.settle()
            found = self._account.lists.get(list_id)
            if found is None:
                raise KeyError(list_id)
            profiles = [self._account.profiles[number] for number in found.members]
            return [{"id": self._account.profiles.id_of(each), **each.attributes()} for each in profiles]

    def events(self) -> list[dict[str, Any]]:
        """Every event in the order of processing. For many, see `iter_events`.

        Members: id, metric, profile (id and identifiers), time, value, value_currency, unique_id, properties and
        backfill, which says whether the event started no flows.
        """
        return list(self.iter_events())

    def iter_events(self) -> Iterator[dict[str, Any]]:
        """Every event, one after the other."""
        return self._control.events()

    def count_events(self) -> int:
        """How many events are stored."""
        with self._account.lock:
            self._account.settle()
            return len(self._account.events)

    def count_flow_starts(self) -> int:
        """How many events would have started flows: those that are no backfill."""
        with self._account.lock:
            self._account.settle()
            return self._account.events.flow_starts

    def jobs(self) -> list[ImportJob]:
        """The bulk import jobs, oldest first, as they stand now."""
        with self._account.lock:
            self._account.settle()
            return list(self._account.jobs)

    def cancel_job(self, job_id: str) -> bool:
        """Cancel a job that is not settled; False when there is none."""
        return self._control.cancel_job(job_id)

    # --------------------------------------------------------------------------------------------------------

    def inject(self, fault: Fault) -> int:
        """Order a fault; returns its number."""
        return self._faults.order(fault)

    def remove_fault(self, number: int) -> bool:
        """Remove a fault by its number."""
        return self._faults.remove(number)

    def clear_faults(self) -> None:
        """Remove all faults."""
        self._faults.clear()

    def requests(self, operation: str | None = None) -> list[LoggedRequest]:
        """The requests so far, or those of one operationId."""
        return self._log.entries(operation)

    def stats(self) -> dict[str, Any]:
        """Writes by operation, statuses, windows, and what is stored; see `GET /_emulator/stats`."""
        return self._control.stats()

    def reset(self) -> None:
        """An empty account, no faults, fresh windows, an empty log; settings stay."""
        self._control.reset()

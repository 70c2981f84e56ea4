"""What is looked at after each run, and what is told of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from airflow_provider_klaviyo.emulator.core.faults import Fault
from airflow_provider_klaviyo.emulator.server.request_log import LoggedRequest
from tests.chaos import checks
from tests.chaos.rules.consent import AskModel
from tests.chaos.runs import UNDISTURBED, Result, Strike
from tests.chaos.syncs import Sync
from tests.chaos.world import World

_IN_HAND = 12
"""People of the batches in hand when a worker dies: these may count as asked and were not."""

_DAY = 86_400.0
_PERHAPS = "a confirmation may have been asked for"
_CONSENT = ("bulk_subscribe_profiles", "bulk_unsubscribe_profiles")


class Failure(Exception):
    """What a seed has shown."""


def hold(faults: Iterable[str]) -> None:
    """Let there be none.

    :raises Failure: naming them.
    """
    if found := list(faults):
        raise Failure("\n".join(found))


@dataclass
class Story:
    """What happened, for people and for the table of figures."""

    seed: int
    title: str = ""
    counts: Counter[str] = field(default_factory=Counter)
    lines: list[str] = field(default_factory=list)

    def tell(self, line: str) -> None:
        self.lines.append(line)


class Watch:
    """Looks at what each run has told and done.

    ``last`` is the last run.
    """

    def __init__(self, story: Story, world: World, sync: Sync) -> None:
        self.last = Result()
        self._story = story
        self._world = world
        self._is_once_a_day = sync.kind == "unsubscribe"
        self._requests = 0
        self._incidents = 0
        self._strikes = 0
        self._lost: set[str] = set()
        self._asked_at: dict[str, float] = {}

    def look(self, result: Result, what: str, faults: Sequence[Fault], strike: Strike) -> None:
        """Hold a run to what must be so after each."""
        self.last = result
        self._strikes += result.was_killed or result.was_struck
        self._tell(result, what, faults, strike)
        hold(self._requests_since())
        hold(checks.faults_of(result))

    def look_at_incidents(self, may_return: Collection[str]) -> None:
        """Hold the account to what must never be done to people; whom ``may_return`` names may be subscribed again."""
        hold(checks.incidents_of(self._world, self._incidents, may_return))
        self._incidents = len(self._world.klaviyo.incidents())

    def forget(self, email: str) -> None:
        """Somebody has done something by hand: being asked again is being asked anew."""
        self._asked_at.pop(email, None)

    def perhaps_asked(self, model: AskModel) -> Iterator[str]:
        """Whom the last run counts as asked without knowing it: for each of them there must have been a reason."""
        assert self.last.summary
        lines = checks.lines_of(self.last.summary)
        told = {str(line["row"]["email"]) for line in lines if _PERHAPS in line["reason"]}
        self._story.counts["counted as asked"] += len(told - model.doubted)
        model.doubted |= told
        if len(model.doubted - self._lost) > _IN_HAND * self._strikes:
            yield f"{self._strikes} workers died, and these count as asked: {model.doubted - self._lost}"

    def _tell(self, result: Result, what: str, faults: Sequence[Fault], strike: Strike) -> None:
        story = self._story
        story.counts["runs"] += 1
        story.counts[f"ended: {result.how}"] += 1
        story.tell(f"  {what}: {result.how} {strike if strike != UNDISTURBED else ''} {result.error[:200]}")
        for fault in faults:
            story.tell(f"    {fault}")
        if result.was_struck:
            story.tell(f"    {result.trace.splitlines()[-3].strip()}")
        if result.summary:
            shown = {name: value for name, value in result.summary.items() if value}
            story.tell(f"    {json.dumps(shown, default=str)}")

    def _requests_since(self) -> Iterator[str]:
        """Who was asked to be unsubscribed twice within a day, whatever became of it."""
        asked: set[str] = set()
        for request in self._world.klaviyo._log.entries(after=self._requests):
            self._requests = request.number
            self._story.counts["requests"] += 1
            for fault in request.fault.split(", ") if request.fault else ():
                self._story.counts[f"fault: {fault}"] += 1
            if request.operation not in _CONSENT:
                continue
            people = _people_of(request)
            if not 200 <= request.status < 500:
                self._lost |= people
            if self._is_once_a_day and not 400 <= request.status < 500:
                for email in people & (asked | self._asked_lately()):
                    yield f"{email} was asked to be unsubscribed twice within a day"
                asked |= people
        self._asked_at |= dict.fromkeys(asked, self._world.clock.now())

    def _asked_lately(self) -> set[str]:
        since = self._world.clock.now() - _DAY
        return {email for email, at in self._asked_at.items() if at > since}


def _people_of(request: LoggedRequest) -> set[str]:
    """The addresses in a request that changes consent."""
    people = json.loads(request.body or b"{}")["data"]["attributes"]["profiles"]["data"]
    return {person["attributes"]["email"] for person in people}

"""One seed: some nights of a sync under faults, beside a twin that nothing befalls."""

from __future__ import annotations

import json
import random
import shutil
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos import checks
from tests.chaos.clock import START
from tests.chaos.faults import some_faults
from tests.chaos.models import AskModel, Model, NewerModel, SubscribeModel, model_of
from tests.chaos.runs import UNDISTURBED, Result, Strike
from tests.chaos.shop import EARLIER, Shop
from tests.chaos.syncs import KINDS, Sync
from tests.chaos.world import World

NIGHT = 30 * 3_600.0
"""Seconds between two nights: longer than anything is on its way."""

_WORKED_OFF = 120.0
"""Seconds after which Klaviyo has worked off what consent was asked for."""

_IN_HAND = 12
"""People of the batches in hand when a worker dies: these may count as asked and were not."""

_PERHAPS = "a confirmation may have been asked for"

_ACTS = {
    "add": ("leave",),
    "remove": ("join",),
    "tracked": ("leave", "stranger"),
    "strict": ("leave", "stranger"),
    "newer": ("opt_out", "opt_out", "opt_out", "suppress", "opt_in"),
    "subscribe": ("opt_out", "opt_out", "suppress", "opt_in"),
    "ask": ("opt_out", "suppress", "confirm", "confirm"),
    "unsubscribe": ("join",),
}
_AT_ANY_TIME = ("opt_out", "suppress", "opt_in", "stranger")


_CONSENT = ("bulk_subscribe_profiles", "bulk_unsubscribe_profiles")


class Failure(Exception):
    """What a seed has shown."""


@dataclass
class Story:
    """What happened, for people and for the table of figures."""

    seed: int
    title: str = ""
    counts: Counter[str] = field(default_factory=Counter)
    lines: list[str] = field(default_factory=list)

    def tell(self, line: str) -> None:
        self.lines.append(line)


class Scenario:
    """The nights of one seed.

    :param folder: empty; everything is below it.
    """

    def __init__(self, seed: int, folder: Path, kind: str | None = None) -> None:
        rng = self._rng = random.Random(seed)
        kind = kind or KINDS[seed % len(KINDS)]
        sync = self._sync = Sync(
            kind, only_changes=rng.random() < (0.8 if kind in ("profiles", "events") else 0.4)
        )
        self.story = Story(seed, f"{kind}{', only changes' if sync.only_changes else ''}")
        settings = {
            "job_seconds": rng.choice((0.0, 2.0, 60.0, 900.0)),
            "subscription_seconds": rng.choice((0.0, 2.0, 60.0)),
            "pointers": rng.choice(("all", "one", "none", "field")),
            "import_errors": rng.choice(("full", "pointer", "payload")),
            "counts_failures": rng.random() < 0.7,
            "unknown_members": rng.random() < 0.3,
        }
        self._shop = Shop(
            folder / "shop.sqlite",
            rng,
            size=rng.randrange(8, 20),
            moves=kind not in ("events", "newer"),
            renews=kind == "newer",
            shares=rng.choice((0, 7)) if kind == "events" else 0,
        )
        self._twin = World(folder / "twin", self._shop.path, sync, settings)
        self._world = World(folder / "chaos", self._shop.path, sync, settings)
        self._models: dict[World, Model] = {}
        self._due = START
        self._jumps = rng.random() < 0.25
        self._nights = rng.randrange(3, 6)
        self._strangers = 0
        self._last = Result()
        self._seen_requests = 0
        self._lost: set[str] = set()
        self._asked_at: dict[str, float] = {}
        self._seen_incidents = 0
        self._strikes = 0

    def run(self) -> None:
        """Live through all nights.

        :raises Failure: when something was not as it must be.
        """
        with ExitStack() as stack:
            for world in (self._twin, self._world):
                stack.enter_context(world.open())
            self._found()
            for number in range(self._nights):
                self._night(number)
            self._end()

    # --- the nights -----------------------------------------------------------------------------------------

    def _found(self) -> None:
        """What the account has before the first night."""
        rng, sync = self._rng, self._sync
        process = "double_opt_in" if sync.kind == "ask" else "single_opt_in"
        is_there = sync.kind in ("remove", "subscribe", "newer", "ask", "unsubscribe") or rng.random() < 0.5
        self._shop.begin(self._due)
        emails = [str(row.email) for row in self._shop.rows.values() if row.is_valid]
        seeded = (
            []
            if sync.kind not in ("remove", "unsubscribe", "globally")
            else rng.sample(emails, len(emails) * 2 // 3)
        )
        for world in (self._twin, self._world):
            if sync.has_list and is_there:
                world.klaviyo.add_list("Chaos", opt_in_process=process)
            for email in seeded:
                world.join(email)
                if sync.kind != "remove":
                    world.opt_in(email)
            model = model_of(sync.kind, only_changes=sync.only_changes, seeded=seeded)
            if sync.kind == "remove":
                for email in seeded:
                    model.act("join", email)
            self._models[world] = model

    def _night(self, number: int) -> None:
        if number:
            self._begin_night()
            self._shop.begin(self._due)
        self.story.tell(f"night {number}: {len(self._shop.rows)} rows")
        rng = self._rng
        full = number > 0 and rng.random() < 0.1
        if full:
            self.story.tell("  full refresh")
            for model in self._models.values():
                model.refresh()
        self._undisturbed(self._twin, number, full_refresh=full)
        self._pass(self._twin, is_quiet=True)
        is_quiet = False
        for attempt in range(rng.choice((1, 1, 2, 3))):
            self._attempt(number, attempt, full_refresh=full)
            if rng.random() < 0.4:
                self._pass(self._world, is_quiet=False)
                self._acts(is_quiet=False)
        if full or rng.random() < 0.5:
            self._quieten(number, full_refresh=full)
            is_quiet = True
        self._pass(self._world, is_quiet=is_quiet)
        self._acts(is_quiet=is_quiet)

    def _begin_night(self) -> None:
        self._due += NIGHT
        for world in (self._twin, self._world):
            self._due = max(self._due, world.clock.now() + 3 * EARLIER)
        for world in (self._twin, self._world):
            world.clock.advance_to(self._due)

    def _attempt(self, number: int, attempt: int, *, full_refresh: bool) -> None:
        """One try under faults, perhaps struck, perhaps killed, perhaps deferred and perhaps never resumed."""
        rng, world = self._rng, self._world
        faults = some_faults(rng, self._sync)
        for fault in faults:
            world.klaviyo.inject(fault)
        strike, is_apart = self._strike()
        if self._jumps:
            world.clock.set_ahead(rng.choice((0.0, 3_600.0, -3_600.0)))
        defers = self._sync.has_jobs and rng.random() < 0.4
        result = world.run(
            number, self._due, full_refresh=full_refresh, defers=defers, strike=strike, is_apart=is_apart
        )
        self._look(result, f"try {attempt}", faults, strike)
        while result.is_deferred:
            self.story.counts["deferrals"] += 1
            world.clock.advance(rng.choice((0.0, 60.0, 3_600.0)))
            if rng.random() < 0.25:
                self.story.counts["never resumed"] += 1
                break
            strike, is_apart = self._strike()
            result = world.run(
                number, self._due, resumes=True, strike=strike, is_apart=is_apart or rng.random() < 0.3
            )
            self._look(result, "resumed", faults, strike)
        world.klaviyo.clear_faults()
        if rng.random() < 0.5:
            world.free_jobs()
        world.clock.advance(rng.choice((0.0, 30.0, 600.0)))

    def _strike(self) -> tuple[Strike, bool]:
        dice = self._rng.random()
        line = int(10 ** self._rng.uniform(1.0, 4.3))
        if dice < 0.35:
            return UNDISTURBED, False
        if dice < 0.65:
            return Strike(line=line), False
        if dice < 0.8:
            return Strike(line=line, kills=True), True
        return Strike(step=self._rng.randrange(1, 60), kills=True), True

    def _quieten(self, number: int, *, full_refresh: bool = False) -> Result:
        """Let nothing go wrong any more, until a run comes through."""
        world = self._world
        world.klaviyo.clear_faults()
        world.free_jobs()
        world.clock.set_ahead(0.0)
        result = Result()
        for _ in range(3):
            world.clock.advance(NIGHT)
            result = world.run(number, self._due, full_refresh=full_refresh)
            self._look(result, "undisturbed", [], UNDISTURBED)
            if not result.error:
                world.clock.advance(_WORKED_OFF)
                return result
        msg = f"nothing goes wrong any more, and the sync fails still: {result.error}\n{result.trace}"
        raise Failure(msg)

    def _undisturbed(self, world: World, number: int, *, full_refresh: bool = False) -> Result:
        result = world.run(number, self._due, full_refresh=full_refresh)
        self._hold(checks.faults_of(result))
        if result.error:
            msg = f"the twin failed: {result.error}\n{result.trace}"
            raise Failure(msg)
        world.clock.advance(_WORKED_OFF)
        return result

    def _end(self) -> None:
        """Two runs that nothing befalls, and then both accounts are as they may be, and both states tell the same."""
        ends: dict[World, Result] = {}
        for number in (self._nights, self._nights + 1):
            self._begin_night()
            for world in (self._twin, self._world):
                ends[world] = (
                    self._quieten(number) if world is self._world else self._undisturbed(world, number)
                )
                self._pass(world, is_quiet=True)
        self._compare_states(ends)

    def _compare_states(self, ends: dict[World, Result]) -> None:
        """What the last run has made of each row tells what the state knows of it."""
        twin, world = (self._verdicts(ends[each]) for each in (self._twin, self._world))
        if twin != world:
            msg = f"the states differ: the twin's last run tells {twin}, this one's {world}"
            raise Failure(msg)

    def _verdicts(self, result: Result) -> dict[str, object]:
        assert result.summary
        names = ("rows_read", "accepted", "unchanged", "skipped", "rejected", "pending", "removed")
        told: dict[str, Any] = {name: result.summary[name] for name in names}
        for line in checks.lines_of(result.summary):
            told[f"row {line['key']}"] = line["outcome"]
        if self._sync.kind in ("remove", "unsubscribe", "events"):
            # Whoever was taken off before a worker died is found to be off the list already, and skipped. An event is
            # skipped when it was recorded before it changed, and with luck it was not.
            told["unchanged"] += told.pop("skipped")
            told = {name: what for name, what in told.items() if what != "skipped"}
        model = self._models[self._world]
        if isinstance(model, SubscribeModel) and self._sync.only_changes:
            # Who objects was subscribed before, and is not looked at again; or was not, and is looked at each time.
            free = model.free(self._shop.rows)
            for line in checks.lines_of(result.summary):
                if line["outcome"] == "skipped" and line["row"]["email"] not in free:
                    del told[f"row {line['key']}"]
                    told["unchanged"], told["skipped"] = told["unchanged"] + 1, told["skipped"] - 1
        return told

    # --- people ---------------------------------------------------------------------------------------------

    def _acts(self, *, is_quiet: bool) -> None:
        """People do things by themselves, in both accounts."""
        rng = self._rng
        for world in (self._twin, self._world):
            world.clock.advance(
                _WORKED_OFF
            )  # what is on its way may lift an objection, which nobody can help
        self._hold_incidents()
        for name in _ACTS.get(self._sync.kind, ()):
            if rng.random() < 0.5 or not (is_quiet or name in _AT_ANY_TIME):
                continue
            emails = self._eligible(name)
            if emails:
                self._act(name, rng.choice(emails))

    def _eligible(self, name: str) -> list[str]:
        emails = {str(row.email) for rows in self._shop.nights for row in rows.values() if row.is_valid}
        both = (self._twin, self._world)
        if name == "stranger":
            self._strangers += 1
            return [f"hand{self._strangers}@shop.io"] if all(each.list_ids for each in both) else []
        if name in ("leave", "join"):
            is_member = name == "leave"
            for world in both:
                emails = {each for each in emails if (each in world.members()) is is_member}
        if name == "confirm":
            asked = [{person for person, _, _ in world.klaviyo.confirmations()} for world in both]
            emails &= asked[0] & asked[1]
        return sorted(emails)

    def _act(self, name: str, email: str) -> None:
        name = "join" if name == "stranger" else name
        self.story.counts[f"by hand: {name}"] += 1
        self.story.tell(f"  by hand: {name} {email}")
        self._asked_at.pop(email, None)
        for world in (self._twin, self._world):
            getattr(world, name)(email)
            self._models[world].act(name, email)

    # --- what is looked at ----------------------------------------------------------------------------------

    def _pass(self, world: World, *, is_quiet: bool) -> None:
        """Tell the model that so much has passed, and hold the account to it."""
        model = self._models[world]
        if isinstance(model, AskModel) and world is self._world and is_quiet:
            self._hold(self._perhaps_asked(model))
        model.night(self._shop.rows, is_quiet=is_quiet)
        if world is self._twin or is_quiet:
            who = "twin" if world is self._twin else "account"
            self._hold(f"the {who}: {fault}" for fault in model.faults(world))

    def _look(self, result: Result, what: str, faults: list[object], strike: Strike) -> None:
        counts = self.story.counts
        counts["runs"] += 1
        how = "came through"
        if result.was_killed:
            how = "killed"
        elif result.was_struck:
            how = "struck"
        elif result.is_deferred:
            how = "deferred"
        elif result.error:
            how = f"failed: {result.error.split(':')[0]}"
        counts[f"ended: {how}"] += 1
        self.story.tell(f"  {what}: {how} {strike if strike != UNDISTURBED else ''} {result.error[:200]}")
        for fault in faults:
            self.story.tell(f"    {fault}")
        if result.was_struck:
            self.story.tell(f"    {result.trace.splitlines()[-3].strip()}")
        if result.summary:
            shown = {name: value for name, value in result.summary.items() if value}
            self.story.tell(f"    {json.dumps(shown, default=str)}")
        self._last = result
        self._strikes += result.was_killed or result.was_struck
        self._note_requests()
        self._hold(checks.faults_of(result))
        self._hold_incidents()

    def _hold_incidents(self) -> None:
        world, model = self._world, self._models[self._world]
        may_return = model.free(self._shop.rows) if isinstance(model, NewerModel) else set()
        self._hold(checks.incidents_of(world, self._seen_incidents, may_return))
        self._seen_incidents = len(world.klaviyo.incidents())

    def _note_requests(self) -> None:
        world = self._world
        asked: set[str] = set()
        new = world.klaviyo._log.entries(after=self._seen_requests)
        for request in new:
            self._seen_requests = request.number
            self.story.counts["requests"] += 1
            for fault in (request.fault or "").split(", ") if request.fault else ():
                self.story.counts[f"fault: {fault}"] += 1
            if request.operation in _CONSENT and not 200 <= request.status < 500:
                self._lost |= _people_of(request.body)
            if (
                self._sync.kind == "unsubscribe"
                and request.operation in _CONSENT
                and _may_be_done(request.status)
            ):
                again = _people_of(request.body) & (asked | self._asked_lately())
                self._hold(f"{email} was asked to be unsubscribed twice within a day" for email in again)
                asked |= _people_of(request.body)
        self._asked_at |= dict.fromkeys(asked, world.clock.now())

    def _asked_lately(self) -> set[str]:
        """Whom Klaviyo was asked to unsubscribe, and who was not put on the list again since."""
        since = self._world.clock.now() - 86_400.0
        return {email for email, at in self._asked_at.items() if at > since}

    def _perhaps_asked(self, model: AskModel) -> Iterator[str]:
        """Whom the last run counts as asked without knowing it: for each of them there must have been a reason."""
        assert self._last.summary
        lines = checks.lines_of(self._last.summary)
        told = {str(line["row"]["email"]) for line in lines if _PERHAPS in line["reason"]}
        self.story.counts["counted as asked"] += len(told - model.doubted)
        model.doubted |= told
        if len(model.doubted - self._lost) > _IN_HAND * self._strikes:
            yield f"{self._strikes} workers died, and these count as asked: {model.doubted - self._lost}"

    def _hold(self, faults: Iterator[str]) -> None:
        if found := list(faults):
            raise Failure("\n".join(found))


def _may_be_done(status: int) -> bool:
    """Whether somebody who got this answer, or none, must not send the request again."""
    return status < 400 or status >= 500


def _people_of(body: bytes | None) -> set[str]:
    """The addresses in a request that changes consent."""
    people = json.loads(body or b"{}")["data"]["attributes"]["profiles"]["data"]
    return {person["attributes"]["email"] for person in people}


def live(seed: int, kind: str | None = None) -> tuple[Story, str]:
    """Live through a seed; what happened, and what was wrong, if anything."""
    folder = Path(tempfile.mkdtemp(prefix="klaviyo-chaos-"))
    scenario = Scenario(seed, folder, kind)
    try:
        scenario.run()
    except Failure as failure:
        return scenario.story, str(failure)
    except Exception:
        return scenario.story, f"the program failed: {traceback.format_exc()}"
    else:
        return scenario.story, ""
    finally:
        shutil.rmtree(folder, ignore_errors=True)

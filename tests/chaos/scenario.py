"""One seed: some nights of a sync under faults, beside a twin that nothing befalls."""

from __future__ import annotations

import random
import shutil
import tempfile
import traceback
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from airflow_provider_klaviyo.emulator.account.list_store import OptIn
from airflow_provider_klaviyo.emulator.core.faults import Fault
from tests.chaos import checks
from tests.chaos.clock import START
from tests.chaos.faults import some_faults
from tests.chaos.people import People
from tests.chaos.rules.base import Model
from tests.chaos.rules.consent import AskModel, NewerModel, Objections
from tests.chaos.rules.kinds import model_of
from tests.chaos.runs import UNDISTURBED, Result, Strike
from tests.chaos.shop import EARLIER, Shop
from tests.chaos.syncs import KINDS, Sync
from tests.chaos.watch import Failure, Story, Watch, hold
from tests.chaos.world import World

NIGHT = 30 * 3_600.0
"""Seconds between two nights: longer than anything is on its way."""

_WORKED_OFF = 120.0
"""Seconds after which Klaviyo has worked off what consent was asked for."""


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
        self._watch = Watch(self.story, self._world, sync)
        self._people = People(kind, rng, self._shop, self._models, self._watch, self.story)

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
        process: OptIn = "double_opt_in" if sync.kind == "ask" else "single_opt_in"
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
                self._act(is_quiet=False)
        if full or rng.random() < 0.5:
            self._quieten(number, full_refresh=full)
            is_quiet = True
        self._pass(self._world, is_quiet=is_quiet)
        self._act(is_quiet=is_quiet)

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
            self._look(result, "undisturbed")
            if not result.error:
                world.clock.advance(_WORKED_OFF)
                return result
        msg = f"nothing goes wrong any more, and the sync fails still: {result.error}\n{result.trace}"
        raise Failure(msg)

    def _undisturbed(self, world: World, number: int, *, full_refresh: bool = False) -> Result:
        result = world.run(number, self._due, full_refresh=full_refresh)
        hold(checks.faults_of(result))
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
        model = self._models[self._world]
        free = model.free(self._shop.rows) if isinstance(model, Objections) else set()
        twin, world = (checks.verdicts_of(ends[each], self._sync, free) for each in (self._twin, self._world))
        if twin != world:
            msg = f"the states differ: the twin's last run tells {twin}, this one's {world}"
            raise Failure(msg)

    def _act(self, *, is_quiet: bool) -> None:
        """People do things by themselves; what is on its way before may lift an objection, which nobody can help."""
        for world in (self._twin, self._world):
            world.clock.advance(_WORKED_OFF)
        self._look_at_incidents()
        self._people.act(is_quiet=is_quiet)

    # --- what is looked at ----------------------------------------------------------------------------------

    def _pass(self, world: World, *, is_quiet: bool) -> None:
        """Tell the model that so much has passed, and hold the account to it."""
        model = self._models[world]
        if isinstance(model, AskModel) and world is self._world and is_quiet:
            hold(self._watch.perhaps_asked(model))
        model.night(self._shop.rows, is_quiet=is_quiet)
        if world is self._twin or is_quiet:
            who = "twin" if world is self._twin else "account"
            hold(f"the {who}: {fault}" for fault in model.faults(world))

    def _look(
        self, result: Result, what: str, faults: Sequence[Fault] = (), strike: Strike = UNDISTURBED
    ) -> None:
        self._watch.look(result, what, faults, strike)
        self._look_at_incidents()

    def _look_at_incidents(self) -> None:
        model = self._models[self._world]
        may_return = model.free(self._shop.rows) if isinstance(model, NewerModel) else set()
        self._watch.look_at_incidents(may_return)


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

"""Every table of the documentation, and the code that it is held to: a row for each thing, and none beside."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import inspect
import json
import re
import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from airflow_provider_klaviyo import exceptions
from airflow_provider_klaviyo._compat import AirflowFailException
from airflow_provider_klaviyo.assets import KINDS, sanitize
from airflow_provider_klaviyo.cli.program import parser as command_parser
from airflow_provider_klaviyo.client import endpoints
from airflow_provider_klaviyo.client.traffic import Traffic
from airflow_provider_klaviyo.connection import (
    EXTRA_FIELDS,
    HIDDEN_FIELDS,
    RELABELING,
    config_of,
    rate_limit_conn_id,
)
from airflow_provider_klaviyo.emulator import Emulator, Fault, FaultKind, IncidentKind, Settings
from airflow_provider_klaviyo.emulator.__main__ import _parser as emulator_parser
from airflow_provider_klaviyo.emulator.server.control import _ACTIONS, PREFIX
from airflow_provider_klaviyo.failures import no_retry_in_vain
from airflow_provider_klaviyo.get_provider_info import get_provider_info
from airflow_provider_klaviyo.hooks.klaviyo import KlaviyoHook
from airflow_provider_klaviyo.operators.base import KlaviyoSyncOperator
from airflow_provider_klaviyo.operators.lists import MODES
from airflow_provider_klaviyo.operators.metrics import give
from airflow_provider_klaviyo.records.events.mapping import EVENT_FIELDS
from airflow_provider_klaviyo.records.profiles.mapping import FIELDS as PROFILE_FIELDS
from airflow_provider_klaviyo.records.record import Problem
from airflow_provider_klaviyo.records.subscriptions.mapping import FIELDS as SUBSCRIPTION_FIELDS
from airflow_provider_klaviyo.records.subscriptions.mapping import SUBSCRIBE, UNSUBSCRIBE
from airflow_provider_klaviyo.records.values.columns import to_json_values
from airflow_provider_klaviyo.sync.events.sync_type import EventsSync
from airflow_provider_klaviyo.sync.lists.sync_type import ListSync
from airflow_provider_klaviyo.sync.outcomes import Outcome, Verdict
from airflow_provider_klaviyo.sync.profiles.sync_type import ProfilesSync
from airflow_provider_klaviyo.sync.rejects import RejectsFile
from airflow_provider_klaviyo.sync.report import SyncReport
from airflow_provider_klaviyo.sync.subscriptions.sync_type import SubscriptionsSync
from tests.benchmarks.least import Work, least
from tests.unit.docs.pages import ROOT, Table, code_in
from tests.unit.docs.source import is_said, reason_words, told_beside_the_counts

Check = Callable[[Table], None]


def written(value: object) -> str:
    """A value as the tables write it."""
    return f"`{repr(value).replace(chr(39), chr(34))}`"


def same(found: Iterable[str], expected: Collection[str]) -> None:
    """Each of what is expected is there once, and nothing else."""
    listed = sorted(found)
    assert listed == sorted(expected)


def words(table: Table) -> list[str]:
    """The words in code of the first column."""
    return [word for row in table.rows for word in code_in(row.cells[0])]


# --- operators, sensors, the hook ---------------------------------------------------------------------------------


def documented_classes() -> dict[str, type]:
    """The operators and sensors that Airflow is told of, by their names below the package."""
    info = get_provider_info()
    found: dict[str, type] = {}
    for kind in ("operators", "sensors"):
        for path in (path for each in info[kind] for path in each["python-modules"]):
            module = importlib.import_module(path)
            own = [each for each in vars(module).values() if getattr(each, "__module__", "") == path]
            for each in own:
                if hasattr(each, "template_fields"):
                    found[f"{path.partition('.')[2]}.{each.__name__}"] = each
    return found


CLASSES = documented_classes()
OURS = {each.__name__: each for each in (KlaviyoSyncOperator, *CLASSES.values())}


def own_parameters(kind: type) -> dict[str, inspect.Parameter]:
    """What the constructor of a class itself takes by name."""
    taken = inspect.signature(kind.__dict__["__init__"]).parameters if "__init__" in kind.__dict__ else {}
    return {name: each for name, each in taken.items() if each.kind is each.KEYWORD_ONLY}


def all_parameters(kind: type) -> dict[str, inspect.Parameter]:
    """The same with what its bases in this package take."""
    ours = [each for each in kind.__mro__ if each.__module__.startswith("airflow_provider_klaviyo")]
    return {name: each for one in reversed(ours) for name, each in own_parameters(one).items()}


def parameters_of(kind: type, common: type | None = None) -> Check:
    """A table of all parameters of a class, but for those that have their table at a common base."""
    elsewhere = all_parameters(common) if common else {}
    taken = {name: each for name, each in all_parameters(kind).items() if name not in elsewhere}
    expected = {
        name: (
            "required" if each.default is each.empty else written(each.default),
            "yes" if name in getattr(kind, "template_fields", ()) else "",
        )
        for name, each in taken.items()
    }

    def check(table: Table) -> None:
        same(words(table), expected)
        for row in table.rows:
            (name,), default, templated, meaning = code_in(row.cells[0]), *row.cells[1:]
            assert (default, templated) == expected[name], name
            assert meaning, name
        if common:
            templated_here = set(getattr(kind, "template_fields", ())) & set(elsewhere)
            assert templated_here == set(getattr(common, "template_fields", ())), (
                "a common parameter differs here"
            )
            assert {name: all_parameters(kind)[name].default for name in elsewhere} == {
                name: each.default for name, each in elsewhere.items()
            }
            section = table.before.rpartition("\n## ")[2]
            assert "#parameters-of-all-syncs)" in section, "where are the parameters of all syncs?"

    return check


def operators_and_sensors(table: Table) -> None:
    same(words(table), CLASSES)


def hook_parameters(table: Table) -> None:
    same(words(table), ["klaviyo_conn_id"])
    (row,) = table.rows
    default = inspect.signature(KlaviyoHook.__init__).parameters["klaviyo_conn_id"].default
    assert row.cells[1] == written(default)


_NOT_FOR_TASKS = {"get_conn", "check_account", "account_id"}
"""Airflow's own name for ``get_client``, and what syncs ask."""


def hook_calls(table: Table) -> None:
    calls = {
        name: [
            each.name if each.default is each.empty else f"{each.name}={written(each.default).strip('`')}"
            for each in list(inspect.signature(call).parameters.values())[1:]
        ]
        for name, call in vars(KlaviyoHook).items()
        if inspect.isfunction(call) and not name.startswith("_") and name not in _NOT_FOR_TASKS
    }
    same(words(table), calls)
    for row in table.rows:
        (name,) = code_in(row.cells[0])
        assert code_in(row.cells[1]) == calls[name], name


# --- connection, configuration, commands --------------------------------------------------------------------------


def connection(table: Table) -> None:
    standard = {"host", "schema", "login", "password", "port", "extra"} - set(HIDDEN_FIELDS)
    same(words(table), [*standard, *(field.name for field in EXTRA_FIELDS)])
    empty: Any = SimpleNamespace(
        conn_id="x", conn_type="klaviyo", password="pk_x", host="", port=None, schema="", extra_dejson={}
    )
    config = config_of(empty)
    for row in table.rows:
        name = code_in(row.cells[0])[0]
        if name in standard:
            assert RELABELING[name] in row.cells[0]
            continue
        value = rate_limit_conn_id(empty) if name == "rate_limit_conn_id" else getattr(config, name)
        number = f"`{value:g}`" if isinstance(value, float) else f"`{value}`"
        assert row.cells[1] == (number if value else "none"), name


def scopes(table: Table) -> None:
    *rows, last = table.rows
    called = {each.name: each.endpoints for each in (ProfilesSync, EventsSync, ListSync, SubscriptionsSync)}
    same((row.cells[0] for row in rows), called)
    for row in rows:
        assert code_in(row.cells[1]) == list(endpoints.scopes_of(called[row.cells[0]]))
    assert {"account_id", "only_changes"} == set(code_in(last.cells[0]))
    assert code_in(last.cells[1]) == list(endpoints.GET_ACCOUNTS.scopes)


def configuration(table: Table) -> None:
    options = get_provider_info()["config"]["klaviyo"]["options"]
    same(words(table), [f"[klaviyo] {name}" for name in options])
    for row in table.rows:
        default = options[code_in(row.cells[0])[0].split()[1]]["default"]
        assert row.cells[1] == (f"`{default}`" if default else "empty")


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return [each for each in parser._actions if not isinstance(each, argparse._HelpAction)]


def _commands(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    (choices,) = (each.choices for each in parser._actions if isinstance(each, argparse._SubParsersAction))
    return dict(choices)


def state_commands(table: Table) -> None:
    commands = _commands(_commands(command_parser())["state"])
    same(words(table), commands)
    for row in table.rows:
        actions = _actions(commands[code_in(row.cells[0])[0]])
        same(code_in(row.cells[1]), [(*each.option_strings, each.dest)[0] for each in actions])
        assert row.cells[2]


def emulator_options(table: Table) -> None:
    said = {"host": "loopback", "port": "a free one", "seed": "nobody"}
    actions = {each.option_strings[0]: each for each in _actions(emulator_parser())}
    same(words(table), actions)
    for row in table.rows:
        action = actions[code_in(row.cells[0])[0]]
        assert row.cells[1] == said.get(action.dest, f"`{action.default}`"), action.dest
        assert all(f"`{each}`" in row.cells[2] for each in action.choices or ())


# --- the emulator -------------------------------------------------------------------------------------------------


def fields_of(kind: Any) -> Check:
    """A table of the fields of a dataclass with their defaults."""

    def default(field: dataclasses.Field[Any]) -> str:
        if field.default is not dataclasses.MISSING:
            return written(field.default)
        is_required = field.default_factory is dataclasses.MISSING
        return "required" if is_required else written(field.default_factory())  # type: ignore[misc]

    expected = {field.name: default(field) for field in dataclasses.fields(kind)}

    def check(table: Table) -> None:
        same(words(table), expected)
        for row in table.rows:
            assert row.cells[1] == expected[code_in(row.cells[0])[0]], row.cells[0]
            assert row.cells[2]

    return check


def words_are(expected: Collection[str]) -> Check:
    """A table whose first column has each of these words once."""
    return lambda table: same(words(table), expected)


def emulator_methods() -> set[str]:
    """What tests may use of the emulator."""
    return {name for kind in Emulator.__mro__[:-1] for name in vars(kind) if not name.startswith("_")}


# --- fields and values --------------------------------------------------------------------------------------------


BERLIN = ZoneInfo("Europe/Berlin")
VALUES: Mapping[str, list[object]] = {
    "timestamp with zone": [datetime(2026, 1, 31, 9, 30, tzinfo=timezone(timedelta(hours=-5)))],
    "timestamp without zone": [datetime(2026, 7, 31, 9, 30)],
    "MySQL's and MariaDB's `TIMESTAMP`": [datetime(2026, 1, 31, 9, 30, tzinfo=UTC)],
    "date": [date(2026, 1, 31)],
    "numeric": [Decimal("12.50")],
    "integer": [42],
    "boolean": [True],
    "text, UUID": ["gold"],
    "array": [["a", "b"]],
    "JSON": [{"size": "L"}],
    "NaN, Infinity, binary, interval": [float("nan"), float("inf"), b"\0", timedelta(1)],
    "what the driver cannot read: text in another encoding, dates beyond Python's years 1 to 9999": [],
    "NULL": [None],
}


def sql_types(table: Table) -> None:
    same(table.column("SQL"), VALUES)
    encode = msgspec.json.Encoder(decimal_format="number").encode
    for row in table.rows:
        sql, _, example = row.cells
        values, reasons = to_json_values(VALUES[sql], timezone=BERLIN)
        sent = [encode(value).decode() for value in values if value is not None]
        assert code_in(example) == sent, sql
        assert len(reasons) == (len(VALUES[sql]) if "left out with a reason (" in row.cells[1] else 0)
    assert to_json_values([UUID(int=0)], timezone=BERLIN)[0] == [str(UUID(int=0))]


def list_modes(table: Table) -> None:
    same(table.column("`mode`"), [*(f"`{mode}`" for mode in MODES), "`mirror`, `strict=True`"])


def subscription_modes(table: Table) -> None:
    ways = {
        SUBSCRIBE: (" with a list", ", `historical_import`", ", `globally=True`"),
        UNSUBSCRIBE: (" with a list", ", `globally=True`"),
    }
    same(table.column(""), [f"`{mode}`{way}" for mode, each in ways.items() for way in each])


def metrics(table: Table) -> None:
    """What Airflow is given of a run in which every outcome occurred."""
    given: set[str] = set()

    class Stats:
        def __getattr__(self, kind: str) -> Callable[..., None]:
            return lambda name, *_, **__: given.add(name)

    counted = report()
    counted.duration = 1.0
    for outcome in ("skipped", "rejected"):
        counted.reasons[outcome, "email", "not an address"] = 1
    give(Stats(), {**counted.details(), "traffic": Traffic().told()}, {})
    same(words(table), given)


def assets(table: Table) -> None:
    """Airflow takes each form, and the page has all kinds."""
    forms = [re.sub(r"<[^>]*>", "x", code_in(row.cells[1])[0]) for row in table.rows]
    same(forms, {sanitize(urlsplit(form)).geturl() for form in forms})
    same({urlsplit(form).path.split("/")[1] for form in forms}, KINDS)


def ceilings(table: Table) -> None:
    """Klaviyo's requests a minute, times what one of them holds."""

    def per_minute(endpoint: endpoints.Endpoint, records: int = 0) -> str:
        return f"{endpoint.rates[1].limit * (records or endpoint.max_records):,}"

    looks = per_minute(endpoints.GET_PROFILES, 100)
    expected = {
        "profiles": (per_minute(endpoints.IMPORT_PROFILES),),
        "events": (per_minute(endpoints.CREATE_EVENTS),),
        "lists": (f"{per_minute(endpoints.IMPORT_PROFILES)} added", f"{looks} removed"),
        "subscriptions": (per_minute(endpoints.SUBSCRIBE), f"{looks} with the guard"),
    }
    same(table.column("sync type"), expected)
    for row in table.rows:
        assert all(number in row.cells[1] for number in expected[row.cells[0]])


# --- what comes out -----------------------------------------------------------------------------------------------


def report() -> SyncReport:
    return SyncReport("profiles", "upsert", RejectsFile(Path("nowhere")), waits=False)


JOINED = ("by_shard", "overlaps")
"""What only the report of joined shards has."""


def report_keys() -> set[str]:
    """What a report file has besides the summary: what tests hold every report that they write to."""
    keys = set(json.loads((ROOT / "docs/report.schema.json").read_text())["properties"])
    assert keys >= set(report().details()) | _told()
    return keys - set(report().as_dict()) - {"accepted_earlier", "rows_without_line", "shards", *JOINED}


def _told() -> set[str]:
    return told_beside_the_counts() - {"live", "backfill"}  # inside of ``events``


def report_table(table: Table) -> None:
    same(words(table), report_keys())


def rejects(table: Table) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = RejectsFile(Path(folder) / "rejects.jsonl")
        file.write(Verdict(1, (), Outcome.SKIPPED, (Problem("", ""),)))
        file.close()
        line = json.loads((Path(folder) / "rejects.jsonl").read_text())
    same(words(table), line)


def reasons(table: Table) -> None:
    parameters = {name for kind in OURS.values() for name in all_parameters(kind)}
    same(words(table), reason_words() - _told() - parameters)


def exception_table(table: Table) -> None:
    classes = {name: each for name, each in vars(exceptions).items() if name.startswith("Klaviyo")}
    same(words(table), classes)
    for row in table.rows:
        (name,) = code_in(row.cells[0])
        assert row.cells[1] == ("yes" if _is_tried_again(classes[name]) else "no"), name


def _is_tried_again(kind: type[exceptions.KlaviyoError]) -> bool:
    error = kind("", {}) if kind is exceptions.KlaviyoSyncFailed else kind("")  # type: ignore[call-arg, arg-type]
    try:
        with no_retry_in_vain():
            raise error
    except AirflowFailException:
        return False
    except exceptions.KlaviyoError:
        return True


MESSAGES = {
    "messages about rows": (
        "… rows were rejected, and max_rejected=… allows …",
        "… rows have no verdict …",
        "new_word: Klaviyo says … of consent",
        "opted_out: |suppressed| (|USER_SUPPRESSED|)",
    ),
    "messages about the connection": (
        "…: |Airflow has no connection of this id. …",
        "… is set, but Airflow can read no connection from it. …",
        "klaviyo_conn_id=… is a connection of type …, not …",
        "Klaviyo does not accept the private API key …",
        "The key … may not use … It needs the scopes …",
        "Klaviyo does not permit … not about the scopes …",
        "Klaviyo's API revision …| retires on …",
        "… belongs to the Klaviyo account …, but its account_id is …",
        "Could not connect to …",
        "No answer from …",
        "The proxy wants credentials (407), so Klaviyo got nothing: …",
        "… Correct or unset REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE, whichever names it.",
        "… That is the proxy, not Klaviyo: …",
        "The answer of … has more than … bytes, unpacked, so it was not read to its end: …",
        "The answer of … |leads back to a page that was read: its pages go in a circle",
        "… was blocked before it reached Klaviyo's API …",
        "The API revision of| … is retired …",
        "The rate-limit windows … cannot be kept …",
        "Nobody who shares the rate limits sends …",
        "The rate-limit windows … are locked by …",
        "Which account a key belongs to is noted on this host, but …",
        "The time is up …",
        "Given up, since Klaviyo has not come to their end: …",
        "This is no request that the hook sends to Klaviyo. …",
        "Klaviyo failed …",
        "Klaviyo throttled …",
    ),
    "messages about the query": (
        "The mapping does not fit: …",
        "Nothing identifies a person: …",
        "… ends in .sql, so it is taken for the name of a file …",
        "… which is no SQL database …",
        "The encoding of this database is SQL_ASCII …",
        "The query does more than read (…)",
        "The query failed| before its first row| …",
        "… The SQL has the placeholder …, and … takes …",
        "The query failed| after … rows",
        "… The driver cannot read a value of these columns| …",
        "The SQL driver cannot read …, which the query returns as …",
        "… The driver cannot read a value, and does not say which …",
        "The SQL driver hands out timestamps without their zone (…)",
        "A mirror removes whom the query does not return, and …",
    ),
    "messages about state": (
        "The report cannot be written to| …",
        "The state cannot be kept in| …",
        "Nothing can be kept in| …",
        "Notes for other syncs cannot be left in| …",
        "The store of [klaviyo] storage_path has failed at| …",
        "there is no room (…)",
        "There is no room in … for what a run keeps beside memory (…)",
        "[klaviyo] storage_path = … cannot be used: …",
        "No state can be kept in| …: this store lets two writers create the same file …",
        "No list can be created by tasks that take turns in| …",
        "This sync keeps state, and … may run its next try on another machine …",
        "The mapped task … keeps state, and all its instances would share it …",
        "state_key=… is the same for all instances of the mapped task …",
        "Another instance of this mapped task uses the same state in this very run: …",
        "A template of this mapped task cannot be rendered: …",
        "strict=True makes the list exactly what one query returns, and all instances …",
        "… people are named by two shards",
        "Another run of this sync is under way: …",
        "Another run of this sync may be under way: its lock … is not whole …",
        "Another run has gone on with the state of this sync while this task was deferred …",
        "An older run of this Dag is under way, and its sync is still to come: …",
        "Klaviyo has no result yet of … that an earlier try has left: …",
        "This run stops, since …",
        "A later try of this task goes on with the state: …",
        "The lock of … is taken over, which …",
        "This run is older than the state: …",
        "The state kept under this state_key is of another target: …",
        "The state … belongs to …",
        "The state is damaged: …",
        "The state's file … has format …, and this release reads formats up to …",
        "The state in … was deleted while this run wrote to it …",
        "… wrote to the state while this run did …",
        "Every row counts as new, and nobody as gone: the state … is missing",
    ),
    "messages about lists": (
        "… people left the query, and max_removals=… permits …",
        "There are no rows, and a mirror of nothing …",
        "Klaviyo has … lists named …",
        "Klaviyo has no list named …, but it has …",
        "Klaviyo has no list named …, and this sync creates none.",
        "… people could not be taken off the list …",
        "… new lists a day …",
        "List ID … does not exist.",
        "List not found with id …",
    ),
}
"""What people see when a task is red, in the package's or Klaviyo's words; | is where another text is put in."""


def messages(name: str) -> Check:
    """A table of messages, each of which the package says."""

    def check(table: Table) -> None:
        cells = table.column("what you see")
        shown = [word for cell in cells for word in code_in(cell) if "@" not in word]
        same(shown, [each.replace("|", "") for each in MESSAGES[name]])
        for each in MESSAGES[name]:
            assert is_said(each), each
        assert all(row.cells[1] for row in table.rows)

    return check


MANY_ROWS = {
    "profiles, additions to a list": (Work("bulk_import_profiles", 1, 10_000),),
    "events": (Work("bulk_create_events", 1, 1_000),),
    "reading a list, as a strict mirror does": (Work("get_profiles_for_list", 1, 100),),
    "removing from a list": (
        Work("get_profiles_for_list", 1, 100),
        Work("remove_profiles_from_list", 1, 1_000),
    ),
    "subscribing with the guard": (Work("get_profiles", 1, 100), Work("bulk_subscribe_profiles", 1, 1_000)),
    "unsubscribing": (Work("get_profiles_for_list", 1, 100), Work("bulk_unsubscribe_profiles", 1, 100)),
}


def many_rows(table: Table) -> None:
    """What so many rows take by Klaviyo's documented windows alone."""
    same([row.cells[0] for row in table.rows], MANY_ROWS)
    for row in table.rows:
        what, size, *costs = row.cells
        assert size.removesuffix(" looked up") == f"{MANY_ROWS[what][0].each:,}"
        expected = []
        for records in (1_000_000, 500_000_000):
            work = [each._replace(records=records) for each in MANY_ROWS[what]]
            expected += [" and ".join(counted(each.requests) for each in work), lasting(least(work, 0.0))]
        assert costs == expected, what


def counted(number: int) -> str:
    """A number as the table has it."""
    return f"{number // 1_000_000} million" if number >= 1_000_000 else f"{number:,}"


def lasting(seconds: float) -> str:
    """A time as the table has it."""
    units = [("days", 86_400), ("hours", 3_600), ("minutes", 60), ("s", 1)]
    name, length = next(each for each in units if seconds >= each[1])
    time = seconds / length
    return f"{time:.0f} {name}" if time >= 10 else f"{time:.1f} {name}"


# --- all of them --------------------------------------------------------------------------------------------------


def _common(kind: type) -> type | None:
    return KlaviyoSyncOperator if issubclass(kind, KlaviyoSyncOperator) else None


def decorators(table: Table) -> None:
    """Each decorator that Airflow is told of, and the operator that it is."""
    expected = {}
    for told in get_provider_info()["task-decorators"]:
        module, _, name = told["class-name"].rpartition(".")
        made = getattr(importlib.import_module(module), name)(list)
        (operator,) = OURS.keys() & {each.__name__ for each in made.operator_class.__mro__} - {
            KlaviyoSyncOperator.__name__
        }
        expected[f"@task.{told['name']}"] = operator
    same(words(table), expected)
    assert {code_in(row.cells[0])[0]: code_in(row.cells[1])[0] for row in table.rows} == expected


CHECKS: dict[str, Check] = {
    "operators and sensors": operators_and_sensors,
    "decorators": decorators,
    "parameters of KlaviyoSyncOperator": parameters_of(KlaviyoSyncOperator),
    **{f"parameters of {kind.__name__}": parameters_of(kind, _common(kind)) for kind in CLASSES.values()},
    "parameters of KlaviyoHook": hook_parameters,
    "calls of KlaviyoHook": hook_calls,
    "connection": connection,
    "scopes": scopes,
    "configuration": configuration,
    "state commands": state_commands,
    "emulator options": emulator_options,
    "emulator settings": fields_of(Settings),
    "emulator control": words_are([f"{verb} {PREFIX}/{name}" for verb, name in _ACTIONS]),
    "emulator methods": words_are(emulator_methods()),
    "incidents": words_are(list(IncidentKind)),
    "fault kinds": words_are(list(FaultKind)),
    "fault fields": fields_of(Fault),
    "fields of profiles": words_are([*PROFILE_FIELDS, "properties.<name>"]),
    "fields of events": words_are([*EVENT_FIELDS, "profile.<field>", "properties.<name>"]),
    "fields of subscriptions": words_are(SUBSCRIPTION_FIELDS[SUBSCRIBE]),
    "SQL types": sql_types,
    "modes of lists": list_modes,
    "modes of subscriptions": subscription_modes,
    "ceilings": ceilings,
    "assets": assets,
    "metrics": metrics,
    "many rows": many_rows,
    "summary": words_are([*report().as_dict(), "accepted_earlier", "rows_without_line", "shards"]),
    "joined report": words_are(JOINED),
    "outcomes": words_are(list(Outcome)),
    "reasons": reasons,
    "report": report_table,
    "rejects": rejects,
    "exceptions": exception_table,
    **{name: messages(name) for name in MESSAGES},
}
"""What holds each table, by its name."""

FREE = {
    "Hightouch",
    "ends of locks",
    "hooks",
    "lineage",
    "measured",
    "memory",
    "rights on S3",
    "rows of a function",
    "stores",
    "values by source",
    "known to be wrong",
}
"""Tables that nothing in the code says."""

FREE_PAGES = {"docs/architecture.md", "docs/glossary.md"}
"""Pages for those who change the package: their tables are words about it."""

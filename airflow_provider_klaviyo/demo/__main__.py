"""The first thing to run: a shop in SQL, a Klaviyo, a real Airflow between them, and a report to read.

Without an API key, Klaviyo is the emulator. With one (environment variable KLAVIYO_API_KEY), the sync goes to that
account, as a preview that writes nothing unless --write is given.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from airflow_provider_klaviyo.demo.printout import (
    find_problems,
    say,
    short,
    show_emulator,
    show_files,
    show_report,
)
from airflow_provider_klaviyo.demo.services import (
    DAG,
    Demo,
    DemoError,
    airflow_environment,
    emulator,
    migrate,
    newest_report,
    read_rejects,
    run_dag,
    show_account,
)
from airflow_provider_klaviyo.demo.shop import make_shop
from airflow_provider_klaviyo.emulator.core.settings import DEFAULT_API_KEY

API_KEY = "KLAVIYO_API_KEY"
CUSTOMERS = 2000
CUSTOMERS_FOR_AN_ACCOUNT = 200


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; 0 when every row is accounted for and nothing failed."""
    options = read_options(argv)
    try:
        return run(Demo(options.dags.resolve(), options.folder.resolve()), options)
    except DemoError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def read_options(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--api-key-env", metavar="NAME", help=f"environment variable with the API key (default: {API_KEY})")
    add("--write", action="store_true", help="with an API key: write the made-up customers to that account")
    add("--host", default="", help="with an API key: another base URL than Klaviyo's, such as a proxy's")
    add("--customers", type=int, help=f"({CUSTOMERS}; with an API key {CUSTOMERS_FOR_AN_ACCOUNT})")
    add("--dags", type=Path, default=Path("dags_examples"), help="folder of the example Dags (%(default)s)")
    add("--folder", type=Path, default=Path(".demo"), help="where the demo keeps its files (%(default)s)")
    return parser.parse_args(argv)


def run(demo: Demo, options: argparse.Namespace) -> int:
    """Make the shop, start Klaviyo, run the Dag, and tell what happened."""
    key = read_key(options)
    preview = bool(key) and not options.write
    if not demo.dags.is_dir():
        msg = f"No Dags at {demo.dags}: start the demo in a checkout, or name their folder with --dags."
        raise DemoError(msg)
    demo.folder.mkdir(parents=True, exist_ok=True)
    made = make_shop(demo.shop, options.customers or (CUSTOMERS_FOR_AN_ACCOUNT if key else CUSTOMERS))
    say(f"Shop      {made:,} made-up customers in {short(demo.shop)} (SQLite), a few of them faulty")
    with nullcontext(options.host) if key else emulator(demo) as url:
        environment = airflow_environment(demo, key or DEFAULT_API_KEY, url, preview=preview)
        if key:
            show_account(environment, preview=preview)
        migrate(demo, environment)
        succeeded = run_dag(demo, environment)
        report = newest_report(demo)
        show_report(report, read_rejects(report))
        stored = None if key else show_emulator(url)
    show_files(report, demo.log, sorted(demo.storage.rglob("*.preview-*")))
    problems = find_problems(report, stored, succeeded=succeeded, preview=preview)
    for problem in problems:
        say(f"\nFAILED    {problem} The whole log: {short(demo.log)}")
    if not problems:
        show_next_steps(demo, to_emulator=not key, preview=preview)
    return 1 if problems else 0


def read_key(options: argparse.Namespace) -> str:
    """The API key, or nothing for the emulator.

    :raises DemoError: when the options need a key that is not there.
    """
    name = options.api_key_env or API_KEY
    key = os.environ.get(name, "").strip()
    if not key and (options.api_key_env or options.write or options.host):
        msg = f"--api-key-env, --write and --host are for an account of yours, but {name} holds no API key."
        raise DemoError(msg)
    return key


def show_next_steps(demo: Demo, *, to_emulator: bool, preview: bool) -> None:
    """Where to go from here."""
    say(f"\nNext      Read {short(demo.dags / f'example_{DAG}.py')}: it is all that a sync takes.")
    if to_emulator:
        say("          See what it would send to an account of yours; that is a preview and writes nothing:")
        say(f"              {API_KEY}=pk_... python3 run.py demo")
    elif preview:
        say("          Add --write to send these made-up customers to that account.")
    say("          Tests of your own Dags with the emulator, by the pytest fixture klaviyo: docs/testing.md")
    say("          Airflow's UI with the same Dag: docker compose up, then http://localhost:8080")


if __name__ == "__main__":
    sys.exit(main())

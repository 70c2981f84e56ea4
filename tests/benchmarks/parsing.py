"""What a Dag file pays for importing operators and making tasks: ours beside those of two providers of Airflow's own.

    python -m tests.benchmarks.parsing --python /tmp/peers/bin/python

The Python is one of an environment of its own, with Airflow, what this package needs, and
``apache-airflow-providers-dbt-cloud`` and ``apache-airflow-providers-snowflake``; this checkout is put on its path.
Each file is read by so many new processes, after ``airflow.sdk``, which every Dag file needs; the median counts.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TASKS = 50

FILES = {
    "klaviyo": (
        "from airflow_provider_klaviyo.operators.profiles import KlaviyoSyncProfilesOperator as Operator",
        "sql='SELECT * FROM customers', sql_conn_id='shop', primary_key='id', only_changes=True, "
        "mapping={'email': 'email', 'first_name': 'name', 'properties.Tier': 'tier'}",
    ),
    "dbt-cloud": (
        "from airflow.providers.dbt.cloud.operators.dbt import DbtCloudRunJobOperator as Operator",
        "job_id=1",
    ),
    "snowflake": (
        "from airflow.providers.snowflake.operators.snowflake import SnowflakeSqlApiOperator as Operator",
        "sql='SELECT 1', statement_count=1, snowflake_conn_id='warehouse'",
    ),
}

PROGRAM = """
import json, sys, time
from airflow.sdk import DAG, BaseOperator, BaseSensorOperator
known, began = set(sys.modules), time.perf_counter()
{statement}
imported = time.perf_counter()
with DAG("d"):
    for number in range({tasks}):
        Operator(task_id=f"task_{{number}}", {arguments})
made = time.perf_counter()
print("MEASURED" + json.dumps([imported - began, made - imported, len(set(sys.modules) - known)]))
"""


def measure(python: str, name: str, times: int) -> tuple[float, float, int]:
    """Seconds for the import and for the tasks, and how many modules were loaded."""
    statement, arguments = FILES[name]
    code = PROGRAM.format(statement=statement, arguments=arguments, tasks=TASKS)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    measured = []
    for _ in range(times):
        done = subprocess.run(
            [python, "-c", code], capture_output=True, text=True, check=True, env=environment
        )
        measured.append(json.loads(done.stdout.partition("MEASURED")[2]))
    imports, makings, modules = zip(*measured, strict=True)
    return statistics.median(imports), statistics.median(makings), modules[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--python", required=True)
    parser.add_argument("--times", type=int, default=7)
    options = parser.parse_args()
    print(f"{'':12}{'import':>10}{f'{TASKS} tasks':>12}{'modules':>10}")
    for name in FILES:
        imported, made, modules = measure(options.python, name, options.times)
        print(f"{name:12}{imported * 1_000:8.1f} ms{made * 1_000:9.1f} ms{modules:10}")


if __name__ == "__main__":
    main()

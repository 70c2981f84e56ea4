#!/usr/bin/env bash
# Airflow 3.3.2: context["prev_start_date_success"] of a Dag's very first run is not None, although it stands for None.
#
# The Task SDK puts lazy proxies into the context where a value has to be asked for at the API server. A proxy is an
# object of its own, so `is None` is False whatever it stands for, and a task that asks "is this the first run?" in that
# way is always told that it is not. Its truth is that of the value, and so are its text and its equality with None.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check apache-airflow==3.3.2
export AIRFLOW_HOME="$folder/airflow" AIRFLOW__CORE__LOAD_EXAMPLES=False AIRFLOW__LOGGING__LOGGING_LEVEL=ERROR
export AIRFLOW__CORE__DAGS_FOLDER="$folder/dags" SEEN="$folder/seen.json"
mkdir -p "$folder/dags"
cat > "$folder/dags/first.py" <<'PYTHON'
import json
import os
from datetime import datetime, timezone

from airflow.sdk import dag, task


@dag(schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc))
def first():
    @task
    def look(**context):
        value = context["prev_start_date_success"]
        facts = {"type": type(value).__name__, "is None": value is None, "== None": value == None, "bool": bool(value)}
        with open(os.environ["SEEN"], "w") as file:
            json.dump({**facts, "text": str(value)}, file)

    look()


first()
PYTHON
"$folder/venv/bin/airflow" db migrate >"$folder/log" 2>&1
"$folder/venv/bin/airflow" dags reserialize >>"$folder/log" 2>&1
"$folder/venv/bin/airflow" dags test first >>"$folder/log" 2>&1 || { tail -20 "$folder/log"; exit 1; }
"$folder/venv/bin/python" - <<'PYTHON'
import json
import os

seen = json.load(open(os.environ["SEEN"]))
print("apache-airflow 3.3.2, the first run of a Dag: prev_start_date_success is", seen)
assert seen["is None"] is False
assert seen["bool"] is False
assert seen["text"] == "None"
PYTHON

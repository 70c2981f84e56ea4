#!/usr/bin/env bash
# apache-airflow 3.1.8: `dag.test()` and `airflow dags test` build the whole Execution API anew for every task instance.
#
# Each time FastAPI's routes are made and copied for every version of the API, which takes seconds of CPU: a Dag of a few
# tasks that do nothing takes ten seconds and more, and a test suite that runs Dags most of its time. Airflow 3.3.2 keeps one
# API for the process.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check uv
# Nothing newer than that Airflow: with later packages it may not start.
"$folder/venv/bin/python" -m uv pip install --quiet --python "$folder/venv/bin/python" --exclude-newer 2026-03-20 \
    apache-airflow==3.1.8
cat > "$folder/nothing.py" <<'PYTHON'
import time
from datetime import UTC, datetime
from importlib.metadata import version

from airflow.utils.db import initdb

initdb()

from airflow.api_fastapi.execution_api import app
from airflow.models.dagbag import DagBag, sync_bag_to_db
from airflow.models.dagbundle import DagBundleModel
from airflow.sdk import DAG, task
from airflow.utils.session import create_session

built, build = [], app.create_task_execution_api_app


def counted():
    built.append(time.process_time())
    return build()


app.create_task_execution_api_app = counted

with DAG("nothing", start_date=datetime(2026, 1, 1, tzinfo=UTC), schedule=None) as dag:

    @task
    def nothing(number):
        return number

    for number in range(4):
        nothing(number)

bag = DagBag(dag_folder="/dev/null")
bag.bag_dag(dag)
with create_session() as session:
    session.merge(DagBundleModel(name="dags-folder"))
sync_bag_to_db(bag, "dags-folder", None)
began = time.process_time()
run = dag.test()
seconds = time.process_time() - began
print(
    f"apache-airflow {version('apache-airflow')}: a Dag of 4 tasks that do nothing: {run.state}, "
    f"{len(built)} APIs built, {seconds:.0f} s of CPU"
)
assert run.state == "success"
assert len(built) == 4, "the API is kept now"
PYTHON
cd "$folder"
env AIRFLOW_HOME="$folder/airflow" AIRFLOW__CORE__LOAD_EXAMPLES=False "$folder/venv/bin/python" nothing.py \
    >log 2>&1 || { tail -n 20 log; exit 1; }
grep '^apache-airflow ' log

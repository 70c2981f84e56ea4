#!/usr/bin/env bash
# apache-airflow 3.3.2: a secrets backend that cannot be reached makes a connection "isn't defined", without a cause.
#
# Whatever a backend raises is logged at DEBUG, and the next one is asked; where none has the connection the error says
# that there is no such thing. A task cannot tell an outage of the vault, which a retry outlives, from a typing error,
# which it does not: the exception has neither cause nor context. Whoever fails such a task for good loses the night.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check apache-airflow==3.3.2
cat > "$folder/vault.py" <<'PYTHON'
from airflow.secrets import BaseSecretsBackend

asked = []


class Vault(BaseSecretsBackend):
    def get_connection(self, conn_id):
        asked.append(conn_id)
        raise ConnectionError("the vault does not answer")
PYTHON
cd "$folder"
env AIRFLOW_HOME="$folder/airflow" AIRFLOW__SECRETS__BACKEND=vault.Vault AIRFLOW__LOGGING__LOGGING_LEVEL=INFO \
    PYTHONPATH="$folder" "$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

try:
    BaseHook.get_connection("shop")
except AirflowNotFoundException as error:
    print(f"apache-airflow {version('apache-airflow')}: {error!r}, cause {error.__cause__}, context {error.__context__}")
    import vault  # which Airflow has loaded by now

    assert vault.asked == ["shop"], "the backend was not asked"
    assert str(error) == "The conn_id `shop` isn't defined"
    assert (error.__cause__, error.__context__) == (None, None)
else:
    raise SystemExit("the backend's failure is told otherwise now")
PYTHON

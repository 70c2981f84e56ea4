#!/usr/bin/env bash
# pydruid 0.6.9 loses the rows of a Druid result from the first text on that ends in a backslash.
#
# `rows_from_chunks` finds the end of each JSON object by counting brackets outside of texts. It takes every quotation
# mark behind a backslash for a part of the text, also where the backslash is itself escaped, so that the text never
# ends for it: this row and all later ones are dropped without an error. The cursor's rows are made of what it yields.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check pydruid==0.6.9
"$folder/venv/bin/python" - <<'PYTHON'
import json
from importlib.metadata import version

from pydruid.db.api import rows_from_chunks

rows = [{"path": "a"}, {"path": "C:\\"}, {"path": "b"}]
answer = json.dumps(rows)
read = [dict(row) for row in rows_from_chunks([answer])]
print("pydruid", version("pydruid"))
print("Druid's answer:", answer)
print("rows read:", read)
assert json.loads(answer) == rows
assert read == [{"path": "a"}]
PYTHON

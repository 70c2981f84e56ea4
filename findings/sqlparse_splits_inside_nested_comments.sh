#!/usr/bin/env bash
# sqlparse 0.6.1 takes a nested comment of PostgreSQL for the end of a statement.
#
# PostgreSQL's block comments nest, as the SQL standard has it: a statement behind one is a single statement. sqlparse
# ends the comment at the first closing mark, so a semicolon in the rest of it splits the statement in two, neither of
# which PostgreSQL takes. Airflow's common-sql splits statements with it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check sqlparse==0.6.1
"$folder/venv/bin/python" - <<'PYTHON'
import sqlparse

statement = "/* outer /* inner */ ; still outer */ SELECT 1"
parts = sqlparse.split(statement)
print("sqlparse", sqlparse.__version__)
print(repr(statement), "is split into", parts)
assert parts == ["/* outer /* inner */ ;", "still outer */ SELECT 1"]
PYTHON

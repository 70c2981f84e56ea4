#!/usr/bin/env bash
# openlineage-sql 1.54.0: a query whose subquery begins with WITH reads nothing, by its own account, and reports no error.
#
# The parser behind the lineage of Airflow's SQL operators follows a WITH at the top of a query and any
# plain subquery in it. Where a subquery has a WITH of its own, in FROM or in another WITH, the tables read there are
# dropped along with their columns, and so are those of a subquery in ORDER BY, in each of four dialects. Whoever
# draws lineage from it shows a job without inputs, or with some of them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check openlineage-sql==1.54.0
"$folder/venv/bin/python" - <<'PYTHON'
from openlineage_sql import parse

SEEN = {
    "WITH b AS (SELECT id FROM orders) SELECT id FROM b": ["orders"],
    "SELECT id FROM (SELECT id FROM orders) x": ["orders"],
    "SELECT id FROM (WITH b AS (SELECT id FROM orders) SELECT id FROM b) x": [],
    "WITH a AS (WITH b AS (SELECT id FROM orders) SELECT id FROM b) SELECT id FROM a": [],
    "SELECT id FROM shops ORDER BY (SELECT place FROM ranks WHERE ranks.id = shops.id)": ["shops"],
}
for dialect in ("postgres", "snowflake", "bigquery", "generic"):
    for query, tables in SEEN.items():
        meta = parse([query], dialect=dialect)
        found = sorted(table.qualified_name for table in meta.in_tables)
        print(f"openlineage-sql 1.54.0, {dialect}: reads {found}, errors {meta.errors}: {query}")
        assert found == tables
        assert not meta.errors
PYTHON

#!/usr/bin/env bash
# adbc-driver-postgresql 1.13.0: a column of anonymous rows, ROW(x), is read as {"oid": <integer>}, whatever x is.
#
# PostgreSQL's pseudo-type "record" has no columns in the catalogue, and the driver takes one field, named oid, of four
# bytes. ROW(7) becomes {"oid": 7}, a name that nobody gave; four letters and a float4 have four bytes, too, and arrive
# as integers made of those: no error and no warning. Rows of other sizes, or of two fields, end the whole query with
# "ReadRecord failed", in words that name no column. A row of a named composite type is read as it should be.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    adbc-driver-postgresql==1.13.0 adbc-driver-manager==1.13.0 pyarrow==26.0.1 pgserver==0.1.4
"$folder/venv/bin/python" - "$folder/data" <<'PYTHON'
import sys

import pgserver
from adbc_driver_postgresql import dbapi

SEEN = {
    "SELECT ROW(7) AS r": {"oid": 7},
    "SELECT ROW('abcd'::text) AS r": {"oid": int.from_bytes(b"abcd", "big")},
    "SELECT ROW(1.0::float4) AS r": {"oid": 0x3F800000},
    "SELECT ROW('abc'::text) AS r": "Expected field with 4 bytes but found field with 3 bytes",
    "SELECT ROW(1, 2) AS r": "Expected nested record type to have 1 fields but got 2",
    "SELECT ROW('abcd', 2)::named AS r": {"word": "abcd", "number": 2},
}
server = pgserver.get_server(sys.argv[1])
try:
    with dbapi.connect(server.get_uri(), autocommit=True) as connection:
        with connection.cursor() as cursor:
            cursor.execute("CREATE TYPE named AS (word text, number int4)")
    for query, expected in SEEN.items():
        with dbapi.connect(server.get_uri()) as connection, connection.cursor() as cursor:
            try:
                cursor.execute(query)
                found = cursor.fetch_arrow_table().to_pylist()[0]["r"]
            except dbapi.OperationalError as error:
                found = str(error)
        print(f"adbc-driver-postgresql 1.13.0: {query} gives {found}")
        assert found == expected or (isinstance(expected, str) and expected in found)
finally:
    server.cleanup()
PYTHON

#!/usr/bin/env bash
# JayDeBeApi 1.2.3 reads 5 milliseconds of a TIMESTAMP as half a second.
#
# Java gives the fraction as a number of nanoseconds. `_to_datetime`, the converter of TIMESTAMP columns, takes the first
# six digits of that number for microseconds. A number below 100,000,000 has fewer than nine digits, so that 5,000,000
# becomes .500000. Here a result set stands in that answers as java.sql's does, with the text that Java has for it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check JayDeBeApi==1.2.3 JPype1==1.7.1
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import jaydebeapi


class Timestamp:
    """As java.sql.Timestamp.valueOf("2024-05-01 12:30:00.005") answers."""

    def __str__(self) -> str:
        return "2024-05-01 12:30:00.005"

    def getNanos(self) -> int:
        return 5_000_000


class ResultSet:
    def getTimestamp(self, column: int) -> Timestamp:
        return Timestamp()


read = jaydebeapi._to_datetime(ResultSet(), 1)
print("JayDeBeApi", jaydebeapi.__version__)
print("column:", Timestamp(), "read:", read)
assert read == "2024-05-01 12:30:00.500000"
PYTHON

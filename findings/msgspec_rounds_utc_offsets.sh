#!/usr/bin/env bash
# msgspec 0.23.0 writes a timestamp as another moment where its UTC offset has seconds.
#
# Local mean times before the standard zones have such offsets, so every timestamp of a database from those years, read
# with the zone of its place, moves by up to half a minute when it is encoded, without an error. RFC 3339 knows no seconds
# in an offset; what is lost is the moment, since the clock time stays and the offset is rounded.
#
# Seen with Python 3.11: 1890-01-01T12:00:00+00:19:32 is written as 1890-01-01T12:00:00+00:20.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check msgspec==0.23.0
"$folder/venv/bin/python" - <<'PYTHON'
import datetime

import msgspec

amsterdam = datetime.timezone(datetime.timedelta(minutes=19, seconds=32))  # its mean time until 1937
noon = datetime.datetime(1890, 1, 1, 12, tzinfo=amsterdam)
written = msgspec.json.encode(noon)
read = msgspec.json.decode(written, type=datetime.datetime)
print("msgspec", msgspec.__version__)
print("encoded", noon.isoformat(), "as", written.decode(), "which is", (noon - read).total_seconds(), "s away")
assert noon.isoformat() == "1890-01-01T12:00:00+00:19:32"
assert written == b'"1890-01-01T12:00:00+00:20"'
assert abs((read - noon).total_seconds()) == 28
PYTHON

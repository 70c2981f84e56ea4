#!/usr/bin/env bash
# psycopg 3.3.9 gives a connection the JSON loader of another connection where both are methods of two objects.
#
# `set_json_loads` makes a loader class for the function that it is given and keeps it for the next call, by the code
# of the function and what it closes over. A bound method has the same code whatever its object, so the second object's
# method is taken for the first's: JSON of the second connection is read as the first asked for, without an error.
# Partial functions of the same two objects are told apart.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check "psycopg[binary]==3.3.9"
"$folder/venv/bin/python" - <<'PYTHON'
import functools
import json

import psycopg
from psycopg.adapt import AdaptersMap, Transformer
from psycopg.types.json import set_json_loads


class Context:
    """What a connection is to the adapters: no server is needed to load a value."""

    connection = None

    def __init__(self) -> None:
        self.adapters = AdaptersMap(psycopg.adapters)


class Reader:
    def __init__(self, name: str) -> None:
        self.name = name

    def loads(self, text: bytes) -> object:
        return self.name, json.loads(text)


def loaded(loads: object) -> object:
    context = Context()
    set_json_loads(loads, context)
    oid = psycopg.adapters.types["jsonb"].oid
    return Transformer(context).get_loader(oid, psycopg.pq.Format.TEXT).load(b'{"a": 1}')


first, second = Reader("first"), Reader("second")
methods = [loaded(reader.loads) for reader in (first, second)]
partials = [loaded(functools.partial(Reader.loads, reader)) for reader in (first, second)]
print("psycopg", psycopg.__version__)
print("by methods:", methods)
print("by partial functions:", partials)
assert methods == [("first", {"a": 1}), ("first", {"a": 1})]
assert partials == [("first", {"a": 1}), ("second", {"a": 1})]
PYTHON

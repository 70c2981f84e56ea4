"""Brings a state that an earlier build wrote to where its sync looks for it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path


def bring(source: Path, folder: Path, written_in: bytes, **target: str) -> None:
    """Lay a state into a folder, as if it had been written of another base URL or list.

    :param written_in: the number of the format that every entry must have.
    :param target: the parts of the target that differ; spaces in their names as underscores.
    """
    folder.mkdir(parents=True)
    differing = {name.replace("_", " "): value for name, value in target.items()}
    parent = None
    for file in sorted(source.glob("*.entry")):
        line, _, payload = file.read_bytes().partition(b"\n")
        version, _, text = line.partition(b" ")
        assert version == written_in, f"the state is one of format {written_in.decode()}"
        header = json.loads(text)
        if "target" in header["facts"]:
            known = header["facts"]["target"]
            known |= {name: value for name, value in differing.items() if name in known}
        header["parent"] = parent
        line = version + b" " + json.dumps(header).encode() + b"\n"
        parent = {"number": header["number"], "sha256": hashlib.sha256(line).hexdigest()}
        (folder / file.name).write_bytes(line + payload)

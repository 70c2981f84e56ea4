#!/usr/bin/env bash
# gcp-storage-emulator 2026.7.19 writes over an object that ifGenerationMatch=0 forbids to write over.
#
# Google Cloud Storage answers 412 then; it is how two writers of one name are told apart. The emulator stores the second
# object, without an error, so that code that relies on the precondition passes its tests there by chance.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    gcp-storage-emulator==2026.7.19 google-cloud-storage==3.17.1
"$folder/venv/bin/python" -W ignore - <<'PYTHON' 2>/dev/null
import os
import socket
import sys
from importlib.metadata import version

with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
os.environ["STORAGE_EMULATOR_HOST"] = f"http://127.0.0.1:{port}"

from gcp_storage_emulator.server import create_server
from google.api_core.exceptions import PreconditionFailed
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

server = create_server("127.0.0.1", port, in_memory=True)
server.start()
client = storage.Client(project="any", credentials=AnonymousCredentials())
blob = client.create_bucket("bucket").blob("object")
blob.upload_from_string(b"first", if_generation_match=0)
try:
    blob.upload_from_string(b"second", if_generation_match=0)
    told = "accepted"
except PreconditionFailed:
    told = "refused"
content = blob.download_as_bytes()
print("gcp-storage-emulator", version("gcp-storage-emulator"), "google-cloud-storage", version("google-cloud-storage"))
print("the second upload was", told, "and the object holds", content)
sys.stdout.flush()
os._exit(0 if (told, content) == ("accepted", b"second") else 1)
PYTHON

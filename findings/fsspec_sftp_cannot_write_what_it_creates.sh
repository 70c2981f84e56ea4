#!/usr/bin/env bash
# fsspec 2026.9.0's SFTPFileSystem creates a file that is opened with mode "xb", and cannot write to it.
#
# It hands the mode to paramiko 5.1.0 as it is, where "x" only adds "exclusively" to a mode that has "w": the server is
# asked to create a file that is not open for writing. Python's own "xb", and that of the other filesystems, can be
# written to. The first write fails, and an empty file stays behind. With "wxb" it works, and a second one is refused.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    fsspec==2026.9.0 paramiko==5.1.0 asyncssh==2.24.1
mkdir "$folder/files"
"$folder/venv/bin/python" -W ignore - "$folder/files" <<'PYTHON'
import asyncio
import os
import sys
import threading

import asyncssh
import fsspec
import paramiko
from fsspec.implementations.sftp import SFTPFileSystem

listening, port = threading.Event(), 0


class OpenToAll(asyncssh.SSHServer):
    def begin_auth(self, username: str) -> bool:
        return False


async def serve() -> None:
    global port
    server = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_factory=OpenToAll,
        server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
        sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=sys.argv[1]),
    )
    port = server.get_port()
    listening.set()
    await asyncio.Event().wait()


def created(name: str, mode: str) -> str:
    try:
        with fs.open(name, mode) as file:
            file.write(b"content")
    except OSError as error:
        return str(error)
    return "written"


threading.Thread(target=lambda: asyncio.run(serve()), daemon=True).start()
listening.wait(30)
fs = SFTPFileSystem("127.0.0.1", port=port, username="anybody", password="any")
print("fsspec", fsspec.__version__, "paramiko", paramiko.__version__)
told = [created("/a", "xb"), created("/b", "wb"), created("/c", "wxb"), created("/c", "wxb")]
print("xb, wb, wxb, wxb again:", told)
sizes = {each["name"]: each["size"] for each in fs.ls("/", detail=True)}
print("bytes in the files:", sizes)
assert told == ["File not open for writing", "written", "written", "File exists"], told
assert sizes == {"/a": 0, "/b": 7, "/c": 7}, sizes
sys.stdout.flush()
os._exit(0)
PYTHON

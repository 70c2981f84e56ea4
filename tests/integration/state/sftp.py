"""An SFTP server that shows a folder to anybody, until its standard input ends: ``python sftp.py FOLDER``."""

from __future__ import annotations

import asyncio
import sys

import asyncssh


class OpenToAll(asyncssh.SSHServer):
    def begin_auth(self, username: str) -> bool:
        return False


async def serve(folder: str) -> None:
    server = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_factory=OpenToAll,
        server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
        sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=folder),
    )
    sys.stdout.write(f"{server.get_port()}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))

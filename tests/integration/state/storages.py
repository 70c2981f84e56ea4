"""Servers of stores, over real sockets, and how a process reaches them as Airflow's object storage does.

What Airflow's own providers would make of a connection is attached here for Azure and Google, whose providers bring a
hundred packages: the same filesystems, of adlfs and gcsfs.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.conftest import absent
from tests.integration.state.google import GoogleStorage

_AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Azurite's own, as its documentation gives it."""

_ATTACHED = "KLAVIYO_TESTS_STORAGES"
"""Tells a child what it must attach: a JSON list of protocol, connection id and URL."""


@contextmanager
def azure() -> Iterator[str]:
    """Azurite, Microsoft's emulator of Blob Storage; its URL."""
    command = shutil.which("azurite-blob")
    if not command:
        absent("azure", "Azurite is not installed: npm install --global azurite")
    _import("adlfs", "azure", "adlfs is not installed")
    port = free_port()
    arguments = [
        "--inMemoryPersistence",
        "--skipApiVersionCheck",
        "--silent",
        "--disableTelemetry",
        "--blobPort",
        str(port),
    ]
    with subprocess.Popen([command, *arguments], stdout=subprocess.DEVNULL) as server:
        try:
            _wait_for(port)
            yield f"http://127.0.0.1:{port}/devstoreaccount1"
        finally:
            server.terminate()


@contextmanager
def seaweedfs(folder: Path) -> Iterator[str]:
    """SeaweedFS, another server that speaks S3, which keeps its data in a folder; its URL.

    ``owner`` may do everything, ``writer`` and ``reader`` only what they are called after, in any bucket; each has its
    name as its secret.
    """
    command = shutil.which(
        "weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    )
    if not command:
        absent("seaweedfs", "SeaweedFS is not installed")
    rights = {"owner": ["Admin"], "writer": ["List", "Read", "Write"], "reader": ["List", "Read"]}
    identities = [
        {"name": name, "credentials": [{"accessKey": name, "secretKey": name}], "actions": actions}
        for name, actions in rights.items()
    ]
    (folder / "rights.json").write_text(json.dumps({"identities": identities}))
    ports = free_ports(8)
    named = ("master.port", "volume.port", "filer.port", "s3.port")
    arguments = {
        "dir": folder,
        "ip": "127.0.0.1",
        "s3.config": folder / "rights.json",
        "s3.localSocket": folder / "s3.sock",
        "filer.localSocket": folder / "filer.sock",
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "s3.autoCreateBucket": "false",
        "volume.preStopSeconds": 0,
        "master.volumeSizeLimitMB": 64,
        "volume.max": 20,
        **dict(zip([*named, *(f"{name}.grpc" for name in named)], ports, strict=True)),
    }
    words = [command, f"-logdir={folder}", "server", "-filer", "-s3"]
    words += [f"-{name}={value}" for name, value in arguments.items()]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            _wait_for(arguments["s3.port"])
            yield f"http://127.0.0.1:{arguments['s3.port']}"
        finally:
            server.kill()


@contextmanager
def google(*, honours_conditions: bool = True) -> Iterator[str]:
    """As much of Google Cloud Storage as is needed; its URL."""
    _import("gcsfs", "google", "gcsfs is not installed")
    with GoogleStorage(honours_conditions=honours_conditions).running() as server:
        yield server.url


@contextmanager
def sftp(folder: Path) -> Iterator[int]:
    """An SFTP server that shows a folder to anybody; its port."""
    _import("asyncssh", "sftp", "asyncssh is not installed")
    _import("sshfs", "sftp", "sshfs is not installed")
    _import("airflow.providers.sftp", "sftp", "Airflow's SFTP provider is not installed")
    command = [sys.executable, Path(__file__).with_name("sftp.py"), folder]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdout
        try:
            yield int(server.stdout.readline())
        finally:
            server.terminate()


@contextmanager
def webdav(folder: Path) -> Iterator[str]:
    """A WebDAV server that shows a folder to anybody; its URL."""
    wsgi = _import("cheroot.wsgi", "webdav", "cheroot is not installed")
    app = _import("wsgidav.wsgidav_app", "webdav", "wsgidav is not installed")
    _import("webdav4.fsspec", "webdav", "webdav4 is not installed")
    port = free_port()
    settings = {
        "provider_mapping": {"/": str(folder)},
        "simple_dc": {"user_mapping": {"*": True}},
        "verbose": 0,
    }
    server = wsgi.Server(("127.0.0.1", port), app.WsgiDAVApp(settings))
    server.prepare()
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.stop()
        thread.join()


# --- a filesystem, as Airflow's object storage has it -------------------------------------------------------------


def of_azure(url: str) -> Any:
    from adlfs import AzureBlobFileSystem

    return AzureBlobFileSystem(connection_string=azure_connection(url))


def azure_connection(url: str) -> str:
    return f"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={_AZURITE_KEY};BlobEndpoint={url};"


def of_google(url: str) -> Any:
    from gcsfs.core import GCSFileSystem  # gcsfs's own first asks by gRPC what kind of bucket it is

    return GCSFileSystem(project="tests", token="anon", endpoint_url=url)


_FILESYSTEMS: dict[str, Callable[[str], Any]] = {"abfs": of_azure, "gs": of_google}


def attach(environment: Callable[[str, str], None], protocol: str, url: str) -> str:
    """Let Airflow's object storage reach a server by a connection, whose id is given back; its children, too."""
    conn_id = f"{protocol}_{uuid.uuid4().hex[:8]}"
    environment(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps({"conn_type": "generic"}))
    environment(_ATTACHED, json.dumps([protocol, conn_id, url]))
    attach_again()
    return conn_id


def attached() -> dict[str, str]:
    """What a child's environment must have for ``attach_again``."""
    return {name: value for name, value in os.environ.items() if name == _ATTACHED}


def attach_again() -> None:
    """As ``attach`` did in the process that started this one."""
    if told := os.environ.get(_ATTACHED):
        from airflow.sdk.io import attach as attach_to_airflow

        protocol, conn_id, url = json.loads(told)
        attach_to_airflow(protocol, conn_id, fs=_FILESYSTEMS[protocol](url))


# ------------------------------------------------------------------------------------------------------------------


def free_port() -> int:
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    with ExitStack() as probes:
        sockets = [probes.enter_context(socket.socket()) for _ in range(count)]
        for probe in sockets:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in sockets]


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=2).close()
        except OSError:
            assert time.monotonic() < deadline, "the server does not start"
            time.sleep(0.05)
        else:
            return


def _import(module: str, name: str, reason: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        absent(name, reason)

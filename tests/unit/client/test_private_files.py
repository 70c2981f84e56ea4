"""Nothing is believed, or left, in a folder or a file that may be somebody else's."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_provider_klaviyo.client.account import check_account, known_account_id
from airflow_provider_klaviyo.client.private_files import NotPrivate, open_private, private_folder
from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError
from tests.unit.client.conftest import MakeWorld, Scripted

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")

ACCOUNT = Scripted(body=b'{"data":[{"type":"account","id":"AbCdEf","attributes":{}}]}')

Break = Callable[[Path], object]


def make_link(path: Path) -> None:
    path.rename(path.with_name("target"))
    path.symlink_to(path.with_name("target"))


def make_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


OF_BOTH = [
    pytest.param(lambda path: path.chmod(path.stat().st_mode | 0o020), "can be written to", id="group"),
    pytest.param(lambda path: path.chmod(path.stat().st_mode | 0o002), "can be written to", id="others"),
    pytest.param(
        lambda path: os.chown(path, 12_345, -1), "user with the number 12345", id="owner", marks=as_root
    ),
    pytest.param(make_link, "is a link", id="link"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return private_folder(tmp_path / "shared")


def read(path: Path) -> str:
    with open(path, opener=open_private) as file:
        return file.read()


@pytest.mark.parametrize(("break_it", "told"), OF_BOTH)
def test_a_folder_is_the_users_own(folder: Path, break_it: Break, told: str) -> None:
    break_it(folder)
    with pytest.raises(NotPrivate, match=rf"{folder} .*{told}.*Delete it, or give .* TMPDIR"):
        private_folder(folder)
    with pytest.raises(NotPrivate, match=told), open(folder / "note", "w", opener=open_private):
        pass


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "shared").touch()
    with pytest.raises(OSError, match="exists"):
        private_folder(tmp_path / "shared")


@pytest.mark.parametrize(
    ("break_it", "told"), [*OF_BOTH, pytest.param(make_pipe, "no plain file", id="pipe")]
)
def test_a_file_is_the_users_own(folder: Path, break_it: Break, told: str) -> None:
    file = folder / "note"
    file.write_text("secret")
    break_it(file)
    with pytest.raises(NotPrivate, match=rf"{file} .*{told}"):
        read(file)
    with pytest.raises(NotPrivate), open(file, "w", opener=open_private):
        pass
    if file.is_file():
        assert file.read_text() == "secret", "it is looked at before it is emptied"


def test_a_file_that_is_made_is_private_whatever_the_umask(folder: Path) -> None:
    before = os.umask(0)
    try:
        with open(folder / "note", "w", opener=open_private) as file:
            file.write("A")
    finally:
        os.umask(before)
    assert (folder / "note").stat().st_mode & 0o777 == 0o600
    assert read(folder / "note") == "A"


@pytest.mark.parametrize(("break_it", "told"), OF_BOTH)
@pytest.mark.parametrize("what", ["folder", "file"])
def test_the_account_of_a_key_is_believed_from_the_users_own_files_only(
    world: MakeWorld, folder: Path, break_it: Break, told: str, what: str
) -> None:
    """Where limits are kept in Redis nothing else looks at the folder."""
    made = world(ACCOUNT, account_id="AbCdEf")
    assert known_account_id(made.client, folder) == known_account_id(made.client, folder) == "AbCdEf"
    assert len(made.server.requests) == 1
    break_it(folder if what == "folder" else next(folder.iterdir()))
    for call in (known_account_id, check_account):
        with pytest.raises(KlaviyoConfigurationError, match=told):
            call(made.client, folder)


def test_an_account_that_cannot_be_remembered_is_asked_for(world: MakeWorld, tmp_path: Path) -> None:
    made = world(ACCOUNT)
    (tmp_path / "file").touch()
    assert known_account_id(made.client, tmp_path / "file" / "shared") == "AbCdEf"
    folder = private_folder(tmp_path / "shared")
    assert known_account_id(made.client, folder) == "AbCdEf"
    next(folder.iterdir()).write_bytes(b"")
    assert known_account_id(made.client, folder) == "AbCdEf"
    assert len(made.server.requests) == 3

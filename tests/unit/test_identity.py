"""Identities are written, read and compared in one way, and states find everybody again by it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import airflow_provider_klaviyo
from airflow_provider_klaviyo.identity import Identity, comparable, in_full
from airflow_provider_klaviyo.state.keys import person_hash, person_hashes

PACKAGE = Path(airflow_provider_klaviyo.__file__).parent

GOLDEN = [
    (Identity("email", "jane@shop.io"), -968931634117375985),
    (Identity("phone_number", "+14155550123"), -5827627930918003141),
    (Identity("external_id", "M\u00fcller 7"), -6126645651136626625),
    (Identity("klaviyo_id", "01GDDKASAP8TKDDA2GRZDSVP4H"), 3558083062670280799),
]


@pytest.mark.parametrize(("identity", "digest"), GOLDEN, ids=[each.field for each, _ in GOLDEN])
def test_hashes_of_people_are_pinned_for_ever(identity: Identity, digest: int) -> None:
    """A release that changes one forgets whom it has sent, and whom it has put on a list."""
    assert person_hash(identity) == digest
    assert person_hashes([identity.text]) == [digest]


def test_the_text_in_a_state_is_pinned_too() -> None:
    assert Identity("email", "jane@shop.io").text == "email\0jane@shop.io"


_fields = st.sampled_from(["klaviyo_id", "email", "phone_number", "external_id"])
_values = st.text(st.characters(exclude_characters="\0"))


@given(identity=st.builds(Identity, _fields, _values), own=_fields)
def test_a_text_reads_as_what_it_was_made_of(identity: Identity, own: str) -> None:
    assert Identity.of(identity.text, own) == identity
    assert Identity.of(identity.value, own) == Identity(own, identity.value)
    assert in_full([identity.text, identity.value], own) == [
        identity.text,
        Identity(own, identity.value).text,
    ]


def test_only_addresses_are_one_in_any_letter_case() -> None:
    assert comparable("email", "Jane@Shop.io") == comparable("email", "jane@shop.io")
    assert comparable("external_id", "A7") != comparable("external_id", "a7")


OTHER_USES = {
    "client/account.py": "the file of an account's name",
    "client/config.py": "the name of an account's quota",
    "records/contacts/email.py": "between the addresses of a column",
    "records/contacts/kept.py": "between the addresses of a page",
    "records/contacts/phone.py": "between the numbers of a column",
    "records/profiles/fields.py": "refused in ids",
    "sync/lists/creation.py": "the name of a list's file",
    "sync/source/drivers/cells.py": "in the place of what a message quotes",
}
"""Modules that hold a NUL for something else than identities."""


def test_no_other_module_writes_or_splits_identities() -> None:
    """The emulator is left out: it knows no identities, and refuses NUL as Klaviyo does."""
    files = [file for file in PACKAGE.rglob("*.py") if "emulator" not in file.relative_to(PACKAGE).parts]
    holding = {file.relative_to(PACKAGE).as_posix() for file in files if _holds_nul(file)}
    assert holding == {"identity.py", *OTHER_USES}


def _holds_nul(file: Path) -> bool:
    nodes = ast.walk(ast.parse(file.read_text()))
    return any(
        isinstance(node, ast.Constant) and isinstance(node.value, str) and "\0" in node.value
        for node in nodes
    )

"""The log of a state: what counts, what does not, and what is said of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_klaviyo.state.errors import StateConflict, StateDamaged, StateUnreadable
from airflow_provider_klaviyo.state.log import StateLog
from airflow_provider_klaviyo.state.stored import FORMAT
from airflow_provider_klaviyo.state.stores import store_of


def opened(folder: Path, writer: str = "a run") -> StateLog:
    return StateLog(store_of(folder), writer=writer, now=lambda: 1_000.0)


def begun(folder: Path, appends: int = 3) -> StateLog:
    log = opened(folder)
    log.begin({"target": {}})
    for number in range(appends):
        log.append("note", {"n": number}, b"x" * number)
    return log


def notes(folder: Path) -> list[int]:
    return [entry.facts["n"] for entry in opened(folder).entries if entry.kind == "note"]


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.entry"))


def test_what_was_appended_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    begun(tmp_path)
    log = opened(tmp_path)
    assert [(entry.kind, log.payload(entry)) for entry in log.entries] == [
        ("begin", b""),
        ("note", b""),
        ("note", b"x"),
        ("note", b"xx"),
    ]
    assert not list(tmp_path.glob(".*")), "a draft was left"


def test_an_empty_folder_and_no_folder_are_an_empty_log(tmp_path: Path) -> None:
    assert opened(tmp_path).entries == []
    assert opened(tmp_path / "none").entries == []


@given(cut=st.integers(0, 400))
def test_a_torn_last_file_is_passed_over_and_the_next_entry_too_builds_upon_what_counts(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    folder = tmp_path_factory.mktemp("log")
    begun(folder)
    last = files(folder)[-1]
    content = last.read_bytes()
    last.write_bytes(content[: cut % len(content)])

    log = opened(folder)
    assert notes(folder) == [0, 1]
    log.append("note", {"n": 9})
    assert notes(folder) == [0, 1, 9]


@pytest.mark.parametrize("kept", [0, 20])
def test_a_first_entry_that_is_torn_and_alone_began_nothing(tmp_path: Path, kept: int) -> None:
    """A file server shows a file before all of it is there, and so does a worker that is killed then."""
    begun(tmp_path, appends=0)
    (first,) = files(tmp_path)
    first.write_bytes(first.read_bytes()[:kept])
    assert opened(tmp_path).entries == []
    begun(tmp_path, appends=2)
    assert notes(tmp_path) == [0, 1]


def test_a_later_entry_that_is_torn_and_alone_is_damage(tmp_path: Path) -> None:
    begun(tmp_path, appends=1)
    first, second = files(tmp_path)
    first.unlink()
    second.write_bytes(second.read_bytes()[:20])
    with pytest.raises(StateDamaged, match=r"no whole entry before it.*full_refresh"):
        opened(tmp_path)


def test_a_torn_file_that_others_build_upon_is_damage_that_names_it_and_what_to_do(tmp_path: Path) -> None:
    begun(tmp_path)
    torn = files(tmp_path)[2]
    torn.write_bytes(torn.read_bytes()[:-1])
    with pytest.raises(StateDamaged, match=rf"{torn.name}.*full_refresh"):
        opened(tmp_path)


@pytest.mark.parametrize("place", [0, 2])
def test_a_file_that_is_missing_is_damage(tmp_path: Path, place: int) -> None:
    begun(tmp_path)
    files(tmp_path)[place].unlink()
    with pytest.raises(StateDamaged, match=f"{place + 1:08d}.entry is missing"):
        opened(tmp_path)


def test_a_flipped_bit_is_found(tmp_path: Path) -> None:
    begun(tmp_path)
    file = files(tmp_path)[-1]
    file.write_bytes(file.read_bytes()[:-1] + b"y")
    assert notes(tmp_path) == [0, 1]


def test_a_newer_releases_format_is_named(tmp_path: Path) -> None:
    begun(tmp_path)
    file = files(tmp_path)[-1]
    file.write_bytes(b"7 " + file.read_bytes()[2:])
    with pytest.raises(StateUnreadable, match=f"format 7, and this release reads formats up to {FORMAT}"):
        opened(tmp_path)


def test_what_the_format_before_holds_is_built_upon(tmp_path: Path) -> None:
    begun(tmp_path)
    last = files(tmp_path)[-1]
    last.write_bytes(b"1 " + last.read_bytes()[2:])
    opened(tmp_path).append("note", {"n": 3})
    assert notes(tmp_path) == [0, 1, 2, 3]
    assert [file.read_bytes()[:2] for file in files(tmp_path)][-2:] == [b"1 ", b"%d " % FORMAT]


def test_of_two_writers_one_goes_on_and_the_other_can_add_nothing_more(tmp_path: Path) -> None:
    begun(tmp_path)
    first, second = opened(tmp_path, "the first run"), opened(tmp_path, "the second run")
    first.append("note", {"n": 10})
    for _ in range(2):
        with pytest.raises(StateConflict, match="the first run wrote"):
            second.append("note", {"n": 20})
    first.append("note", {"n": 11})
    assert notes(tmp_path) == [0, 1, 2, 10, 11]


def test_two_first_runs_at_once_are_told_apart(tmp_path: Path) -> None:
    first, second = opened(tmp_path, "one"), opened(tmp_path, "two")
    first.begin({"target": {}})
    with pytest.raises(StateConflict):
        second.begin({"target": {}})


def snapshot(log: StateLog, folder: Path, content: bytes) -> None:
    file = folder / "table"
    file.write_bytes(content)
    log.append_file("snapshot", {"target": {}}, file)


def test_a_snapshot_is_a_base_and_what_is_before_the_last_one_is_pruned(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    log = begun(folder)
    for content in (b"first", b"second"):
        snapshot(log, tmp_path, content)
        log.prune()
        log.append("note", {"n": 5})
    assert notes(folder) == [5]
    assert len(files(folder)) == 4  # two snapshots and a note behind each
    log.copy_payload(opened(folder).entries[0], tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"second"

    log.prune(keep_previous=False)
    assert len(files(folder)) == 2
    assert notes(folder) == [5]


def test_a_torn_snapshot_falls_back_to_the_one_before_it(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    log = begun(folder)
    snapshot(log, tmp_path, b"first")
    log.append("note", {"n": 5})
    snapshot(log, tmp_path, b"second")
    last = files(folder)[-1]
    last.write_bytes(last.read_bytes()[:-2])
    assert notes(folder) == [5]


def test_a_new_chain_begins_behind_damage(tmp_path: Path) -> None:
    begun(tmp_path)
    files(tmp_path)[1].unlink()
    log = StateLog(store_of(tmp_path), writer="a run", now=lambda: 0.0, anew=True)
    log.begin({"target": {}})
    log.append("note", {"n": 8})
    assert notes(tmp_path) == [8]


def test_a_writer_whose_number_was_used_and_deleted_meanwhile_is_told_so(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    log = begun(folder)
    late = opened(folder, "a late run")
    for payload in (b"first", b"second", b"third"):
        snapshot(log, tmp_path, payload)
    log.prune()
    before = files(folder)
    with pytest.raises(StateConflict, match="two runs of one sync overlap"):
        late.append("note", {"n": 8})
    assert files(folder) == before


def test_a_beginning_whose_number_was_used_and_deleted_meanwhile_is_told_so(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    log = begun(folder)
    late = StateLog(store_of(folder), writer="a late run", now=lambda: 0.0, anew=True)
    for payload in (b"first", b"second", b"third"):
        snapshot(log, tmp_path, payload)
    log.prune()
    with pytest.raises(StateConflict):
        late.begin({"target": {}})


STEPS = st.lists(
    st.sampled_from(["a", "b", "reopen a", "reopen b", "kill", "snapshot a", "prune a"]), max_size=25
)


@given(steps=STEPS)
def test_whatever_two_writers_do_one_chain_of_what_was_acknowledged_is_left(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    """``kill`` is an upload that was broken off: a torn file under the next number."""
    folder = tmp_path_factory.mktemp("log")
    opened(folder).begin({"target": {}})
    logs = {name: opened(folder, name) for name in "ab"}
    acknowledged: list[int] = []
    for number, step in enumerate(steps):
        name = step[-1]
        if step == "kill":
            last = max(int(file.name[:8]) for file in files(folder))
            (folder / f"{last + 1:08d}.entry").write_bytes(b'1 {"number":')
        elif step.startswith("reopen"):
            logs[name] = opened(folder, name)
        elif step.startswith("prune"):
            logs[name].prune()
        else:
            try:
                if step.startswith("snapshot"):
                    path = folder / "table"
                    path.write_bytes(repr(acknowledged).encode())
                    logs[name].append_file("snapshot", {"so far": list(acknowledged)}, path)
                else:
                    logs[name].append("note", {"n": number})
                    acknowledged.append(number)
            except StateConflict:
                continue
    log = opened(folder)
    before = log.entries[0].facts.get("so far", [])
    assert [*before, *notes(folder)] == acknowledged

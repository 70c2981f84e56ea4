"""The rows of a function, whatever it gives them as, and what it gives in place of rows."""

from __future__ import annotations

import datetime as dt
import sys
import traceback
from collections import ChainMap, OrderedDict, UserDict, defaultdict
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import pandas as pd
import pytest

from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError
from airflow_provider_klaviyo.records.values.unsendable import Unreadable
from airflow_provider_klaviyo.sync.source.function import FunctionFailed, FunctionRows, NoRows

ADA, BOB = {"id": 1, "email": "ada@shop.io"}, {"id": 2, "email": "bob@shop.io"}
ROWS = [(1, "ada@shop.io"), (2, "bob@shop.io")]


def read(function: Callable[[], object], **options: Any) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    with FunctionRows(function, "people", **options) as rows:
        found = [row for chunk in rows for row in chunk]
        assert rows.rows_read == len(found)
        return tuple(rows.columns), found


def one_by_one() -> Iterator[dict[str, object]]:
    yield ADA
    yield BOB


def frame() -> pd.DataFrame:
    return pd.DataFrame([ADA, BOB])


def table() -> Any:
    return pytest.importorskip("pyarrow").table({"id": [1, 2], "email": ["ada@shop.io", "bob@shop.io"]})


class ArrowOfAnother:
    """What a library has that is none of those known here, and exports its data."""

    def __arrow_c_stream__(self, schema: object = None) -> object:
        return table().__arrow_c_stream__(schema)


@pytest.mark.parametrize(
    "function",
    [
        one_by_one,
        lambda: [ADA, BOB],
        lambda: (ADA, BOB),
        lambda: iter([[ADA], [], [BOB]]),
        frame,
        lambda: iter([frame().iloc[:1], frame().iloc[1:]]),
        table,
        lambda: table().to_batches()[0],
        lambda: table().to_batches(),
        lambda: table().to_reader(),
        lambda: table() and ArrowOfAnother(),
        lambda: iter([ADA, frame().iloc[1:][["email", "id"]]]),
    ],
    ids=[
        *("generator", "list", "tuple", "pages", "frame", "frames", "table", "batch", "batches", "reader"),
        *("other", "mixed"),
    ],
)
def test_rows_are_the_same_whatever_they_come_as(function: Callable[[], object]) -> None:
    assert read(function) == (("id", "email"), ROWS)


def test_who_has_not_what_reads_a_batch_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(
        KlaviyoConfigurationError, match=r"gave ArrowOfAnother, which pyarrow reads: install it"
    ):
        read(ArrowOfAnother)


def test_many_rows_come_in_chunks() -> None:
    whole = pd.DataFrame({"n": range(5_000)})
    with FunctionRows(lambda: iter([whole, *({"n": n} for n in range(5_000))]), "people") as rows:
        sizes = [len(chunk) for chunk in rows]
    assert sum(sizes) == 10_000
    assert max(sizes) <= 2_000


def test_values_are_those_of_python() -> None:
    pa = pytest.importorskip("pyarrow")
    types = pa.table(
        {
            "price": pa.array([Decimal("1.50"), None]),
            "single": pa.array([0.1, None], pa.float32()),
            "at": pa.array([dt.datetime(2026, 1, 2, tzinfo=dt.UTC), None]),
            "tags": pa.array([["a"], None]),
            "late": pa.array([86_400_000_000, None], pa.time64("us")),
        }
    )
    columns, (first, second) = read(lambda: types)
    *known, late = first
    assert known == [Decimal("1.50"), 0.1, dt.datetime(2026, 1, 2, tzinfo=dt.UTC), ["a"]]
    assert isinstance(late, Unreadable)
    assert "'late'" in late.reason
    assert second == (None,) * len(columns)


def test_what_a_frame_misses_is_null() -> None:
    nothing = pd.DataFrame(
        {"n": [1.5, None], "at": [pd.Timestamp("2026-01-02"), None], "s": ["a", None], "l": [[1], None]}
    )
    assert read(lambda: nothing)[1] == [(1.5, pd.Timestamp("2026-01-02"), "a", [1]), (None,) * 4]


def test_a_row_may_lack_a_column_and_must_not_have_another() -> None:
    assert read(lambda: [ADA, {"id": 3}])[1][1] == (3, None)
    with pytest.raises(
        NoRows, match=r"Row 2 of the function 'people' has the column 'city'.*columns="
    ) as told:
        read(lambda: [ADA, {**BOB, "city": "Oslo"}])
    assert "bob" not in str(told.value)
    with pytest.raises(NoRows, match=r"Row 3 .* has the column 'city'"):
        read(lambda: iter([ADA, BOB, frame().assign(city="Oslo")]))


class Answers(dict[str, object]):
    """Has a value for every column that it is asked for."""

    def __missing__(self, column: str) -> object:
        self[column] = "made up"
        return self[column]


@pytest.mark.parametrize(
    "kind", [lambda row: defaultdict(lambda: True, row), Answers], ids=["default", "own"]
)
def test_no_value_is_made_up_for_a_column_that_a_row_lacks(kind: Callable[[Any], Any]) -> None:
    with pytest.raises(NoRows, match=r"Row 2 .* has the column 'consent.Email'"):
        read(lambda: [{**ADA, "consent.email": True}, kind({**BOB, "consent.Email": False})])
    with pytest.raises(NoRows, match=r"Row 2 .* has the column 'city'"):
        read(lambda: [kind({"id": 1}), kind({"city": "Oslo"})])
    row = kind({"city": "Oslo", "id": 1})
    assert read(lambda: [kind(ADA), row], columns=["id", "email"])[1] == [ROWS[0], (1, None)]
    assert read(lambda: [kind(ADA), kind({"id": 2})])[1] == [ROWS[0], (2, None)]
    assert set(row) == {"city", "id"}


def test_other_mappings_are_rows() -> None:
    for kind in (OrderedDict, ChainMap, MappingProxyType, UserDict):
        assert read(lambda: [kind(ADA), kind({"email": "bob@shop.io", "id": 2})])[1] == ROWS  # noqa: B023


class Pairs(UserDict[str, object]):
    """Names a column twice, as a multidict does."""

    def __iter__(self) -> Iterator[str]:
        return iter((*self.data, "email"))

    def __len__(self) -> int:
        return len(self.data) + 1


@pytest.mark.parametrize("columns", [[], ["id", "email"]])
def test_a_column_that_is_there_twice_is_found_in_any_row(columns: list[str]) -> None:
    doubled = frame()[["id", "email", "email"]]
    arrow = pytest.importorskip("pyarrow").Table.from_arrays([[1], ["a"], ["b"]], ["id", "email", "email"])
    for twice in (doubled, arrow, Pairs(ADA)):
        for given in ([twice], [ADA, twice], [frame(), twice]):
            with pytest.raises(NoRows, match="more than one column named 'email'"):
                read(lambda: iter(given), columns=columns)  # noqa: B023


def test_columns_can_be_chosen() -> None:
    columns, rows = read(lambda: [ADA, {**BOB, "city": "Oslo"}], columns=["city", "id"])
    assert (columns, rows) == (("city", "id"), [(None, 1), ("Oslo", 2)])


def test_rows_are_as_they_were_when_they_were_given() -> None:
    np = pytest.importorskip("numpy")

    def one_object_for_all() -> Iterator[object]:
        street: dict[str, object] = {}
        row: dict[str, object] = {
            "tags": [street],
            "set": set(),
            "tuple": ([street],),
            "rest": defaultdict(list, street=street),
            "array": np.zeros(1, int),
            "city": "Oslo",
        }
        page: list[object] = []
        for number in (1, 2):
            street["number"] = number
            row["set"] = {number}
            row["array"][0] = number  # type: ignore[index]
            yield row
            page[:] = [row]
            yield page
            yield pd.DataFrame({name: [value] for name, value in row.items()})

    _, rows = read(one_object_for_all)

    for number, row in zip((1, 1, 1, 2, 2, 2), rows, strict=True):
        street = {"number": number}
        tags, found_set, in_tuple, rest, array, city = row
        assert (tags, found_set, in_tuple, rest, list(array), city) == (  # type: ignore[call-overload]
            [street],
            {number},
            ([street],),
            {"street": street},
            [number],
            "Oslo",
        )


def test_what_holds_itself_is_left_to_be_rejected() -> None:
    own: list[object] = []
    own.append(own)
    (row,) = read(lambda: [{"own": own}])[1]
    assert row[0] is own


@pytest.mark.parametrize("nothing", [list, lambda: iter(()), lambda: iter([[]])])
def test_no_row_is_no_fault(nothing: Callable[[], object]) -> None:
    assert read(nothing, columns_of_none=["email"]) == (("email",), [])
    assert read(nothing, columns_of_none=["email"], columns=["id"]) == (("id",), [])
    assert read(lambda: frame().iloc[:0], columns_of_none=["x"]) == (("id", "email"), [])


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (None, "returned None, not rows"),
        (7, "returned a value of type int"),
        ("ada@shop.io", "returned a value of type str"),
        (ADA, "returned one row, not rows"),
        ([ADA, None], "gave None as row 2"),
        ([ADA, ("ada", 1)], "gave a value of type tuple as row 2"),
        ([[ADA, BOB, 7]], "gave a value of type int as row 3"),
        (iter([ADA, iter([BOB])]), "gave a value of type list_iterator as row 2"),
        ([{1: "ada"}], "names a column by a int, not by a text"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "more than one column named 'a'"),
    ],
)
def test_what_is_no_row_is_told_for_what_it_is(given: object, told: str) -> None:
    with pytest.raises(NoRows, match=told) as error:
        read(lambda: given)
    assert "'people'" in str(error.value)
    assert "ada" not in str(error.value)


def empty(*columns: str) -> list[Callable[[], object]]:
    """What has no rows, yet perhaps columns."""
    return [
        lambda: pd.DataFrame([], columns=list(columns)),
        lambda: pytest.importorskip("pyarrow").table({name: [] for name in columns}),
        lambda: pytest.importorskip("pyarrow").RecordBatch.from_pydict({name: [] for name in columns}),
    ]


@pytest.mark.parametrize(
    "nothing", [*empty(), *empty("id"), *empty("x"), *empty("id", "email", "x"), dict, list]
)
def test_what_is_empty_names_no_columns_before_the_first_row(nothing: Callable[[], object]) -> None:
    for full in (ADA, [ADA], frame().iloc[:1]):
        assert read(lambda: iter([nothing(), nothing(), full, nothing(), BOB])) == (  # noqa: B023 - read at once
            ("id", "email"),
            ROWS if nothing is not dict else [ROWS[0], (None, None), ROWS[1]],
        )


@pytest.mark.parametrize("nothing", [*empty(), dict])
def test_what_has_neither_rows_nor_columns_is_nothing(nothing: Callable[[], object]) -> None:
    assert read(lambda: iter([nothing(), nothing()]), columns_of_none=["email"]) == (("email",), [])
    assert read(lambda: iter([nothing()]), columns=["id"]) == (("id",), [])


def test_columns_named_by_what_is_empty_serve_where_there_is_no_row() -> None:
    for nothing in empty("id", "email"):
        assert read(lambda: iter([{}, nothing(), {}]), columns_of_none=["x"]) == (("id", "email"), [])  # noqa: B023


class ColumnOfAnother:
    """Exports one column, which is no table."""

    def __arrow_c_stream__(self, schema: object = None) -> object:
        return pytest.importorskip("pyarrow").chunked_array([[1, 2]]).__arrow_c_stream__(schema)


class BreaksOffAtOnce:
    """Asks a service when its data is asked for."""

    def __arrow_c_stream__(self, schema: object = None) -> object:
        msg = "no answer"
        raise ConnectionError(msg)


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (lambda: frame()["email"], "Series"),
        (lambda: frame().iloc[0], "Series"),
        (lambda: pd.Series([ADA, BOB]), "Series"),
        (lambda: table()["email"], "ChunkedArray"),
        (lambda: table().to_struct_array(), "ChunkedArray"),
        (lambda: table()["email"].combine_chunks(), "StringArray"),
        (lambda: table().to_batches()[0].to_struct_array(), "StructArray"),
        (lambda: type("Series", (ArrowOfAnother,), {"__module__": "polars.series.series"})(), "Series"),
    ],
)
def test_one_column_is_no_table(column: Callable[[], Any], kind: str) -> None:
    table()
    with pytest.raises(NoRows, match=f"'people' returned a value of type {kind}, not rows"):
        read(column)
    chunks: list[Any] = []
    with (
        pytest.raises(NoRows, match=f"'people' gave a value of type {kind} as row 2"),
        FunctionRows(lambda: iter([ADA, column()]), "people") as rows,
    ):
        chunks.extend(rows)
    assert chunks == [ROWS[:1]]


def test_what_exports_one_column_is_no_table() -> None:
    table()
    for given, row in ((ColumnOfAnother(), 1), (iter([ADA, ColumnOfAnother()]), 2)):
        with pytest.raises(NoRows, match=f"gave a value of type ColumnOfAnother as row {row}"):
            read(lambda: given)  # noqa: B023 - read at once


def test_a_batch_that_cannot_be_opened_has_failed() -> None:
    table()
    with pytest.raises(FunctionFailed, match="failed after 1 row: ConnectionError: no answer"):
        read(lambda: iter([ADA, BreaksOffAtOnce()]))


def people_until(error: BaseException, seen: list[str]) -> Iterator[dict[str, object]]:
    try:
        yield ADA
        yield BOB
        raise error
    finally:
        seen.append("closed")


def test_what_came_before_a_failure_is_handed_out_and_the_failure_has_its_own_frames() -> None:
    failure = LookupError("ada@shop.io is gone")
    chunks = []
    with (
        pytest.raises(FunctionFailed, match="failed after 2 rows: LookupError") as told,
        FunctionRows(lambda: people_until(failure, []), "people") as rows,
    ):
        chunks.extend(rows)
    assert chunks == [ROWS]
    assert told.value.error is failure
    assert [frame.name for frame in traceback.extract_tb(failure.__traceback__)] == ["people_until"]
    assert "ada@" not in str(told.value)


def breaking_reader(error: Exception) -> Any:
    pa = pytest.importorskip("pyarrow")
    whole = pa.table({"n": range(1_500)})

    def batches() -> Iterator[Any]:
        yield from whole.to_batches(max_chunksize=500)
        raise error

    return pa.RecordBatchReader.from_batches(whole.schema, batches())


class BrokenMapping(Mapping[str, object]):
    """A row whose values are fetched when they are asked for."""

    def __getitem__(self, column: str) -> object:
        raise LookupError(column)

    def __iter__(self) -> Iterator[str]:
        return iter(("n",))

    def __len__(self) -> int:
        return 1


@pytest.mark.parametrize("is_returned", [True, False])
def test_a_batch_that_breaks_off_costs_no_row_before_it(is_returned: bool) -> None:
    failure = ConnectionError("ada@shop.io is gone")
    reader = breaking_reader(failure)
    chunks: list[Any] = []
    with (
        pytest.raises(FunctionFailed, match=r"'people' failed after 1,500 rows: ConnectionError") as told,
        FunctionRows(lambda: reader if is_returned else iter([reader]), "people") as rows,
    ):
        chunks.extend(rows)
    assert (sum(map(len, chunks)), rows.rows_read, told.value.rows_read) == (1_500, 1_500, 1_500)
    assert told.value.error is failure
    assert [frame.name for frame in traceback.extract_tb(failure.__traceback__)][-1] == "batches"
    assert not {"_pieces", "_of_arrow"} & {
        frame.name for frame in traceback.extract_tb(failure.__traceback__)
    }


def test_a_row_that_cannot_be_read_costs_no_row_before_it() -> None:
    chunks: list[Any] = []
    with (
        pytest.raises(FunctionFailed, match="failed after 1 row: LookupError"),
        FunctionRows(lambda: [{"n": 1}, BrokenMapping()], "people") as rows,
    ):
        chunks.extend(rows)
    assert chunks == [[(1,)]]


def test_rows_before_a_batch_that_nothing_reads_are_handed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    chunks: list[Any] = []
    with (
        pytest.raises(KlaviyoConfigurationError, match="install it"),
        FunctionRows(lambda: iter([{"n": 1}, ArrowOfAnother()]), "people") as rows,
    ):
        chunks.extend(rows)
    assert chunks == [[(1,)]]


class OpenedOnce:
    """Runs a query whenever its data is asked for."""

    def __init__(self) -> None:
        self.opened = 0

    def __arrow_c_stream__(self, schema: object = None) -> object:
        self.opened += 1
        return table().__arrow_c_stream__(schema)


def test_a_batch_is_opened_once() -> None:
    table()
    batch = OpenedOnce()
    assert read(lambda: batch) == (("id", "email"), ROWS)
    assert batch.opened == 1


def test_a_function_that_cannot_be_called_has_failed() -> None:
    def needs_more(day: str) -> list[Any]:
        return []

    with pytest.raises(FunctionFailed, match="failed before its first row: TypeError"):
        read(needs_more)  # type: ignore[arg-type]


def test_what_ends_a_task_from_outside_goes_through() -> None:
    with pytest.raises(KeyboardInterrupt):
        read(lambda: people_until(KeyboardInterrupt(), []))


def test_a_generator_that_is_left_early_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str] = []
    with FunctionRows(lambda: people_until(LookupError(), seen), "people"):
        pass
    assert seen == ["closed"]

    def stays() -> Iterator[dict[str, object]]:
        try:
            yield ADA
        finally:
            yield BOB

    with FunctionRows(stays, "stays"):
        pass
    assert "The function 'stays' did not end well" in caplog.text

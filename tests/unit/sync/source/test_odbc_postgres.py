"""Arrays as PostgreSQL writes them."""

from __future__ import annotations

import pytest

from airflow_provider_klaviyo.sync.source.drivers.odbc_postgres import array


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", []),
        ("{a,b}", ["a", "b"]),
        ("{a,NULL}", ["a", None]),
        ('{"NULL",""}', ["NULL", ""]),
        (r'{"a \"b\" \\ c","{x,y}","line' "\n" r'two"}', ['a "b" \\ c', "{x,y}", "line\ntwo"]),
        ("{{a,b},{c,NULL}}", [["a", "b"], ["c", None]]),
        ("[0:1]={a,b}", ["a", "b"]),
        ("[0:1][2:2]={{a},{b=c}}", [["a"], ["b=c"]]),
        ("Zoë", "Zoë"),
        ("{a", "{a"),
        ("}{", "}{"),
        ("", ""),
    ],
)
def test_an_array_is_a_list_and_anything_else_stays_text(text: str, expected: object) -> None:
    assert array(text, str) == expected


def test_values_are_read_unless_they_are_null() -> None:
    assert array("{{1,NULL},{2,3}}", int) == [[1, None], [2, 3]]

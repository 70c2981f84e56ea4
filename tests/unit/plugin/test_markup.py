"""Whatever a report or a name holds, it is text on the page."""

from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_klaviyo.plugin.markup import Markup, empty, tag, together


class Reader(HTMLParser):
    """What a browser makes of it: elements with their attributes, and text."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


PLAIN = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"]))


@given(text=PLAIN, value=PLAIN)
def test_text_and_attributes_are_read_back_as_they_were(text: str, value: str) -> None:
    read = Reader(tag("p", text, title=value))
    assert read.elements == [("p", {"title": value})]
    assert read.text == text


@given(text=st.text())
def test_no_text_is_markup_and_none_breaks_the_page(text: str) -> None:
    markup = tag("p", text, tag("b", "x"), title=text)
    assert markup.encode()
    assert [name for name, _ in Reader(markup).elements] == ["p", "b"]


def test_what_is_markup_is_not_escaped_again_and_nothing_is_nothing() -> None:
    assert tag("p", tag("b", 1), None, Markup("&amp;")) == "<p><b>1</b>&amp;</p>"
    assert together("<", None, 2) == "&lt;2"
    assert tag("a", hidden=True, class_="x", aria_label="y", id=None, open=False) == (
        '<a hidden class="x" aria-label="y"></a>'
    )
    assert empty("meta", name="a") == '<meta name="a">'

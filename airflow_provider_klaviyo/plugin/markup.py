"""HTML and SVG from values: whatever is not markup already is escaped."""

from __future__ import annotations

from html import escape


class Markup(str):
    """Text that is markup, and is not escaped again."""

    __slots__ = ()


def tag(name: str, /, *children: str | int | None, **attributes: str | int | float | bool | None) -> Markup:
    """An element.

    :param children: markup, or text that is escaped; None is nothing.
    :param attributes: without those that are None or False; a trailing ``_`` is cut, any other stands for ``-``.
    """
    opening = "".join(
        f" {key.rstrip('_').replace('_', '-')}{_value(value)}"
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    return Markup(f"<{name}{opening}>{together(*children)}</{name}>")


def empty(name: str, /, **attributes: str | int | float | bool | None) -> Markup:
    """An element that has no end of its own, such as ``meta``."""
    return Markup(tag(name, **attributes).removesuffix(f"</{name}>"))


def together(*children: str | int | None) -> Markup:
    """Several pieces as one."""
    return Markup("".join(_text(child) for child in children if child is not None))


def _text(child: str | int) -> str:
    return child if isinstance(child, Markup) else escape(_printable(str(child)))


def _value(value: object) -> str:
    return "" if value is True else f'="{escape(_printable(str(value)))}"'


def _printable(text: str) -> str:
    """Without what no page may have: half characters and control characters."""
    plain = text.encode(errors="replace").decode()
    return "".join(each if each in "\t\n" or each >= " " else "\ufffd" for each in plain)

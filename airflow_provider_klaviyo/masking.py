"""What others say, without people: Klaviyo's, a database's or a library's words, fit for logs, reports and exceptions.

Klaviyo and databases repeat values in what they say of them. How much of their words can stay depends on what is known:
nothing but the words (``mask``), that they are another's (``mask_quotes``), or also the row that they are about
(``mask_row``).
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import date
from decimal import Decimal
from functools import lru_cache

HIDDEN = "***"
_HIDDEN_ADDRESS = "***@***"

_AT = r"(?:[@\uff20\ufe6b]|%40|&\#(?:0*64|x0*40);|\\u0040)"
_BLANK = r"[ \t\u00a0]"
_GAP = r"[ \t\u00a0\u2007-\u200b\u202f()./\u00b7\u2010-\u2015\u2212-]"
"""What people write between the digits of a phone number."""

_BYTE = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"
_DAY, _MONTH, _YEAR = r"(?:[12]\d|3[01]|0?[1-9])", r"(?:0?[1-9]|1[0-2])", r"(?:19|20)\d\d"
_OFFSET = r"(?:\ ?(?:Z|UTC|[+-]\d\d(?:[:_]?\d\d)?)\b)?"

_KEPT = rf"""
    \(? (?:
      \b [0-9a-f]{{8}} (?:-[0-9a-f]{{4}}){{3}} -[0-9a-f]{{12}} \b                       # UUID
      | \b {_YEAR} (?P<between>[-/.]) {_MONTH} (?P=between) {_DAY} (?!\d)             # 2026-11-29 14:03:22.5+01:00
        (?: [T_\ ] \d\d? (?: [:_]\d\d ){{0,2}} (?:[.,]\d+)? {_OFFSET} (?!\d) )?
      | \b {_DAY} (?P<dots>[-/.]) {_DAY} (?P=dots) {_YEAR} (?!\d)                     # 29.11.2026 14:03
        (?: ,?[T\ ] \d\d?:\d\d (?::\d\d)? )?
      | (?<![\d.]) {_BYTE} (?:\.{_BYTE}){{3}} (?: :\d{{1,5}} )? (?!\.?\d)             # IP, port
      | (?<![\w.]) 0\.\d+ (?![\w.-])
      | (?<![\w.,-]) \d[\d,.]* \ ? (?: bytes | [kmg]i?b | rows | ms | s | seconds | minutes | hours | days ) \b
    )
    | \b (?!https?:|mailto:) [a-z][a-z0-9+.-]{{1,20}} :// [^\s/@:'"]{{1,100}} @ [^\s'"@%]+ (?! [^\s'"]{{0,300}} {_AT} )
      # s3://connection@bucket/…
    | (?<![\w/]) / (?! [^\s'"]{{0,300}} {_AT} ) (?: [\w.+:~-]+ / )+ [\w.+:~-]*      # a path
    | \[request\ [^\]@]+\]
    | \b (?: rows? | lines? | bytes | characters? | position | offset | port | pid | process | transaction | version
         | errno ) \ \#? \d[\d,.]* (?: (?:-|\ to\ ) \d[\d,.]* )? (?!\w)
"""
_ADDRESS = rf"""
    (?: "[^"@\n]{{1,64}}" | (?: [^\s"'<>(),;:@\uff20\ufe6b] | (?<=\w)'(?=\w) ){{1,64}} )
    (?: {_AT} [^\s"'<>(),;]+
      | {_BLANK}{{0,2}} {_AT} {_BLANK}{{0,2}} (?! (?: sign | symbol | character ) s? \b ) \w [^\s"'<>(),;]* )
"""
_NUMBER = rf"""
    [+\uff0b] {_BLANK}? \(? \d (?: {_GAP}{{0,3}} \d ){{6,18}}
    | (?<![\w-]) (?<!\d[.,:]) \(? \d (?: {_GAP}{{0,3}} \d ){{8,18}} (?! -?[^\Wx_] | _ | [:,]\d )
    | (?<![\w.,:/-]) (?: \d\d (?:{_BLANK}\d\d){{3}} | \d{{4}} {_BLANK} \d{{4}} ) (?! {_BLANK}?\d | [-.,:/]?\w )
"""
_TOLD = re.compile(
    rf"""
    (?P<key> \bpk_[\w-]+ )
    | (?P<query> (?<=[\w/]) \? (?= [\w%\[\]-]+ = ) [^\s'"]* )
    | (?P<kept> {_KEPT} )
    | (?P<address> {_ADDRESS} )
    | (?P<number> {_NUMBER} )
    """,
    re.VERBOSE | re.IGNORECASE,
)
_IN_PLACE = {"key": "pk_***", "query": "?***", "address": _HIDDEN_ADDRESS, "number": HIDDEN}

_QUOTED = re.compile(
    r"""
    (?: (?<![\w*]) | (?<=\b[bBuENX]) )                                      # b'Zoe' of Python's, N'Zoe' of SQL
    (?: (?P<quote>["'`]) (?: (?P<inner>(?:\\.|[^\\])*?) | (?P<plain>.*?) ) (?P=quote)
      | [\u201c\u201e\u00ab\u2018\u201a] (?P<curly>.+?) [\u201d\u201c\u00bb\u2019\u2018] )
    (?!\w)
    """,
    re.VERBOSE | re.DOTALL,
)
_LEFT_OPEN = re.compile(r"""(?<![\w*])["'\u201c\u201e\u00ab](?!\*\*\*)[^"'\u201d\u00bb]*\Z""")

_TECHNICAL = re.compile(r"/[\w./+:~-]*|[a-z-]+\[[a-z-]+\]|[A-Z]+(?:_[A-Z]+)+|\d{1,4}")
_WORDS = frozenset(
    """
    additional-fields address address1 address2 anonymous_id attributes city consent consented_at country
    custom_source data email events external_id fields filter first_name historical_import id image include
    joined_group_at last_name latitude list lists locale location longitude marketing meta metric name null
    opt_in_process organization page phone_number predictive_analytics profile profile_count profiles properties
    region relationships sms sort subscriptions time timezone title type unique_id value value_currency zip
    """.split()  # noqa: SIM905 - a word a line is no easier to read
)
"""What Klaviyo puts in quotes and is no value: names of its own."""

_NO_CONNECTION = re.compile(r"The conn_id `[\w.:/@-]+` isn't defined")

_places: deque[str] = deque(maxlen=8)
_place: re.Pattern[str] | None = None
"""What lies below one of the places that may be seen."""

_LONGEST = 2_000
"""Characters of another's words that are read; some repeat a whole value."""

_FEWEST = 3
"""Characters of a value that is looked for in words: shorter ones are in every other word."""

_FEWEST_DIGITS = 4


def shortened(text: str) -> str:
    """As much of another's words as people read. No word is cut in half, since half an address looks like none."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST].rpartition(' ')[0]} …"


def show_place(place: str) -> None:
    """Let what lies below a place be seen, whatever it is called: people must find the files that a message names.

    :param place: a folder, or the URL of one; the last ones that were told of count.
    """
    global _place
    if place in _places or not any(each.isalnum() for each in place):
        return
    _places.append(place)
    places = "|".join(map(re.escape, sorted(_places, key=len, reverse=True)))
    _place = re.compile(rf"(?<![\w/])((?:{places})(?:/[\w.+:~/-]*+|(?!\w))(?!{_AT}))")
    mask.cache_clear()


@lru_cache(maxsize=1_024)
def mask(text: str) -> str:
    """A text without addresses, phone numbers, keys and queries of URLs.

    Dates, times, IP addresses, ids, paths, versions and counts stay.
    """
    if not _place:
        return _TOLD.sub(_in_place, text)
    parts = _place.split(text)  # every other one is a place
    parts[::2] = [_TOLD.sub(_in_place, part) for part in parts[::2]]
    return "".join(parts)


def mask_quotes(text: str, names: Collection[str] = ()) -> str:
    """Another's words: ``mask``, and without what stands in quotes, unless it is a name.

    :param names: what may be shown, such as the columns of the query; in any letter case.
    """
    shown = _WORDS.union(name.casefold() for name in names)

    def without(quoted: re.Match[str]) -> str:
        inner = quoted["inner"] or quoted["plain"] or quoted["curly"] or ""
        if not inner or inner.casefold() in shown or _TECHNICAL.fullmatch(inner) or _is_in_a_place(inner):
            return quoted[0]
        return f"{quoted[0][0]}{HIDDEN}{quoted[0][-1]}"

    return _LEFT_OPEN.sub(HIDDEN, _QUOTED.sub(without, mask(shortened(text))))


def mask_row(text: str, row: Iterable[object], names: Collection[str] = ()) -> str:
    """Another's words about a row: ``mask_quotes``, and without the row's own values wherever they stand.

    Of rows with one fault the words become equal.
    """
    folded = text.casefold()
    shown = _WORDS.union(name.casefold() for name in names)
    found = {value for value in _texts(row) if (plain := value.casefold()) in folded and plain not in shown}
    if found:
        longest_first = sorted(found, key=len, reverse=True)
        own = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)", re.IGNORECASE)
        text = own.sub(lambda value: _HIDDEN_ADDRESS if re.search(_AT, value[0]) else HIDDEN, text)
    return mask_quotes(text, names)


def words_of(error: BaseException) -> str:
    """What an error says: the package's own words are known to quote names only, others' may quote anything.

    The package's own are also those that an error of Airflow's repeats, as where a task fails for good. What Airflow
    says of a connection that is missing quotes its id only.
    """
    text = str(error)
    quotes_names = _is_ours(error) or _repeats_ours(error) or _NO_CONNECTION.fullmatch(text)
    return mask(text) if quotes_names else mask_quotes(text)


def _is_ours(error: BaseException | None) -> bool:
    return type(error).__module__.partition(".")[0] == __package__


def _repeats_ours(error: BaseException) -> bool:
    return any(
        _is_ours(each) and mask(str(each)) == str(error) for each in (error.__cause__, error.__context__)
    )


def _is_in_a_place(text: str) -> bool:
    return bool(_place and _place.fullmatch(text))


def _in_place(found: re.Match[str]) -> str:
    kind = next(name for name in ("kept", *_IN_PLACE) if found[name] is not None)
    return _IN_PLACE.get(kind, found[0])


def _texts(value: object) -> Iterator[str]:
    """The values of a row, or of one of its lists and objects, as they may be repeated."""
    if isinstance(value, str):
        text = value.strip()
        fewest = _FEWEST_DIGITS if text.isdigit() else _FEWEST
        if fewest <= len(text) <= _LONGEST:
            yield text
    elif isinstance(value, (int, float, Decimal, date)):
        text = str(value)
        if len(text) >= _FEWEST_DIGITS and value is not True and value is not False:
            yield text
    elif isinstance(value, Mapping):
        yield from _texts(list(value.values()))
    elif isinstance(value, Iterable) and not isinstance(value, (bytes, bytearray, memoryview)):
        for inner in value:
            yield from _texts(inner)

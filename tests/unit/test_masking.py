"""Words in, words out: what may be seen of others' words in a log, a report and an exception."""

from __future__ import annotations

import time
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_klaviyo.exceptions import KlaviyoError
from airflow_provider_klaviyo.masking import mask, mask_quotes, mask_row, show_place, words_of

NUMBERS = {
    "E.164": "+14155552671",
    "United States": "+1 (415) 555-2671",
    "United States, national": "(415) 555-2671",
    "United States, dots": "415.555.2671",
    "United States, bare": "4155552671",
    "United States, extension": "415-555-2671 x12",
    "United Kingdom": "+44 20 7946 0958",
    "United Kingdom, national": "020 7946 0958",
    "United Kingdom, mobile": "07700 900123",
    "Germany": "+49 (0)30/901820",
    "Germany, national": "0151 23456789",
    "Germany, slash": "030/9018201",
    "Germany, 00": "0049 151 23456789",
    "France": "+33 6 12 34 56 78",
    "France, national": "06 12 34 56 78",
    "France, dots": "06.12.34.56.78",
    "Spain": "612 345 678",
    "Italy": "06 6982 1234",
    "Netherlands": "06-12345678",
    "Denmark": "12 34 56 78",
    "Norway": "+47 22 22 55 55",
    "Singapore": "6123 4567",
    "Australia": "0412 345 678",
    "Japan": "03-1234-5678",
    "India": "+91 98765 43210",
    "Brazil": "(11) 91234-5678",
    "no-break spaces": "+49\u00a0151\u00a023456789",
    "non-breaking hyphens": "415\u2011555\u20112671",
    "full-width": "\uff0b\uff11\uff14\uff11\uff15\uff15\uff15\uff15\uff12\uff16\uff17\uff11",
}
ADDRESSES = [
    "zoe@shop.io",
    "zoe.o'neil+x@shop.io",
    "ZOE@SHOP.IO",
    "zoe@localhost",
    "zoë@müller.example",
    "zoe @ shop.io",
    "zoe @ shop",
    "zoe\uff20shop.io",
    "zoe\ufe6bshop.io",
    "zoe%40shop.io",
    "zoe&#64;shop.io",
    "zoe\\u0040shop.io",
    '"zoe b"@shop.io',
    "mailto:zoe@shop.io",
    "https://zoe@shop.io/x",
    "<zoe@shop.io>",
    "(zoe@shop.io)",
    "'zoe@shop.io'",
]
KEPT = [
    "2026-11-29",
    "2026-11-29 11",
    "2026-11-29 14:03",
    "2026-11-29 14:03:22",
    "2026-11-29T14:03:22.123456Z",
    "2026-11-29T14:03:22+01:00",
    "2026-11-29 14:03:22.123456+00",
    "2026/11/29 14:03:22",
    "29.11.2026 14:03",
    "11/29/2026",
    "29/Nov/2026:14:03:22 +0000",
    "14:03:22",
    "14:03:22.123456789",
    "10.0.0.5",
    "192.168.100.200:5432",
    "127.0.0.1:8080",
    "550e8400-e29b-41d4-a716-446655440000",
    "12345678-1234-1234-1234-123456789012",
    "SQLSTATE 22P02",
    "(42703)",
    "ORA-01722",
    "error 1366",
    "LINE 12: SELECT",
    "line 1, column 7",
    "at character 1234",
    "10,000 rows",
    "1,234,567,890 rows",
    "rows 100001-200000",
    "row 123456789",
    "1073741824 bytes",
    "5 MB",
    "3.5 s",
    "1,500 ms",
    "PostgreSQL 16.4",
    "8.0.36-0ubuntu0.22.04.1",
    "10.11.6-MariaDB-1:10.11.6+maria~ubu2204",
    "Python 3.11.7",
    "revision 2026-07-15",
    "01GDDKASAP8TKDDA2GRZDSVP4H",
    "Y6nRLr",
    "job 01HXYZ",
    "[request 1234567890123]",
    "8c1234567890abcd-FRA",
    "/data/attributes/profiles/data/250/attributes/email",
    "/storage/dag/task/scheduled__2026-11-24T01_00_00+00_00-20bbe432.try1.rejects.jsonl",
    "/data/20261129140322/x.json",
    "s3://aws_default@bucket/klaviyo/dag/run.report.json",
    "gs://conn@bucket/20261129140322.json",
    "0x80004005",
    "-2147467259",
    "1.5e10",
    "0.123456789",
    "75/s, 750/m",
    "HTTP 400",
    "port 5432",
    "an @-sign",
    "the @ symbol",
    "MAX(id)",
    "25%",
]


@pytest.mark.parametrize("number", NUMBERS.values(), ids=NUMBERS)
@pytest.mark.parametrize("said", ["The phone number {} is taken.", "value: {}", "phone={}, email=x", "({})"])
def test_a_phone_number_is_masked(number: str, said: str) -> None:
    told = mask(said.format(number))
    assert "***" in told
    assert not any(
        part in told
        for part in (
            "2671",
            "0958",
            "123456",
            "9018",
            "3456",
            "5678",
            "345",
            "1234",
            "4567",
            "43210",
            "55 55",
        )
    )


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("said", ["The value {} is taken.", "email={}, x", "{}"])
def test_an_address_is_masked(address: str, said: str) -> None:
    told = mask(said.format(address)).casefold()
    assert "***@***" in told
    assert not any(part in told for part in ("zoe", "zoë", "shop", "müller"))


@pytest.mark.parametrize("kept", KEPT)
@pytest.mark.parametrize("said", ["{}", "It failed at {} with 3 of them.", "x={}, y=1", "({})", "[{}]"])
def test_what_is_nobodys_stays(kept: str, said: str) -> None:
    assert mask(said.format(kept)) == said.format(kept)


def test_a_key_is_masked() -> None:
    assert mask("Is pk_1234-56ab the key?") == "Is pk_*** the key?"


def test_what_is_kept_hides_nothing_behind_it() -> None:
    assert mask("2026-11-29 11 4155552671") == "2026-11-29 11 ***"
    assert mask("/x/y/zoe@shop.io") == "***@***"
    assert mask("s3://c@bucket/zoe@shop.io").endswith("***@***")
    assert mask("10.0.0.5 415-555-2671") == "10.0.0.5 ***"


#: Who says it, what they say, and what of it may be seen.
WORDS = [
    ("Klaviyo", "Invalid email address", "Invalid email address"),
    ("Klaviyo", "zoe@x.io is not a valid email.", "***@*** is not a valid email."),
    (
        "Klaviyo",
        "'Zoë Müller' is not a valid value for 'first_name'.",
        "'***' is not a valid value for 'first_name'.",
    ),
    ("Klaviyo", '"O\'Neil" is too long.', '"***" is too long.'),
    ("Klaviyo", "“Zoë” is too short.", "“***” is too short."),
    ("Klaviyo", "'' is empty, and 'Zoë' is not.", "'' is empty, and '***' is not."),
    ("Klaviyo", "The phone number '+49 151 23456789' is invalid.", "The phone number '***' is invalid."),
    (
        "Klaviyo",
        "A profile with the external_id `C-77` exists.",
        "A profile with the external_id `***` exists.",
    ),
    ("Klaviyo", "'filter' is not a valid query parameter for this endpoint.", None),
    ("Klaviyo", "'additional-fields[profile]' may be 'predictive_analytics'.", None),
    ("Klaviyo", "'/data/attributes/email' is missing.", None),
    ("Klaviyo", "List ID Y6nRLr does not exist.", None),
    ("Klaviyo", "suppressed ('USER_SUPPRESSED')", None),
    ("Klaviyo", "backdated consent date [2026-11-29T14:03:22+00:00] is after 2026-11-30 11", None),
    ("Klaviyo", "It's the account's limit; don't retry before 2026-11-29 14:03.", None),
    ("Klaviyo", "Request was throttled. Expected available in 43 seconds.", None),
    ("Klaviyo", "The maximum allowed payload size is 5MB, and this has 5242880 bytes.", None),
    ("Klaviyo", "name: Zoë is 'Zo", "name: Zoë is ***"),
    (
        "requests",
        "HTTPSConnectionPool(host='a.klaviyo.com', port=443): Read timed out. (read timeout=60)",
        None,
    ),
    ("requests", "('Connection aborted.', ConnectionResetError(104, 'Connection reset by peer'))", None),
    (
        "urllib3",
        "Max retries exceeded with url: /api/profiles?filter=any(email,%5B%22zoe%40x.io%22%5D)&sort=id",
        "Max retries exceeded with url: /api/profiles?***",
    ),
    (
        "urllib3",
        "NameResolutionError: Failed to resolve 'a.klaviyo.com' ([Errno -2] Name or service not known)",
        None,
    ),
    ("urllib3", "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed (_ssl.c:1006)", None),
    ("requests", "No connection adapters were found for 'a.klaviyo.com'", None),
    (
        "S3",
        "An error occurred (NoSuchKey) when calling the GetObject operation: The key does not exist.",
        None,
    ),
    (
        "S3",
        'Could not connect to the endpoint URL: "https://bucket.s3.amazonaws.com/klaviyo/dag/x.json"',
        None,
    ),
    ("S3", "[Errno 28] No space left on device: '/storage/dag/task/run-20bbe432.try1.rejects.jsonl'", None),
    ("S3", "The bucket s3://aws@bucket/klaviyo/20261129140322 is not there", None),
    ("redis", "Error 111 connecting to 10.0.0.5:6379. Connection refused.", None),
]


@pytest.mark.parametrize(("who", "words", "told"), WORDS)
def test_words_of_others(who: str, words: str, told: str | None) -> None:
    """Klaviyo's may quote a value; a library's quote hosts and files, and only what looks like people is masked."""
    assert (mask_quotes if who == "Klaviyo" else mask)(words) == (words if told is None else told)


def test_names_that_are_known_stay_in_quotes() -> None:
    said = "'Zoë' does not fit 'Spitzname' nor \"EMIAL\""
    assert mask_quotes(said, ["spitzname", "emial"]) == "'***' does not fit 'Spitzname' nor \"EMIAL\""


ROW = (
    1_005,
    "Zoë Müller",
    "zoe@shop.io",
    "0151 23456789",
    date(1990, 5, 17),
    Decimal("12.50"),
    True,
    None,
    "gold",
    "no",
    {"friends": ["Anna-Lena"]},
    b"\xff",
    7,
)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("Zoë Müller is not a valid name", "*** is not a valid name"),
        ("ZOË MÜLLER is not a valid name", "*** is not a valid name"),
        ("zoe@shop.io is taken", "***@*** is taken"),
        ("ZOE@shop.io is taken", "***@*** is taken"),
        ("+4915123456789 is no number", "*** is no number"),
        ("0151 23456789 is no number", "*** is no number"),
        ("1990-05-17 is in the past", "*** is in the past"),
        ("1005 of 2026-11-29 11", "*** of 2026-11-29 11"),
        ("12.50 and 7 and True", "*** and 7 and True"),
        ("no golden Anna-Lena knows None", "no golden *** knows None"),
        ("'Zoë' of column 'Tier'", "'***' of column 'Tier'"),
    ],
)
def test_a_rows_own_values_are_masked(words: str, told: str) -> None:
    assert mask_row(words, ROW, ["tier"]) == told


def test_reasons_of_one_kind_are_equal_whoever_they_are_of() -> None:
    rows = [(f"Person {n}", f"P.{n}@Shop.io", 4_155_550_000 + n) for n in range(100)]
    said = "{0} with {1} and {2} cannot be '{0}' of {3}"
    reasons = {mask_row(said.format(*row, row[1].lower()), row) for row in rows}
    assert reasons == {"*** with ***@*** and *** cannot be '***' of ***@***"}


def test_a_value_that_is_a_columns_name_hides_no_name() -> None:
    assert mask_row("the field email is invalid", ("email", "zoe"), ["email"]) == "the field email is invalid"


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12),
    st.text("abcdefghij0123456789", min_size=4, max_size=8),
    st.text(st.characters(codec="utf-8"), max_size=12),
)
@example("'", "zoenna12", '"')
def test_a_value_is_not_seen_wherever_it_stands_by_itself(before: str, value: str, after: str) -> None:
    value = f"q{value}"
    assert value not in mask_row(f"{before} {value} {after}", (value,))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("invalid literal: b'Zoe'", "invalid literal: b'***'"),
        ("near N'Zoe' and E'Zoe'", "near N'***' and E'***'"),
        (r'"Zoe \"the\" Fox" is bad', '"***" is bad'),
        ("'Zoe\\' is bad", "'***' is bad"),
        ("'Zoe''s' is bad", "'***''***' is bad"),
    ],
)
def test_quotes_are_those_of_programming_languages(words: str, told: str) -> None:
    assert mask_quotes(words) == told


@given(
    st.text(
        st.characters(codec="utf-8", exclude_categories=("Pi", "Pf", "Ps"), exclude_characters="\"'`"),
        min_size=3,
        max_size=30,
    )
)
def test_a_quoted_value_is_not_seen(value: str) -> None:
    value = f"Qx {value}"
    assert value not in mask_quotes(f"The value '{value}' is bad")


@pytest.mark.parametrize(
    "words", ["a" * 50_000, "1 " * 25_000, "/a" * 25_000 + "@x", "'" * 50_000, "a@" * 25_000, '"a ' * 17_000]
)
def test_long_words_take_no_time(words: str) -> None:
    started = time.process_time()
    mask.__wrapped__(words)
    mask_row(words, (words,))
    assert time.process_time() - started < 5


@pytest.mark.parametrize("letters", range(1_970, 2_005))
def test_words_that_are_cut_off_show_no_half_of_anybody(letters: int) -> None:
    said = f"{'a b ' * 600}"[:letters] + " Zoë Müller has zoe.mueller@shop.io"
    for told in (mask_quotes(said.replace("Zoë Müller", "'Zoë Müller'")), mask_row(said, ("Zoë Müller",))):
        assert not any(part in told.casefold() for part in ("zoe", "zoë", "mül"))


def test_our_own_words_quote_names_and_others_quote_anything() -> None:
    assert words_of(KlaviyoError("no column 'Emial'")) == "no column 'Emial'"
    assert words_of(ValueError("could not convert 'Zoë'")) == "could not convert '***'"


@pytest.mark.parametrize(
    "place",
    [
        "/mnt/jane.doe@shop.io/klaviyo",
        "/mnt/my data/+1 (415) 555-2671",
        "/srv/Zoë's Daten/0151 23456789",
        "s3://conn@bucket/jane@shop.io",
        "s3://bucket/4155552671",
        "s3://123456789012",
        "gs://conn@bucket/p%40x/a b",
        "sftp://conn@host/+4915123456789",
        "klaviyo",
    ],
)
def test_what_lies_below_a_place_that_may_be_seen_is_seen(place: str) -> None:
    show_place(place)
    path = f"{place}/4155552671/run__0151.23456789-20bbe432.try1.report.json"
    said = f"zoe@shop.io, +14155552671: {path} and '{path}', or {path}@shop.io and {place}+14155552672."
    for masked in (mask(said), mask_quotes(said)):
        assert f": {path} and '{path}', or " in masked
        assert "@shop.io" not in masked.replace(place, "")
        assert "1415" not in masked


def test_a_place_shows_nothing_of_what_only_begins_like_it() -> None:
    show_place("/mnt/jane")
    assert "shop.io" not in mask("/mnt/jane@shop.io and /mnt/jane.doe@shop.io")

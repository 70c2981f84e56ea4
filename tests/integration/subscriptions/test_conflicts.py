"""Rows of one person that disagree: one no keeps a channel out, whichever row says it, in whatever order."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator
from tests.integration.subscriptions.conftest import (
    BOTH,
    SUBSCRIBE,
    UNSUBSCRIBE,
    ConsentSync,
    People,
    bodies,
    email_of,
    phone_of,
    profiles_of,
    reasons,
    sent,
    writes,
)

pytestmark = pytest.mark.integration

WISHES = {"email": "email", "consent.email": "email_ok"}
BOTH_WISHES = BOTH | {"consent.email": "email_ok", "consent.sms": "sms_ok"}
NUMBER = "+14155552671"
BREAKS_OFF = (
    "SELECT *, 1 / ({} - id) AS x, id % 50 > 0 AS ok FROM (SELECT * FROM people ORDER BY id) AS sorted"
)


@pytest.fixture
def vip(klaviyo: Emulator) -> str:
    return klaviyo.add_list("VIP")


# --- one no is enough -----------------------------------------------------------------------------------------------

NOES: list[object] = ["false", None, "", "perhaps"]


@pytest.mark.parametrize("no", NOES, ids=repr)
@pytest.mark.parametrize("is_first", [True, False], ids=["newest says no", "oldest says no"])
def test_one_row_that_does_not_say_yes_keeps_the_channel_out(
    klaviyo: Emulator,
    words: Any,
    consent_sync: ConsentSync,
    chunks: Any,
    vip: str,
    no: object,
    is_first: bool,
) -> None:
    chunks(1)
    rows: list[dict[str, object]] = [
        {"email": "B@Shop.io", "email_ok": no},
        {"email": "b@shop.io", "email_ok": "true"},
    ]
    sql = words({"email": "a@shop.io", "email_ok": "t"}, *(rows if is_first else reversed(rows)))

    run = consent_sync(sql=sql, mapping=WISHES, list_id=vip, max_rejected=1)

    assert sent(klaviyo) == {("email", "a@shop.io")}
    assert run.counts()["accepted"] == 1
    number = 2 if is_first else 3
    skipped = [line["reason"] for line in run.rejects if line["row_number"] == 5 - number]
    assert skipped == [
        f"no_consent: row {number} of this run says no for this channel (false, NULL or unreadable)"
    ]


def test_a_number_in_another_spelling_is_the_same_number(
    klaviyo: Emulator, words: Any, consent_sync: ConsentSync, vip: str
) -> None:
    spelled = ("+1 (415) 555-2671", "415-555-2671", NUMBER)
    for one, other in itertools.permutations(spelled, 2):
        sql = words({"phone": one, "sms_ok": "no"}, {"phone": other, "sms_ok": "yes"})
        run = consent_sync(
            sql=sql,
            channels="sms",
            mapping={"phone_number": "phone", "consent.sms": "sms_ok"},
            phone_region="US",
            list_id=vip,
        )
        assert run.counts() == {"rows_read": 2, "skipped": 2}
    assert writes(klaviyo) == 0


def test_a_no_to_one_channel_leaves_the_other(
    klaviyo: Emulator, words: Any, consent_sync: ConsentSync, vip: str
) -> None:
    person = {"email": "a@shop.io", "phone": NUMBER}
    sql = words(
        {**person, "email_ok": "t", "sms_ok": "t"},
        {"email": "A@shop.io", "email_ok": "t", "sms_ok": "f"},
    )
    run = consent_sync(sql=sql, mapping=BOTH_WISHES, channels=("email", "sms"), list_id=vip, max_rejected=1)
    assert sent(klaviyo) == {("email", "a@shop.io")}
    warning = next(line for line in run.rejects if line["outcome"] == "warning")
    assert (warning["row_number"], warning["field"]) == (1, "consent.sms")
    assert warning["reason"].startswith("no_consent: row 2 of this run")


def test_who_says_no_by_an_id_is_the_one_who_says_yes_by_the_same_address(
    klaviyo: Emulator, words: Any, consent_sync: ConsentSync, vip: str
) -> None:
    """Row 1 has no address; row 2 gives it one; row 3 is somebody else's, with that address."""
    sql = words(
        {"customer": "7", "email_ok": "f"},
        {"customer": "7", "email": "a@shop.io", "email_ok": "t"},
        {"customer": "8", "email": "A@shop.io", "email_ok": "t"},
        {"customer": "9", "email": "c@shop.io", "email_ok": "t"},
    )
    for match_by in (None, "external_id"):
        run = consent_sync(
            sql=sql,
            mapping={"external_id": "customer", **WISHES},
            match_by=match_by,
            list_id=vip,
            max_rejected=1,
            preview=True,
        )
        assert run.counts() == {"rows_read": 4, "accepted": 1, "skipped": 3}
        told = {line["row_number"]: line["reason"] for line in run.rejects}
        assert set(told) == {1, 2, 3}
        assert "row 1 of this run" in told[2]
        if match_by:
            assert "row 1 of this run" in told[3]


def test_the_number_of_a_household_makes_nobody_speak_for_the_others(
    klaviyo: Emulator, words: Any, consent_sync: ConsentSync, vip: str
) -> None:
    sql = words(
        {"email": "a@shop.io", "phone": NUMBER, "email_ok": "f", "sms_ok": "t"},
        {"email": "b@shop.io", "phone": NUMBER, "email_ok": "t", "sms_ok": "t"},
        {"email": "c@shop.io", "phone": NUMBER, "email_ok": "t", "sms_ok": "f"},
    )
    consent_sync(sql=sql, mapping=BOTH_WISHES, channels=("email", "sms"), list_id=vip)
    assert sent(klaviyo) == {("email", "b@shop.io"), ("email", "c@shop.io")}


@pytest.mark.parametrize(
    ("bad", "settings"),
    [
        (
            {"agreed_at": "soon"},
            {"historical_import": True, "mapping": WISHES | {"consented_at": "agreed_at"}},
        ),
        ({"id": None}, {"primary_key": "id", "only_changes": True}),
        ({"id": "2"}, {"primary_key": "id", "only_changes": True}),
        ({"phone": "12"}, {"mapping": BOTH | WISHES, "on_invalid": "reject"}),
        (
            {"email": "nobody", "customer": "2"},
            {"mapping": WISHES | {"external_id": "customer"}, "match_by": "external_id"},
        ),
    ],
    ids=["bad moment", "no key", "key twice", "bad value", "bad address"],
)
def test_a_row_that_cannot_be_sent_speaks_all_the_same(
    klaviyo: Emulator,
    words: Any,
    consent_sync: ConsentSync,
    vip: str,
    bad: dict[str, object],
    settings: dict[str, Any],
) -> None:
    row = {"email": "a@shop.io", "customer": "2", "agreed_at": "2026-01-01T00:00:00Z"}
    sql = words({"id": "2", **row, "email_ok": "t"}, {"id": "3", **row, **bad, "email_ok": "f"})
    run = consent_sync(**({"sql": sql, "mapping": WISHES, "list_id": vip, "max_rejected": 1} | settings))
    assert run.counts()["rows_read"] == 2
    assert writes(klaviyo) == 0
    assert next(line["outcome"] for line in run.rejects if line["row_number"] == 1) == "skipped"


def test_without_a_column_of_consent_rows_are_sent_as_they_are_read(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync, chunks: Any, vip: str
) -> None:
    """The query breaks off: who came before is sent, since no row can say no."""
    chunks(500)
    people.fill(2_500)
    run = consent_sync(sql=BREAKS_OFF.format(2_400), list_id=vip, resubscribe=True)
    assert "division by zero" in str(run.error)
    assert run.counts() == {"rows_read": 1_950, "accepted": 1_950}


# --- a run that does not come to its end ----------------------------------------------------------------------------


def test_a_query_that_breaks_off_sends_nobody_since_a_later_row_may_say_no(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync, chunks: Any, vip: str
) -> None:
    chunks(100)
    people.fill(250)
    run = consent_sync(
        sql=BREAKS_OFF.format(240), mapping={"email": "email", "consent.email": "ok"}, list_id=vip
    )
    assert "division by zero" in str(run.error)
    assert run.counts() == {"rows_read": 150, "skipped": 3, "pending": 147}
    pending = [line for line in run.rejects if line["outcome"] == "pending"]
    assert len({line["row_number"] for line in pending}) == len(pending) == 147
    assert all("nobody is sent before every row is read" in line["reason"] for line in pending)
    assert writes(klaviyo) == 0

    again = consent_sync(
        sql=BREAKS_OFF.format(900), mapping={"email": "email", "consent.email": "ok"}, list_id=vip
    )
    assert again.counts() == {"rows_read": 250, "accepted": 245, "skipped": 5}


def test_a_preview_shows_the_same(klaviyo: Emulator, words: Any, consent_sync: ConsentSync, vip: str) -> None:
    sql = words(
        {"email": "a@shop.io", "email_ok": "t"},
        {"email": "b@shop.io", "email_ok": "t"},
        {"email": "A@shop.io", "email_ok": None},
    )
    settings = {"sql": sql, "mapping": WISHES, "list_id": vip}
    shown = consent_sync(**settings, preview=True)
    assert writes(klaviyo) == 0
    assert (
        shown.counts() == consent_sync(**settings).counts() == {"rows_read": 3, "accepted": 1, "skipped": 2}
    )


def test_the_report_counts_such_rows_as_one_reason(words: Any, consent_sync: ConsentSync, vip: str) -> None:
    rows = [{"email": email_of(n), "email_ok": ok} for n in range(5) for ok in ("t", "f")]
    run = consent_sync(sql=words(*rows), mapping=WISHES, list_id=vip)
    assert sorted(each["rows"] for each in run.report["reasons"]) == [5, 5]
    assert len(reasons(run)) == 5


# --- who trusts the query's order -----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 50])
def test_the_first_row_that_speaks_of_a_channel_decides_where_that_is_wanted(
    klaviyo: Emulator, words: Any, consent_sync: ConsentSync, chunks: Any, vip: str, size: int
) -> None:
    chunks(size)
    one, other = phone_of(1), phone_of(2)
    sql = words(
        {"email": "a@shop.io", "phone": one, "email_ok": "t", "sms_ok": "f"},
        {"email": "b@shop.io", "email_ok": None, "sms_ok": "t"},
        {"email": "A@shop.io", "phone": one, "email_ok": "f", "sms_ok": "t"},
        {"email": "B@shop.io", "phone": other, "email_ok": "t", "sms_ok": "t"},
    )
    run = consent_sync(
        sql=sql,
        mapping=BOTH_WISHES,
        channels=("email", "sms"),
        list_id=vip,
        conflicts="first",
        max_rejected=1,
    )
    assert sent(klaviyo) == {("email", "a@shop.io"), ("sms", other)}
    told = {line["row_number"]: line["reason"] for line in run.rejects if line["row_number"] > 2}
    assert told[3].startswith("no_consent: row 1 of this run")
    assert told[4].startswith("no_consent: row 2 of this run")


def test_the_yes_of_a_row_that_cannot_be_sent_decides_nothing(
    klaviyo: Emulator, words: Any, consent_sync: ConsentSync, vip: str
) -> None:
    sql = words(
        {"email": "a@shop.io", "email_ok": "t", "agreed_at": "soon"},
        {"email": "a@shop.io", "email_ok": "f", "agreed_at": "2026-01-01"},
        {"email": "a@shop.io", "email_ok": "t", "agreed_at": "2026-01-01"},
    )
    run = consent_sync(
        sql=sql,
        mapping=WISHES | {"consented_at": "agreed_at"},
        historical_import=True,
        list_id=vip,
        conflicts="first",
        max_rejected=1,
    )
    assert run.counts() == {"rows_read": 3, "skipped": 2, "rejected": 1}
    assert writes(klaviyo) == 0


def test_by_order_rows_are_sent_as_they_are_read(
    klaviyo: Emulator, people: People, consent_sync: ConsentSync, chunks: Any, vip: str
) -> None:
    chunks(500)
    people.fill(2_500)
    run = consent_sync(
        sql=BREAKS_OFF.format(2_400),
        mapping={"email": "email", "consent.email": "ok"},
        list_id=vip,
        resubscribe=True,
        conflicts="first",
    )
    assert run.counts() == {"rows_read": 1_950, "accepted": 1_911, "skipped": 39}


def test_a_channel_that_was_kept_out_is_sent_when_nothing_stands_against_it_any_more(
    klaviyo: Emulator, words: Any, consent_sync: ConsentSync, vip: str
) -> None:
    yes = {"id": "2", "email": "a@shop.io", "phone": NUMBER, "email_ok": "t", "sms_ok": "t"}
    no = {"id": "1", "phone": NUMBER, "email_ok": "t", "sms_ok": "f"}
    for conflicts in ("first", "out"):
        nightly = {
            "mapping": BOTH_WISHES,
            "channels": ("email", "sms"),
            "list_id": klaviyo.add_list(conflicts),
            "primary_key": "id",
            "only_changes": True,
            "conflicts": conflicts,
            "state_key": conflicts,
            "max_rejected": 1,
        }
        before = len(bodies(klaviyo, SUBSCRIBE))
        row = yes | {"email": f"{conflicts}@shop.io", "phone": phone_of(len(conflicts))}
        against = no | {"phone": row["phone"]}
        consent_sync(sql=words(against, row), **nightly)
        consent_sync(sql=words(row), **nightly, run_id="next")
        told = [set(record["attributes"]["subscriptions"]) for record in profiles_of(klaviyo, SUBSCRIBE)]
        assert len(bodies(klaviyo, SUBSCRIBE)) == before + 2
        assert told[-2] == {"email"}
        assert "sms" in told[-1]


@pytest.mark.parametrize(
    ("settings", "words_of_error"),
    [
        ({"conflicts": "last"}, "conflicts must be 'out' or 'first', not 'last'"),
        ({"conflicts": ""}, "conflicts must be"),
        ({"conflicts": "first", "mode": "unsubscribe"}, "conflicts: for mode='subscribe' only"),
    ],
)
def test_other_words_are_an_error_before_the_first_row(
    klaviyo: Emulator,
    people: People,
    consent_sync: ConsentSync,
    vip: str,
    settings: dict[str, Any],
    words_of_error: str,
) -> None:
    people.fill(1)
    run = consent_sync(list_id=vip, **settings)
    assert words_of_error in str(run.error)
    assert writes(klaviyo) == len(klaviyo.requests(UNSUBSCRIBE)) == 0

"""People who are to be unsubscribed, in rows at random, held to a plain model of what these ask for together."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_klaviyo.emulator import Emulator
from tests.integration.subscriptions.conftest import UNSUBSCRIBE, ConsentSync, Judge, profiles_of, sent

pytestmark = [pytest.mark.integration, pytest.mark.slow]

EMAILS = {"a@shop.io": ("a@shop.io", "A@Shop.io"), "b@shop.io": ("b@shop.io", " B@shop.IO")}
NUMBERS = {"+14155552671": ("+14155552671", "(415) 555-2671"), "+14155552672": ("+1 415 555 2672",)}
PLAIN = {each: name for names in (EMAILS, NUMBERS) for name, spelled in names.items() for each in spelled}
FIELDS = {"email": "email", "sms": "phone"}
HEALTH = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]

Row = dict[str, str | None]
Wish = tuple[str, str]
"""A channel and an address."""


def one_of(names: dict[str, tuple[str, ...]]) -> st.SearchStrategy[str | None]:
    return st.none() | st.sampled_from([each for spelled in names.values() for each in spelled])


WISH = st.sampled_from(("t", "t", "1", "f", None))
ROWS = st.lists(
    st.fixed_dictionaries(
        {"email": one_of(EMAILS), "phone": one_of(NUMBERS), "email_ok": WISH, "sms_ok": WISH}
    ),
    min_size=1,
    max_size=7,
)
WORLDS = st.tuples(
    st.permutations([*EMAILS, None, None]),
    st.permutations([*NUMBERS, None, None]),
    st.lists(st.booleans(), min_size=4, max_size=4),
)
"""The addresses, the numbers and the memberships of four profiles."""


class Model:
    """What rows ask for, with pencil and paper."""

    def __init__(self, rows: list[Row], channels: tuple[str, ...], match_by: str | None) -> None:
        self.rows = [{name: PLAIN.get(value or "", value) for name, value in row.items()} for row in rows]
        self.channels = channels
        self.identifying = (match_by,) if match_by else ("email", "phone")

    def matched_by(self, row: Row) -> str:
        return next((name for name in self.identifying if row[name]), "")

    def wishes(self, row: Row) -> set[Wish]:
        asked = [channel for channel in self.channels if row[f"{channel}_ok"] in ("t", "1")]
        named = {(channel, row[FIELDS[channel]] or "") for channel in asked if row[FIELDS[channel]]}
        return named if self.matched_by(row) else set()

    def asked(self) -> set[Wish]:
        return {wish for row in self.rows for wish in self.wishes(row)}

    def granted(self, members: list[dict[str, str]]) -> set[Wish]:
        """Wishes of somebody on the list: of the person, or of an address that the list shows to be nobody else's."""
        granted = set()
        for row in self.rows:
            matched_by = self.matched_by(row)
            for channel, address in self.wishes(row):
                for member in members:
                    own = matched_by not in member or member[matched_by] == row[matched_by]
                    if own and member.get(FIELDS[channel]) == address:
                        granted.add((channel, address))
        return granted


def accepted_of(run: Any) -> set[int]:
    others = {line["row_number"] for line in run.rejects if line["outcome"] != "warning"}
    return set(range(1, run.summary["rows_read"] + 1)) - others


CASES = st.tuples(ROWS, st.integers(1, 3), st.sampled_from((None, "email", "phone")), WORLDS)


@pytest.mark.parametrize("channels", [("email", "sms"), ("sms",)], ids="+".join)
@pytest.mark.parametrize("globally", [True, False], ids=["from everything", "from a list"])
def test_what_is_asked_for_together_is_what_happens(
    judge: Judge,
    klaviyo: Emulator,
    words: Any,
    chunks: Any,
    consent_sync: ConsentSync,
    channels: tuple[str, ...],
    globally: bool,
) -> None:
    @settings(max_examples=20, suppress_health_check=HEALTH)
    @given(CASES)
    def happens(case: Any) -> None:
        rows, size, match_by, (emails, numbers, memberships) = case
        klaviyo.reset()
        chunks(size)
        people = [
            {name: value for name, value in (("email", email), ("phone", phone)) if value}
            for email, phone in zip(emails, numbers, strict=True)
        ]
        people = [person for person in people if person]
        ids = klaviyo.add_profiles(
            [
                {"phone_number" if name == "phone" else name: person[name] for name in person}
                for person in people
            ]
        )
        for each in ids:
            klaviyo.set_consent(each, "email", "SUBSCRIBED")
            klaviyo.set_consent(each, "sms", "SUBSCRIBED")
        on_list = [place for place in range(len(ids)) if memberships[place]]
        list_id = klaviyo.add_list("Club", [ids[place] for place in on_list])
        run = consent_sync(
            mode="unsubscribe",
            sql=words(*rows),
            mapping={
                "email": "email",
                "phone_number": "phone",
                **{f"consent.{channel}": f"{channel}_ok" for channel in channels},
            },
            channels=channels,
            match_by="phone_number" if match_by == "phone" else match_by,
            phone_region="US",
            max_rejected=1.0,
            **({"globally": True} if globally else {"list_id": list_id}),
        )
        assert run.error is None
        run.counts()
        judge.check()
        model = Model(rows, channels, match_by)
        members = [people[place] for place in on_list]
        expected = model.asked() if globally else model.granted(members)
        assert sent(klaviyo, UNSUBSCRIBE) == expected
        assert all(model.wishes(model.rows[number - 1]) & expected for number in accepted_of(run))
        if globally:
            assert len(profiles_of(klaviyo, UNSUBSCRIBE)) <= len(expected)
        else:
            gone = {ids[place] for place in on_list if not members_of(klaviyo, list_id) & {ids[place]}}
            assert gone == {
                ids[place]
                for place in on_list
                if any(people[place].get(FIELDS[channel]) == address for channel, address in expected)
            }

    happens()


def members_of(klaviyo: Emulator, list_id: str) -> set[str]:
    return {member["id"] for member in klaviyo.members(list_id)}

"""Each event once, whatever Klaviyo says of ids that it knows: a model of it that says so in many ways."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_klaviyo.client.config import KlaviyoConfig
from airflow_provider_klaviyo.client.endpoints import Endpoint
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.client.rate_limit import MemoryWindows, RateLimiter
from airflow_provider_klaviyo.client.responses import Response
from airflow_provider_klaviyo.exceptions import KlaviyoConnectionError, KlaviyoRequestError
from airflow_provider_klaviyo.records.events.bodies import EventRecord
from airflow_provider_klaviyo.sync.delivery.acknowledgements import NoState
from airflow_provider_klaviyo.sync.events.delivery import EventDelivery, events_body
from airflow_provider_klaviyo.sync.outcomes import Outcome
from tests.clocks import SleepingClock

GROUPS = "/data/attributes/events-bulk-create/data"
KNOWN = "There is an event with this unique_id for the same profile and metric."

Event = tuple[str, str, str]
"""Person, metric, id."""


def event(number: int, name: Event, *, is_backfill: bool = False, was_in_doubt: bool = False) -> EventRecord:
    person, metric, unique_id = name
    named = {"data": {"type": "metric", "attributes": {"name": metric}}}
    attributes = {"properties": {}, "metric": named, "unique_id": unique_id}
    body = json.dumps({"type": "event", "attributes": attributes}, separators=(",", ":"))
    profile = json.dumps({"type": "profile", "attributes": {"email": person}}, separators=(",", ":"))
    return EventRecord(
        number,
        (),
        person,
        body.encode(),
        profile=profile.encode(),
        metric=metric,
        unique_id=unique_id,
        is_backfill=is_backfill,
        was_in_doubt=was_in_doubt,
    )


def orders(count: int, person: str = "ada@shop.io") -> list[Event]:
    return [(person, "Placed Order", f"order-{n}") for n in range(count)]


def events_of(names: Iterable[Event], **options: bool) -> list[EventRecord]:
    return [event(number, name, **options) for number, name in enumerate(names, 1)]


# --- the model ------------------------------------------------------------------------------------------------------

Found = Mapping[str, str]
"""What is wrong with a request: Klaviyo's words by the pointer."""


def all_of_them(found: Found) -> Found:
    return found


def only_the_first(found: Found) -> Found:
    return dict(list(found.items())[:1])


def none_of_them(found: Found) -> Found:
    return {"": "; ".join(dict.fromkeys(found.values()))}


def their_groups(found: Found) -> Found:
    return {pointer.rpartition("/events/")[0]: words for pointer, words in found.items()}


def in_few_words(found: Found) -> Found:
    return dict.fromkeys(found, "Conflict.")


@dataclass
class Klaviyo:
    """Takes a request whole, or refuses it whole; an id that it knows is refused or dropped in silence.

    :param lost: what happens to the n-th request: its answer is lost before or after it was processed.
    """

    known: set[Event] = field(default_factory=set)
    bad: set[Event] = field(default_factory=set)
    bad_people: set[str] = field(default_factory=set)
    refuses_known: bool = True
    tell: Callable[[Found], Found] = all_of_them
    lost: Mapping[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.stored: Counter[Event] = Counter()
        self.requests: list[list[Event]] = []
        self.flags: dict[Event, object] = {}
        self._lock = threading.Lock()

    def exchange(
        self, endpoint: Endpoint, path: str, query: Mapping[str, str], body: bytes | None
    ) -> Response:
        """As the client's transport."""
        with self._lock:
            lost = self.lost.get(len(self.requests), "")
            asked = list(read(body or b""))
            self.requests.append([name for _, name, _ in asked])
            answer = Response(503, {}, b"") if lost == "before" else self._answer(asked)
        if lost:
            error = KlaviyoConnectionError("No answer.")
            error.sent = True
            raise error
        return answer

    def close(self) -> None:
        """As the client's transport."""

    def _answer(self, asked: Sequence[tuple[str, Event, object]]) -> Response:
        names = [name for _, name, _ in asked]
        found: dict[str, str] = {}
        for pointer, name, _ in asked:
            if names.count(name) > 1:
                found[f"{pointer}/unique_id"] = "The unique_id is repeated."
            if name in self.bad:
                found[f"{pointer}/value_currency"] = "Not a currency."
            if self.refuses_known and name in self.known:
                found[f"{pointer}/unique_id"] = KNOWN
            if name[0] in self.bad_people:
                found[f"{pointer.partition('/events/')[0]}/profile/data/attributes/email"] = "Invalid email."
        if found:
            errors = [
                {"status": 400, "code": "invalid", "title": "Invalid input.", "detail": words}
                | {"source": {"pointer": pointer}}
                for pointer, words in self.tell(found).items()
            ]
            return Response(400, {}, json.dumps({"errors": errors}).encode())
        for _, name, flag in asked:
            if name not in self.known:
                self.stored[name] += 1
                self.flags[name] = flag
                self.known.add(name)
        return Response(202, {}, b"")


def read(body: bytes) -> Iterable[tuple[str, Event, object]]:
    """The events of a request, where each stands, and its backfill flag."""
    groups = json.loads(body)["data"]["attributes"]["events-bulk-create"]["data"]
    for number, group in enumerate(groups):
        person = group["attributes"]["profile"]["data"]["attributes"]["email"]
        for inner, each in enumerate(group["attributes"]["events"]["data"]):
            made = each["attributes"]
            assert made.get("backfill") == group["attributes"].get("backfill")
            pointer = f"{GROUPS}/{number}/attributes/events/data/{inner}/attributes"
            yield (
                pointer,
                (person, made["metric"]["data"]["attributes"]["name"], made["unique_id"]),
                made.get("backfill"),
            )


@dataclass
class Told:
    """What became of the events of a delivery, by their numbers."""

    accepted: int = 0
    verdicts: dict[int, tuple[Outcome, str]] = field(default_factory=dict)
    kinds: tuple[int, int] = (0, 0)

    def of(self, outcome: Outcome) -> set[int]:
        return {number for number, (each, _) in self.verdicts.items() if each is outcome}


def delivered(klaviyo: Klaviyo, *batches: Sequence[EventRecord]) -> Told:
    """Deliver batches by a real client that speaks to the model."""
    clock = SleepingClock()
    limiter = RateLimiter(MemoryWindows(), account="test", share=1.0, clock=clock)
    told = Told()
    with KlaviyoClient(KlaviyoConfig("pk_test", base_url="http://model"), limiter, clock=clock) as client:
        client._transport = klaviyo  # type: ignore[assignment]  # the edge of the network
        delivery = EventDelivery(client, NoState(), identifier=lambda: "email", drops_invalid=True)
        try:
            for batch in batches:
                delivery.send(batch)
            for settled in delivery.finish():
                told.accepted += settled.accepted
                for verdict in settled.verdicts:
                    assert verdict.number not in told.verdicts, "an event has two verdicts"
                    told.verdicts[verdict.number] = (verdict.outcome, verdict.problems[0].field)
        finally:
            delivery.close()
        told.kinds = delivery.kinds
    assert told.accepted + len(told.verdicts) == sum(map(len, batches)), "an event has no verdict"
    assert told.accepted == sum(told.kinds)
    return told


WAYS_TO_TELL = [all_of_them, only_the_first, none_of_them, their_groups, in_few_words]


# --- what happens ---------------------------------------------------------------------------------------------------


def test_events_arrive_in_one_request() -> None:
    klaviyo = Klaviyo()
    assert delivered(klaviyo, events_of(orders(1_000))).accepted == 1_000
    assert len(klaviyo.requests) == 1
    assert len(klaviyo.stored) == 1_000


@pytest.mark.parametrize("refuses_known", [True, False], ids=["refused", "dropped in silence"])
@pytest.mark.parametrize("tell", WAYS_TO_TELL)
@pytest.mark.parametrize("lost", ["before", "after"])
def test_a_lost_answer_loses_and_doubles_nothing(
    lost: str, tell: Callable[[Found], Found], refuses_known: bool
) -> None:
    klaviyo = Klaviyo(refuses_known=refuses_known, tell=tell, lost={0: lost})
    told = delivered(klaviyo, events_of([*orders(20), *orders(9, "bob@shop.io")]))
    assert told.accepted == 29
    assert klaviyo.stored == Counter([*orders(20), *orders(9, "bob@shop.io")])


@pytest.mark.parametrize("tell", [only_the_first, none_of_them])
def test_a_thousand_delivered_events_that_are_named_one_by_one_do_not_end_the_run(
    tell: Callable[[Found], Found],
) -> None:
    klaviyo = Klaviyo(tell=tell, lost={0: "after"})
    assert delivered(klaviyo, events_of(orders(1_000))).accepted == 1_000
    assert klaviyo.stored == Counter(orders(1_000))


def test_what_the_repeat_does_not_name_is_sent_again() -> None:
    """Somebody else's run had recorded some of the events, and the first try came to nothing."""
    klaviyo = Klaviyo(known=set(orders(3)), lost={0: "before"})
    assert delivered(klaviyo, events_of(orders(10))).accepted == 10
    assert set(klaviyo.stored) == set(orders(10)) - set(orders(3))
    assert [len(request) for request in klaviyo.requests] == [10, 10, 7]


@pytest.mark.parametrize("tell", WAYS_TO_TELL)
def test_on_a_first_attempt_known_events_are_skipped_and_the_others_sent(
    tell: Callable[[Found], Found],
) -> None:
    klaviyo = Klaviyo(known={orders(10)[n] for n in (2, 3, 7)}, tell=tell)
    told = delivered(klaviyo, events_of(orders(10)))
    assert told.of(Outcome.SKIPPED) == {3, 4, 8}
    assert told.accepted == 7
    assert set(klaviyo.stored) == {orders(10)[n] for n in (0, 1, 4, 5, 6, 8, 9)}


def test_on_a_first_attempt_all_named_events_go_apart_together() -> None:
    klaviyo = Klaviyo(known=set(orders(400)))
    told = delivered(klaviyo, events_of(orders(1_000)))
    assert (told.accepted, len(told.of(Outcome.SKIPPED))) == (600, 400)
    assert sorted(map(len, klaviyo.requests)) == [400, 600, 1_000]


@pytest.mark.parametrize("tell", WAYS_TO_TELL)
def test_after_a_kill_known_events_were_delivered_by_the_killed_run(tell: Callable[[Found], Found]) -> None:
    klaviyo = Klaviyo(known=set(orders(6)), tell=tell)
    told = delivered(klaviyo, events_of(orders(10), was_in_doubt=True))
    assert (told.accepted, told.verdicts) == (10, {})
    assert set(klaviyo.stored) == set(orders(10)) - set(orders(6))


def test_doubt_is_of_single_events_and_not_of_their_neighbours() -> None:
    klaviyo = Klaviyo(known=set(orders(4)))
    mixed = [event(n, name, was_in_doubt=n <= 2) for n, name in enumerate(orders(6), 1)]
    told = delivered(klaviyo, mixed)
    assert told.of(Outcome.SKIPPED) == {3, 4}
    assert told.accepted == 4


def test_a_skipped_event_says_that_it_was_recorded_already() -> None:
    assert delivered(Klaviyo(known=set(orders(1))), events_of(orders(1))).verdicts == {
        1: (Outcome.SKIPPED, "unique_id")
    }


@pytest.mark.parametrize(
    ("pointer", "words"),
    [
        ("{at}/unique_id", KNOWN),
        ("{at}/unique_id", "Duplicate value."),
        ("{at}", "An event with this unique ID already exists."),
        ("{at}/unique_id", "Already processed."),
        ("/data/attributes/events-bulk-create/0/attributes/events/1/attributes/unique_id", KNOWN),
        ("#{at}/unique_id", KNOWN),
        ("data.attributes.events-bulk-create.data[0].attributes.events.data[1].attributes.unique_id", KNOWN),
        ("", KNOWN),
        (GROUPS, "unique_ids must not be repeated"),
    ],
)
def test_klaviyos_words_for_a_known_id_are_understood_in_many_spellings(pointer: str, words: str) -> None:
    at = f"{GROUPS}/0/attributes/events/data/1/attributes"

    def tell(found: Found) -> Found:
        return {pointer.format(at=at) if len(klaviyo.requests[-1]) > 1 else "": words}

    klaviyo = Klaviyo(known={orders(5)[1]}, tell=tell)
    told = delivered(klaviyo, events_of(orders(5), was_in_doubt=True))
    assert (told.accepted, told.verdicts) == (5, {})
    assert len(klaviyo.stored) == 4


@pytest.mark.parametrize(
    "words",
    [
        "unique_id must have 1 to 255 characters",
        "This field may not be blank.",
        "Not a valid string.",
        "Required.",
    ],
)
def test_an_id_of_a_bad_form_is_no_known_one(words: str) -> None:
    at = f"{GROUPS}/0/attributes/events/data/1/attributes/unique_id"
    klaviyo = Klaviyo(bad={orders(5)[1]}, tell=lambda _: {at: words})
    told = delivered(klaviyo, events_of(orders(5), was_in_doubt=True))
    assert told.verdicts == {2: (Outcome.REJECTED, "unique_id")}
    assert told.accepted == len(klaviyo.stored) == 4


# --- requests -------------------------------------------------------------------------------------------------------


def test_events_of_one_person_stand_together_and_history_apart_from_what_is_live() -> None:
    names = [
        ("ada@shop.io", "m", "1"),
        ("bob@shop.io", "m", "2"),
        ("ada@shop.io", "m", "3"),
        ("ada@shop.io", "m", "4"),
    ]
    events = [event(n, name, is_backfill=n == 4) for n, name in enumerate(names, 1)]
    groups = json.loads(events_body(events))["data"]["attributes"]["events-bulk-create"]["data"]
    assert [len(group["attributes"]["events"]["data"]) for group in groups] == [2, 1, 1]
    klaviyo = Klaviyo()
    told = delivered(klaviyo, events)
    assert told.kinds == (3, 1)
    assert klaviyo.flags == {name: True if name == names[3] else None for name in names}


def test_one_id_never_occurs_twice_in_a_request_whoever_the_people_are() -> None:
    """Two addresses may be one person to Klaviyo."""
    names = [
        ("ada@shop.io", "m", "1"),
        ("ADA@work.io", "m", "1"),
        ("bob@shop.io", "m", "1"),
        ("ada@shop.io", "n", "1"),
    ]
    klaviyo = Klaviyo()
    assert delivered(klaviyo, events_of(names)).accepted == 4
    for request in klaviyo.requests:
        ids = [(metric, unique_id) for _, metric, unique_id in request]
        assert len(ids) == len(set(ids))
    assert len(klaviyo.requests) == 3


def test_a_bad_person_costs_that_persons_events_only() -> None:
    names = [*orders(3), *orders(4, "bad@shop.io"), *orders(2, "bob@shop.io")]
    klaviyo = Klaviyo(bad_people={"bad@shop.io"})
    told = delivered(klaviyo, events_of(names))
    assert told.verdicts == dict.fromkeys((4, 5, 6, 7), (Outcome.REJECTED, "email"))
    assert told.accepted == len(klaviyo.stored) == 5


@pytest.mark.parametrize("tell", [all_of_them, only_the_first, none_of_them, their_groups])
def test_a_bad_event_costs_nothing_but_itself(tell: Callable[[Found], Found]) -> None:
    names = [*orders(30), *orders(30, "bob@shop.io")]
    klaviyo = Klaviyo(bad={names[3], names[40]}, tell=tell)
    told = delivered(klaviyo, events_of(names))
    assert told.of(Outcome.REJECTED) == {4, 41}
    assert told.accepted == len(klaviyo.stored) == 58


def test_a_refusal_that_all_share_stops_the_run_and_blames_nobody() -> None:
    klaviyo = Klaviyo(bad=set(orders(20)), tell=none_of_them)
    with pytest.raises(KlaviyoRequestError):
        delivered(klaviyo, events_of(orders(20)))
    assert klaviyo.stored == Counter()


# --- everything at once ---------------------------------------------------------------------------------------------

NAMES = st.tuples(
    st.sampled_from(["a@shop.io", "b@shop.io", "c@shop.io"]), st.just("m"), st.integers(0, 14).map(str)
)


@given(data=st.data(), tell=st.sampled_from(WAYS_TO_TELL), refuses_known=st.booleans())
@settings(deadline=None, max_examples=150)
def test_the_right_events_with_the_right_outcomes_under_lost_answers(
    data: st.DataObject, tell: Callable[[Found], Found], refuses_known: bool
) -> None:
    names = data.draw(st.lists(NAMES, min_size=1, max_size=40, unique=True))
    some = st.sets(st.sampled_from(names), max_size=12)
    killed, before, bad = (
        data.draw(some),
        data.draw(some),
        data.draw(st.sets(st.sampled_from(names), max_size=3)),
    )
    before, killed = before - bad, killed - bad
    bad = set() if tell is in_few_words else bad  # words that say nothing are taken to be about the id
    lost = data.draw(st.dictionaries(st.integers(1, 12), st.sampled_from(["before", "after"]), max_size=4))
    klaviyo = Klaviyo(known=killed | before, bad=bad, refuses_known=refuses_known, tell=tell, lost=lost)
    events = [
        event(n, name, is_backfill=n % 3 == 0, was_in_doubt=name in killed) for n, name in enumerate(names, 1)
    ]
    size = data.draw(st.integers(1, 20))
    batches = [events[start : start + size] for start in range(0, len(events), size)]

    told = delivered(klaviyo, [event(0, ("first@shop.io", "m", "first"))], *batches)

    good = set(names) - bad
    assert set(klaviyo.known) == good | killed | before | {("first@shop.io", "m", "first")}
    assert set(klaviyo.stored.values()) == {1}
    assert {names[number - 1] for number in told.of(Outcome.REJECTED)} == bad
    skipped = {names[number - 1] for number in told.of(Outcome.SKIPPED)}
    assert skipped <= (before - killed if refuses_known else set())
    if not lost and refuses_known:
        assert skipped == before - killed

"""One bad record never sinks its batch: a model of Klaviyo that refuses in every way it is known to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_klaviyo.exceptions import ApiError, KlaviyoRequestError
from airflow_provider_klaviyo.records.record import Problem, Record
from airflow_provider_klaviyo.sync.delivery.pointers import pointed_at
from airflow_provider_klaviyo.sync.delivery.refusals import Objection, RefusalHandler

PREFIX = "/data/attributes/profiles/data"


class Klaviyo:
    """Takes a request whole, or refuses it whole and says why as ``tell`` does."""

    def __init__(self, bad: set[int], tell: Callable[[list[int]], list[ApiError]], status: int = 400) -> None:
        self.bad, self.tell, self.status = bad, tell, status
        self.taken: list[int] = []
        self.requests = 0

    def post(self, part: Sequence[Record]) -> None:
        self.requests += 1
        places = [place for place, record in enumerate(part) if record.number in self.bad]
        if places:
            msg = "refused"
            raise KlaviyoRequestError(msg, status=self.status, errors=self.tell(places))
        self.taken += [record.number for record in part]


def api_error(pointer: str, words: str = "Invalid email") -> ApiError:
    return ApiError(400, "invalid", "Invalid input.", words, pointer, {})


def every_pointer(places: list[int]) -> list[ApiError]:
    return [api_error(f"{PREFIX}/{place}/attributes/email") for place in places]


def first_pointer(places: list[int]) -> list[ApiError]:
    return every_pointer(places[:1])


def no_pointer(_: list[int]) -> list[ApiError]:
    return [api_error("/data")]


def nothing_said(_: list[int]) -> list[ApiError]:
    return []


def delivered(klaviyo: Klaviyo, size: int, handler: RefusalHandler | None = None) -> dict[int, Problem]:
    refused: dict[int, Problem] = {}
    batch = [Record(number, (), str(number), b"{}") for number in range(size)]
    (handler or RefusalHandler(PREFIX)).deliver(
        batch, klaviyo.post, lambda record, problem: refused.__setitem__(record.number, problem)
    )
    return refused


@pytest.mark.parametrize("tell", [every_pointer, first_pointer, no_pointer, nothing_said])
@given(data=st.data())
def test_all_good_records_are_taken_once_and_all_bad_ones_are_named(
    tell: Callable[[list[int]], list[ApiError]], data: st.DataObject
) -> None:
    size = data.draw(st.integers(2, 60))
    bad = data.draw(st.sets(st.integers(0, size - 1), max_size=min(size - 1, 6)))
    klaviyo = Klaviyo(bad, tell)
    handler = RefusalHandler(PREFIX)
    delivered(Klaviyo(set(), tell), 1, handler)  # an earlier batch was taken
    refused = delivered(klaviyo, size, handler)
    assert set(refused) == bad
    assert sorted(klaviyo.taken) == sorted(set(range(size)) - bad)


def test_pointers_cost_one_more_request_and_name_field_and_words() -> None:
    klaviyo = Klaviyo({3, 7}, every_pointer)
    refused = delivered(klaviyo, 10)
    assert klaviyo.requests == 2
    assert refused[3] == Problem("email", "Klaviyo refused it: Invalid email", is_klaviyos=True)


def test_halving_finds_one_culprit_among_ten_thousand_in_a_few_requests() -> None:
    klaviyo = Klaviyo({4_321}, no_pointer)
    assert set(delivered(klaviyo, 10_000)) == {4_321}
    assert klaviyo.requests < 40


def test_a_refusal_that_points_elsewhere_stops_at_once_and_blames_nobody() -> None:
    klaviyo = Klaviyo({1}, lambda _: [api_error("/data/relationships/lists/data/0/id", "No such list")])
    with pytest.raises(KlaviyoRequestError):
        delivered(klaviyo, 10)
    assert klaviyo.requests == 1


@pytest.mark.parametrize("size", [1, 2, 3, 500])
def test_a_refusal_that_all_records_share_stops_and_blames_nobody(size: int) -> None:
    klaviyo = Klaviyo(set(range(size)), no_pointer)
    refused: dict[int, Problem] = {}
    with pytest.raises(KlaviyoRequestError):
        refused = delivered(klaviyo, size)
    assert not refused
    assert klaviyo.requests < 20


@pytest.mark.parametrize("tell", [no_pointer, nothing_said])
@pytest.mark.parametrize(
    "bad",
    [range(4), range(990, 1_000), range(0, 1_000, 40), (0, 1, 2, 999)],
    ids=["first", "last", "scattered", "both ends"],
)
def test_bad_records_in_the_very_first_batch_are_told_from_a_refusal_that_all_share(
    tell: Callable[[list[int]], list[ApiError]], bad: Sequence[int]
) -> None:
    klaviyo = Klaviyo(set(bad), tell)
    assert set(delivered(klaviyo, 1_000)) == set(bad)
    assert len(klaviyo.taken) == 1_000 - len(bad)


def test_a_batch_of_one_bad_record_waits_for_what_the_others_tell() -> None:
    handler = RefusalHandler(PREFIX)
    is_refused, may_be_taken = threading.Event(), threading.Event()
    refused: list[int] = []

    def refusing(_: Sequence[Record]) -> None:
        is_refused.set()
        msg = "refused"
        raise KlaviyoRequestError(msg, status=400, errors=no_pointer([]))

    def slow(_: Sequence[Record]) -> None:
        assert is_refused.wait(10)
        may_be_taken.wait(10)

    def send(post: Callable[[Sequence[Record]], None], number: int) -> None:
        record = Record(number, (), "", b"{}")
        handler.deliver([record], post, lambda record, _: refused.append(record.number))

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(send, slow, 1)
        second = pool.submit(send, refusing, 2)
        assert is_refused.wait(10)
        may_be_taken.set()
        first.result(10)
        second.result(10)
    assert refused == [2]


@pytest.mark.parametrize(
    "pointer",
    [
        "/data/attributes/profiles/data/250/attributes/email",
        "data/attributes/profiles/data/250/attributes/email",
        "#/data/attributes/profiles/data/250/attributes/email",
        "data.attributes.profiles.data[250].attributes.email",
        "/data/attributes/profiles/250/attributes/email",
        "/data/250/attributes/email",
    ],
)
def test_a_pointer_is_understood_in_any_spelling(pointer: str) -> None:
    klaviyo = Klaviyo({250}, lambda places: [api_error(pointer)])
    assert delivered(klaviyo, 300) == {
        250: Problem("email", "Klaviyo refused it: Invalid email", is_klaviyos=True)
    }
    assert klaviyo.requests == 2


@pytest.mark.parametrize(
    "pointer", ["", "/", "/data/", "/data/attributes", "/data/attributes/email", "/data/attributes/profiles"]
)
def test_a_pointer_that_names_no_record_leaves_it_to_halving(pointer: str) -> None:
    klaviyo = Klaviyo({250}, lambda places: [api_error(pointer)])
    assert set(delivered(klaviyo, 300)) == {250}


@pytest.mark.parametrize(
    "pointer", ["/headers/revision", "page[size]", "/data/type", "/data/relationships/lists"]
)
def test_a_pointer_elsewhere_blames_nobody(pointer: str) -> None:
    with pytest.raises(KlaviyoRequestError):
        delivered(Klaviyo({250}, lambda places: [api_error(pointer)]), 300)


@pytest.mark.parametrize(
    ("pointer", "words"),
    [
        ("/data", "List ID Y6nRLr does not exist."),
        ("/data/", "A list with id Y6nRLr does not exist."),
        ("", "Unknown list"),
        ("/data/relationships/list/data/id", "List not found with id Y6nRLr."),
    ],
)
@pytest.mark.parametrize("status", [400, 404])
def test_a_list_that_klaviyo_does_not_know_stops_at_the_first_request(
    pointer: str, words: str, status: int
) -> None:
    klaviyo = Klaviyo(set(range(300)), lambda places: [api_error(pointer, words)], status)
    refused: dict[int, Problem] = {}
    with pytest.raises(KlaviyoRequestError):
        refused = delivered(klaviyo, 300, RefusalHandler(PREFIX, about_records=(400, 404)))
    assert (klaviyo.requests, refused) == (1, {})


@pytest.mark.parametrize(
    ("pointer", "words"),
    [(f"{PREFIX}/7/attributes/properties/list", "List not found"), ("/data", "Not a list.")],
)
def test_a_list_that_is_a_value_of_a_record_is_that_records(pointer: str, words: str) -> None:
    klaviyo = Klaviyo({7}, lambda places: [api_error(pointer, words)])
    assert set(delivered(klaviyo, 20)) == {7}


# --- mending --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pointer", "place", "path"),
    [
        (f"{PREFIX}/3/attributes/location/latitude", 3, ("location", "latitude")),
        (f"{PREFIX}/3/attributes/properties/a.b", 3, ("properties", "a.b")),
        (f"{PREFIX}/3/attributes/properties/a~1b~0c", 3, ("properties", "a/b~c")),
        (f"#{PREFIX}/3/attributes/properties/a%20b", 3, ("properties", "a b")),
        ("data.attributes.profiles.data[3].attributes.location.city", 3, ("location", "city")),
        (f"{PREFIX}/3/id", 3, ("id",)),
        (f"{PREFIX}/3/attributes", 3, ()),
        (f"{PREFIX}/3", 3, ()),
        ("phone_number", None, ("phone_number",)),
        ("/phone_number", None, ("phone_number",)),
        ("attributes.phone_number", None, ("phone_number",)),
        ("properties/a.b", None, ("properties", "a.b")),
        ("/data/attributes/value_currency", None, ("value_currency",)),
        ("/data/attributes/custom_source", None, ()),
        ("/data/attributes/profiles", None, ()),
        ("/data", None, ()),
        ("", None, ()),
    ],
)
def test_what_a_pointer_means(pointer: str, place: int | None, path: tuple[str, ...]) -> None:
    assert pointed_at(pointer, PREFIX.strip("/").split("/")) == (place, path)


def losing(*fields: str) -> RefusalHandler:
    """Mends records that have these fields, each once."""
    left: dict[int, set[str]] = {}

    def mend(record: Record, objections: Sequence[Objection]) -> Record | None:
        has = left.setdefault(record.number, set(fields))
        named = {".".join(objection.path) for objection in objections}
        if not named <= has:
            return None
        left[record.number] = has - named
        return record

    return RefusalHandler(PREFIX, mend=mend)


class Mendable(Klaviyo):
    """Refuses its bad records until each was refused for every field in turn."""

    def __init__(self, bad: set[int], fields: Sequence[str], pointer: Callable[[int, str], str]) -> None:
        super().__init__(bad, lambda _: [])
        self.wrong = {number: list(fields) for number in bad}
        self.pointer = pointer

    def post(self, part: Sequence[Record]) -> None:
        places = {place: self.wrong.get(record.number) for place, record in enumerate(part)}
        self.tell = lambda named: [
            api_error(self.pointer(place, fields[0])) for place in named if (fields := places[place])
        ]
        self.bad = {number for number, fields in self.wrong.items() if fields}
        try:
            super().post(part)
        except KlaviyoRequestError as error:
            for place in {
                int(each.pointer.split("/")[5]) for each in error.errors if "data/" in each.pointer
            } or ({0} if len(part) == 1 else set()):
                if fields := places[place]:
                    fields.pop(0)
            raise


@pytest.mark.parametrize(
    "pointer",
    [lambda place, field: f"{PREFIX}/{place}/attributes/{field}", lambda _, field: field],
    ids=["whose", "bare"],
)
@given(data=st.data())
@settings(max_examples=30)
def test_records_that_can_go_without_what_is_refused_are_all_taken(
    pointer: Callable[[int, str], str], data: st.DataObject
) -> None:
    size = data.draw(st.integers(2, 40))
    bad = data.draw(st.sets(st.integers(0, size - 1), max_size=5))
    fields = data.draw(st.lists(st.sampled_from(["title", "image", "locale"]), min_size=1, unique=True))
    klaviyo = Mendable(bad, fields, pointer)
    assert delivered(klaviyo, size, losing("title", "image", "locale")) == {}
    assert sorted(klaviyo.taken) == list(range(size))


def test_a_field_that_comes_again_rejects_the_record() -> None:
    klaviyo = Klaviyo(
        {3}, lambda places: [api_error(f"{PREFIX}/{place}/attributes/title") for place in places]
    )
    refused = delivered(klaviyo, 10, losing("title"))
    assert refused == {3: Problem("title", "Klaviyo refused it: Invalid email", is_klaviyos=True)}
    assert klaviyo.requests == 3
    assert sorted(klaviyo.taken) == [0, 1, 2, *range(4, 10)]


def test_a_bare_name_of_nothing_that_a_record_has_is_no_records_fault() -> None:
    klaviyo = Klaviyo(set(range(20)), lambda _: [api_error("historical_import")])
    with pytest.raises(KlaviyoRequestError):
        delivered(klaviyo, 20, losing("title"))


def test_records_that_go_alone_are_blamed_for_what_is_theirs_only() -> None:
    def delivered_each(klaviyo: Klaviyo, size: int) -> set[int]:
        refused: set[int] = set()
        records = [Record(number, (), "", b"{}") for number in range(size)]
        RefusalHandler("/data").deliver_each(
            records, klaviyo.post, lambda record, _: refused.add(record.number)
        )
        return refused

    assert delivered_each(Klaviyo({0, 7}, lambda _: [api_error("/data/attributes/email")]), 9) == {0, 7}
    assert delivered_each(Klaviyo({0, 7}, no_pointer), 9) == {0, 7}
    with pytest.raises(KlaviyoRequestError):
        delivered_each(Klaviyo(set(range(60)), no_pointer), 60)
    with pytest.raises(KlaviyoRequestError):
        delivered_each(Klaviyo({0}, lambda _: [api_error("/headers")]), 9)


def test_a_batch_that_is_too_large_is_halved_and_a_record_that_is_too_large_is_refused() -> None:
    taken: list[int] = []

    def post(part: Sequence[Record]) -> None:
        if sum(len(record.body) for record in part) > 10:
            msg = "too large"
            raise KlaviyoRequestError(msg, status=413)
        taken.extend(record.number for record in part)

    refused: list[int] = []
    batch = [Record(number, (), "", b"x" * size) for number, size in enumerate([4, 4, 4, 40, 4])]
    RefusalHandler(PREFIX).deliver(batch, post, lambda record, _: refused.append(record.number))
    assert (sorted(taken), refused) == ([0, 1, 2, 4], [3])


def test_refusals_without_end_stop_the_run() -> None:
    klaviyo = Klaviyo(set(range(10_000)), first_pointer)
    with pytest.raises(KlaviyoRequestError):
        delivered(klaviyo, 10_000)
    assert klaviyo.requests <= 5_002


def test_several_errors_of_one_record_are_told_together() -> None:
    def tell(places: list[int]) -> list[ApiError]:
        where = f"{PREFIX}/{places[0]}/attributes"
        return [api_error(f"{where}/email", "bad address"), api_error(f"{where}/location/zip", "bad zip")]

    refused = delivered(Klaviyo({0}, tell), 2)
    assert refused[0].field == "email, location.zip"
    assert "bad address" in refused[0].reason
    assert "bad zip" in refused[0].reason

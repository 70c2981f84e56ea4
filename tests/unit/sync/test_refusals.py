"""One bad record never sinks its batch: a model of Klaviyo that refuses in every way it is known to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_klaviyo.exceptions import ApiError, KlaviyoRequestError
from airflow_provider_klaviyo.records.record import Problem, Record
from airflow_provider_klaviyo.sync.refusals import RefusalHandler

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
    assert refused[3] == Problem("email", "Klaviyo refused it: Invalid email")


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
    assert delivered(klaviyo, 300) == {250: Problem("email", "Klaviyo refused it: Invalid email")}
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

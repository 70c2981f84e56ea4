"""One bad record never sinks its batch: a model of Klaviyo that refuses in every way it is known to."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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
    assert klaviyo.requests <= 2_502


def test_several_errors_of_one_record_are_told_together() -> None:
    def tell(places: list[int]) -> list[ApiError]:
        where = f"{PREFIX}/{places[0]}/attributes"
        return [api_error(f"{where}/email", "bad address"), api_error(f"{where}/location/zip", "bad zip")]

    refused = delivered(Klaviyo({0}, tell), 2)
    assert refused[0].field == "email, location.zip"
    assert "bad address" in refused[0].reason
    assert "bad zip" in refused[0].reason

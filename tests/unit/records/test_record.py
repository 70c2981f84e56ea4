"""What records are to the parts of a sync that each know one kind of them."""

from __future__ import annotations

import pytest

from airflow_provider_klaviyo.records.lists.member import ListMember
from airflow_provider_klaviyo.records.record import Record, all_of

ADA = ListMember(1, (), "ada@shop.io", b"")
BOB = Record(2, (), "bob@shop.io", b"")


def test_records_of_a_kind_pass_in_their_order() -> None:
    assert all_of(Record, [ADA, BOB]) == [ADA, BOB]
    assert all_of(ListMember, [ADA]) == [ADA]


def test_a_record_of_another_kind_is_never_left_out_in_silence() -> None:
    with pytest.raises(TypeError, match="A Record came where each record is a ListMember"):
        all_of(ListMember, [ADA, BOB])

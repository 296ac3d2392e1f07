"""Ids: always new, in the order of time, and those that follow from another one beside it."""

import re
from unittest.mock import patch

from ultramarket.domain.ids import new_id, order_id, payment_id

ID = re.compile(r"[0-9a-f]{40}")


def at(milliseconds: int) -> str:
    with patch("ultramarket.domain.ids.time.time_ns", return_value=milliseconds * 1_000_000):
        return new_id()


def test_new_ids_are_never_the_same() -> None:
    ids = {at(1_800_000_000_000) for _ in range(1000)}
    assert len(ids) == 1000
    assert all(ID.fullmatch(id) for id in ids)


def test_a_later_id_comes_after_an_earlier_one() -> None:
    times = [0, 1, 15, 16, 255, 1_700_000_000_000, 1_700_000_000_001, 1_799_999_999_999, 16**12 - 1]
    ids = [at(time) for time in times]
    assert ids == sorted(ids)
    assert at(1_700_000_000_000)[:12] == "018bcfe56800"


def test_an_order_and_its_payment_follow_from_the_version_of_the_cart() -> None:
    cart = at(1_700_000_000_000)
    order = order_id(cart, 7)
    assert order == order_id(cart, 7)
    assert payment_id(order) == payment_id(order_id(cart, 7))
    assert len({cart, order, order_id(cart, 8), order_id(at(1_700_000_000_000), 7), payment_id(order)}) == 5
    assert {id[:12] for id in (order, payment_id(order))} == {"018bcfe56800"}


def test_the_rest_of_an_order_id_says_nothing_of_its_cart() -> None:
    cart = at(1_700_000_000_000)
    assert order_id(cart, 7)[12:] not in cart
    assert order_id("not-an-id-of-ours", 1) != order_id("not-an-id-of-ours", 2)
    assert ID.fullmatch(order_id("not-an-id-of-ours", 1))

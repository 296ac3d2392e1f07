from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from ultramarket.views.orders import OrderFilters
from ultramarket.views.pages import Page, list_mark, page_of, read_cursor, write_cursor
from ultramarket.views.products import ProductFilters

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("key", [NOON, Decimal("12.90"), "a title"])
def test_a_cursor_comes_back_as_it_was_written(key: Any) -> None:
    assert read_cursor(write_cursor("newest", key, "p1"), "newest", type(key)) == (key, "p1")


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        (NOON.replace(tzinfo=None), datetime),
        ("yesterday", datetime),
        ("NaN", Decimal),
        ("1e99", Decimal),
        ("a\0", str),
        ("a" * 3000, str),
    ],
)
def test_a_cursor_with_a_key_that_makes_no_sense_is_refused(key: Any, kind: Any) -> None:
    with pytest.raises(ValueError, match="The cursor is broken"):
        read_cursor(write_cursor("newest", key, "p1"), "newest", kind)


def test_a_cursor_of_another_list_is_refused() -> None:
    with pytest.raises(ValueError, match="other filters or in another order"):
        read_cursor(write_cursor("title", "a", "p1"), "name", str)


def test_view_filters_and_order_tell_lists_apart() -> None:
    lists = [
        list_mark("products", ProductFilters()),
        list_mark("products", ProductFilters(sort="title")),
        list_mark("products", ProductFilters(options={"Size": "M"})),
        list_mark("products", ProductFilters(price_min=Decimal("12.90"))),
        list_mark("orders", OrderFilters()),
        list_mark("orders", OrderFilters(since=NOON)),
    ]
    assert len(set(lists)) == 6
    assert list_mark("products", ProductFilters(options={"A": "1", "B": "2"})) == list_mark(
        "products", ProductFilters(options={"B": "2", "A": "1"})
    )


def test_the_last_page_has_no_next() -> None:
    assert page_of("abc", ["1", "2", "3"], 3) == Page(items=("a", "b", "c"), next=None)
    assert page_of("abc", ["1", "2", "3"], 2) == Page(items=("a", "b"), next="2")
    assert page_of("", [], 2) == Page(items=(), next=None)

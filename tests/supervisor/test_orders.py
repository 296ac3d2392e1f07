import os

import pytest

from ultramarket.roles import Role
from ultramarket.supervisor.orders import CHILD, ChildOrders, Post, as_variable, posts, take_child_orders


def test_places_are_numbered_by_role() -> None:
    assert posts(replicas=2, workers=1, web=1) == (
        Post("replica-1", Role.ALL),
        Post("replica-2", Role.ALL),
        Post("worker-1", Role.WORKER),
        Post("web-1", Role.WEB),
    )


def test_orders_are_taken_once_so_that_no_grandchild_takes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    orders = ChildOrders("replica-1", 5, (3, 4))
    monkeypatch.setenv(CHILD, as_variable(orders))
    assert take_child_orders() == orders
    assert CHILD not in os.environ
    assert take_child_orders() is None


def test_workers_have_actors_and_no_http_and_front_ends_the_other_way_round() -> None:
    assert [(role.has_actors, role.has_http) for role in (Role.ALL, Role.WORKER, Role.WEB)] == [
        (True, True),
        (True, False),
        (False, True),
    ]

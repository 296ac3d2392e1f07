"""Who may come in, by a clock of the test's own."""

import pytest

from web.admission import HOLD_SECONDS, NEWEST, REPEATS, SPARE_CONNECTIONS, Admission, Kind, kind_of


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def admission(clock: Clock) -> Admission:
    return Admission(limit=10, connections=3, clock=clock)


def fill(admission: Admission, kind: Kind) -> list[int]:
    """Let in as many as there is room for."""
    tickets = []
    while ticket := admission.enter(kind):
        tickets.append(ticket)
    return tickets


def rush(admission: Admission) -> None:
    """Send so many away that nearly nobody was let in of late."""
    tickets = fill(admission, Kind.CHECKOUT)
    for _ in range(10 * NEWEST):
        assert admission.enter(Kind.BROWSING) == 0
    for ticket in tickets:
        admission.leave(ticket)


@pytest.mark.parametrize(("kind", "room"), [(Kind.BROWSING, 8), (Kind.CART, 9), (Kind.CHECKOUT, 10)])
def test_each_kind_has_its_share_of_the_room(admission: Admission, kind: Kind, room: int) -> None:
    assert len(fill(admission, kind)) == room
    assert admission.in_flight == room


@pytest.mark.parametrize(("kind", "room"), [(Kind.BROWSING, 5), (Kind.CART, 8), (Kind.CHECKOUT, 10)])
def test_the_more_are_sent_away_the_fewer_are_let_in(admission: Admission, kind: Kind, room: int) -> None:
    rush(admission)
    assert len(fill(admission, kind)) == room


def test_once_nobody_is_sent_away_any_more_there_is_all_the_room_again(admission: Admission) -> None:
    rush(admission)
    for _ in range(10 * NEWEST):
        admission.leave(admission.enter(Kind.BROWSING))
    assert len(fill(admission, Kind.BROWSING)) == 8


def test_what_matters_more_still_has_room_where_the_rest_has_none(admission: Admission) -> None:
    assert len(fill(admission, Kind.BROWSING)) == 8
    assert len(fill(admission, Kind.CART)) == 1
    assert len(fill(admission, Kind.CHECKOUT)) == 1
    assert admission.enter(Kind.CART) == 0
    assert admission.enter(Kind.BROWSING) == 0


def test_operation_is_never_refused(admission: Admission) -> None:
    fill(admission, Kind.CHECKOUT)
    assert all(admission.enter(Kind.OPERATION) for _ in range(100))


def test_who_leaves_makes_room_and_leaving_twice_makes_no_more(admission: Admission) -> None:
    tickets = fill(admission, Kind.CHECKOUT)
    admission.leave(tickets[3])
    admission.leave(tickets[3])
    admission.leave(0)
    assert len(fill(admission, Kind.CHECKOUT)) == 1


def test_a_request_that_waits_for_somebody_else_counts_for_a_short_while_only(
    admission: Admission, clock: Clock
) -> None:
    stuck = fill(admission, Kind.CHECKOUT)
    clock.now += HOLD_SECONDS - 0.1
    assert admission.enter(Kind.CHECKOUT) == 0
    clock.now += 0.1
    assert len(fill(admission, Kind.CHECKOUT)) == 10
    for ticket in stuck:  # they are answered after all, and free nobody else's place
        admission.leave(ticket)
    assert admission.in_flight == 10
    assert admission.enter(Kind.CHECKOUT) == 0


def test_only_those_that_are_there_too_long_are_let_go(admission: Admission, clock: Clock) -> None:
    admission.enter(Kind.CHECKOUT)
    clock.now += HOLD_SECONDS / 2
    assert len(fill(admission, Kind.CHECKOUT)) == 9
    clock.now += HOLD_SECONDS / 2
    assert len(fill(admission, Kind.CHECKOUT)) == 1


def test_a_repeat_of_an_accepted_order_comes_in_where_a_new_one_does_not(admission: Admission) -> None:
    admission.remember("key")
    fill(admission, Kind.CHECKOUT)
    assert admission.enter(Kind.CHECKOUT, "another") == 0
    assert admission.enter(Kind.CHECKOUT, "key") != 0


def test_repeats_have_a_bound_too(admission: Admission) -> None:
    admission.remember("key")
    assert sum(bool(admission.enter(Kind.CHECKOUT, "key")) for _ in range(100)) == 15


def test_only_the_newest_keys_are_remembered(admission: Admission) -> None:
    for number in range(REPEATS + 1):
        admission.remember(f"key {number}")
    fill(admission, Kind.CHECKOUT)
    assert admission.enter(Kind.CHECKOUT, "key 0") == 0
    assert admission.enter(Kind.CHECKOUT, "key 1") != 0


def test_the_smallest_limit_lets_everybody_in_by_turns() -> None:
    admission = Admission(limit=1)
    for kind in (Kind.BROWSING, Kind.CART, Kind.CHECKOUT):
        ticket = admission.enter(kind)
        assert ticket
        assert admission.enter(kind) == 0
        admission.leave(ticket)


def test_refusals_are_counted_and_the_log_is_told_of_them_now_and_then(admission: Admission, clock: Clock) -> None:
    assert [admission.refuse(Kind.BROWSING) for _ in range(3)] == [True, False, False]
    clock.now += 9.9
    assert not admission.refuse(Kind.CART)
    clock.now += 0.1
    assert admission.refuse(Kind.CART)
    assert (admission.refused[Kind.BROWSING], admission.refused[Kind.CART]) == (3, 2)


def test_connections_have_a_bound_and_health_checks_some_to_spare(admission: Admission) -> None:
    admission.connections = 2
    assert admission.has_connection()
    admission.connections = 3
    assert not admission.has_connection()
    assert admission.has_connection(spare=True)
    admission.connections = 3 + SPARE_CONNECTIONS
    assert not admission.has_connection(spare=True)


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("GET", "/health/live", Kind.OPERATION),
        ("GET", "/metrics", Kind.OPERATION),
        ("POST", "/api/v1/orders", Kind.CHECKOUT),
        ("GET", "/api/v1/orders/o", Kind.CHECKOUT),
        ("POST", "/api/v1/orders/o/cancel", Kind.CHECKOUT),
        ("GET", "/api/v1/payments/p", Kind.CHECKOUT),
        ("POST", "/api/v1/payments/p/sandbox/authenticate", Kind.CHECKOUT),
        ("POST", "/api/v1/webhooks/sandbox", Kind.CHECKOUT),
        ("GET", "/api/v1/carts/c", Kind.CART),
        ("POST", "/api/v1/carts/c/lines", Kind.CART),
        ("PATCH", "/api/v1/products/p", Kind.CART),
        ("POST", "/api/v1/inventory/SKU/adjustments", Kind.CART),
        ("POST", "/api/v1/imports", Kind.CART),
        ("POST", "/api/v1/carts", Kind.BROWSING),
        ("GET", "/api/v1/orders", Kind.BROWSING),
        ("GET", "/api/v1/orders?status=open", Kind.BROWSING),
        ("GET", "/api/v1/products/p", Kind.BROWSING),
        ("HEAD", "/api/v1/products", Kind.BROWSING),
        ("GET", "/", Kind.BROWSING),
        ("GET", "/healthy", Kind.BROWSING),
        ("GET", "/health/other", Kind.BROWSING),
        ("GET", "/metrics?name=x", Kind.OPERATION),
        ("GET", "/metricsfoo", Kind.BROWSING),
    ],
)
def test_a_request_is_of_the_kind_that_its_address_says(method: str, path: str, kind: Kind) -> None:
    assert kind_of(method, path) is kind

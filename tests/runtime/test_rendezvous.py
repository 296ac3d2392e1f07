"""Rendezvous hashing: everybody agrees, all get a share, and only what must move moves."""

from collections import Counter

from ultramarket.runtime.rendezvous import preferred

PLACES = [(kind, no) for kind in ("cart", "order", "payment", "inventory", "product", "gateway") for no in range(16)]


def owners(*members: str) -> dict[tuple[str, int], str | None]:
    return {place: preferred(*place, members) for place in PLACES}


def test_the_order_of_the_members_does_not_matter() -> None:
    assert owners("a", "b", "c") == owners("c", "a", "b")


def test_without_members_nobody_is_preferred() -> None:
    assert set(owners().values()) == {None}


def test_each_member_gets_a_share() -> None:
    shares = Counter(owners("um-1", "um-2", "um-3", "um-4").values())
    assert sum(shares.values()) == len(PLACES)
    assert all(shares[name] >= len(PLACES) / 4 / 2 for name in ("um-1", "um-2", "um-3", "um-4"))


def test_a_member_that_leaves_moves_only_its_own() -> None:
    before, after = owners("a", "b", "c"), owners("a", "b")
    assert {place for place in PLACES if before[place] != after[place]} == {p for p in PLACES if before[p] == "c"}


def test_a_member_that_joins_only_takes() -> None:
    before, after = owners("a", "b"), owners("a", "b", "c")
    assert {after[place] for place in PLACES if before[place] != after[place]} == {"c"}

from typing import Any

import msgspec
import pytest

from actors.collection import Collection
from tests.actors.harness import NOON, Entity
from ultramarket.messages.collection import (
    ChangeCollection,
    CollectionChanged,
    CollectionCreated,
    CollectionRemoved,
    CreateCollection,
    PlaceProduct,
    ProductPlaced,
    ProductTakenOut,
    RemoveCollection,
    Rule,
    TakeOutProduct,
)
from ultramarket.messages.product import Media
from ultramarket.runtime.actor import Claim

HAND = CreateCollection(handle="gifts", title={"en": "Gifts"}, products=("a", "b", "c"), sort="manual")
CHEAP = Rule(field="price", relation="below", value="10.00")
RULED = CreateCollection(handle="cheap", title={"en": "Cheap"}, rules=(CHEAP,))


@pytest.fixture
def gifts() -> Entity:
    entity = Entity(Collection(), id="one")
    assert entity.when(HAND, principal="staff").rejection is None
    return entity


@pytest.fixture
def cheap() -> Entity:
    entity = Entity(Collection(), id="two")
    assert entity.when(RULED, principal="staff").rejection is None
    return entity


def test_a_collection_claims_its_handle_and_its_id() -> None:
    outcome = Entity(Collection(), id="one").when(HAND)
    assert outcome.events == (CollectionCreated(at=NOON, collection=HAND),)
    assert outcome.claims == (Claim("collection", "gifts"), Claim("collection", "one"))


def test_an_id_is_used_once(gifts: Entity) -> None:
    assert gifts.when(HAND).code == "collection_exists"


def test_a_new_handle_lets_the_old_one_go(gifts: Entity) -> None:
    outcome = gifts.when(ChangeCollection(handle="presents"))
    assert outcome.events == (CollectionChanged(at=NOON, changes=ChangeCollection(handle="presents")),)
    assert (outcome.claims, outcome.drops) == ((Claim("collection", "presents"),), (Claim("collection", "gifts"),))


def test_a_change_to_what_already_is_records_nothing(gifts: Entity) -> None:
    outcome = gifts.when(ChangeCollection(handle="gifts", products=("a", "b", "c")))
    assert (outcome.events, outcome.reply.changed, outcome.reply.version) == ((), False, 1)


@pytest.mark.parametrize(
    ("product", "position", "products"),
    [
        ("d", None, ("a", "b", "c", "d")),
        ("d", 0, ("d", "a", "b", "c")),
        ("d", 99, ("a", "b", "c", "d")),
        ("a", 1, ("b", "a", "c")),
        ("c", 0, ("c", "a", "b")),
        ("a", 99, ("b", "c", "a")),
    ],
)
def test_a_product_is_placed(gifts: Entity, product: str, position: int | None, products: tuple[str, ...]) -> None:
    outcome = gifts.when(PlaceProduct(product=product, position=position))
    assert outcome.events == (ProductPlaced(at=NOON, product=product, position=products.index(product)),)
    assert gifts.shown().products == products


@pytest.mark.parametrize("position", [None, 1])
def test_a_product_that_stands_there_already_stays(gifts: Entity, position: int | None) -> None:
    assert gifts.when(PlaceProduct(product="b", position=position)).events == ()


def test_a_product_is_taken_out_once(gifts: Entity) -> None:
    assert gifts.when(TakeOutProduct(product="b")).events == (ProductTakenOut(at=NOON, product="b"),)
    assert gifts.shown().products == ("a", "c")
    assert gifts.when(TakeOutProduct(product="b")).events == ()


def test_what_rules_choose_is_not_placed_by_hand(cheap: Entity) -> None:
    assert cheap.when(PlaceProduct(product="a")).pointers == ["/product"]
    assert cheap.when(ChangeCollection(products=("a",))).pointers == ["/rules"]
    assert cheap.when(ChangeCollection(products=("a",), rules=())).rejection is None


def test_a_collection_by_hand_is_bounded(gifts: Entity, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.collection_rules.MAX_PRODUCTS", 3)
    assert gifts.when(PlaceProduct(product="d")).pointers == ["/products"]
    assert gifts.when(PlaceProduct(product="a", position=2)).rejection is None


def test_a_removed_collection_is_gone_and_its_handle_free(gifts: Entity) -> None:
    gifts.when(ChangeCollection(published=True))
    outcome = gifts.when(RemoveCollection(expect=2))
    assert outcome.events == (CollectionRemoved(at=NOON),)
    assert outcome.drops == (Claim("collection", "gifts"), Claim("collection", "one"))
    assert (gifts.shown().removed, gifts.shown().published) == (True, False)
    assert gifts.when(ChangeCollection(handle="x")).code == "not_found"
    assert gifts.when(RemoveCollection()).code == "not_found"


def test_an_old_version_is_refused(gifts: Entity) -> None:
    for command in (
        ChangeCollection(handle="x", expect=7),
        PlaceProduct(product="x", expect=7),
        TakeOutProduct(product="a", expect=7),
        RemoveCollection(expect=7),
    ):
        assert gifts.when(command).code == "version_mismatch"


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"handle": "No"}, "/handle"),
        ({"title": {}}, "/title"),
        ({"media": (Media(url=""),)}, "/media/0/url"),
        ({"products": ("a", "a")}, "/products"),
        ({"sort": "manual"}, "/sort"),
        ({"rules": (CHEAP,) * 51}, "/rules"),
        ({"rules": (Rule(field="price", relation="is", value="1"),)}, "/rules/0/relation"),
        ({"rules": (Rule(field="price", relation="above", value="cheap"),)}, "/rules/0/value"),
        ({"rules": (CHEAP, Rule(field="in_stock", relation="is", value="yes"))}, "/rules/1/value"),
        ({"rules": (Rule(field="created_at", relation="above", value="2026-03-01"),)}, "/rules/0/value"),
        ({"rules": (Rule(field="created_at", relation="above", value="2026-03-01T12:00:00"),)}, "/rules/0/value"),
        ({"rules": (Rule(field="created_at", relation="above", value="0001-01-01T00:00:00+12:00"),)}, "/rules/0/value"),
        ({"rules": (Rule(field="option", relation="is", value="Size"),)}, "/rules/0/value"),
        ({"rules": (Rule(field="tag", relation="is", value=" "),)}, "/rules/0/value"),
        ({"rules": (Rule(field="title", relation="contains", value="\0"),)}, "/rules/0/value"),
    ],
)
def test_what_can_t_be_is_refused(changes: dict[str, Any], pointer: str) -> None:
    outcome = Entity(Collection(), id="x").when(msgspec.structs.replace(RULED, **changes))
    assert outcome.code == "invalid"
    assert pointer in outcome.pointers

from typing import Any

import pytest

from actors.category_rules import MAX_DEPTH
from actors.category_tree import CategoryTree
from tests.actors.harness import NOON, Entity
from ultramarket.messages.category_tree import (
    AddCategory,
    CategoryAdded,
    CategoryChanged,
    CategoryMoved,
    CategoryRemoved,
    ChangeCategory,
    DescribeCategory,
    Details,
    RemoveCategory,
)
from ultramarket.messages.product import Media, Seo


def add(id: str, parent: str | None = None, **fields: Any) -> AddCategory:
    return AddCategory(id=id, parent=parent, **{"handle": f"h-{id}", "title": {"en": id.title()}, **fields})


@pytest.fixture
def tree() -> Entity:
    """Home (Kitchen (Knives), Bath), Garden."""
    entity = Entity(CategoryTree(), id="main")
    for command in (add("home"), add("garden"), add("kitchen", "home"), add("bath", "home"), add("knives", "kitchen")):
        assert entity.when(command, principal="staff").rejection is None
    return entity


def outline(tree: Entity) -> list[str]:
    """Every category, indented by its level."""
    shown = tree.shown()
    lines = []

    def walk(ids: tuple[str, ...], indent: str) -> None:
        for id in ids:
            lines.append(indent + id)
            walk(shown.categories[id].children, indent + " ")

    walk(shown.roots, "")
    return lines


def test_categories_stand_in_the_order_in_which_they_came(tree: Entity) -> None:
    assert outline(tree) == ["home", " kitchen", "  knives", " bath", "garden"]
    assert tree.shown().categories["knives"].parent == "kitchen"


def test_a_category_can_be_added_at_a_place(tree: Entity) -> None:
    outcome = tree.when(add("attic", "home", position=0))
    assert outcome.events == (
        CategoryAdded(at=NOON, id="attic", handle="h-attic", title={"en": "Attic"}, parent="home", position=0),
    )
    assert (outcome.reply.version, outcome.reply.changed) == (6, True)
    assert outline(tree)[:3] == ["home", " attic", " kitchen"]


def test_a_move_takes_all_below_along(tree: Entity) -> None:
    outcome = tree.when(ChangeCategory(id="kitchen", parent="garden"))
    assert outcome.events == (CategoryMoved(at=NOON, id="kitchen", parent="garden", position=0),)
    assert outline(tree) == ["home", " bath", "garden", " kitchen", "  knives"]


def test_a_category_moves_to_the_top_and_among_its_siblings(tree: Entity) -> None:
    tree.when(ChangeCategory(id="knives", parent=None, position=0))
    assert outline(tree) == ["knives", "home", " kitchen", " bath", "garden"]
    tree.when(ChangeCategory(id="knives", position=99))
    assert outline(tree) == ["home", " kitchen", " bath", "garden", "knives"]
    assert tree.when(ChangeCategory(id="knives", position=2)).events == (), "it stands there already"


@pytest.mark.parametrize("below", ["home", "kitchen", "knives"])
def test_a_category_never_comes_below_itself(tree: Entity, below: str) -> None:
    outcome = tree.when(ChangeCategory(id="home", parent=below))
    assert (outcome.code, outcome.pointers) == ("category_cycle", ["/parent"])


def test_a_text_and_a_move_happen_together_or_not_at_all(tree: Entity) -> None:
    refused = tree.when(ChangeCategory(id="home", title={"en": "House"}, parent="knives"))
    assert refused.code == "category_cycle"
    assert tree.shown().categories["home"].title == {"en": "Home"}
    done = tree.when(ChangeCategory(id="bath", title={"en": "Baths"}, parent=None))
    assert [type(event) for event in done.events] == [CategoryChanged, CategoryMoved]
    assert done.reply.version == 7


@pytest.mark.parametrize(
    ("command", "code", "pointers"),
    [
        (add("x", handle="h-bath"), "taken", []),
        (add("x", handle="bath"), "taken", []),
        (add("x", handle="Not a handle"), "invalid", ["/handle"]),
        (add("x", title={"en": " "}), "invalid", ["/title"]),
        (add("x", "nowhere"), "invalid", ["/parent"]),
        (add("x", details=Details(media=(Media(url=""),))), "invalid", ["/media/0/url"]),
        (add("bath"), "category_exists", []),
        (ChangeCategory(id="home", handle="h-bath"), "taken", []),
        (ChangeCategory(id="home", parent="nowhere"), "invalid", ["/parent"]),
        (ChangeCategory(id="nowhere"), "not_found", []),
        (ChangeCategory(id="home", title={"en": "x"}, expect=4), "version_mismatch", []),
        (RemoveCategory(id="nowhere"), "not_found", []),
        (RemoveCategory(id="home"), "category_not_empty", []),
        (DescribeCategory(id="nowhere"), "not_found", []),
    ],
)
def test_what_can_t_be_is_refused(tree: Entity, command: Any, code: str, pointers: list[str]) -> None:
    outcome = tree.when(command)
    assert (outcome.code, outcome.pointers) == (code, pointers)


def test_the_tree_has_a_deepest_level(tree: Entity) -> None:
    parent = None
    for level in range(MAX_DEPTH):
        assert tree.when(add(f"level-{level}", parent)).rejection is None
        parent = f"level-{level}"
    assert tree.when(add("too-deep", parent)).code == "tree_too_deep"
    assert tree.when(ChangeCategory(id="kitchen", parent="level-10")).code == "tree_too_deep", "knives are below it"
    assert tree.when(ChangeCategory(id="bath", parent="level-10")).rejection is None


def test_the_number_of_categories_is_bounded(tree: Entity, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.category_tree.MAX_CATEGORIES", 5)
    assert tree.when(add("one-too-many")).code == "too_many_categories"


def test_what_was_below_a_removed_category_stands_in_its_place(tree: Entity) -> None:
    outcome = tree.when(RemoveCategory(id="home", children="up"))
    assert outcome.events == (CategoryRemoved(at=NOON, id="home"),)
    assert outline(tree) == ["kitchen", " knives", "bath", "garden"]
    assert tree.shown().categories["kitchen"].parent is None


def test_texts_and_pictures_are_kept_apart_and_go_with_the_category(tree: Entity) -> None:
    details = Details(description={"en": "Sharp"}, seo=Seo(title={"en": "Knives"}), media=(Media(url="/k.jpg"),))
    assert tree.when(DescribeCategory(id="knives")).reply == Details()
    tree.when(ChangeCategory(id="knives", description={"en": "Sharp"}, seo=details.seo, media=details.media))
    assert tree.when(DescribeCategory(id="knives")).reply == details
    assert "Sharp" not in str(tree.state)
    tree.when(ChangeCategory(id="knives", media=()))
    assert tree.part("knives").media == ()
    tree.when(RemoveCategory(id="knives"))
    assert tree.part("knives") is None


def test_an_old_handle_leads_to_its_category_until_another_takes_it(tree: Entity) -> None:
    tree.when(ChangeCategory(id="bath", handle="bathroom"))
    assert tree.shown().former == {"h-bath": "bath"}
    assert tree.when(add("tubs", handle="h-bath")).rejection is None
    assert tree.shown().former == {}
    tree.when(ChangeCategory(id="bath", handle="baths"))
    tree.when(ChangeCategory(id="bath", handle="bathroom"))
    assert tree.shown().former == {"baths": "bath"}, "it has its own handle again"
    tree.when(RemoveCategory(id="bath"))
    assert tree.shown().former == {}


def test_a_change_to_what_already_is_records_nothing(tree: Entity) -> None:
    outcome = tree.when(ChangeCategory(id="home", title={"en": "Home"}, handle="h-home", parent=None, position=0))
    assert (outcome.events, outcome.reply.changed, outcome.reply.version) == ((), False, 5)

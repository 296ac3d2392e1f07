"""CategoryTree: all categories of the shop, judged one change after the other, so that the tree stays one.

The state is the structure with the titles, which is what every page of a shop shows; the long texts and the pictures
of a category are an entity part each.
"""

from collections.abc import Iterable, Mapping
from typing import assert_never

import msgspec
from msgspec import UNSET

from actors.category_rules import (
    MAX_CATEGORIES,
    MAX_DEPTH,
    detail_faults,
    height,
    level,
    own_faults,
    within,
)
from ultramarket.errors import Fault, Rejection
from ultramarket.messages.category_tree import (
    AddCategory,
    CategoryAdded,
    CategoryChanged,
    CategoryKept,
    CategoryMoved,
    CategoryRemoved,
    ChangeCategory,
    DescribeCategory,
    Details,
    RemoveCategory,
    ShownCategories,
    ShownCategory,
)
from ultramarket.messages.common import Text
from ultramarket.messages.refusals import invalid, not_found, version_mismatch
from ultramarket.runtime.actor import Actor, Context, Decision, Part, Unseal

Command = AddCategory | ChangeCategory | RemoveCategory | DescribeCategory
Event = CategoryAdded | CategoryChanged | CategoryMoved | CategoryRemoved

FORMER_HANDLES = 1_000
"""Handles that categories had before and that still lead to them; the oldest are forgotten."""


class Node(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A category in the tree; `children` are ids in their order."""

    handle: str
    title: Text
    parent: str | None = None
    children: tuple[str, ...] = ()


Nodes = dict[str, Node]


class TreeState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The tree.

    Attributes:
        roots: ids of the categories at the top, in their order.
        nodes: every category by its id.
        former: handles that categories had before, the oldest first, with the ids that they lead to.
    """

    roots: tuple[str, ...] = ()
    nodes: Nodes = {}
    former: dict[str, str] = {}


class CategoryTree(Actor[TreeState, Command, Event]):
    """Keeps every category reachable from the top, and every handle with one category."""

    kind = "category_tree"
    state = TreeState
    commands = Command
    events = Event
    part = Details

    def needs(self, command: Command) -> Iterable[str]:
        """The texts of the category that is asked for or changed."""
        return (command.id,) if isinstance(command, ChangeCategory | DescribeCategory) else ()

    def decide(self, state: TreeState | None, command: Command, ctx: Context) -> Decision | Rejection:
        """Judge a command; see the messages for what each means."""
        tree = state or TreeState()
        if isinstance(command, AddCategory):
            return version_mismatch(command.expect, ctx.version) or _add(tree, command, ctx)
        if command.id not in tree.nodes:
            return not_found("category")
        match command:
            case ChangeCategory():
                return version_mismatch(command.expect, ctx.version) or _change(tree, command, ctx)
            case RemoveCategory():
                return version_mismatch(command.expect, ctx.version) or _remove(tree, command, ctx)
            case DescribeCategory():
                return Decision(reply=ctx.parts.get(command.id, Details()))
            case _:
                assert_never(command)

    def evolve(self, state: TreeState | None, event: Event) -> TreeState:
        """Apply an event."""
        tree = state or TreeState()
        match event:
            case CategoryAdded():
                node = Node(handle=event.handle, title=event.title)
                added = msgspec.structs.replace(tree, nodes={**tree.nodes, event.id: node})
                return _put(_freed(added, event.handle), event.id, event.parent, event.position)
            case CategoryChanged():
                return _changed(tree, event)
            case CategoryMoved():
                return _put(_taken_out(tree, event.id), event.id, event.parent, event.position)
            case CategoryRemoved():
                return _removed(tree, event.id)
            case _:
                assert_never(event)

    def evolve_parts(self, event: Event, parts: Mapping[str, Details]) -> Mapping[str, Part]:
        """The texts that an event changes; a category that says nothing has no part."""
        match event:
            case CategoryAdded() | CategoryChanged():
                if event.details is UNSET or (isinstance(event, CategoryAdded) and event.details == Details()):
                    return {}
                return {event.id: Part(event.details if event.details != Details() else None)}
            case CategoryRemoved():
                return {event.id: Part(None)}
            case CategoryMoved():
                return {}
            case _:
                assert_never(event)

    def show(self, state: TreeState, id: str, version: int, unseal: Unseal) -> ShownCategories:
        """The public form: the whole tree with its titles in all languages."""
        categories = {
            id: ShownCategory(id=id, handle=node.handle, title=node.title, parent=node.parent, children=node.children)
            for id, node in state.nodes.items()
        }
        return ShownCategories(version=version, roots=state.roots, categories=categories, former=state.former)


def _add(tree: TreeState, command: AddCategory, ctx: Context) -> Decision | Rejection:
    if command.id in tree.nodes:
        return Rejection("category_exists", "There is a category with this id already: change it instead.")
    if wrong := [*own_faults(command.handle, command.title), *detail_faults(command.details)]:
        return invalid(wrong)
    if refused := _handle_taken(tree, command.handle, command.id):
        return refused
    if len(tree.nodes) >= MAX_CATEGORIES:
        return Rejection("too_many_categories", f"A shop has {MAX_CATEGORIES} categories at most.", 422)
    if refused := _misplaced(tree, command.parent, 1):
        return refused
    siblings = len(_below(tree, command.parent))
    event = CategoryAdded(
        at=ctx.now,
        id=command.id,
        handle=command.handle,
        title=command.title,
        parent=command.parent,
        position=_position(command.position, siblings),
        details=command.details,
    )
    return _decided(command.id, ctx, event)


def _change(tree: TreeState, command: ChangeCategory, ctx: Context) -> Decision | Rejection:
    """One decision over texts and place: all of a patch is done, or none of it."""
    node, details = tree.nodes[command.id], ctx.parts.get(command.id, Details())
    handle = node.handle if command.handle is UNSET else command.handle
    title = node.title if command.title is UNSET else command.title
    said = Details(
        description=details.description if command.description is UNSET else command.description,
        seo=details.seo if command.seo is UNSET else command.seo,
        media=details.media if command.media is UNSET else command.media,
    )
    if wrong := [*own_faults(handle, title), *detail_faults(said)]:
        return invalid(wrong)
    if refused := _handle_taken(tree, handle, command.id):
        return refused
    moved = _moved(tree, command, ctx)
    if isinstance(moved, Rejection):
        return moved
    changed = CategoryChanged(
        at=ctx.now,
        id=command.id,
        handle=UNSET if handle == node.handle else handle,
        title=UNSET if title == node.title else title,
        details=UNSET if said == details else said,
    )
    nothing = CategoryChanged(at=ctx.now, id=command.id)
    return _decided(command.id, ctx, *((changed,) if changed != nothing else ()), *moved)


def _moved(tree: TreeState, command: ChangeCategory, ctx: Context) -> tuple[CategoryMoved, ...] | Rejection:
    """The move that a change asks for, if it asks for one."""
    id, node = command.id, tree.nodes[command.id]
    parent = node.parent if command.parent is UNSET else command.parent
    if parent != node.parent:
        if parent in tree.nodes and within(tree.nodes, parent, id):
            return Rejection(
                "category_cycle",
                "A category can't be moved into itself or into one below it.",
                409,
                (Fault("/parent", "this is the category itself, or one below it"),),
            )
        if refused := _misplaced(tree, parent, height(tree.nodes, id)):
            return refused
    others = [child for child in _below(tree, parent) if child != id]
    if command.position is not UNSET:
        position = _position(command.position, len(others))
    elif parent != node.parent:
        position = len(others)
    else:
        return ()
    if parent == node.parent and _below(tree, parent).index(id) == position:
        return ()
    return (CategoryMoved(at=ctx.now, id=id, parent=parent, position=position),)


def _remove(tree: TreeState, command: RemoveCategory, ctx: Context) -> Decision | Rejection:
    if tree.nodes[command.id].children and command.children == "keep":
        return Rejection(
            "category_not_empty",
            "There are categories below it: move them, or send `children=up` to put them in its place.",
            409,
        )
    return _decided(command.id, ctx, CategoryRemoved(at=ctx.now, id=command.id))


def _decided(id: str, ctx: Context, *events: Event) -> Decision:
    reply = CategoryKept(id=id, version=ctx.version + len(events), changed=bool(events))
    return Decision(events=events, reply=reply)


def _handle_taken(tree: TreeState, handle: str, id: str) -> Rejection | None:
    """409 `taken` where another category has this handle or is called so by its id: either may stand in an address."""
    if any(other != id and handle in (other, node.handle) for other, node in tree.nodes.items()):
        extra = {"namespace": "category", "value": handle}
        return Rejection("taken", f"The handle {handle!r} belongs to another category.", 409, extra=extra)
    return None


def _misplaced(tree: TreeState, parent: str | None, levels: int) -> Rejection | None:
    """Why a category that takes so many levels can't stand below this one."""
    if parent is not None and parent not in tree.nodes:
        return invalid([Fault("/parent", "there is no such category")])
    if level(tree.nodes, parent) + levels > MAX_DEPTH:
        return Rejection(
            "tree_too_deep",
            f"The tree has {MAX_DEPTH} levels at most.",
            422,
            (Fault("/parent", f"this would be deeper than {MAX_DEPTH} levels"),),
        )
    return None


def _position(wanted: int | None, siblings: int) -> int:
    return siblings if wanted is None else min(wanted, siblings)


def _below(tree: TreeState, parent: str | None) -> tuple[str, ...]:
    return tree.roots if parent is None else tree.nodes[parent].children


def _with_children(tree: TreeState, parent: str | None, children: tuple[str, ...]) -> TreeState:
    if parent is None:
        return msgspec.structs.replace(tree, roots=children)
    node = msgspec.structs.replace(tree.nodes[parent], children=children)
    return msgspec.structs.replace(tree, nodes={**tree.nodes, parent: node})


def _put(tree: TreeState, id: str, parent: str | None, position: int) -> TreeState:
    """The tree with the category, which stands nowhere yet, at this place."""
    node = msgspec.structs.replace(tree.nodes[id], parent=parent)
    placed = msgspec.structs.replace(tree, nodes={**tree.nodes, id: node})
    children = _below(placed, parent)
    return _with_children(placed, parent, (*children[:position], id, *children[position:]))


def _taken_out(tree: TreeState, id: str) -> TreeState:
    """The tree with the category standing nowhere."""
    parent = tree.nodes[id].parent
    return _with_children(tree, parent, tuple(child for child in _below(tree, parent) if child != id))


def _removed(tree: TreeState, id: str) -> TreeState:
    gone = tree.nodes[id]
    siblings = _below(tree, gone.parent)
    place = siblings.index(id)
    nodes = {other: node for other, node in tree.nodes.items() if other != id}
    for child in gone.children:
        nodes[child] = msgspec.structs.replace(nodes[child], parent=gone.parent)
    former = {handle: other for handle, other in tree.former.items() if other != id}
    rest = msgspec.structs.replace(tree, nodes=nodes, former=former)
    return _with_children(rest, gone.parent, (*siblings[:place], *gone.children, *siblings[place + 1 :]))


def _changed(tree: TreeState, event: CategoryChanged) -> TreeState:
    node = tree.nodes[event.id]
    if event.title is not UNSET:
        node = msgspec.structs.replace(node, title=event.title)
    if event.handle is not UNSET:
        tree = _freed(tree, event.handle)
        former = {**{handle: id for handle, id in tree.former.items() if handle != node.handle}, node.handle: event.id}
        kept = dict(list(former.items())[-FORMER_HANDLES:])
        tree = msgspec.structs.replace(tree, former=kept)
        node = msgspec.structs.replace(node, handle=event.handle)
    return msgspec.structs.replace(tree, nodes={**tree.nodes, event.id: node})


def _freed(tree: TreeState, handle: str) -> TreeState:
    """The tree in which this handle leads nowhere else: a category is about to have it as its own."""
    former = {old: id for old, id in tree.former.items() if old != handle}
    return msgspec.structs.replace(tree, former=former)

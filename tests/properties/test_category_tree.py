"""The category tree under any sequence of commands: never a cycle, all of it reachable, every handle one category's."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from actors.category_rules import MAX_DEPTH
from actors.category_tree import CategoryTree
from tests.actors.harness import Entity
from ultramarket.messages.category_tree import AddCategory, ChangeCategory, RemoveCategory

IDS = st.sampled_from([f"c{number}" for number in range(16)])
HANDLES = st.sampled_from([f"h{number}" for number in range(18)])
PARENTS = st.none() | IDS
PLACES = st.integers(0, 4)


class Tree(RuleBasedStateMachine):
    """Model: the parent and the handle of each category."""

    def __init__(self) -> None:
        super().__init__()
        self.entity = Entity(CategoryTree(), id="main")
        self.parents: dict[str, str | None] = {}
        self.handles: dict[str, str] = {}

    def _above(self, id: str | None) -> list[str]:
        found: list[str] = []
        while id is not None:
            found.append(id)
            id = self.parents[id]
        return found

    def _height(self, id: str) -> int:
        return 1 + max((self._height(child) for child, parent in self.parents.items() if parent == id), default=0)

    @rule(id=IDS, handle=HANDLES, parent=PARENTS, position=st.none() | PLACES)
    def add(self, id: str, handle: str, parent: str | None, position: int | None) -> None:
        command = AddCategory(id=id, handle=handle, title={"en": id}, parent=parent, position=position)
        outcome = self.entity.when(command)
        fits = (
            id not in self.parents
            and handle not in self.handles.values()
            and (parent is None or parent in self.parents)
            and (parent is None or len(self._above(parent)) < MAX_DEPTH)
        )
        assert (outcome.rejection is None) == fits
        if fits:
            self.parents[id], self.handles[id] = parent, handle

    @rule(id=IDS, parent=PARENTS, position=PLACES)
    def move(self, id: str, parent: str | None, position: int) -> None:
        outcome = self.entity.when(ChangeCategory(id=id, parent=parent, position=position))
        fits = id in self.parents and (parent is None or parent in self.parents) and id not in self._above(parent)
        if fits and parent != self.parents[id]:
            fits = len(self._above(parent)) + self._height(id) <= MAX_DEPTH
        assert (outcome.rejection is None) == fits
        if fits:
            self.parents[id] = parent
            siblings = self._children(parent)
            assert siblings.index(id) == min(position, len(siblings) - 1)

    @rule(id=IDS, handle=HANDLES)
    def rename(self, id: str, handle: str) -> None:
        outcome = self.entity.when(ChangeCategory(id=id, handle=handle))
        free = all(other == id or taken != handle for other, taken in self.handles.items())
        assert (outcome.rejection is None) == (id in self.parents and free)
        if outcome.rejection is None:
            self.handles[id] = handle

    @rule(id=IDS, up=st.booleans())
    def remove(self, id: str, up: bool) -> None:
        outcome = self.entity.when(RemoveCategory(id=id, children="up" if up else "keep"))
        below = [child for child, parent in self.parents.items() if parent == id]
        assert (outcome.rejection is None) == (id in self.parents and (up or not below))
        if outcome.rejection is None:
            parent = self.parents.pop(id)
            del self.handles[id]
            self.parents |= dict.fromkeys(below, parent)

    def _children(self, parent: str | None) -> tuple[str, ...]:
        state = self.entity.state
        return state.roots if parent is None else state.nodes[parent].children

    @invariant()
    def every_category_is_reached_once_from_the_top(self) -> None:
        if self.entity.state is None:
            assert not self.parents
            return
        reached: list[str] = []
        waiting = list(self.entity.state.roots)
        while waiting:
            id = waiting.pop()
            reached.append(id)
            waiting.extend(self._children(id))
        assert sorted(reached) == sorted(self.parents)

    @invariant()
    def parents_and_handles_are_those_of_the_model(self) -> None:
        nodes = self.entity.state.nodes if self.entity.state else {}
        assert {id: node.parent for id, node in nodes.items()} == self.parents
        assert {id: node.handle for id, node in nodes.items()} == self.handles
        assert all(id in self._children(parent) for id, parent in self.parents.items())

    @invariant()
    def an_old_handle_is_nobody_s_and_leads_to_a_category(self) -> None:
        former = self.entity.state.former if self.entity.state else {}
        assert not former.keys() & set(self.handles.values())
        assert set(former.values()) <= self.parents.keys()


TestTree = Tree.TestCase

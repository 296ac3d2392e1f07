import pytest

from actors.redirect import Redirect
from tests.actors.harness import NOON, Entity
from ultramarket.messages.redirect import AddRedirect, RedirectAdded, RedirectRemoved, RemoveRedirect

OLD = AddRedirect(source="/old", target="/new?from=old")


@pytest.fixture
def redirect() -> Entity:
    return Entity(Redirect(), id="one")


def test_a_path_leads_to_another(redirect: Entity) -> None:
    outcome = redirect.when(OLD, principal="staff")
    assert outcome.events == (RedirectAdded(at=NOON, source="/old", target="/new?from=old"),)
    assert (redirect.shown().active, redirect.shown().version) == (True, 1)


def test_the_same_again_changes_nothing_and_another_target_is_refused(redirect: Entity) -> None:
    redirect.when(OLD)
    assert (redirect.when(OLD).events, redirect.when(OLD).reply.version) == ((), 1)
    assert redirect.when(AddRedirect(source="/old", target="/other")).code == "taken"


def test_a_removed_redirect_may_be_made_anew(redirect: Entity) -> None:
    redirect.when(OLD)
    assert redirect.when(RemoveRedirect(expect=7)).code == "version_mismatch"
    assert redirect.when(RemoveRedirect(expect=1)).events == (RedirectRemoved(at=NOON),)
    assert redirect.shown().active is False
    assert redirect.when(RemoveRedirect()).code == "not_found"
    assert redirect.when(AddRedirect(source="/old", target="/other")).rejection is None
    assert (redirect.shown().active, redirect.shown().target) == (True, "/other")


def test_what_does_not_exist_is_not_removed(redirect: Entity) -> None:
    assert redirect.when(RemoveRedirect()).code == "not_found"


@pytest.mark.parametrize(
    "source", ["", "old", "//evil.example", "/\\evil.example", "/a b", "/a?b", "/a#b", "/\n", "/" + "x" * 1000]
)
def test_a_path_begins_with_one_slash(redirect: Entity, source: str) -> None:
    assert redirect.when(AddRedirect(source=source, target="/new")).pointers == ["/from"]


@pytest.mark.parametrize(
    "target", ["", "new", "https://evil.example", "//evil.example", "/\\evil.example", "/a b", "/\x00"]
)
def test_a_redirect_stays_with_the_shop(redirect: Entity, target: str) -> None:
    assert redirect.when(AddRedirect(source="/old", target=target)).pointers == ["/to"]


def test_a_path_does_not_lead_to_itself(redirect: Entity) -> None:
    assert redirect.when(AddRedirect(source="/", target="/")).pointers == ["/to"]

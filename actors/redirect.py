"""Redirect: keeps where a path leads."""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import assert_never

import msgspec

from ultramarket.errors import Fault, Rejection
from ultramarket.messages.redirect import (
    AddRedirect,
    RedirectAdded,
    RedirectKept,
    RedirectRemoved,
    RemoveRedirect,
    ShownRedirect,
)
from ultramarket.messages.refusals import invalid, not_found, version_mismatch
from ultramarket.runtime.actor import Actor, Context, Decision, Unseal

Command = AddRedirect | RemoveRedirect
Event = RedirectAdded | RedirectRemoved

MAX_PATH = 1_000
"""Characters of a path."""
_SOURCE = re.compile(r"/(?:[^/\s\\?#%\x00-\x1f\x7f-\x9f][^\s\\?#%\x00-\x1f\x7f-\x9f]*)?")
_TARGET = re.compile(r"/(?:[^/\s\\\x00-\x1f\x7f-\x9f][^\s\\\x00-\x1f\x7f-\x9f]*)?")
"""A browser reads `//` and `/\\` as another server: a redirect stays with this one."""


class RedirectState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a path leads, or led."""

    source: str
    target: str
    active: bool = True
    created_at: datetime


class Redirect(Actor[RedirectState, Command, Event]):
    """A path leads to one place, which is changed by removing the redirect first."""

    kind = "redirect"
    state = RedirectState
    commands = Command
    events = Event

    def decide(self, state: RedirectState | None, command: Command, ctx: Context) -> Decision | Rejection:
        """Judge a command; see the messages for what each means."""
        match command:
            case AddRedirect():
                return _add(state, command, ctx)
            case RemoveRedirect():
                if state is None or not state.active:
                    return not_found("redirect")
                if refused := version_mismatch(command.expect, ctx.version):
                    return refused
                reply = RedirectKept(id=ctx.id, version=ctx.version + 1)
                return Decision(events=(RedirectRemoved(at=ctx.now),), reply=reply)
            case _:
                assert_never(command)

    def evolve(self, state: RedirectState | None, event: Event) -> RedirectState:
        """Apply an event."""
        if isinstance(event, RedirectAdded):
            return RedirectState(source=event.source, target=event.target, created_at=event.at)
        if state is None:
            raise ValueError("RedirectRemoved stands before the redirect's creation")
        return msgspec.structs.replace(state, active=False)

    def show(self, state: RedirectState, id: str, version: int, unseal: Unseal) -> ShownRedirect:
        """The public form."""
        return ShownRedirect(
            id=id,
            version=version,
            source=state.source,
            target=state.target,
            active=state.active,
            created_at=state.created_at,
        )


def _add(state: RedirectState | None, command: AddRedirect, ctx: Context) -> Decision | Rejection:
    if wrong := list(_faults(command)):
        return invalid(wrong)
    if state is not None and state.active:
        if state.target == command.target:
            return Decision(reply=RedirectKept(id=ctx.id, version=ctx.version))
        return Rejection("taken", f"{command.source} leads to {state.target} already: remove that redirect first.", 409)
    event = RedirectAdded(at=ctx.now, source=command.source, target=command.target)
    return Decision(events=(event,), reply=RedirectKept(id=ctx.id, version=ctx.version + 1))


def _faults(command: AddRedirect) -> Iterator[Fault]:
    if len(command.source) > MAX_PATH or not _SOURCE.fullmatch(command.source):
        yield Fault("/from", f"a path begins with one slash and has at most {MAX_PATH} characters, no blanks, ? or #")
    if len(command.target) > MAX_PATH or not _TARGET.fullmatch(command.target):
        yield Fault("/to", f"a path begins with one slash and has at most {MAX_PATH} characters and no blanks")
    if command.source == command.target:
        yield Fault("/to", "a path can't lead to itself")

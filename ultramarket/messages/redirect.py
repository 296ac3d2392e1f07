"""Redirect: an address that leads to another one; one entity a path, so that a path leads to one place only."""

from datetime import datetime

import msgspec

from ultramarket.messages.common import Message

# Commands


class AddRedirect(Message, frozen=True):
    """Lead a path to another one. Replies `RedirectKept`; the same again changes nothing.

    Attributes:
        source: path without percent signs, query or fragment, e.g. `/old-shop/tote`.
        target: path with whatever follows it, e.g. `/products/tote?from=old`.
    """

    source: str
    target: str


class RemoveRedirect(Message, frozen=True):
    """Lead nowhere any more. Replies `RedirectKept`."""

    expect: int | None = None


# Events


class RedirectAdded(Message, frozen=True):
    """The path leads there."""

    at: datetime
    source: str
    target: str


class RedirectRemoved(Message, frozen=True):
    """The path leads nowhere any more."""

    at: datetime


# Replies and the public form


class RedirectKept(msgspec.Struct, frozen=True, kw_only=True):
    """The redirect after a command."""

    id: str
    version: int


class ShownRedirect(msgspec.Struct, frozen=True, kw_only=True):
    """The public form of a redirect; `active` is False once it was removed."""

    id: str
    version: int
    source: str
    target: str
    active: bool
    created_at: datetime

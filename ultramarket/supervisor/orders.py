"""What the command line tells the parent, and the parent its children: JSON in an environment variable each."""

import os
from typing import Literal

import msgspec

from ultramarket.roles import Role

PARENT = "ULTRAMARKET_PARENT"
"""The variable with the orders of a parent."""
CHILD = "ULTRAMARKET_CHILD"
"""The variable with the orders of a child."""

PING = b"."
"""What a child sends while its event loop turns."""
READY = b"r"
"""What a child sends once, when it does its work."""
PING_SECONDS = 0.5
"""The time between two pings."""


class Post(msgspec.Struct, frozen=True):
    """A place that a process is to fill: its name, e.g. `replica-1`, and its role."""

    name: str
    role: Role


class ParentOrders(msgspec.Struct, frozen=True):
    """What to start, and how.

    Attributes:
        sockets: numbers of the open listening sockets; none where no process answers HTTP.
        options: for every child's command, e.g. `["--data-dir", "var"]`; flags before the command are `flags`.
        data_dir: where the keys and the embedded database are.
        embedded: whether the parent runs the embedded database.
        grace_seconds: how long a child may take to stop.
        url: where the platform answers; empty where no process answers HTTP.
        new_key: whether the staff key was made just now, and is to be shown.
        json: tell people or programs that it is ready.
    """

    posts: tuple[Post, ...]
    sockets: tuple[int, ...]
    flags: tuple[str, ...]
    options: tuple[str, ...]
    data_dir: str
    embedded: bool
    grace_seconds: float
    log_format: Literal["auto", "text", "json"]
    log_level: str
    url: str
    new_key: bool
    json: bool


class ChildOrders(msgspec.Struct, frozen=True):
    """What a child gets: its name, and the numbers of its end of the channel to the parent and of its sockets."""

    name: str
    channel: int
    sockets: tuple[int, ...] = ()


def posts(*, replicas: int, workers: int, web: int) -> tuple[Post, ...]:
    """The places of so many processes of each role, in the order in which they start and roll."""
    counts = (("replica", Role.ALL, replicas), ("worker", Role.WORKER, workers), ("web", Role.WEB, web))
    return tuple(Post(f"{word}-{n}", role) for word, role, count in counts for n in range(1, count + 1))


def take_child_orders() -> ChildOrders | None:
    """The orders of this process, None if no parent started it. They are taken: no grandchild sees them."""
    text = os.environ.pop(CHILD, None)
    return None if text is None else msgspec.json.decode(text, type=ChildOrders)


def take_parent_orders() -> ParentOrders:
    """The orders of this process, which is to be a parent.

    Raises:
        KeyError: it was not started as one.
    """
    return msgspec.json.decode(os.environ.pop(PARENT), type=ParentOrders)


def as_variable(orders: ParentOrders | ChildOrders) -> str:
    """The value of the environment variable."""
    return msgspec.json.encode(orders).decode()

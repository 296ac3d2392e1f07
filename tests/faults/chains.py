"""Which failpoints the kill tests run, in which order, and which they can't.

A chain is one server on one data directory: killed at one failpoint, started again with the next one armed, and so on.
The nine places where a crash hurts most are reached once, several and many times before they kill; the others once or
so. Each command of the cast dies once `before` its commit and once `after` it.
"""

from typing import Any

from ultramarket.bootstrap import cast
from ultramarket.runtime.failpoints import NAMES, steps
from ultramarket.settings import Settings

_NOBODY: Any = None
STEPS = steps(cast(_NOBODY, Settings.load().shop, {}, _NOBODY, "en"))
"""Both failpoints of every command of the cast."""

CORE = (
    "commit.before",
    "commit.after",
    "answer.after",
    "outbox.before",
    "outbox.after",
    "gateway.before",
    "gateway.after",
    "timer.before",
    "take.after",
)
COUNTS = {"take.after": (1, 17, 100), "timer.before": (1, 3, 9)}
"""How often one of the core is reached before it kills; the others at the counts below."""
OFTEN = (1, 15, 70)
ONCE = {"load.before": 5, "load.after": 5, "answer.before": 40, "sweep.before": 2, "sweep.after": 2, "take.before": 9}
"""How often one that is run once is reached before it kills, where that is not the first time."""

STOPPING = ("drain.before", "drain.after", "handover.before", "handover.after", "release.before", "release.after")
"""Reached only by a process that is asked to stop."""
SETTLE = "taken.cart.SettleTransfer"
"""A source asks after a minute without a word of the target: its way is blocked all through the chain before."""

LEFT_OUT: dict[str, str] = {}
"""Commands that no request over HTTP leads to, by `taken.<kind>.<command>`, with the reason."""

_SHARING = ("adopt.before", "adopt.after", "release.before", "release.after")
_CATALOGUE = ("category_tree", "collection", "redirect")
_IMPORTS = ("import", "importer", "product", "inventory")


def command(name: str) -> str:
    """The failpoint of a command without its side."""
    return name.rpartition(".")[0]


def _of(*kinds: str) -> tuple[str, ...]:
    """Both sides of each command of these kinds that can be had."""
    left_out = {SETTLE, *LEFT_OUT}
    return tuple(name for name in STEPS if name.split(".")[1] in kinds and command(name) not in left_out)


_OTHERS = tuple(name for name in NAMES if name not in (*CORE, *_SHARING) and not name.startswith("park."))

CHAINS: dict[str, tuple[str, ...]] = {
    **{
        f"the core, {word}": tuple(f"{name}:{COUNTS.get(name, OFTEN)[place]}" for name in CORE)
        for place, word in enumerate(("at once", "soon", "late"))
    },
    "the other places": tuple(f"{name}:{ONCE.get(name, 1)}" for name in _OTHERS),
    "orders": _of("order"),
    "payments": _of("payment", "gateway"),
    "goods": _of(*_IMPORTS),
    "the catalogue": _of(*_CATALOGUE),
    "what is said": _of("review"),
    # Only a process that shares its partitions takes and lets go of many at once.
    "sharing": tuple(f"{name}:1" for name in _SHARING),
    # The parked message blocks a merge of two carts, which is what the last one of these chains waits for.
    "carts": ("park.before:1", "park.after:1", *_of("cart"), f"{SETTLE}.before"),
    "a cart that asks": ("park.before:1", f"{SETTLE}.after"),
}
"""By name of the chain what is armed, one after the other."""

RUN = frozenset(armed.partition(":")[0] for chain in CHAINS.values() for armed in chain)

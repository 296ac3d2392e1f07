"""Who takes part in a shop, and who owns which partition: what several processes need to share the work."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ultramarket.errors import UltraMarketError

Lanes = tuple[str, int]
"""A partition: (kind, no)."""


class MembershipLost(UltraMarketError):
    """The store can't be reached, or the session that shows that we live is gone; the next beat tries anew."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How things stand at one moment.

    Attributes:
        members: the names of those who live, and whether each can own partitions just now.
        owners: the name that stands at each partition that was ever taken; None where its owner let go of it. An owner
            may be dead.
    """

    members: Mapping[str, bool]
    owners: Mapping[Lanes, str | None]


class Membership(Protocol):
    """The list of those who take part, in the store. A member lives while its lease runs and its session stands."""

    lease_seconds: float
    """How long a beat is good for."""
    heard: Callable[[], None]
    """Called when another member tells that it let go of partitions. It may be missed: the next beat shows as much."""

    async def join(self, name: str) -> None:
        """Become a member.

        Raises:
            UltraMarketError: a process that shares with nobody runs on this store.
            MembershipLost: the store can't be reached.
        """
        ...

    async def beat(self, *, owns: bool, figures: Mapping[str, Any]) -> Standing:
        """Renew the lease, and see how things stand. A member whose session broke joins again.

        Args:
            owns: whether this member can own partitions just now.
            figures: what it tells of itself, for people.

        Raises:
            MembershipLost: the store can't be reached.
        """
        ...

    async def tell(self) -> None:
        """Tell the other members that partitions are free, so that they need not wait for their next beat."""
        ...

    async def leave(self) -> None:
        """Be a member no more; harmless when not one."""
        ...

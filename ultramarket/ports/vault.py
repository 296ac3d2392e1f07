"""Seals personal values under a key per subject; without the key a value reads as `erased`."""

from collections.abc import Callable
from typing import Protocol

from ultramarket.messages.common import Sealed

ERASED = "erased"


class Vault(Protocol):
    """Keys of subjects (customers, guests), made at first use, and what they open."""

    async def sealer(self, subject: str) -> Callable[[str], Sealed]:
        """A function that seals texts of this subject; its key is durable before this returns."""
        ...

    async def opener(self, subject: str | None) -> Callable[[Sealed], str]:
        """A function that opens this subject's values; `erased` where the key is gone or the value is another's."""
        ...

    def token(self, text: str) -> str:
        """A keyed, one-way token of an e-mail, equal for equal addresses (case and outer space don't matter)."""
        ...

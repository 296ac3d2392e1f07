"""Rendezvous hashing: who is to have what, agreed on without a word, and with few moves as members come and go.

Thaler and Ravishankar, "Using name-based mappings to increase hit rates", IEEE/ACM Transactions on Networking 6 (1998).
"""

from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b


def preferred(kind: str, no: int, members: Iterable[str]) -> str | None:
    """The member that is to own a partition: the one with the highest hash of both names; None without members."""
    return max(members, key=lambda member: (_weight(member, kind, no), member), default=None)


@lru_cache(maxsize=65536)
def _weight(member: str, kind: str, no: int) -> bytes:
    return blake2b(f"{member}|{kind}.{no:02d}".encode(), digest_size=8).digest()

"""Which partition an entity belongs to: fixed at its creation and for ever."""

from functools import lru_cache
from hashlib import blake2b

from ultramarket.messages.partitions import FEWER

PARTITIONS = 16
"""Partitions a kind, at most. Kept in the table `setting` and compared at boot: it can't change once there is data."""


def partitions_of(kind: str) -> int:
    """How many partitions a kind has."""
    return FEWER.get(kind, PARTITIONS)


@lru_cache(maxsize=65536)
def partition_of(kind: str, id: str) -> int:
    """Number of the partition of an entity: the first 8 bytes of BLAKE2b over `kind:id`, modulo `partitions_of`."""
    digest = blake2b(f"{kind}:{id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % partitions_of(kind)


def token(kind: str, no: int, seq: int) -> str:
    """The consistency token of a write, e.g. `cart.07@1234`."""
    return f"{kind}.{no:02d}@{seq}"

"""What a process of the platform does."""

from enum import Enum


class Role(Enum):
    """The part that a process takes: both halves of the platform, or one of them."""

    ALL = "all"
    """Actors and front end."""
    WORKER = "worker"
    """Actors alone."""
    WEB = "web"
    """The front end alone: others have the actors."""

    @property
    def has_http(self) -> bool:
        """Whether it answers HTTP."""
        return self is not Role.WORKER

    @property
    def has_actors(self) -> bool:
        """Whether it owns partitions."""
        return self is not Role.WEB

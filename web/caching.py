"""What caches on the way may keep: the public catalogue, for a while, with keys to purge it by."""

from dataclasses import dataclass

from aiohttp import web

from web.answers import VARY
from web.preferences import preferences
from web.principal import PRINCIPAL

Headers = dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Caching:
    """How long the catalogue as guests see it may be kept, e.g. by a CDN.

    Attributes:
        max_age: seconds for which it is fresh; 0: it is asked for anew each time.
        stale_while_revalidate: seconds after that in which it may be shown while it is asked for anew (RFC 5861).
        origins: whether pages of other origins may read the API, so that answers differ by Origin.
    """

    max_age: int = 10
    stale_while_revalidate: int = 60
    origins: bool = False

    def public(self, *keys: str, vary: str = "") -> Headers:
        """The headers of an answer that is the same for all guests.

        Args:
            keys: what the answer shows, for purging: `products`, `product-ID`, `category-HANDLE`.
            vary: a further request header that the answer differs by.
        """
        control = "public, no-cache"
        if self.max_age:
            control = f"public, max-age={self.max_age}, stale-while-revalidate={self.stale_while_revalidate}"
        names = [VARY, *(["Origin"] if self.origins else ()), *([vary] if vary else ())]
        return {
            "Cache-Control": control,
            "Vary": ", ".join(names),
            "Surrogate-Key": " ".join(keys),
            "Cache-Tag": ",".join(keys),
        }


def is_public(request: web.Request) -> bool:
    """Whether the answer may be the same for all guests: nobody named himself, and nobody asked for his own write."""
    return not request[PRINCIPAL].staff and (
        "Prefer" not in request.headers or "consistency" not in preferences(request)
    )

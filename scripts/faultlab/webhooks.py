"""Webhooks of the sandbox gateway to several replicas: genuine ones, and those that nobody of the gateway sent."""

import asyncio
import hmac
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import aiohttp
import msgspec

from ultramarket.domain.signature import TOLERANCE_SECONDS, sign

COPIES = 5
"""How often a gateway sends each webhook here; real ones repeat those that were not answered in time."""
AGAIN_SECONDS = 0.05
GENUINE = "genuine"
_NONE = 0
_PUT_OFF = (503, 409, _NONE)
"""What makes a gateway send again: 409 says that an earlier copy is being taken just now."""
_STRANGER = b"somebody else's secret"

Forgery = Callable[[bytes, bytes, int], str | None]
"""Makes the signature of a body from the gateway's secret and the time; None: no header at all."""
Post = tuple[str, bytes, int]
"""A sort, a body, and which copy of it this is."""
FORGERIES: Mapping[str, Forgery] = {
    "another secret": lambda body, _, now: sign(body, _STRANGER, now),
    "changed body": lambda body, secret, now: sign(body + b" ", secret, now),
    "changed time": lambda body, secret, now: sign(body, secret, now - 1).replace(f"t={now - 1}", f"t={now}"),
    "no signature": lambda *_: None,
    "none that can be": lambda *_: "t=now,v1=\u00e9",
    "stale": lambda body, secret, now: sign(body, secret, now - 2 * TOLERANCE_SECONDS),
    "from the future": lambda body, secret, now: sign(body, secret, now + 2 * TOLERANCE_SECONDS),
}


def secret_of(master_key: str) -> bytes:
    """What signs the sandbox's webhooks in a shop with this master key (hexadecimal)."""
    web = hmac.digest(bytes.fromhex(master_key), b"web", "sha256")
    return hmac.digest(web, b"webhook:sandbox", "sha256")


@dataclass
class Gateway:
    """Sends webhooks for payments.

    Attributes:
        replicas: addresses of the processes; the copies of a webhook go to one after the other.
        secret: the one that the shop shares with the gateway.
        answered: by sort (`GENUINE` or a name of `FORGERIES`): how many were answered with each status for good.
        put_off: how often one was answered 503 or 409, or not at all (0), and sent again.
    """

    session: aiohttp.ClientSession
    replicas: Sequence[str]
    secret: bytes
    chance: random.Random
    answered: defaultdict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    put_off: Counter[int] = field(default_factory=Counter)

    async def send(self, payment: str, events: Iterable[str]) -> None:
        """Send each event several times, and every forgery of another one: all at once and in any order."""
        bodies = [msgspec.json.encode({"id": f"{payment}-{event}", "payment": payment}) for event in events]
        posts = [(GENUINE, body, copy) for body in bodies for copy in range(COPIES)]
        await self._post_all([*posts, *self._forged(payment)])

    async def forge(self, payment: str) -> None:
        """Send every forgery, and nothing that is genuine."""
        await self._post_all(self._forged(payment))

    def sent(self, sorts: Iterable[str]) -> Counter[int]:
        """How webhooks of these sorts were answered."""
        return sum((self.answered[sort] for sort in sorts), Counter())

    def _forged(self, payment: str) -> list[Post]:
        # The event is a new one: it must not be refused, or have no effect, only because it was taken before.
        body = msgspec.json.encode({"id": f"{payment}-forged-{self.chance.random()}", "payment": payment})
        return [(sort, body, place) for place, sort in enumerate(FORGERIES)]

    async def _post_all(self, posts: list[Post]) -> None:
        """Send these at once, in any order, to one replica after the other."""
        self.chance.shuffle(posts)
        first = self.chance.randrange(len(self.replicas))
        async with asyncio.TaskGroup() as group:
            for sort, body, place in posts:
                group.create_task(self._deliver(sort, body, self.replicas[(first + place) % len(self.replicas)]))

    async def _deliver(self, sort: str, body: bytes, replica: str) -> None:
        """Send one until it is answered for good."""
        while (status := await self._post(sort, body, replica)) in _PUT_OFF:
            self.put_off[status] += 1
            await asyncio.sleep(AGAIN_SECONDS)
        self.answered[sort][status] += 1

    async def _post(self, sort: str, body: bytes, replica: str) -> int:
        now = int(time.time())
        signature = sign(body, self.secret, now) if sort == GENUINE else FORGERIES[sort](body, self.secret, now)
        headers = {"Content-Type": "application/json", **({"Sandbox-Signature": signature} if signature else {})}
        try:
            async with self.session.post(f"{replica}/api/v1/webhooks/sandbox", data=body, headers=headers) as answer:
                await answer.read()
                return answer.status
        except (aiohttp.ClientError, OSError):
            return _NONE

"""The vault on PostgreSQL: a key per subject, wrapped under a master key that the database never sees.

AES-256-GCM with random 96-bit nonces (NIST SP 800-38D, 8.2.2), keys derived from the master key by HKDF-SHA256
(RFC 5869), one for each use.
"""

import asyncio
import hashlib
import hmac
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, TypeVar

import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ultramarket.errors import ConfigurationError
from ultramarket.messages.common import Sealed
from ultramarket.ports.database import Database
from ultramarket.ports.vault import ERASED

PROOF = "the shop"
"""The subject whose key shows that a master key is the one of this database."""
KEY_BYTES = 32
NONCE_BYTES = 12
CACHED_KEYS = 10_000
BATCH = 500
"""How many keys one statement makes or finds at most."""

# A row that another process makes between this statement's snapshot and its insert is in neither half: asked again.
_MAKE = """
with wanted as (select * from unnest($1::text[], $2::bytea[]) as w (subject, wrapped)),
made as (
    insert into subject_key (subject, wrapped) select subject, wrapped from wanted order by subject
    on conflict (subject) do nothing
    returning subject, wrapped
)
select subject, wrapped from made
union all
select subject, wrapped from subject_key where subject = any($1::text[])
"""
_ANY = "select subject, wrapped from subject_key limit 1"
_FIND = "select subject, wrapped from subject_key where subject = any($1::text[])"

log = structlog.get_logger()


Value = TypeVar("Value")


class _Coalesced(Generic[Value]):
    """Turns calls for one key into calls for many: what queues while one statement runs goes into the next."""

    def __init__(self, load: Callable[[Sequence[str]], Awaitable[Mapping[str, Value]]]) -> None:
        self._load = load
        self._queue: dict[str, asyncio.Future[Value]] = {}
        self._task: asyncio.Task[None] | None = None

    async def get(self, subject: str) -> Value:
        future = self._queue.get(subject)
        if future is None:
            future = self._queue[subject] = asyncio.get_running_loop().create_future()
            if self._task is None:
                self._task = asyncio.create_task(self._drain())
        # Shielded: one caller that gives up must not take the answer from the others.
        return await asyncio.shield(future)

    async def _drain(self) -> None:
        try:
            while self._queue:
                batch = {subject: self._queue.pop(subject) for subject in list(self._queue)[:BATCH]}
                await self._answer(batch)
        finally:
            self._task = None

    async def _answer(self, batch: Mapping[str, "asyncio.Future[Value]"]) -> None:
        try:
            found = await self._load(list(batch))
        except asyncio.CancelledError:
            for future in batch.values():
                future.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - it goes to those who asked
            for future in batch.values():
                future.set_exception(error)
        else:
            for subject, future in batch.items():
                future.set_result(found[subject])


class PostgresVault:
    """Implements `ports.vault.Vault` over the table `subject_key`.

    Args:
        database: where the wrapped keys are.
        master_key: 32 secret bytes, kept outside the database; without them nothing sealed can be opened.
        cached_keys: how many subjects' keys stay in memory, the least recently used goes first.

    Raises:
        ConfigurationError: the master key has another length.
    """

    def __init__(self, database: Database, master_key: bytes, *, cached_keys: int = CACHED_KEYS) -> None:
        if len(master_key) != KEY_BYTES:
            raise ConfigurationError(f"The master key of the vault has {len(master_key)} bytes, it needs {KEY_BYTES}.")
        self._database = database
        self._wrapping = AESGCM(_derived(master_key, b"ultramarket vault: wrapping of subject keys"))
        self._token_key = _derived(master_key, b"ultramarket vault: tokens for search")
        self._cached_keys = cached_keys
        self._cache: OrderedDict[str, AESGCM] = OrderedDict()
        self._making = _Coalesced(self._make)
        self._finding = _Coalesced(self._find)

    async def prove(self) -> None:
        """Make sure that the master key is this shop's. The first process of a shop settles which one that is.

        Raises:
            Unavailable: the database can't be reached.
            ConfigurationError: the shop has another master key.
        """
        # A shop older than the proof has keys that tell as much: a wrong master key must not become the proof.
        for row in await self._database.fetch(_ANY):
            self._keep(row["subject"], row["wrapped"])
        await self._making.get(PROOF)

    async def sealer(self, subject: str) -> Callable[[str], Sealed]:
        """A function that seals texts of this subject; its key is durable before this returns.

        Raises:
            Unavailable: the database can't be reached.
            ConfigurationError: the subject's key was wrapped under another master key.
        """
        key = self._cached(subject) or await self._making.get(subject)
        associated = subject.encode()

        def seal(text: str) -> Sealed:
            nonce = os.urandom(NONCE_BYTES)
            box = urlsafe_b64encode(nonce + key.encrypt(nonce, text.encode(), associated))
            return Sealed(subject, box.decode())

        return seal

    async def opener(self, subject: str | None) -> Callable[[Sealed], str]:
        """A function that opens this subject's values; `erased` where the key is gone or the value is another's.

        Raises:
            Unavailable: the database can't be reached.
            ConfigurationError: the subject's key was wrapped under another master key.
        """
        if subject is None:
            return _erased
        key = self._cached(subject) or await self._finding.get(subject)
        if key is None:
            return _erased
        associated = subject.encode()

        def unseal(sealed: Sealed) -> str:
            if sealed.subject != subject:
                return ERASED
            try:
                box = urlsafe_b64decode(sealed.box)
                return key.decrypt(box[:NONCE_BYTES], box[NONCE_BYTES:], associated).decode()
            except (InvalidTag, ValueError):
                # An older key of the subject that was erased, or a box that was damaged: either way it is lost.
                log.warning("a sealed value can't be opened")
                return ERASED

        return unseal

    def token(self, text: str) -> str:
        """A keyed, one-way token (HMAC-SHA256, hex) of an e-mail, equal for equal addresses whatever their case."""
        return hmac.new(self._token_key, text.strip().casefold().encode(), hashlib.sha256).hexdigest()

    def _cached(self, subject: str) -> AESGCM | None:
        key = self._cache.get(subject)
        if key is not None:
            self._cache.move_to_end(subject)
        return key

    async def _make(self, subjects: Sequence[str]) -> Mapping[str, AESGCM]:
        keys: dict[str, AESGCM] = {}
        missing = list(subjects)
        while missing:
            wrapped = [self._wrap(subject, AESGCM.generate_key(8 * KEY_BYTES)) for subject in missing]
            rows = await self._database.fetch(_MAKE, missing, wrapped)
            keys |= {row["subject"]: self._keep(row["subject"], row["wrapped"]) for row in rows}
            missing = [subject for subject in missing if subject not in keys]
        return keys

    async def _find(self, subjects: Sequence[str]) -> Mapping[str, AESGCM | None]:
        rows = await self._database.fetch(_FIND, list(subjects))
        found = {row["subject"]: self._keep(row["subject"], row["wrapped"]) for row in rows}
        return {subject: found.get(subject) for subject in subjects}

    def _wrap(self, subject: str, key: bytes) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._wrapping.encrypt(nonce, key, subject.encode())

    def _keep(self, subject: str, wrapped: bytes) -> AESGCM:
        try:
            key = AESGCM(self._wrapping.decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], subject.encode()))
        except InvalidTag as error:
            raise ConfigurationError(
                "The master key does not open the keys in the database: it belongs to another shop, or was replaced. "
                "Give each process of the shop the same one: in ULTRAMARKET_MASTER_KEY, or as the file master.key in "
                "its data directory."
            ) from error
        self._cache[subject] = key
        self._cache.move_to_end(subject)
        while len(self._cache) > self._cached_keys:
            self._cache.popitem(last=False)
        return key


def _derived(master_key: bytes, use: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=use).derive(master_key)


def _erased(_sealed: Sealed) -> str:
    return ERASED

import asyncio
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import Any

import pytest

from ultramarket.adapters.postgres import PostgresDatabase
from ultramarket.adapters.vault import PostgresVault
from ultramarket.errors import ConfigurationError, Unavailable
from ultramarket.messages.common import Sealed

MASTER = bytes(range(32))


class Counting:
    """The database, with the statements it was given; `fail` makes the next ones fail."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database
        self.statements: list[int] = []
        self.fail = False

    async def fetch(self, sql: str, *args: Any) -> Sequence[Any]:
        self.statements.append(len(args[0]))
        if self.fail:
            raise Unavailable("database_unavailable", "made up")
        return await self._database.fetch(sql, *args)


@pytest.fixture
def vault(database: PostgresDatabase) -> PostgresVault:
    return PostgresVault(database, MASTER)


async def test_what_is_sealed_opens_with_the_subjects_key_only(vault: PostgresVault) -> None:
    sealed = (await vault.sealer("cart:1"))("Ada Lovelace ✓")
    assert sealed.subject == "cart:1"
    assert "Ada" not in sealed.box
    assert (await vault.opener("cart:1"))(sealed) == "Ada Lovelace ✓"
    await vault.sealer("cart:2")
    assert (await vault.opener("cart:2"))(sealed) == "erased"
    assert (await vault.opener("cart:2"))(Sealed("cart:2", sealed.box)) == "erased"


async def test_an_unknown_subject_and_none_read_as_erased(vault: PostgresVault, database: PostgresDatabase) -> None:
    sealed = (await vault.sealer("cart:1"))("Ada")
    assert (await vault.opener(None))(sealed) == "erased"
    assert (await vault.opener("cart:unknown"))(Sealed("cart:unknown", sealed.box)) == "erased"
    assert [row["subject"] for row in await database.fetch("select subject from subject_key")] == ["cart:1"]


async def test_a_subject_that_gets_its_key_later_opens_then(vault: PostgresVault) -> None:
    assert (await vault.opener("cart:1"))(Sealed("cart:1", "")) == "erased"
    sealed = (await vault.sealer("cart:1"))("Ada")
    assert (await vault.opener("cart:1"))(sealed) == "Ada"


async def test_a_second_process_opens_it_and_without_the_key_row_it_is_erased(
    vault: PostgresVault, database: PostgresDatabase
) -> None:
    sealed = (await vault.sealer("cart:1"))("Ada")
    assert (await PostgresVault(database, MASTER).opener("cart:1"))(sealed) == "Ada"
    await database.execute("delete from subject_key")
    assert (await PostgresVault(database, MASTER).opener("cart:1"))(sealed) == "erased"


@pytest.mark.parametrize("box", ["", "not base64 ü", "AAAA"])
async def test_a_damaged_box_reads_as_erased(vault: PostgresVault, box: str) -> None:
    await vault.sealer("cart:1")
    assert (await vault.opener("cart:1"))(Sealed("cart:1", box)) == "erased"


async def test_one_flipped_bit_reads_as_erased(vault: PostgresVault) -> None:
    sealed = (await vault.sealer("cart:1"))("Ada")
    raw = bytearray(urlsafe_b64decode(sealed.box))
    raw[-1] ^= 1
    assert (await vault.opener("cart:1"))(Sealed("cart:1", urlsafe_b64encode(raw).decode())) == "erased"


async def test_the_same_text_is_never_sealed_the_same_way_twice(vault: PostgresVault) -> None:
    seal = await vault.sealer("cart:1")
    assert seal("Ada").box != seal("Ada").box


async def test_processes_that_make_the_same_keys_at_once_agree(database: PostgresDatabase) -> None:
    vaults = [PostgresVault(database, MASTER) for _ in range(4)]
    subjects = [f"cart:{n}" for n in range(50)]
    sealers = await asyncio.gather(*(vault.sealer(subject) for vault in vaults for subject in subjects))
    opener_of = {subject: await vaults[0].opener(subject) for subject in subjects}
    for seal in sealers:
        sealed = seal("Ada")
        assert opener_of[sealed.subject](sealed) == "Ada"


async def test_requests_at_the_same_time_share_statements_and_later_ones_the_memory(database: PostgresDatabase) -> None:
    counting = Counting(database)
    vault = PostgresVault(counting, MASTER)  # type: ignore[arg-type] - it needs fetch alone
    await asyncio.gather(*(vault.sealer(f"cart:{n % 100}") for n in range(1000)))
    assert counting.statements == [100]
    await vault.opener("cart:5")
    assert counting.statements == [100]


async def test_the_least_recently_used_key_leaves_the_memory(database: PostgresDatabase) -> None:
    counting = Counting(database)
    vault = PostgresVault(counting, MASTER, cached_keys=2)  # type: ignore[arg-type] - it needs fetch alone
    for subject in ("a", "b", "a", "c", "a"):
        await vault.sealer(subject)
    assert len(counting.statements) == 3
    await vault.opener("b")
    assert len(counting.statements) == 4


async def test_every_caller_hears_that_the_database_is_away_and_the_next_call_works(database: PostgresDatabase) -> None:
    counting = Counting(database)
    vault = PostgresVault(counting, MASTER)  # type: ignore[arg-type] - it needs fetch alone
    counting.fail = True
    results = await asyncio.gather(*(vault.sealer(f"cart:{n}") for n in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [Unavailable, Unavailable, Unavailable]
    counting.fail = False
    assert (await vault.sealer("cart:1"))("x").subject == "cart:1"


async def test_a_caller_that_gives_up_does_not_take_the_key_from_the_others(vault: PostgresVault) -> None:
    first, second = (asyncio.create_task(vault.sealer("cart:1")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second)("Ada").subject == "cart:1"
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_callers_are_cancelled_when_the_statement_is() -> None:
    entered = asyncio.Event()

    class Stuck:
        async def fetch(self, _sql: str, *_args: Any) -> Sequence[Any]:
            entered.set()
            await asyncio.Event().wait()
            return []

    vault = PostgresVault(Stuck(), MASTER)  # type: ignore[arg-type] - it needs fetch alone
    waiting = asyncio.create_task(vault.sealer("cart:1"))
    await entered.wait()
    assert vault._making._task is not None
    vault._making._task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_another_master_key_is_told_apart_from_an_erased_value(
    vault: PostgresVault, database: PostgresDatabase
) -> None:
    await vault.sealer("cart:1")
    with pytest.raises(ConfigurationError, match="master key does not open"):
        await PostgresVault(database, bytes(32)).opener("cart:1")


async def test_another_master_key_is_refused_at_once(vault: PostgresVault, database: PostgresDatabase) -> None:
    await vault.prove()
    await PostgresVault(database, MASTER).prove()
    with pytest.raises(ConfigurationError, match="Give each process of the shop the same one"):
        await PostgresVault(database, bytes(32)).prove()


async def test_keys_from_before_the_proof_prove_as_much(vault: PostgresVault, database: PostgresDatabase) -> None:
    await vault.sealer("cart:1")
    with pytest.raises(ConfigurationError, match="does not open"):
        await PostgresVault(database, bytes(32)).prove()
    await vault.prove()


def test_a_master_key_of_another_length_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="16 bytes"):
        PostgresVault(None, bytes(16))  # type: ignore[arg-type] - never used


async def test_the_keys_are_not_readable_in_the_database(vault: PostgresVault, database: PostgresDatabase) -> None:
    await vault.sealer("cart:1")
    row = (await database.fetch("select * from subject_key"))[0]
    assert len(row["wrapped"]) == 12 + 32 + 16
    assert row["created_at"].tzinfo is not None


def test_a_token_is_the_same_for_the_same_address_and_differs_by_master_key() -> None:
    one, other = PostgresVault(None, MASTER), PostgresVault(None, bytes(32))  # type: ignore[arg-type] - never used
    assert one.token(" Ada@Example.com ") == one.token("ada@example.com")
    assert one.token("ada@example.com") != one.token("bob@example.com")
    assert one.token("ada@example.com") != other.token("ada@example.com")
    assert one.token("ada@example.com") == "4466c1c5b1747d7505403b963aa47924f3854661bcfd9f5169ec5e36689a1746"

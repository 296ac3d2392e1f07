"""A real server, killed again and again at random under load: nothing that was promised is lost or happens twice."""

import os
import random
from pathlib import Path

from tests.faults.crowd import crowd


async def test_killed_ten_times_at_random_under_load_the_shop_loses_and_doubles_nothing(tmp_path: Path) -> None:
    seed = int(os.environ.get("ULTRAMARKET_TEST_SEED") or random.randrange(1_000_000))  # noqa: S311 - a test's choices
    print(f"again with ULTRAMARKET_TEST_SEED={seed}")  # noqa: T201 - shown when it fails
    moments = random.Random(seed)  # noqa: S311 - a test's choices
    async with crowd(tmp_path / "data", seed, measured=False) as (server, buyers):
        for _ in range(10):
            await buyers.answers(moments.randrange(1, 120))
            await server.kill()
            await server.start()
        await buyers.answers(60)

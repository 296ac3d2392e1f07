from pathlib import Path

from scripts.benchmarks.catalogue import handles, product_file, skus
from scripts.benchmarks.shop import process


async def test_a_process_is_gone_after_its_block(tmp_path: Path) -> None:
    async with process(["-c", "import time; time.sleep(60)"], tmp_path / "log", {}) as started:
        assert started.returncode is None
    assert started.returncode is not None


def test_a_catalogue_has_its_handles_and_skus_in_the_file() -> None:
    lines = product_file(range(5, 7), colours=2).decode().splitlines()
    assert len(lines) == 1 + 2 * 8
    assert handles(range(5, 7)) == ["heavy-shirt-000005", "heavy-shirt-000006"]
    assert len(skus(range(5, 7), colours=2)) == 16
    assert all(sku in line for sku, line in zip(skus(range(5, 7), colours=2), lines[1:], strict=True))

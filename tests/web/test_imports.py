import gzip
from typing import Any

import pytest

from tests.web.world import STAFF, Client, World, problem
from web.api import imports

CSV = {**STAFF, "Content-Type": "text/csv"}
URL = "/api/v1/imports"


async def test_a_file_is_kept_and_its_import_started(client: Client, world: World) -> None:
    answer = await client.post(f"{URL}?currency=EUR&dry_run=true", data=b"Handle,Title\n", headers=CSV)
    job = await answer.json()
    assert (answer.status, job["status"], job["dry_run"]) == (202, "running", True)
    assert answer.headers["Location"] == f"{URL}/{job['id']}"
    assert world.uploads.kept == {job["id"]: b"Handle,Title\n"}
    assert world.actors.asked[-1][2].currency == "EUR"
    assert await (await client.get(answer.headers["Location"], headers=STAFF)).json() == job


async def test_a_repeat_leaves_the_file_as_it_is(client: Client, world: World) -> None:
    headers = {**CSV, "Idempotency-Key": "k"}
    first = await client.post(URL, data=b"Handle\n", headers=headers)
    world.uploads.kept.clear()
    again = await client.post(URL, data=b"Handle\n", headers=headers)
    assert (again.status, await again.read()) == (202, await first.read())
    assert world.uploads.kept == {}
    await problem(await client.post(URL, data=b"Other\n", headers=headers), 422, "idempotency_key_reused")
    await problem(
        await client.post(f"{URL}?dry_run=1", data=b"Handle\n", headers=headers), 422, "idempotency_key_reused"
    )


async def test_imports_are_for_staff(client: Client) -> None:
    await problem(await client.post(URL, data=b"x", headers={"Content-Type": "text/csv"}), 401, "credentials_required")
    await problem(await client.get(f"{URL}/x"), 401, "credentials_required")
    await problem(await client.get(f"{URL}/x", headers=STAFF), 404, "not_found")


@pytest.mark.parametrize(
    ("query", "content_type", "data", "status", "code"),
    [
        ("", "application/json", b"{}", 415, "unsupported_media_type"),
        ("", "text/csv; charset=utf-16", b"x", 415, "unsupported_media_type"),
        ("?currency=XXX", "text/csv", b"x", 422, "currency_unknown"),
        ("?dry_run=perhaps", "text/csv", b"x", 422, "invalid_parameter"),
        ("?colour=red", "text/csv", b"x", 422, "unknown_parameter"),
        ("", "text/csv", b"", 422, "invalid"),
    ],
)
async def test_an_import_that_can_not_be_is_refused(
    client: Client, query: str, content_type: str, data: bytes, status: int, code: str
) -> None:
    answer = await client.post(f"{URL}{query}", data=data, headers={**STAFF, "Content-Type": content_type})
    await problem(answer, status, code)


async def test_a_packed_file_is_refused_since_a_cut_one_could_not_be_told(client: Client, world: World) -> None:
    packed = gzip.compress(b"Handle,Title\n" * 1000)[:-20]
    answer = await client.post(URL, data=packed, headers={**CSV, "Content-Encoding": "gzip"})
    await problem(answer, 415, "unsupported_media_type")
    assert world.uploads.kept == {}


async def test_a_file_that_is_too_large_is_refused_and_its_part_dropped(
    client: Client, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "MAX_UPLOAD", 100_000)

    async def chunks() -> Any:
        for _ in range(10):
            yield b"x" * 20_000

    await problem(await client.post(URL, data=b"x" * 100_001, headers=CSV), 413, "body_too_large")
    assert world.uploads.dropped == []
    await problem(await client.post(URL, data=chunks(), headers=CSV), 413, "body_too_large")
    assert (world.uploads.kept, len(world.uploads.dropped)) == ({}, 1)

import zlib
from typing import Any

import brotli
import pytest

from tests.web.world import STAFF, Client, World
from web import codings

URL = "/api/v1/products/handle-of-bag"
LONG = "A bag that carries what you buy. " * 60


async def raw(client: Client, url: str, accept: str, **headers: str) -> tuple[Any, bytes]:
    """The answer with its body as it came over the wire."""
    asked = {"Accept-Encoding": accept, **headers}
    async with client.session.get(client.make_url(url), headers=asked, auto_decompress=False) as answer:
        return answer, await answer.read()


@pytest.fixture
async def tote(world: World) -> str:
    return await world.product("BAG", description={"en": LONG})


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        ("br", "br"),
        ("gzip, deflate, br", "br"),
        ("gzip;q=1.0, br;q=0.5", "gzip"),
        ("gzip", "gzip"),
        ("*", "br"),
        ("*;q=0.5, br;q=0", "gzip"),
        ("GZIP", "gzip"),
        ("br;q=0, gzip;q=0", None),
        ("gzip;q=0.5, identity", None),
        ("identity", None),
        ("deflate, zstd", None),
        ("", None),
        ("br;q=nonsense", "br"),
        ("x" * 300 + ", br", None),
    ],
)
@pytest.mark.usefixtures("tote")
async def test_a_body_comes_in_the_coding_that_is_liked_best(client: Client, accept: str, coding: str | None) -> None:
    answer, body = await raw(client, URL, accept)
    assert answer.headers.get("Content-Encoding") == coding
    assert answer.headers["ETag"] == (f'"1-{coding}"' if coding else '"1"')
    assert "Accept-Encoding" in answer.headers["Vary"]
    assert int(answer.headers["Content-Length"]) == len(body)
    plain = await (await client.get(URL)).read()
    unpacked = {"br": brotli.decompress, "gzip": lambda packed: zlib.decompress(packed, 31), None: bytes}[coding](body)
    assert unpacked == plain
    assert (len(body) < len(plain)) == (coding is not None)


@pytest.mark.parametrize("accept", ["br", "gzip"])
async def test_whatever_is_long_is_coded_and_what_is_short_is_not(
    client: Client, cart: dict[str, Any], tote: str, accept: str
) -> None:
    for url in (f"/api/v1/products/{tote}?fields=description", "/api/v1/openapi.json", "/", "/docs", "/metrics"):
        answer, body = await raw(client, url, accept)
        expected = accept if len(await (await client.get(url)).read()) >= 1024 else None
        assert (answer.status, answer.headers.get("Content-Encoding")) == (200, expected), (url, len(body))
        assert ("Accept-Encoding" in answer.headers.get("Vary", "")) or expected is None, url
    for url in (f"/api/v1/products/{tote}?fields=id", "/health/live", "/api/v1/carts/none"):
        answer, _ = await raw(client, url, accept)
        assert "Content-Encoding" not in answer.headers, url
    answer, _ = await raw(client, f"/api/v1/carts/{cart['id']}", accept)
    assert answer.headers["ETag"] == f'"{cart["version"]}-{accept}"'


@pytest.mark.usefixtures("tote")
async def test_head_has_the_headers_of_the_coded_get(client: Client) -> None:
    get, body = await raw(client, URL, "br")
    async with client.session.head(client.make_url(URL), headers={"Accept-Encoding": "br"}) as head:
        for name in ("ETag", "Content-Encoding", "Content-Length", "Vary", "Cache-Control"):
            assert head.headers[name] == get.headers[name]
    assert head.headers["Content-Length"] == str(len(body))


@pytest.mark.parametrize("known", ['"1-br"', '"1-gzip"', '"1"', 'W/"1-br"', '"9", "1-br"'])
@pytest.mark.usefixtures("tote")
async def test_a_product_is_known_in_any_coding_and_told_by_the_tag_that_is_known(client: Client, known: str) -> None:
    answer, body = await raw(client, URL, "br", **{"If-None-Match": known})
    assert (answer.status, body) == (304, b"")
    assert answer.headers["ETag"] == known.removeprefix("W/").removeprefix('"9", ')


@pytest.mark.parametrize(("tag", "status"), [('"1-br"', 200), ('"1-gzip"', 200), ('W/"1-br"', 412), ('"2-br"', 412)])
async def test_the_tag_of_a_coded_answer_is_one_to_change_by(client: Client, tote: str, tag: str, status: int) -> None:
    answer = await client.patch(f"/api/v1/products/{tote}", json={"vendor": "Acme"}, headers={**STAFF, "If-Match": tag})
    assert answer.status == status


@pytest.mark.usefixtures("tote")
async def test_a_product_that_is_asked_again_is_not_coded_again(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await raw(client, URL, "br")

    async def never(_body: bytes, _coding: str) -> bytes:
        raise AssertionError("it is coded already")

    monkeypatch.setattr(codings, "packed", never)
    again = await raw(client, URL, "br")
    assert (again[0].status, again[1]) == (200, first[1])


async def test_a_large_body_is_coded_in_a_thread_to_the_same_bytes() -> None:
    body = LONG.encode() * 100
    assert len(body) > codings.THREAD_BYTES
    assert brotli.decompress(await codings.packed(body, "br")) == body
    assert zlib.decompress(await codings.packed(body, "gzip"), 31) == body

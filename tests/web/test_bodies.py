import gzip
import io
from typing import Any

import pytest

from tests.web.world import STAFF, Client, problem

JSON = {"Content-Type": "application/json"}
LINES = "/api/v1/carts/{}/lines"


@pytest.mark.parametrize(
    ("raw", "status", "code"),
    [
        (b"", 400, "malformed_json"),
        (b"{", 400, "malformed_json"),
        (b'{"sku": "TOTE"} x', 400, "malformed_json"),
        (b'{"sku": "TOTE", "quantity": NaN}', 400, "malformed_json"),
        (b'\xef\xbb\xbf{"sku": "TOTE"}', 400, "malformed_json"),
        (b'{"sku": "\xff\xfe"}', 400, "not_utf8"),
        (b'{"sku": "a\\u0000b"}', 422, "invalid_text"),
        (b'{"sku": "a\\ud800b"}', 422, "invalid_text"),
        (b'{"sku": "a\\udc00"}', 422, "invalid_text"),
        (b'{"\\u0000": "a"}', 422, "invalid_text"),
        (b"[]", 422, "invalid"),
        (b"null", 422, "invalid"),
        (b'{"sku": 5}', 422, "invalid"),
        (b'{"sku": ""}', 422, "invalid"),
        (b'{"sku": "TOTE", "quantity": "2"}', 422, "invalid"),
        (b'{"sku": "TOTE", "quantity": 0}', 422, "invalid"),
        (b'{"sku": "TOTE", "quantity": -1}', 422, "invalid"),
        (b'{"sku": "TOTE", "quantity": 1.5}', 422, "invalid"),
        (b'{"sku": "TOTE", "quantity": 1e400}', 422, "invalid"),
        (b'{"sku": "TOTE", "quantity": 99999999999999999999999999}', 422, "invalid"),
        (b'{"sku": "TOTE", "quantity": null}', 422, "invalid"),
        (b'{"sku": "TOTE", "colour": "red"}', 422, "invalid"),
        (b'{"x":' + b"[" * 100_000, 422, "invalid"),
        (b'{"sku": "\\u0000", "x":' + b"[" * 100_000, 422, "invalid"),
    ],
)
async def test_a_body_that_can_not_be_is_a_clear_problem(client: Client, raw: bytes, status: int, code: str) -> None:
    answer = await client.post(LINES.format("any"), data=raw, headers=JSON)
    await problem(answer, status, code)


@pytest.mark.parametrize(
    ("raw", "pointer", "word"),
    [
        (b'{"sku": "TOTE", "colour": "red"}', "/colour", "colour"),
        (b"{}", "/sku", "sku"),
        (b'{"sku": "TOTE", "quantity": 0}', "/quantity", ">= 1"),
        (b'{"sku": "TOTE", "a/b~c": 1}', "/a~1b~0c", "a/b~c"),
    ],
)
async def test_a_fault_is_named_with_its_place(client: Client, raw: bytes, pointer: str, word: str) -> None:
    document = await problem(await client.post(LINES.format("any"), data=raw, headers=JSON), 422, "invalid")
    assert [fault["pointer"] for fault in document["errors"]] == [pointer]
    assert word in document["errors"][0]["detail"]


async def test_a_fault_in_a_nested_object_is_named_with_its_path(client: Client) -> None:
    product = {"title": "T", "variants": [{"sku": "A", "price": {"amount": 5, "currency": "USD"}}]}
    answer = await client.post("/api/v1/products", json=product, headers=STAFF)
    document = await problem(answer, 422, "invalid")
    assert document["errors"][0]["pointer"] == "/variants/0/price/amount"


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1"]
)
async def test_another_content_type_is_refused(client: Client, content_type: str) -> None:
    answer = await client.post(LINES.format("any"), data=b'{"sku": "TOTE"}', headers={"Content-Type": content_type})
    await problem(answer, 415, "unsupported_media_type")


async def test_a_body_over_one_mebibyte_is_refused(client: Client) -> None:
    raw = b'{"sku": "' + b"a" * (1024 * 1024) + b'"}'
    await problem(await client.post(LINES.format("any"), data=io.BytesIO(raw), headers=JSON), 413, "body_too_large")


async def test_a_chunked_body_over_one_mebibyte_is_refused(client: Client) -> None:
    async def chunks() -> Any:
        for _ in range(20):
            yield b" " * 65_536

    await problem(await client.post(LINES.format("any"), data=chunks(), headers=JSON), 413, "body_too_large")


async def test_a_small_body_that_unpacks_to_much_is_refused(client: Client) -> None:
    packed = gzip.compress(b" " * (8 * 1024 * 1024))
    answer = await client.post(LINES.format("any"), data=packed, headers={**JSON, "Content-Encoding": "gzip"})
    await problem(answer, 413, "body_too_large")


async def test_a_broken_content_encoding_is_a_clear_problem(client: Client) -> None:
    answer = await client.post(LINES.format("any"), data=b"no gzip", headers={**JSON, "Content-Encoding": "gzip"})
    await problem(answer, 400, "malformed_body")


@pytest.mark.parametrize("coding", ["br", "zstd", "compress", "gzip, gzip", ""])
async def test_another_content_coding_is_refused(client: Client, coding: str) -> None:
    headers = {**JSON, "Content-Encoding": coding, "Content-Length": "2"}
    answer = await client.post("/api/v1/carts", data=b"{}", headers=headers)
    await problem(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize(("coding", "raw"), [("gzip", gzip.compress(b"{}", mtime=0)), ("identity", b"{}")])
async def test_a_known_content_coding_is_taken(client: Client, coding: str, raw: bytes) -> None:
    headers = {**JSON, "Content-Encoding": coding, "Content-Length": str(len(raw))}
    assert (await client.post("/api/v1/carts", data=raw, headers=headers)).status == 201


async def test_a_real_surrogate_pair_and_a_written_escape_are_no_fault(client: Client, cart: dict[str, Any]) -> None:
    raw = b'{"sku": "T\\\\u0000-\\ud83d\\ude00"}'
    document = await problem(await client.post(LINES.format(cart["id"]), data=raw, headers=JSON), 422, "sku_not_found")
    assert "\N{GRINNING FACE}" in document["detail"]

"""The runs see what they are for, on a server of a few lines with one thing wrong at a time."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.schema.conftest import Known
from tests.schema.exploring import Run, explore

NOTHING: Known = {
    name: ["none"]
    for name in ("skus", "carts", "ready", "sources", "orders", "payments", "products", "imports", "reviews")
}
THING = {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}}
DOCUMENT: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "Things", "version": "1"},
    "servers": [{"url": "/api/v1"}],
    "paths": {
        "/thing": {
            "get": {
                "operationId": "show_thing",
                "tags": ["things"],
                "responses": {"200": {"description": "It.", "content": {"application/json": {"schema": THING}}}},
            }
        }
    },
}
METRICS = 'ultramarket_http_request_seconds_count{method="GET",route="/api/v1/thing",status="200"} 7.0\n'


async def found(answer: Callable[[], web.Response], folder: Path) -> Run:
    """What a run of a second finds where the thing is answered so."""

    async def thing(_: web.Request) -> web.Response:
        return answer()

    async def document(_: web.Request) -> web.Response:
        return web.json_response(DOCUMENT)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(text=METRICS)

    app = web.Application()
    app.add_routes(
        [
            web.get("/api/v1/thing", thing),
            web.get("/api/v1/openapi.json", document),
            web.get("/metrics", metrics),
        ]
    )
    async with TestServer(app) as server:
        return await explore(str(server.make_url("")).rstrip("/"), folder, NOTHING, seconds=1)


async def test_what_is_as_the_document_says_is_no_finding(tmp_path: Path) -> None:
    run = await found(lambda: web.json_response({"id": "a"}), tmp_path)
    assert not run.failed, run.said
    assert run.granted == {}  # as many before as after


@pytest.mark.parametrize(
    ("answer", "finding"),
    [
        (lambda: web.json_response({"id": "a"}, status=202), "Undocumented status code"),
        (lambda: web.json_response({}, status=500), "Server error"),
        (lambda: web.json_response({"id": 5}), "Response violates schema"),
        (lambda: web.Response(text='{"id": "a"}', content_type="text/plain"), "Undocumented Content-Type"),
    ],
)
async def test_a_finding_is_told_with_the_line_that_repeats_it(
    answer: Callable[[], web.Response], finding: str, tmp_path: Path
) -> None:
    run = await found(answer, tmp_path)
    assert run.failed
    assert finding in run.said
    assert "curl -X GET" in run.said
    assert "Repeat it with ULTRAMARKET_TEST_SCHEMA_SEED=" in run.said

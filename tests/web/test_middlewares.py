import asyncio
from typing import Any

import pytest
import structlog

from tests.web.fakes import UNAVAILABLE
from tests.web.world import STAFF, Client, World, problem


async def test_an_unknown_path_is_a_problem(client: Client) -> None:
    document = await problem(await client.get("/api/v1/unicorns"), 404, "not_found")
    assert document["title"] == "Not found"


@pytest.mark.parametrize("path", ["/", "/api/v1/", "/api/v1/products/%00", "/api/v1/carts/" + "a" * 300])
async def test_paths_that_can_not_be_never_fail(client: Client, path: str) -> None:
    assert (await client.get(path)).status in {200, 404}


async def test_a_wrong_method_names_the_right_ones(client: Client) -> None:
    answer = await client.put("/api/v1/carts/x")
    await problem(answer, 405, "method_not_allowed")
    assert answer.headers["Allow"] == "GET, HEAD, OPTIONS, PATCH"


async def test_a_method_nobody_knows_is_refused(client: Client) -> None:
    await problem(await client.request("PROPFIND", "/api/v1/carts/x"), 405, "method_not_allowed")


async def test_options_tells_the_methods(client: Client) -> None:
    answer = await client.options("/api/v1/carts")
    assert (answer.status, answer.headers["Allow"]) == (204, "OPTIONS, POST")


async def test_head_has_the_headers_of_get(client: Client, cart: dict[str, Any]) -> None:
    answer = await client.head(f"/api/v1/carts/{cart['id']}")
    assert (answer.status, answer.headers["ETag"], await answer.read()) == (200, f'"{cart["version"]}"', b"")


async def test_the_clients_request_id_comes_back(client: Client) -> None:
    answer = await client.get("/api/v1/carts/x", headers={"X-Request-Id": "mine-1"})
    assert answer.headers["X-Request-Id"] == "mine-1"
    assert (await answer.json(content_type=None))["instance"] == "urn:request:mine-1"


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "\N{SNOWMAN}"])
async def test_a_request_id_that_can_not_be_is_replaced(client: Client, given: str) -> None:
    answer = await client.get("/health/live", headers={"X-Request-Id": given})
    assert len(answer.headers["X-Request-Id"]) == 32


async def test_every_answer_has_the_security_headers(client: Client) -> None:
    for path in ("/", "/docs", "/api/v1/carts/x", "/health/live", "/metrics", "/static/site.css", "/static/none"):
        headers = (await client.get(path)).headers
        assert headers["X-Content-Type-Options"] == "nosniff", path
        assert headers["X-Frame-Options"] == "DENY", path
        assert headers["Content-Security-Policy"].startswith("default-src 'none'"), path


async def test_an_exception_is_logged_whole_and_told_without_details(client: Client, world: World) -> None:
    world.actors.failing["read"] = RuntimeError("the password is hunter2")
    with structlog.testing.capture_logs() as logs:
        answer = await client.get("/api/v1/carts/x", headers={"X-Request-Id": "r-1"})
    document = await problem(answer, 500, "internal")
    assert "hunter2" not in str(document)
    assert [(line["event"], line["request"], line["exc_info"]) for line in logs if line["log_level"] == "error"] == [
        ("request failed", "r-1", True)
    ]


async def test_unavailable_says_when_to_try_again(client: Client, world: World) -> None:
    world.actors.failing["read"] = UNAVAILABLE
    answer = await client.get("/api/v1/carts/x")
    await problem(answer, 503, "mailbox_full")
    assert answer.headers["Retry-After"] == "2"


async def test_the_log_line_has_ids_and_no_personal_data(client: Client) -> None:
    with structlog.testing.capture_logs() as logs:
        await client.get("/api/v1/orders?email=ada@example.com", headers=STAFF)
    (line,) = logs
    assert (line["route"], line["status"], line["principal"]) == ("/api/v1/orders", 200, "staff")
    assert "ada" not in str(line)
    assert "staff-key" not in str(line)


async def test_a_folder_of_static_files_is_not_there(client: Client) -> None:
    for path in ("/static", "/static/", "/static/demo"):
        await problem(await client.get(path), 404, "not_found")


async def test_a_staff_call_asks_for_credentials(client: Client) -> None:
    answer = await client.get("/api/v1/orders")
    await problem(answer, 401, "credentials_required")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="ultramarket"'


@pytest.mark.parametrize(
    "given", ["Bearer wrong", "Bearer", "Basic c3RhZmY6a2V5", "staff-key-of-the-tests", "Bearer \N{SNOWMAN}", ""]
)
async def test_wrong_credentials_are_refused_everywhere(client: Client, given: str) -> None:
    answer = await client.get("/api/v1/products", headers={"Authorization": given})
    await problem(answer, 401, "invalid_credentials")


async def test_a_request_has_a_deadline(client: Client, world: World) -> None:
    object.__setattr__(world.shop, "request_seconds", 0.01)
    world.actors.gate = asyncio.Event()
    answer = await client.post("/api/v1/carts")
    await problem(answer, 503, "deadline_exceeded")
    assert answer.headers["Retry-After"] == "1"


async def test_metrics_count_requests_by_route(client: Client) -> None:
    await client.get("/api/v1/carts/x")
    await client.get("/api/v1/carts/y")
    await client.request("PROPFIND", "/api/v1/carts/y")
    text = await (await client.get("/metrics")).text()
    labels = 'method="GET",route="/api/v1/carts/{id}",status="404"'
    assert f"ultramarket_http_request_seconds_count{{{labels}}} 2.0" in text
    assert f'ultramarket_http_request_seconds_bucket{{le="+Inf",{labels}}} 2.0' in text
    assert 'method="OTHER",route="unmatched",status="405"' in text


async def test_live_and_ready_tell_how_it_is(client: Client, world: World) -> None:
    assert (await client.get("/health/live")).status == 200
    assert await (await client.get("/health/ready")).json() == {"status": "ok", "stores": world.stores}
    world.stores["cache"] = "can't be reached"
    answer = await client.get("/health/ready")
    assert (answer.status, (await answer.json())["status"]) == (200, "degraded")
    world.stores["views"] = "can't be reached"
    answer = await client.get("/health/ready")
    assert (answer.status, (await answer.json())["stores"]["views"]) == (503, "can't be reached")

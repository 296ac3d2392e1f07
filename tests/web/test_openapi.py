import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.web.world import Client
from web import openapi
from web.problems import KINDS
from web.routes import API, ROUTES

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(openapi.document()))
    return found


def test_the_document_is_openapi_3_1(document: dict[str, Any]) -> None:
    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []


def test_every_route_is_described(document: dict[str, Any]) -> None:
    described = {(path, method) for path, item in document["paths"].items() for method in item}
    assert described == {(route.path.removeprefix(API), route.method.lower()) for route in ROUTES}


def test_operation_ids_are_unique(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for item in document["paths"].values() for operation in item.values()]
    assert len(set(ids)) == len(ids)


def test_every_operation_tells_its_success_and_its_problems(document: dict[str, Any]) -> None:
    for route in ROUTES:
        responses = document["paths"][route.path.removeprefix(API)][route.method.lower()]["responses"]
        assert str(route.operation.status) in responses
        assert {"404", "422", "500", "503"} <= responses.keys()
        assert ("401" in responses) or not route.operation.staff
        assert all(code in KINDS for code in route.operation.errors)


def test_bodies_refuse_unknown_fields(document: dict[str, Any]) -> None:
    for item in document["paths"].values():
        for operation in item.values():
            for content in operation.get("requestBody", {}).get("content", {}).values():
                name = content["schema"].get("$ref", "").rpartition("/")[2]
                assert not name or document["components"]["schemas"][name]["additionalProperties"] is False


async def test_the_document_is_served(client: Client) -> None:
    answer = await client.get("/api/v1/openapi.json")
    assert (answer.status, (await answer.json())["openapi"]) == (200, "3.1.0")


async def test_the_docs_page_loads_nothing_from_outside(client: Client) -> None:
    answer = await client.get("/docs")
    text = await answer.text()
    assert "'unsafe-inline'" not in answer.headers["Content-Security-Policy"].partition("style-src")[0]
    addresses = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert addresses == [
        "/docs/swagger-ui.css",
        "/docs/favicon-32x32.png",
        "/docs/swagger-ui-bundle.js",
        "/docs/docs.js",
    ]
    for address in addresses:
        assert (await client.get(address)).status == 200
    assert "://" not in text
    assert "://" not in await (await client.get("/docs/docs.js")).text()


async def test_the_docs_serve_only_their_own_files(client: Client) -> None:
    for name in ("..%2F__init__.py", "index.html", "site.css"):
        assert (await client.get(f"/docs/{name}")).status == 404


async def test_every_problem_code_has_a_page(client: Client) -> None:
    for code, kind in KINDS.items():
        answer = await client.get(f"/problems/{code.replace('_', '-')}")
        assert answer.status == 200
        assert kind.title in await answer.text()
    assert (await client.get("/problems/unheard-of")).status == 404


def test_every_code_that_an_actor_or_the_runtime_answers_with_is_known() -> None:
    sources = [*(ROOT / "actors").rglob("*.py"), *(ROOT / "ultramarket").rglob("*.py")]
    pattern = re.compile(r'(?:Rejection|Unavailable)\(\s*"([a-z_]+)"')
    codes = {code for source in sources for code in pattern.findall(source.read_text())}
    assert "mailbox_full" in codes
    assert codes <= KINDS.keys()

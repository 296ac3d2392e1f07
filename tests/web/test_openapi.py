import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.web.world import Client
from web import openapi
from web.links import LINKS
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


def _operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {operation["operationId"]: operation for item in document["paths"].values() for operation in item.values()}


def test_every_link_leads_from_a_call_to_a_call(document: dict[str, Any]) -> None:
    operations = _operations(document)
    assert LINKS.keys() <= operations.keys()
    for source, links in LINKS.items():
        assert len({link.name for link in links}) == len(links), source
        for link in links:
            names = {parameter["name"] for parameter in operations[link.to]["parameters"]}
            assert link.parameters.keys() <= names, (source, link.name)
            assert link.body is None or "requestBody" in operations[link.to]


def test_every_link_names_values_that_there_are(document: dict[str, Any]) -> None:
    operations, schemas = _operations(document), document["components"]["schemas"]
    for source, links in LINKS.items():
        responses = operations[source]["responses"]
        normal = next(responses[status] for status in ("200", "201", "202") if status in responses)
        sent = {parameter["name"] for parameter in operations[source]["parameters"]}
        for link in links:
            body = link.body.values() if isinstance(link.body, dict) else ()
            for expression in (*link.parameters.values(), *body):
                place, _, name = expression.partition("#" if "#" in expression else ".header.")
                if place == "$response.body":
                    schema = normal["content"]["application/json"]["schema"]
                    assert _has(schema, name.split("/")[1:], schemas), (source, expression)
                else:
                    assert name in (normal["headers"] if place == "$response" else sent), (source, expression)


def _has(schema: dict[str, Any], steps: list[str], schemas: dict[str, Any]) -> bool:
    """Whether a value of the schema can have something at the JSON pointer."""
    if "$ref" in schema:
        return _has(schemas[schema["$ref"].rpartition("/")[2]], steps, schemas)
    if not steps:
        return True
    if "anyOf" in schema:
        return any(_has(part, steps, schemas) for part in schema["anyOf"])
    inner = schema.get("items") if steps[0].isdigit() else schema.get("properties", {}).get(steps[0])
    return inner is not None and _has(inner, steps[1:], schemas)


def test_patterns_are_those_of_json_schema(document: dict[str, Any]) -> None:
    schema = document["components"]["schemas"]["NewMoney"]
    assert schema["properties"]["amount"]["pattern"] == r"^[0-9]+(\.[0-9]+)?$"
    assert r"\\Z" not in msgspec.json.encode(document).decode()


def test_what_fields_can_make_smaller_is_described_so(document: dict[str, Any]) -> None:
    operations = _operations(document)
    schema = operations["show_products"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert schema == {"anyOf": [{"$ref": "#/components/schemas/Product"}, {"$ref": "#/components/schemas/ProductPart"}]}
    part = document["components"]["schemas"]["ProductPart"]
    assert "required" not in part
    assert "required" not in part["properties"]["variants"]["items"]
    page = operations["index_orders"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert page["required"] == ["items", "next"]
    assert page["properties"]["items"]["items"]["anyOf"][1] == {"$ref": "#/components/schemas/OrderPart"}

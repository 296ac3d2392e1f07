import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.contract.breaks import breaks

Document = dict[str, Any]

PROBLEM = {"application/problem+json": {"schema": {"type": "object", "properties": {"code": {"type": "string"}}}}}
DOCUMENT: Document = {
    "paths": {
        "/things/{id}": {
            "get": {
                "operationId": "show_things",
                "parameters": [
                    {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "maxLength": 200}},
                    {"name": "sort", "in": "query", "schema": {"type": "string", "enum": ["newest", "title"]}},
                    {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 100}},
                ],
                "responses": {
                    "200": {
                        "description": "Done.",
                        "headers": {"ETag": {"$ref": "#/components/headers/ETag"}},
                        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}},
                    },
                    "404": {"description": "`not_found`: Not found; `gone`: Gone.", "content": PROBLEM},
                },
            },
            "patch": {
                "operationId": "change_things",
                "requestBody": {
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/NewThing"}}},
                },
                "responses": {"200": {"description": "Done."}},
            },
        },
    },
    "components": {
        "headers": {"ETag": {"required": True, "schema": {"type": "string", "pattern": '^"[0-9]+"$'}}},
        "schemas": {
            "Thing": {
                "type": "object",
                "required": ["id", "parts", "note"],
                "properties": {
                    "id": {"type": "string"},
                    "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                    "status": {"enum": ["open", "done"]},
                    "parts": {"type": "array", "items": {"$ref": "#/components/schemas/Thing"}},
                    "prices": {"type": "object", "additionalProperties": {"type": "integer"}},
                },
            },
            "NewThing": {
                "type": "object",
                "additionalProperties": False,
                "required": ["title"],
                "properties": {
                    "title": {"type": "string", "maxLength": 100, "pattern": "^[a-z]+$"},
                    "amount": {"type": "number"},
                    "kind": {"enum": ["a", "b"]},
                    "words": {"type": "array", "maxItems": 9, "items": {"type": ["string", "null"]}},
                    "names": {"type": "object", "additionalProperties": {"type": "string"}},
                },
            },
        },
    },
}

Change = Callable[[Document], object]


def show(document: Document) -> Document:
    found: Document = document["paths"]["/things/{id}"]["get"]
    return found


def patch(document: Document) -> Document:
    found: Document = document["paths"]["/things/{id}"]["patch"]
    return found


def thing(document: Document) -> Document:
    found: Document = document["components"]["schemas"]["Thing"]
    return found


def given(document: Document) -> Document:
    found: Document = document["components"]["schemas"]["NewThing"]
    return found


SHOW, PATCH = "GET /things/{id}", "PATCH /things/{id}"
PART = f"{SHOW} 200"
BODY = f"{PATCH} body"
KNOWN: dict[str, tuple[Change, list[str]]] = {
    "a path is removed": (
        lambda d: d["paths"].update({"/others": d["paths"].pop("/things/{id}")}),
        ["/things/{id}: the path is gone"],
    ),
    "a method is removed": (lambda d: d["paths"]["/things/{id}"].pop("patch"), [f"{PATCH}: the method is gone"]),
    "an operation has another id": (
        lambda d: show(d).update(operationId="read"),
        [f"{SHOW}: the operationId show_things is read"],
    ),
    "credentials are asked for": (
        lambda d: show(d).update(security=[{"staff": []}]),
        [f"{SHOW}: asks for credentials"],
    ),
    "a parameter is removed": (lambda d: show(d)["parameters"].pop(), [f"{SHOW} query parameter limit: is gone"]),
    "a parameter becomes required": (
        lambda d: show(d)["parameters"][1].update(required=True),
        [f"{SHOW} query parameter sort: is required"],
    ),
    "a required parameter comes": (
        lambda d: show(d)["parameters"].append(
            {"name": "lang", "in": "query", "required": True, "schema": {"type": "string"}}
        ),
        [f"{SHOW} query parameter lang: is new and required"],
    ),
    "a parameter takes fewer words": (
        lambda d: show(d)["parameters"][1]["schema"].update(enum=["newest"]),
        [f"{SHOW} query parameter sort: ['title'] beside ['newest']"],
    ),
    "a parameter takes smaller numbers": (
        lambda d: show(d)["parameters"][2]["schema"].update(maximum=50),
        [f"{SHOW} query parameter limit: maximum 100 above 50"],
    ),
    "a parameter takes larger numbers only": (
        lambda d: show(d)["parameters"][2]["schema"].update(minimum=2),
        [f"{SHOW} query parameter limit: minimum 1 below 2"],
    ),
    "an id may be shorter only": (
        lambda d: show(d)["parameters"][0]["schema"].update(maxLength=20),
        [f"{SHOW} path parameter 0: maxLength 200 above 20"],
    ),
    "a parameter has another type": (
        lambda d: show(d)["parameters"][2].update(schema={"type": "boolean"}),
        [f"{SHOW} query parameter limit: integer where boolean is known"],
    ),
    "the body becomes required": (
        lambda d: patch(d)["requestBody"].update(required=True),
        [f"{BODY}: is required"],
    ),
    "the body goes": (lambda d: patch(d).pop("requestBody"), [f"{BODY}: is gone"]),
    "a body comes": (
        lambda d: show(d).update(requestBody={"required": True, "content": {}}),
        [f"{SHOW} body: is new and required"],
    ),
    "the body has another content type": (
        lambda d: patch(d)["requestBody"]["content"].update(
            {"text/csv": patch(d)["requestBody"]["content"].pop("application/json")}
        ),
        [f"{BODY}: application/json is gone"],
    ),
    "a field of the body becomes required": (
        lambda d: given(d)["required"].append("kind"),
        [f"{BODY}/kind: may be absent"],
    ),
    "a required field of the body comes": (
        lambda d: (given(d)["required"].append("new"), given(d)["properties"].update(new={})),
        [f"{BODY}/new: may be absent"],
    ),
    "a field of the body is refused": (
        lambda d: given(d)["properties"].pop("amount"),
        [f"{BODY}/amount: is not known"],
    ),
    "a field of the body takes whole numbers only": (
        lambda d: given(d)["properties"].update(amount={"type": "integer"}),
        [f"{BODY}/amount: number where integer is known"],
    ),
    "a field of the body takes fewer words": (
        lambda d: given(d)["properties"].update(kind={"const": "a"}),
        [f"{BODY}/kind: ['b'] beside ['a']"],
    ),
    "a free text becomes a choice": (
        lambda d: given(d)["properties"].update(title={"enum": ["a"]}),
        [f"{BODY}/title: any string where one of ['a'] is known"],
    ),
    "a field of the body has another pattern": (
        lambda d: given(d)["properties"]["title"].update(pattern="^[a-f]+$"),
        [f"{BODY}/title: pattern ^[a-z]+$ in place of ^[a-f]+$"],
    ),
    "a list of the body takes fewer items": (
        lambda d: given(d)["properties"]["words"].update(maxItems=3),
        [f"{BODY}/words: maxItems 9 above 3"],
    ),
    "a list of the body takes null no more": (
        lambda d: given(d)["properties"]["words"].update(items={"type": "string"}),
        [f"{BODY}/words/*: null where string is known"],
    ),
    "a mapping of the body takes other values": (
        lambda d: given(d)["properties"]["names"].update(additionalProperties={"type": "integer"}),
        [f"{BODY}/names/*: string where integer is known"],
    ),
    "a mapping of the body takes some names only": (
        lambda d: given(d)["properties"]["names"].update(propertyNames={"pattern": "^a$"}),
        [f"{BODY}/names: pattern None in place of ^a$"],
    ),
    "a status changes": (
        lambda d: patch(d)["responses"].update({"201": patch(d)["responses"].pop("200")}),
        [f"{PATCH} 200: the status is gone"],
    ),
    "an error code goes": (
        lambda d: show(d)["responses"]["404"].update(description="`not_found`: Not found."),
        [f"{SHOW} 404: the code `gone` is gone"],
    ),
    "errors come in another content type": (
        lambda d: show(d)["responses"]["404"].update(content={}),
        [f"{SHOW} 404: application/problem+json is gone"],
    ),
    "a header of the answer goes": (
        lambda d: show(d)["responses"]["200"].update(headers={}),
        [f"{PART} header ETag: is gone"],
    ),
    "a header of the answer may be absent": (
        lambda d: d["components"]["headers"]["ETag"].update(required=False),
        [f"{PART} header ETag: may be absent"],
    ),
    "a header of the answer has another form": (
        lambda d: d["components"]["headers"]["ETag"].update(schema={"type": "string"}),
        [f'{PART} header ETag: pattern None in place of ^"[0-9]+"$'],
    ),
    "a field of the answer goes": (lambda d: thing(d)["properties"].pop("prices"), [f"{PART}/prices: is gone"]),
    "a field of the answer may be absent": (
        lambda d: thing(d)["required"].remove("id"),
        [f"{PART}/id: may be absent"],
    ),
    "a field of the answer may be null": (
        lambda d: thing(d)["properties"].update(id={"type": ["string", "null"]}),
        [f"{PART}/id: null where string is known"],
    ),
    "a field of the answer has another type": (
        lambda d: thing(d)["properties"].update(id={"type": "integer"}),
        [f"{PART}/id: integer where string is known"],
    ),
    "a field of the answer has a word more": (
        lambda d: thing(d)["properties"].update(status={"enum": ["open", "done", "lost"]}),
        [f"{PART}/status: ['lost'] beside ['open', 'done']"],
    ),
    "the values of a mapping in the answer have another type": (
        lambda d: thing(d)["properties"]["prices"].update(additionalProperties={"type": "string"}),
        [f"{PART}/prices/*: string where integer is known"],
    ),
}

HARMLESS: dict[str, Change] = {
    "nothing changes": lambda _: None,
    "a path comes": lambda d: d["paths"].update({"/others": {}}),
    "a method comes": lambda d: d["paths"]["/things/{id}"].update(put={"responses": {}}),
    "an optional parameter comes": lambda d: show(d)["parameters"].append(
        {"name": "q", "in": "query", "schema": {"type": "string"}}
    ),
    "a parameter of the path has another name": lambda d: (
        show(d)["parameters"][0].update(name="thing"),
        d["paths"].update({"/things/{thing}": d["paths"].pop("/things/{id}")}),
    ),
    "a parameter takes more": lambda d: show(d)["parameters"][1]["schema"].update(enum=["newest", "title", "price"]),
    "a bound is wider": lambda d: show(d)["parameters"][2]["schema"].update(maximum=500, minimum=0),
    "an optional field of the body comes": lambda d: given(d)["properties"].update(new={"type": "string"}),
    "a field of the body is not required any more": lambda d: given(d)["required"].remove("title"),
    "a field of the body takes null too": lambda d: given(d)["properties"].update(
        title={"anyOf": [given(d)["properties"]["title"], {"type": "null"}]}
    ),
    "a content type comes": lambda d: patch(d)["requestBody"]["content"].update({"text/csv": {"schema": {}}}),
    "a status comes": lambda d: patch(d)["responses"].update({"204": {"description": "Done."}}),
    "an error code comes": lambda d: show(d)["responses"]["404"].update(
        description="`not_found`: Not found; `gone`: Gone; `lost`: Lost."
    ),
    "a field of the answer comes": lambda d: thing(d)["properties"].update(new={"type": "string"}),
    "a field of the answer is always there": lambda d: thing(d)["required"].append("status"),
    "a field of the answer is null no more": lambda d: thing(d)["properties"].update(note={"type": "string"}),
    "a field of the answer has a word less": lambda d: thing(d)["properties"].update(status={"const": "open"}),
    "a header of the answer comes": lambda d: show(d)["responses"]["200"]["headers"].update(
        Link={"schema": {"type": "string"}}
    ),
    "a schema has another name": lambda d: (
        d["components"]["schemas"].update(Item=thing(d)),
        show(d)["responses"]["200"]["content"]["application/json"].update(schema={"$ref": "#/components/schemas/Item"}),
    ),
}


@pytest.mark.parametrize("name", KNOWN)
def test_what_breaks_clients_is_told(name: str) -> None:
    change, told = KNOWN[name]
    newer = copy.deepcopy(DOCUMENT)
    change(newer)
    assert breaks(DOCUMENT, newer) == told


@pytest.mark.parametrize("name", HARMLESS)
def test_what_clients_do_not_notice_is_not_told(name: str) -> None:
    newer = copy.deepcopy(DOCUMENT)
    HARMLESS[name](newer)
    assert breaks(DOCUMENT, newer) == []


def test_a_break_deep_in_a_schema_that_holds_itself_is_told_once() -> None:
    newer = copy.deepcopy(DOCUMENT)
    thing(newer)["properties"]["parts"]["items"] = {"type": "string"}
    assert breaks(DOCUMENT, newer) == [f"{PART}/parts/*: string where object is known"]

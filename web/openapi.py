"""The OpenAPI 3.1 document, made of the routes and the Structs of their bodies."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from ultramarket import __version__
from web.links import LINKS
from web.operation import Operation
from web.problems import KINDS, MEDIA_TYPE, Problem, title_of
from web.routes import API, ROUTES, Route

_REF = "#/components/schemas/{name}"
_PROBLEM = {"$ref": "#/components/schemas/Problem"}
_DESCRIPTIONS = {
    "id": "The id of the resource.",
    "sku": "The SKU.",
    "line": "The line's id or its SKU.",
    "product": "The product's id or handle.",
}
_HEADERS: dict[str, Any] = {
    "X-Request-Id": {
        "description": "The request's id, for support.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[!-~]{1,128}$"},
    },
    "ETag": {
        "description": "The version, in quotes, for If-Match and If-None-Match; its coding follows where there is one.",
        "required": True,
        "schema": {"type": "string", "pattern": '^"[0-9]{1,18}(-br|-gzip)?"$'},
    },
    "PageETag": {
        "description": "A hash of the page, in quotes, for If-None-Match.",
        "required": True,
        "schema": {"type": "string", "pattern": '^"[0-9a-f]{32}(-br|-gzip)?"$'},
    },
    "Preference-Applied": {
        "description": "`return=minimal`: there is no body, as `Prefer` asked.",
        "schema": {"type": "string", "const": "return=minimal"},
    },
    "X-Consistency": {
        "description": "Token of this write, for `Prefer: consistency=` on lists; absent where nothing was written.",
        "schema": {"type": "string", "pattern": "^[a-z_]{1,40}[.][0-9]{1,4}@[0-9]{1,18}$"},
    },
    "Location": {
        "description": "Address of what was made.",
        "required": True,
        "schema": {"type": "string", "format": "uri-reference"},
    },
    "Idempotency-Replayed": {
        "description": "`true`: this is the first answer to this key again.",
        "schema": {"type": "string", "const": "true"},
    },
    "Retry-After": {"description": "Seconds to wait before the next try.", "schema": {"type": "integer", "minimum": 0}},
    "WWW-Authenticate": {"description": "How to name oneself.", "required": True, "schema": {"type": "string"}},
}
_MINIMAL = "Done; `Prefer: return=minimal` asked for no body."
_ALWAYS = ("bad_request", "overloaded", "deadline_exceeded", "unavailable", "internal")


def document() -> dict[str, Any]:
    """The whole document."""
    schemas = _Schemas([route.operation for route in ROUTES])
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    tags = dict.fromkeys(_tag(route) for route in ROUTES)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "UltraMarket",
            "version": __version__,
            "summary": "A shop that never oversells and never charges twice.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": API}],
        "tags": [{"name": tag} for tag in tags],
        "paths": {path.removeprefix(API): item for path, item in paths.items()},
        "components": {
            "schemas": schemas.components,
            "headers": _HEADERS,
            "securitySchemes": {
                "staff": {"type": "http", "scheme": "bearer", "description": "The shop's staff key."},
            },
        },
    }


class _Schemas:
    """JSON Schemas of all Structs that the operations name."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        shapes: dict[Any, None] = {Problem: None}
        for operation in operations:
            body = operation.body.shape if operation.body else None
            moved = operation.elsewhere[1] if operation.elsewhere else None
            for shape in (body, operation.response, moved, operation.query.shape):
                if shape is not None:
                    shapes[shape] = None
        refs, self.components = msgspec.json.schema_components(list(shapes), ref_template=_REF)
        self.components = _portable(self.components)
        self._refs = dict(zip(shapes, refs, strict=True))
        self.components["Problem"]["additionalProperties"] = True
        for name in {operation.query.shape.__name__ for operation in operations}:
            self.components.pop(name, None)

    def ref(self, shape: Any) -> dict[str, Any]:
        """The reference to a Struct's schema."""
        ref: dict[str, Any] = self._refs[shape]
        return ref

    def answer(self, operation: Operation) -> dict[str, Any]:
        """The schema of an answer's body; what `fields=` can make smaller may lack some of its fields."""
        ref = self.ref(operation.response)
        if "fields" not in operation.query.shape.__struct_fields__:
            return ref
        whole = self.components[operation.response.__name__]
        if "items" not in whole["properties"]:
            return self._or_part(ref)
        items = whole["properties"]["items"]
        smaller = {**items, "items": self._or_part(items["items"])}
        return {**whole, "properties": {**whole["properties"], "items": smaller}}

    def _or_part(self, ref: dict[str, Any]) -> dict[str, Any]:
        return {"anyOf": [ref, self._part(ref)]}

    def _part(self, schema: Any) -> Any:
        """The schema without anything that must be there, of objects as components of their own."""
        if isinstance(schema, list):
            return [self._part(part) for part in schema]
        if not isinstance(schema, dict):
            return schema
        if "$ref" in schema:
            return {"$ref": _REF.format(name=self._part_of(schema["$ref"].rpartition("/")[2]))}
        # A list: a field of this name would be a mapping.
        kept = {name: part for name, part in schema.items() if name != "required" or not isinstance(part, list)}
        return {name: self._part(part) for name, part in kept.items()}

    def _part_of(self, whole: str) -> str:
        """The name of the component with parts of this one."""
        name = f"{whole}Part"
        if name not in self.components:
            self.components[name] = {}  # so that one that holds itself ends
            part = self._part(self.components[whole])
            self.components[name] = {**part, "title": name, "description": f"What `fields=` names of {whole}."}
        return name


def _portable(schema: Any) -> Any:
    r"""The schema with its patterns in the dialect of JSON Schema (ECMA-262), where `$` is what `\Z` is in Python."""
    if isinstance(schema, list):
        return [_portable(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: _portable(part) for name, part in schema.items()}
    if isinstance(pattern := found.get("pattern"), str):
        found["pattern"] = pattern.replace(r"\Z", "$")
    return found


def _tag(route: Route) -> str:
    return route.path.removeprefix(API).split("/")[1]


def operation_id(route: Route) -> str:
    """The name of a call, e.g. `show_carts`."""
    return f"{route.operation.handler.__name__}_{_tag(route)}"


def _operation(route: Route, schemas: _Schemas) -> dict[str, Any]:
    operation = route.operation
    found: dict[str, Any] = {
        "operationId": operation_id(route),
        "summary": operation.summary,
        "tags": [_tag(route)],
        "parameters": [*_path_parameters(route.path), *_query_parameters(operation), *_header_parameters(operation)],
        "responses": _responses(route, schemas),
    }
    if operation.description:
        found["description"] = operation.description
    if operation.staff:
        found["security"] = [{"staff": []}]
    if operation.body is not None:
        content = {media: {"schema": schemas.ref(operation.body.shape)} for media in operation.body.types}
        found["requestBody"] = {"required": not operation.body.optional, "content": content}
    elif operation.media is not None:
        schema = {"type": "string", "minLength": 1}
        found["requestBody"] = {"required": True, "content": {operation.media: {"schema": schema}}}
    return found


def _path_parameters(path: str) -> list[dict[str, Any]]:
    schema = {"type": "string", "minLength": 1, "maxLength": 200}
    return [
        {"name": name, "in": "path", "required": True, "description": _DESCRIPTIONS[name], "schema": schema}
        for name in re.findall(r"{(\w+)}", path)
    ]


def _query_parameters(operation: Operation) -> list[dict[str, Any]]:
    schema = _portable(msgspec.json.schema(operation.query.shape))
    properties = schema["$defs"][operation.query.shape.__name__]["properties"]
    found = [
        {"name": name, "in": "query", "description": _described(value), "schema": _repeatable(_not_null(value))}
        for name, value in properties.items()
    ]
    if operation.query.prefix:
        found.append(
            {
                "name": "options",
                "in": "query",
                "style": "form",
                "explode": True,
                "description": f"Each is a parameter of its own, e.g. `{operation.query.prefix}Size=M`; given "
                "several times, any of its values will do.",
                "schema": {
                    "type": "object",
                    "propertyNames": {"pattern": f"^{re.escape(operation.query.prefix)}[A-Za-z0-9 _-]+$"},
                    "additionalProperties": {"type": "string"},
                },
            }
        )
    return found


def _described(schema: dict[str, Any]) -> str:
    variants = [schema, *schema.get("anyOf", [])]
    return next((variant["description"] for variant in variants if "description" in variant), "")


def _not_null(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema without null, which a query can't say."""
    kept = {name: value for name, value in schema.items() if name not in ("description", "anyOf")}
    if kept.get("default", ...) is None:
        del kept["default"]
    variants = [variant for variant in schema.get("anyOf", []) if variant.get("type") != "null"]
    if len(variants) == 1:
        return {**kept, **variants[0]}
    return {**kept, "anyOf": variants} if variants else kept


def _repeatable(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a parameter that may stand there several times: one value is what it mostly is."""
    if schema.get("type") != "array":
        return schema
    return {"anyOf": [schema["items"], {name: value for name, value in schema.items() if name != "default"}]}


def _header_parameters(operation: Operation) -> list[dict[str, Any]]:
    found = []
    if operation.writes:
        found.append(
            _header(
                "Idempotency-Key",
                "The same key and body again gives the first answer again, for 24 hours.",
                {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[!-~]+$"},
            )
        )
    if operation.conditional:
        tag = _HEADERS["ETag"]["schema"]
        etag = {"anyOf": [tag, {"type": "string", "const": "*"}]}
        if operation.writes:
            found.append(_header("If-Match", "Only if the entity still has this ETag; else 412.", etag))
        else:
            found.append(_header("If-None-Match", "304 if the entity still has this ETag.", {"type": "string"}))
    if _is_page(operation):
        found.append(_header("If-None-Match", "304 if the page still has this ETag.", {"type": "string"}))
    if operation.signature is not None:
        signature = _header(operation.signature, "Signs the body, see above.", {"type": "string"})
        found.append({**signature, "required": True})
    if preferences := list(_preferences(operation)):
        found.append(_header("Prefer", " ".join(preferences), {"type": "string"}))
    return found


def _preferences(operation: Operation) -> Iterator[str]:
    """What the call's header `Prefer` may say."""
    if operation.waits:
        yield "`wait=N`: wait up to N seconds, 10 at most."
    if operation.consistent:
        yield "`consistency=TOKEN`: wait until the list shows the write with this token."
    if operation.writes and not operation.bulk:
        yield "`return=minimal`: answer without a body."


def _is_page(operation: Operation) -> bool:
    """Whether the answer is a page of a list, with a hash as its ETag."""
    return operation.consistent and operation.response is not None


def _header(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "header", "description": description, "schema": schema}


def _responses(route: Route, schemas: _Schemas) -> dict[str, Any]:
    operation = route.operation
    normal: dict[str, Any] = {"description": "Done.", "headers": _success_headers(operation)}
    if links := LINKS.get(operation_id(route)):
        normal["links"] = {link.name: link.document() for link in links}
    if operation.response is not None:
        normal["content"] = {"application/json": {"schema": schemas.answer(operation)}}
    if operation.produces is not None:
        normal["content"] = {operation.produces: {"schema": {"type": "string"}}}
    found = {str(operation.status): normal}
    for status, meaning in operation.also:
        found[str(status)] = {**normal, "description": meaning}
    if operation.writes and not operation.bulk and operation.status == 200:  # noqa: PLR2004 - the status as such
        found["204"] = {**{name: part for name, part in normal.items() if name != "content"}, "description": _MINIMAL}
    if _is_page(operation):
        found["304"] = {"description": "The page still has this ETag.", "headers": _success_headers(operation)}
    if operation.conditional and not operation.writes:
        found["304"] = {"description": "The entity still has this ETag.", "headers": _refs("X-Request-Id", "ETag")}
    found |= _elsewhere(operation, schemas)
    by_status: dict[int, list[str]] = {}
    for code in _codes(operation):
        by_status.setdefault(KINDS[code].status, []).append(code)
    for status, codes in sorted(by_status.items()):
        found[str(status)] = _problem(status, codes)
    return found


def _elsewhere(operation: Operation, schemas: _Schemas) -> dict[str, Any]:
    """The answer where what is asked for has another address now, by its status."""
    if operation.elsewhere is None:
        return {}
    status, shape, meaning = operation.elsewhere
    content = {"application/json": {"schema": schemas.ref(shape)}}
    return {str(status): {"description": meaning, "headers": _refs("X-Request-Id", "Location"), "content": content}}


def _success_headers(operation: Operation) -> dict[str, Any]:
    names = ["X-Request-Id"]
    if operation.conditional or (operation.writes and not operation.bulk):
        names.append("ETag")
    if operation.writes and not operation.bulk:
        names += ["X-Consistency", "Preference-Applied"]
    if operation.writes:
        names.append("Idempotency-Replayed")
    if operation.status in (201, 202):
        names.append("Location")
    found = _refs(*names)
    return {**found, "ETag": _refs("PageETag")["PageETag"]} if _is_page(operation) else found


def _refs(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _codes(operation: Operation) -> list[str]:
    """The codes that the call can answer with: its own, and those that follow from what it takes."""
    codes = list(operation.errors)
    codes += ["not_found", "unknown_parameter", "invalid_parameter", "invalid_credentials", *_ALWAYS]
    if operation.staff:
        codes.append("credentials_required")
    if operation.body is not None:
        codes += ["malformed_json", "not_utf8", "malformed_body", "request_timeout", "body_too_large"]
        codes += ["unsupported_media_type", "invalid", "invalid_text"]
    if operation.writes:
        codes += ["malformed_header", "in_progress", "idempotency_key_reused", "invalid"]
    if operation.conditional and operation.writes:
        codes += ["version_mismatch", "malformed_header"]
    if operation.consistent:
        codes += ["malformed_token", "malformed_cursor", "view_behind"]
    return list(dict.fromkeys(codes))


def _problem(status: int, codes: list[str]) -> dict[str, Any]:
    description = "; ".join(f"`{code}`: {title_of(code)}" for code in codes)
    headers = ["X-Request-Id"]
    if status in (409, 503):
        headers.append("Retry-After")
    if status == 401:  # noqa: PLR2004 - the status as such
        headers.append("WWW-Authenticate")
    return {
        "description": f"{description}.",
        "headers": _refs(*headers),
        "content": {MEDIA_TYPE: {"schema": _PROBLEM}},
    }

"""Whether every value of one JSON Schema is also a value of another, for the keywords that our documents use."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Schema = Mapping[str, Any]

_LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems")
_UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")
_EQUAL = ("pattern", "format")


class Fitting:
    """Compares schemas of two documents.

    Args:
        sub: the document of the schemas whose values are looked at.
        sup: the document of the schemas that are to take them.
        closed: whether a field that `sup` doesn't name is at fault; readers of answers pass over such fields.
    """

    def __init__(self, sub: Schema, sup: Schema, *, closed: bool) -> None:
        self._sub = sub
        self._sup = sup
        self._closed = closed
        self._under_way: set[tuple[str, str]] = set()

    def faults(self, sub: Any, sup: Any, place: str) -> list[str]:
        """What values of `sub` may be that values of `sup` can't; empty where they all fit."""
        pair = (str(_ref(sub)), str(_ref(sup)))
        if "None" not in pair:
            if pair in self._under_way:  # a schema that holds itself: what is assumed here is shown above
                return []
            self._under_way.add(pair)
            try:
                return self._alternatives(sub, sup, place)
            finally:
                self._under_way.discard(pair)
        return self._alternatives(sub, sup, place)

    def _alternatives(self, sub: Any, sup: Any, place: str) -> list[str]:
        taken = list(_alternatives(self._sup, sup))
        found = []
        for part in _alternatives(self._sub, sub):
            near = [other for other in taken if _types_fit(part, other)]
            if not near:
                found.append(f"{place}: {_name(part)} where {' or '.join(map(_name, taken))} is known")
                continue
            tries: list[list[str]] = [self._one(part, other, place) for other in near]
            found += min(tries, key=len)
        return found

    def _one(self, sub: Schema, sup: Schema, place: str) -> list[str]:
        found = [f"{place}: {fault}" for fault in _plain_faults(sub, sup)]
        if sup.get("type") == "object":
            found += self._object(sub, sup, place)
        for index, part in enumerate(sup.get("prefixItems", ())):
            others = sub.get("prefixItems", ())
            found += self.faults(
                others[index] if index < len(others) else sub.get("items", {}), part, f"{place}/{index}"
            )
        if isinstance(items := sup.get("items"), dict):
            found += self.faults(sub.get("items", {}), items, f"{place}/*")
        return found

    def _object(self, sub: Schema, sup: Schema, place: str) -> Iterator[str]:
        ours, theirs = sub.get("properties", {}), sup.get("properties", {})
        always = sub.get("required", ())
        yield from (f"{place}/{name}: may be absent" for name in sup.get("required", ()) if name not in always)
        if not self._closed:
            yield from (f"{place}/{name}: is gone" for name in theirs if name not in ours)
        rest = sup.get("additionalProperties", True)
        for name, schema in ours.items():
            if name in theirs:
                yield from self.faults(schema, theirs[name], f"{place}/{name}")
            else:
                yield from self._further(schema, rest, f"{place}/{name}")
        others = sub.get("additionalProperties", True)
        if others is not False:
            yield from self._further({} if others is True else others, rest, f"{place}/*")
        if names := sup.get("propertyNames"):
            text = {"type": "string"}
            yield from self.faults({**text, **sub.get("propertyNames", {})}, {**text, **names}, place)

    def _further(self, schema: Schema, rest: Any, place: str) -> Iterator[str]:
        """A field that the other schema does not name, against what that says of such fields."""
        if isinstance(rest, dict):
            yield from self.faults(schema, rest, place)
        elif rest is False and self._closed:
            yield f"{place}: is not known"


def _ref(schema: Any) -> str | None:
    return schema.get("$ref") if isinstance(schema, Mapping) else None


def _alternatives(document: Schema, schema: Any) -> Iterator[Schema]:
    """The schema without references, as a choice of schemas with one type each."""
    if schema is True:
        schema = {}
    while "$ref" in schema:
        target: Any = document
        for step in schema["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        schema = target
    variants = schema.get("anyOf") or schema.get("oneOf")
    if variants:
        for variant in variants:
            yield from _alternatives(document, variant)
        return
    types = schema.get("type")
    if isinstance(types, list):
        for name in types:
            yield from _alternatives(document, {**schema, "type": name})
        return
    yield schema


def _values(schema: Schema) -> Sequence[Any] | None:
    if "const" in schema:
        return [schema["const"]]
    values: Sequence[Any] | None = schema.get("enum")
    return values


def _type(schema: Schema) -> str | None:
    values = _values(schema)
    if "type" in schema or not values:
        return schema.get("type")
    if all(isinstance(value, str) for value in values):
        return "string"
    return "integer" if all(isinstance(value, int) for value in values) else None


def _types_fit(sub: Schema, sup: Schema) -> bool:
    return _type(sup) in (None, _type(sub)) or (_type(sub), _type(sup)) == ("integer", "number")


def _name(schema: Schema) -> str:
    return str(_type(schema) or "anything")


def _plain_faults(sub: Schema, sup: Schema) -> Iterator[str]:
    """What values themselves, their bounds and their forms are at fault."""
    values, known = _values(sub), _values(sup)
    if known is not None:
        if values is None:
            yield f"any {_name(sub)} where one of {known} is known"
        elif others := [value for value in values if value not in known]:
            yield f"{others} beside {list(known)}"
        return
    for keyword in _LOWER:
        if keyword in sup and sub.get(keyword, float("-inf")) < sup[keyword]:
            yield f"{keyword} {sub.get(keyword)} below {sup[keyword]}"
    for keyword in _UPPER:
        if keyword in sup and sub.get(keyword, float("inf")) > sup[keyword]:
            yield f"{keyword} {sub.get(keyword)} above {sup[keyword]}"
    for keyword in _EQUAL:
        if keyword in sup and values is None and sub.get(keyword) != sup[keyword]:
            yield f"{keyword} {sub.get(keyword)} in place of {sup[keyword]}"

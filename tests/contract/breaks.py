"""What a newer OpenAPI document takes away from clients that were made for an older one.

Clients may send whatever the older document lets them send, and rely on whatever it says about answers. So requests may
only become wider, and answers only narrower, apart from fields that come in addition.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tests.contract.fitting import Fitting

Document = Mapping[str, Any]

_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_CODE = re.compile(r"`([a-z_]+)`:")


def breaks(old: Document, new: Document) -> list[str]:
    """A line for each thing that a client of the old document may miss; empty where there is none."""
    found: list[str] = []
    items = {_shape(path): item for path, item in new["paths"].items()}
    for path, item in old["paths"].items():
        other = items.get(_shape(path))
        if other is None:
            found.append(f"{path}: the path is gone")
            continue
        for method in _METHODS:
            if method not in item:
                continue
            place = f"{method.upper()} {path}"
            if method not in other:
                found.append(f"{place}: the method is gone")
            else:
                found += _Call(old, new, place).breaks(item[method], other[method])
    return found


def _shape(path: str) -> str:
    """The path without the names of its parameters, which clients don't send."""
    return re.sub("{[^}]*}", "{}", path)


class _Call:
    """One operation in both documents."""

    def __init__(self, old: Document, new: Document, place: str) -> None:
        self._old = old
        self._new = new
        self._place = place
        self._requests = Fitting(old, new, closed=True)
        self._answers = Fitting(new, old, closed=False)

    def breaks(self, old: Document, new: Document) -> Iterator[str]:
        yield from self._parameters(old, new)
        yield from self._body(old.get("requestBody"), new.get("requestBody"))
        yield from self._responses(old["responses"], new["responses"])
        if _needs_key(new) and not _needs_key(old):
            yield f"{self._place}: asks for credentials"
        if old.get("operationId") != new.get("operationId"):
            yield f"{self._place}: the operationId {old.get('operationId')} is {new.get('operationId')}"

    def _parameters(self, old: Document, new: Document) -> Iterator[str]:
        before, after = _by_name(old), _by_name(new)
        for key, parameter in before.items():
            place = f"{self._place} {key[0]} parameter {key[1]}"
            if key not in after:
                yield f"{place}: is gone"
                continue
            if after[key].get("required") and not parameter.get("required"):
                yield f"{place}: is required"
            yield from self._requests.faults(parameter["schema"], after[key]["schema"], place)
        for key in after.keys() - before.keys():
            if after[key].get("required"):
                yield f"{self._place} {key[0]} parameter {key[1]}: is new and required"

    def _body(self, old: Document | None, new: Document | None) -> Iterator[str]:
        place = f"{self._place} body"
        if old is None:
            if new is not None and new.get("required"):
                yield f"{place}: is new and required"
            return
        if new is None:
            yield f"{place}: is gone"
            return
        if new.get("required") and not old.get("required"):
            yield f"{place}: is required"
        for media, content in old["content"].items():
            if media not in new["content"]:
                yield f"{place}: {media} is gone"
            else:
                yield from self._requests.faults(content["schema"], new["content"][media]["schema"], place)

    def _responses(self, old: Document, new: Document) -> Iterator[str]:
        for status, answer in old.items():
            place = f"{self._place} {status}"
            if status not in new:
                yield f"{place}: the status is gone"
                continue
            other = new[status]
            yield from self._headers(answer.get("headers", {}), other.get("headers", {}), place)
            for media, content in answer.get("content", {}).items():
                if media not in other.get("content", {}):
                    yield f"{place}: {media} is gone"
                else:
                    yield from self._answers.faults(other["content"][media]["schema"], content["schema"], place)
            lost = set(_CODE.findall(answer["description"])) - set(_CODE.findall(other["description"]))
            yield from (f"{place}: the code `{code}` is gone" for code in sorted(lost))

    def _headers(self, old: Document, new: Document, place: str) -> Iterator[str]:
        for name, reference in old.items():
            if name not in new:
                yield f"{place} header {name}: is gone"
                continue
            header, other = _resolved(self._old, reference), _resolved(self._new, new[name])
            if header.get("required") and not other.get("required"):
                yield f"{place} header {name}: may be absent"
            yield from self._answers.faults(other["schema"], header["schema"], f"{place} header {name}")


def _by_name(operation: Document) -> dict[tuple[str, str], Document]:
    """The parameters; those of the path by their position, since their names are not sent."""
    found: dict[tuple[str, str], Document] = {}
    for parameter in operation.get("parameters", ()):
        name = parameter["name"]
        if parameter["in"] == "path":
            name = str(sum(place == "path" for place, _ in found))
        found[parameter["in"], name] = parameter
    return found


def _resolved(document: Document, reference: Document) -> Document:
    found: Any = reference
    while "$ref" in found:
        target: Any = document
        for step in found["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        found = target
    return found  # type: ignore[no-any-return] # a part of a JSON document


def _needs_key(operation: Document) -> bool:
    security = operation.get("security", ())
    return bool(security) and {} not in security

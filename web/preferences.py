"""The request headers that say how an answer should be: Prefer, If-Match, If-None-Match, Accept-Language."""

import re
from functools import lru_cache

from aiohttp import web

from ultramarket.messages.common import Text
from web.codings import plain_tag
from web.problems import refuse

DEFAULT_WAIT = 4.0
MAX_WAIT = 10.0

_ETAG = re.compile(r'(W/)?"([!#-~\x80-\xff]*)"')
_TOKEN = re.compile(r"([a-z_]{1,40})\.([0-9]{1,4})@([0-9]{1,18})")
_VERSION = re.compile(r"(0|[1-9][0-9]{0,17})(?:-br|-gzip)?")
_NEVER = -1
"""A version that no entity has: it stands for an ETag that is well formed but not one of ours."""


def expected_version(request: web.Request) -> int | None:
    """The version that If-Match asks for; None where any will do.

    Raises:
        Refused: 400 `malformed_header`.
    """
    given = request.headers.getall("If-Match", ())
    if not given or given == ["*"]:
        return None
    match = _ETAG.fullmatch(given[0].strip()) if len(given) == 1 else None
    if match is None:
        refuse("malformed_header", 'If-Match must be one ETag as the resource gave it, e.g. "7", or *.')
    # A weak tag never matches here (RFC 9110, 13.1.1).
    version = _VERSION.fullmatch(match[2])
    return int(version[1]) if version and not match[1] else _NEVER


def unchanged(request: web.Request, version: int) -> bool:
    """Whether If-None-Match says that the client has this version already."""
    return "If-None-Match" in request.headers and matching_tag(request, f'"{version}"') is not None


def matching_tag(request: web.Request, tag: str) -> str | None:
    """The entity tag of If-None-Match that stands for the same as this one in whichever coding; None: it has none.

    The comparison is the weak one (RFC 9110, 13.1.2). `*` stands for every tag.
    """
    given = ",".join(request.headers.getall("If-None-Match", ()))
    if given.strip() == "*":
        return tag
    plain = plain_tag(tag.removeprefix("W/")[1:-1])
    return next((f'"{match[2]}"' for match in _ETAG.finditer(given) if plain_tag(match[2]) == plain), None)


def wants_minimal(request: web.Request) -> bool:
    """Whether `Prefer: return=minimal` asks for no body after a write."""
    return "Prefer" in request.headers and preferences(request).get("return") == "minimal"


def preferences(request: web.Request) -> dict[str, str]:
    """The preferences of all Prefer headers (RFC 7240), names in lower case; of repeated ones the first counts."""
    found: dict[str, str] = {}
    for header in request.headers.getall("Prefer", ()):
        for part in header.split(","):
            name, _, value = part.partition(";")[0].partition("=")
            found.setdefault(name.strip().lower(), value.strip().strip('"'))
    return found


def wait_seconds(request: web.Request) -> float:
    """How long `Prefer: wait=` lets an answer take; what can't be a number of seconds is ignored, as RFC 7240 wants."""
    wait = preferences(request).get("wait", "")
    return min(float(wait), MAX_WAIT) if re.fullmatch("[0-9]{1,9}", wait) else DEFAULT_WAIT


def consistency_token(request: web.Request) -> str | None:
    """The token that `Prefer: consistency=` waits for, None where there is none.

    Raises:
        Refused: 400 `malformed_token`.
    """
    token = preferences(request).get("consistency")
    if token is not None and not _TOKEN.fullmatch(token):
        refuse("malformed_token")
    return token


def languages(request: web.Request) -> tuple[str, ...]:
    """The languages that Accept-Language asks for, the most wanted first, in lower case."""
    header = request.headers.get("Accept-Language", "")
    return _languages(header) if len(header) <= 200 else ()  # noqa: PLR2004 - longer ones are no person's


@lru_cache(maxsize=1024)
def _languages(header: str) -> tuple[str, ...]:
    ranked: list[tuple[float, str]] = []
    for part in header.lower().split(","):
        tag, _, parameter = part.strip().partition(";")
        quality = re.fullmatch(r"\s*q\s*=\s*([01](?:\.[0-9]{0,3})?)\s*", parameter)
        weight = float(quality[1]) if quality else 1.0
        if tag and tag != "*" and weight > 0:
            ranked.append((-weight, tag.strip()))
    return tuple(tag for _, tag in sorted(ranked, key=lambda rank: rank[0]))


def text_in(text: Text, wanted: tuple[str, ...], fallback: str) -> str:
    """The text in the first wanted language that it has; `en-gb` takes `en` and `en` takes `en-us` where need be."""
    if len(text) <= 1:
        return next(iter(text.values()), "")
    for language in (*wanted, fallback):
        if language in text:
            return text[language]
        base = language.partition("-")[0]
        related = next((known for known in text if known == base or known.startswith(f"{base}-")), None)
        if related is not None:
            return text[related]
    return next(iter(text.values()))

"""Content codings of answers (RFC 9110, 8.4): Brotli or gzip, as Accept-Encoding asks.

The answer in each coding is a representation of its own, so it has a strong entity tag of its own: that of the plain
one with the coding behind it, `"7-br"`. Those who come back with either are understood, in If-Match too.
"""

import asyncio
import re
import zlib
from functools import lru_cache

import brotli
from aiohttp import hdrs, web

MIN_BYTES = 1024
"""Smaller bodies fit into the same few packets anyway."""
THREAD_BYTES = 128 * 1024
"""Larger ones are coded in a thread: 64 KiB take 0.2 ms, and nobody else is to wait longer."""
BROTLI_QUALITY = 4
GZIP_LEVEL = 4

_TAIL = re.compile(r"-(?:br|gzip)\Z")
_COMPRESSES = ("application/json", "application/problem+json", "text/")
_WEIGHT = re.compile(r"\s*q\s*=\s*([01](?:\.[0-9]{0,3})?)\s*")
_MAX_HEADER = 200
_GZIP = 16 + zlib.MAX_WBITS


def wanted(request: web.BaseRequest) -> str:
    """The coding that Accept-Encoding likes best of those we have: `br`, `gzip`, or empty for none."""
    header = request.headers.get(hdrs.ACCEPT_ENCODING)
    return _wanted(header) if header is not None and len(header) <= _MAX_HEADER else ""


@lru_cache(maxsize=256)
def _wanted(header: str) -> str:
    weights: dict[str, float] = {}
    for part in header.lower().split(","):
        name, _, parameter = part.strip().partition(";")
        weight = _WEIGHT.fullmatch(parameter)
        weights[name.strip()] = float(weight[1]) if weight else 1.0
    others = weights.get("*", 0.0)
    best = max(("br", "gzip"), key=lambda coding: weights.get(coding, others))  # of equal ones the first: it is smaller
    weight_of_best = weights.get(best, others)
    return best if weight_of_best > 0 and weight_of_best >= weights.get("identity", 0.0) else ""


async def packed(body: bytes, coding: str) -> bytes:
    """The body in this coding."""
    if len(body) > THREAD_BYTES:
        return await asyncio.to_thread(_pack, body, coding)
    return _pack(body, coding)


def _pack(body: bytes, coding: str) -> bytes:
    if coding == "br":
        found: bytes = brotli.compress(body, mode=brotli.MODE_TEXT, quality=BROTLI_QUALITY)
        return found
    packer = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, _GZIP)
    return packer.compress(body) + packer.flush()


async def pack(answer: web.Response, coding: str) -> None:
    """Bring an answer into this coding, unless there is none, or it is too small, in one already, or no text."""
    body = answer.body
    if not coding or not isinstance(body, bytes) or len(body) < MIN_BYTES or "Content-Encoding" in answer.headers:
        return
    if not answer.content_type.startswith(_COMPRESSES):
        return
    answer.body = await packed(body, coding)
    answer.headers["Content-Encoding"] = coding
    vary = answer.headers.get("Vary", "")
    if "Accept-Encoding" not in vary:
        answer.headers["Vary"] = f"{vary}, Accept-Encoding" if vary else "Accept-Encoding"
    if tag := answer.headers.get("ETag"):
        answer.headers["ETag"] = tag_in(tag, coding)


def tag_in(tag: str, coding: str) -> str:
    """The entity tag of the same in a coding."""
    return f'{tag[:-1]}-{coding}"'


def plain_tag(tag: str) -> str:
    """What stands between the quotes of an entity tag, without a coding."""
    return _TAIL.sub("", tag)

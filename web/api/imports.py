"""Imports: bring a product file in."""

import hashlib
from collections.abc import AsyncIterator
from typing import Annotated

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage

from ultramarket.domain.ids import new_id
from ultramarket.domain.money import EXPONENTS
from ultramarket.messages.product_import import ShownImport, StartImport
from web import presenters
from web.answers import entity, not_modified
from web.bodies import BODY_HASH, READING, check_coding
from web.idempotency import WRITE
from web.operation import ask, operation
from web.preferences import unchanged
from web.problems import refuse
from web.queries import Query
from web.services import SHOP

MAX_UPLOAD = 200 * 1024 * 1024
CHUNK = 256 * 1024


class ImportQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a file is read: the currency of its prices, and whether it is only checked."""

    currency: Annotated[str, msgspec.Meta(min_length=3, max_length=3)] | None = None
    dry_run: bool = False


QUERY = Query(ImportQuery)


@operation(
    media="text/csv",
    query=QUERY,
    response=presenters.Import,
    status=202,
    writes="import",
    staff=True,
    uploads=True,
    errors=("malformed_body", "request_timeout", "body_too_large", "unsupported_media_type", "currency_unknown"),
)
async def create(request: web.Request) -> web.Response:
    """Import a product file.

    The body is the file: CSV in UTF-8, up to 200 MiB. `currency` is the currency of its prices, the default channel's
    where it is absent; `dry_run=true` only says what would happen.
    """
    shop, write = request.app[SHOP], request[WRITE]
    query = QUERY.read(request)
    currency = query.currency or shop.channel.currency
    if currency not in EXPONENTS:
        refuse("currency_unknown")
    if request.content_type != "text/csv" or (request.charset or "utf-8").lower() not in ("utf-8", "utf8"):
        refuse("unsupported_media_type", "Send the file as text/csv in UTF-8.")
    # A gzip stream that was cut short ends like a whole one: part of the file would be imported as all of it.
    check_coding(request)
    if (request.content_length or 0) > MAX_UPLOAD:
        refuse("body_too_large", f"The file may have {MAX_UPLOAD} bytes at most.")
    id = write.derived_id(shop.secret, "import") or new_id()
    upload = _Upload(request)
    if write.client_key is not None and await shop.actors.read("import", id) is not None:
        await upload.drain()  # a repeat: the file that is being read must stay as it is
    else:
        await _store(request, id, upload)
    request[BODY_HASH] = upload.digest(request.query_string)
    answer = await ask(request, "import", id, StartImport(currency=currency, dry_run=query.dry_run))
    shown = await _read(request, id)
    return entity(_present(shown), shown.version, status=202, token=answer.token, location=f"/api/v1/imports/{id}")


@operation(response=presenters.Import, conditional=True, staff=True)
async def show(request: web.Request) -> web.Response:
    """Show how far an import is."""
    shown = await _read(request, request.match_info["id"])
    if unchanged(request, shown.version):
        return not_modified(shown.version)
    return entity(_present(shown), shown.version)


class _Upload:
    """The body of a request as a stream, with its size bounded and its hash taken on the way."""

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self._hash = hashlib.sha256()
        self.size = 0

    async def chunks(self) -> AsyncIterator[bytes]:
        self._request[READING] = True
        try:
            async for chunk in self._request.content.iter_chunked(CHUNK):
                self._request[READING] = False
                self.size += len(chunk)
                if self.size > MAX_UPLOAD:
                    refuse("body_too_large", f"The file may have {MAX_UPLOAD} bytes at most.")
                self._hash.update(chunk)
                yield chunk
                self._request[READING] = True
        except (web.RequestPayloadError, BadHttpMessage, ConnectionError):  # the last: the client has gone
            refuse("malformed_body")
        self._request[READING] = False
        if self.size == 0:
            refuse("invalid", "The file is empty.", pointer="")

    async def drain(self) -> None:
        async for _ in self.chunks():
            pass

    def digest(self, query: str) -> bytes:
        """The hash of the file and of how it is to be read."""
        self._hash.update(b"\0" + query.encode("utf-8", "surrogatepass"))
        return self._hash.digest()


async def _store(request: web.Request, id: str, upload: _Upload) -> None:
    """Keep the file for the import; a part of one is dropped."""
    uploads = request.app[SHOP].uploads
    try:
        await uploads.write(id, upload.chunks())
    except BaseException:
        await uploads.drop(id)
        raise


async def _read(request: web.Request, id: str) -> ShownImport:
    shown = await request.app[SHOP].actors.read("import", id)
    if shown is None:
        refuse("not_found", "There is no such import.")
    job: ShownImport = shown.value
    return job


def _present(shown: ShownImport) -> presenters.Import:
    return presenters.Import(**msgspec.structs.asdict(shown))

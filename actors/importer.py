"""Importer: reads a product file and puts its products and first counts in, many at a time, as often as it is asked."""

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from itertools import accumulate
from typing import TypeVar, assert_never
from uuid import UUID, uuid5

from actors.product_rules import faults
from ultramarket.domain.parsed_product import ParsedProduct, ParsedVariant, Refused
from ultramarket.domain.product_csv import ProductReader
from ultramarket.errors import Fault, Rejection, UltraMarketError, Unavailable
from ultramarket.messages.common import Text
from ultramarket.messages.inventory import OpenStock
from ultramarket.messages.product import CreateProduct, Media, Option, PutProduct, Seo, Variant
from ultramarket.messages.product_import import (
    DropUpload,
    FinishImport,
    ImportCounts,
    RefusedRow,
    ReportImport,
    RunImport,
)
from ultramarket.messages.refusals import invalid
from ultramarket.ports.asking import Actors, Answer
from ultramarket.ports.uploads import Uploads
from ultramarket.runtime.actor import Send, Worker

Command = RunImport | DropUpload
Result = TypeVar("Result")

PRODUCTS = UUID("6f1c7a52-6c1e-5d0b-9a57-3d1f0b6a2c44")
"""Namespace of the ids of imported products: the same handle is the same product, however often it comes."""
AT_ONCE = 64
"""Products on their way at the same time: enough to fill the committers' groups, and memory stays flat."""
PIECE = 64 * 1024
"""Bytes that are parsed in one go, so that a stop does not have to wait for more."""
REPORT_SECONDS = 1.0
"""The first progress is reported at once, what follows not more often than this."""
REFUSED_KEPT = 1_000
REFUSED_BYTES, NOTES_BYTES = 160 * 1024, 32 * 1024
"""Most bytes of the reasons and notes that are kept: a message has a largest size."""
LONGEST_SENTENCE = 1_000
"""Characters of a reason or a note that are kept."""
ATTEMPTS = 10
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0


class Importer(Worker[Command]):
    """Brings product files in.

    A repeat after a crash reads the file again from its beginning: what went in already is unchanged then.
    """

    kind = "importer"
    commands = Command
    concurrency = 2

    def __init__(
        self,
        actors: Actors,
        uploads: Uploads,
        language: str = "en",
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Make the worker.

        Args:
            actors: products, inventory and imports are asked through this.
            uploads: where the files wait.
            language: BCP 47 tag, in lower case, of the texts in the files: the channel's.
            clock: seconds that only grow; progress is reported at most once in `REPORT_SECONDS`.
            sleep: waits between attempts.
        """
        self._actors = actors
        self._uploads = uploads
        self._language = language
        self._clock = clock
        self._sleep = sleep

    async def work(self, id: str, command: Command, message: str) -> Iterable[Send]:
        """Bring the upload of this id in, or forget it.

        Raises:
            Unavailable: the platform stayed busy through all attempts.
        """
        match command:
            case RunImport():
                run = _Run(
                    id,
                    command,
                    actors=self._actors,
                    language=self._language,
                    clock=self._clock,
                    sleep=self._sleep,
                )
                return (Send("import", id, await run.finish(self._uploads.read(id))),)
            case DropUpload():
                await self._uploads.drop(id)
                return ()
            case _:
                assert_never(command)


class _Run:
    """One pass over one file, and what came of it so far."""

    def __init__(
        self,
        id: str,
        command: RunImport,
        *,
        actors: Actors,
        language: str,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._id = id
        self._dry_run = command.dry_run
        self._actors = actors
        self._language = language
        self._clock = clock
        self._sleep = sleep
        self._reader = ProductReader(command.currency)
        self._products = self._variants = self._unchanged = self._refused_total = 0
        self._refused: list[RefusedRow] = []
        self._refused_bytes = 0
        self._skus: dict[str, int] = {}
        self._reported = -math.inf

    async def finish(self, chunks: AsyncIterator[bytes]) -> FinishImport:
        """Read all of it; a file that can't be read is a failure with its reason."""
        failure = ""
        slots = asyncio.Semaphore(AT_ONCE)
        try:
            async with asyncio.TaskGroup() as group:
                try:
                    async for product in self._read(chunks):
                        await slots.acquire()
                        group.create_task(self._take(product)).add_done_callback(lambda _: slots.release())
                except Unavailable:
                    raise
                except UltraMarketError as error:
                    failure = str(error)
        except ExceptionGroup as errors:
            # The first reason is the one to act on; the others came of the same trouble.
            raise errors.exceptions[0] from errors
        return FinishImport(counts=self._counts(), failure=failure)

    async def _read(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[ParsedProduct]:
        """The products of the file; refused rows are counted on the way."""
        async for chunk in chunks:
            for start in range(0, len(chunk), PIECE):
                # In a thread, because a piece full of HTML takes longer than others may wait for the loop.
                for product in self._accepted(await asyncio.to_thread(self._reader.feed, chunk[start : start + PIECE])):
                    yield product
            await self._report()
        for product in self._accepted(await asyncio.to_thread(self._reader.close)):
            yield product

    def _accepted(self, found: Iterable[ParsedProduct | Refused]) -> Iterable[ParsedProduct]:
        for item in found:
            if isinstance(item, Refused):
                self._refuse(item.line, item.reason)
            else:
                yield item

    async def _take(self, product: ParsedProduct) -> None:
        create = _product(product, self._language)
        id = await self._owner("handle", product.handle) or str(uuid5(PRODUCTS, product.handle))
        if self._dry_run:
            await self._check(id, product, create)
        else:
            await self._put(id, product, create)
        await self._report()

    async def _put(self, id: str, product: ParsedProduct, create: CreateProduct) -> None:
        answer = await self._ask("product", id, PutProduct(product=create))
        if answer.rejection is not None:
            self._refuse_product(product, answer.rejection)
            return
        # The product stands before its stock: a stock record without a product could not be found by anybody.
        for variant in product.variants:
            if variant.quantity is not None:
                answer_stock = await self._ask("inventory", variant.sku, OpenStock(quantity=variant.quantity))
                if answer_stock.rejection is not None:
                    self._refuse(variant.line, answer_stock.rejection.detail)
        self._count(product, changed=answer.value.changed)

    async def _check(self, id: str, product: ParsedProduct, create: CreateProduct) -> None:
        """What `_put` would refuse, without writing."""
        owners = [await self._owner("sku", variant.sku) for variant in product.variants]
        wrong = faults(create)
        for index, (variant, owner) in enumerate(zip(product.variants, owners, strict=True)):
            if variant.sku in self._skus:
                reason = f"the SKU {variant.sku!r} was used in line {self._skus[variant.sku]} for another product"
                wrong.append(Fault(f"/variants/{index}/sku", reason))
            elif owner not in {None, id}:
                wrong.append(Fault(f"/variants/{index}/sku", f"the SKU {variant.sku!r} belongs to another product"))
        if wrong:
            # Its SKUs stay free: another product of the file may have them.
            self._refuse_product(product, invalid(wrong))
        else:
            self._skus.update((variant.sku, variant.line) for variant in product.variants)
            self._count(product, changed=True)

    def _count(self, product: ParsedProduct, *, changed: bool) -> None:
        if changed:
            self._products += 1
            self._variants += len(product.variants)
        else:
            self._unchanged += 1

    def _refuse_product(self, product: ParsedProduct, rejection: Rejection) -> None:
        """Refuse all rows that are in the product; a fault of one variant is its row's own reason."""
        reasons = {
            fault.pointer.split("/")[2]: fault.detail
            for fault in rejection.errors
            if fault.pointer[:10] == "/variants/"
        }
        whole = rejection.detail
        lines = dict.fromkeys(product.lines, whole)
        for index, variant in enumerate(product.variants):
            lines[variant.line] = reasons.get(str(index), whole)
        for line, reason in lines.items():
            self._refuse(line, reason)

    def _refuse(self, line: int, reason: str) -> None:
        self._refused_total += 1
        row = RefusedRow(line, _short(reason))
        self._refused_bytes += _size(row.reason)
        if len(self._refused) < REFUSED_KEPT and self._refused_bytes <= REFUSED_BYTES:
            self._refused.append(row)

    def _counts(self) -> ImportCounts:
        notes = [_short(note) for note in self._reader.notes]
        sizes = list(accumulate(_size(note) for note in notes))
        return ImportCounts(
            rows=self._reader.rows,
            products=self._products,
            variants=self._variants,
            unchanged=self._unchanged,
            refused_total=self._refused_total,
            refused=tuple(sorted(self._refused, key=lambda row: row.line)),
            notes=tuple(note for note, size in zip(notes, sizes, strict=True) if size <= NOTES_BYTES),
        )

    async def _report(self) -> None:
        now = self._clock()
        if now - self._reported < REPORT_SECONDS:
            return
        self._reported = now
        # Progress is a courtesy: the next report, or the end, says more than this one.
        with contextlib.suppress(Unavailable):
            await self._actors.ask("import", self._id, ReportImport(counts=self._counts()), trace=self._id)

    async def _owner(self, namespace: str, value: str) -> str | None:
        return await self._patiently(lambda: self._actors.owner(namespace, value))

    async def _ask(self, kind: str, id: str, command: PutProduct | OpenStock) -> Answer:
        return await self._patiently(lambda: self._actors.ask(kind, id, command, trace=self._id))

    async def _patiently(self, call: Callable[[], Awaitable[Result]]) -> Result:
        """Make the call, again while the platform is busy, with growing pauses."""
        pause = FIRST_PAUSE
        for _ in range(ATTEMPTS - 1):
            try:
                return await call()
            except Unavailable as error:
                if error.code == "shutting_down":
                    # Whoever is next reads the file again: the message stays until the import has ended.
                    raise
                await self._sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
        return await call()


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_SENTENCE else f"{text[: LONGEST_SENTENCE - 1]}…"


def _size(text: str) -> int:
    """Bytes that a sentence takes in a message, with what stands around it."""
    return len(text.encode("utf-8", "replace")) + 40


def _product(product: ParsedProduct, language: str) -> CreateProduct:
    """The product as the actor takes it; a blank text is named too, so that it clears what was there."""

    def text(value: str) -> Text:
        return {language: value}

    return CreateProduct(
        handle=product.handle,
        title=text(product.title),
        description=text(product.description),
        vendor=product.vendor,
        type=product.type,
        tags=product.tags,
        options=tuple(Option(name=option.name, values=option.values) for option in product.options),
        media=tuple(Media(url=medium.url, alt=text(medium.alt)) for medium in product.media),
        seo=Seo(title=text(product.seo.title), description=text(product.seo.description)),
        status=product.status,
        variants=tuple(_variant(variant, text(variant.title)) for variant in product.variants),
    )


def _variant(variant: ParsedVariant, title: Text) -> Variant:
    return Variant(
        sku=variant.sku,
        title=title,
        options=variant.options,
        prices=() if variant.price is None else (variant.price,),
        compare_at=(variant.compare_at_price,) if variant.compare_at_price else (),
        weight_grams=variant.weight_grams,
        barcode=variant.barcode,
        tax_class=variant.tax_class,
        track_stock=variant.track_stock,
        when_out=variant.when_out,
    )

"""Collection: keeps which products are shown together, and in which order."""

from datetime import datetime
from typing import Any, assert_never

import msgspec
from msgspec import UNSET

from actors.collection_rules import faults
from ultramarket.errors import Fault, Rejection
from ultramarket.messages.collection import (
    ChangeCollection,
    CollectionChanged,
    CollectionCreated,
    CollectionKept,
    CollectionRemoved,
    CreateCollection,
    PlaceProduct,
    ProductPlaced,
    ProductTakenOut,
    RemoveCollection,
    ShownCollection,
    TakeOutProduct,
)
from ultramarket.messages.product import ShownMedia, ShownSeo
from ultramarket.messages.refusals import invalid, not_found, version_mismatch
from ultramarket.runtime.actor import Actor, Claim, Context, Decision, Unseal

Command = CreateCollection | ChangeCollection | PlaceProduct | TakeOutProduct | RemoveCollection
Event = CollectionCreated | CollectionChanged | ProductPlaced | ProductTakenOut | CollectionRemoved

_FIELDS = CreateCollection.__struct_fields__


class CollectionState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A collection as it is, and when it was written."""

    collection: CreateCollection
    removed: bool = False
    created_at: datetime
    updated_at: datetime


class Collection(Actor[CollectionState, Command, Event]):
    """Keeps a collection right; unchanged changes record nothing."""

    kind = "collection"
    state = CollectionState
    commands = Command
    events = Event

    def decide(self, state: CollectionState | None, command: Command, ctx: Context) -> Decision | Rejection:
        """Judge a command; see the messages for what each means."""
        if isinstance(command, CreateCollection):
            return _create(state, command, ctx)
        if state is None or state.removed:
            return not_found("collection")
        if refused := version_mismatch(command.expect, ctx.version):
            return refused
        match command:
            case ChangeCollection():
                return _change(state.collection, command, ctx)
            case PlaceProduct():
                return _place(state.collection, command, ctx)
            case TakeOutProduct():
                if command.product not in state.collection.products:
                    return _kept(ctx)
                return _kept(ctx, ProductTakenOut(at=ctx.now, product=command.product))
            case RemoveCollection():
                decision = _kept(ctx, CollectionRemoved(at=ctx.now))
                return msgspec.structs.replace(decision, drops=_claims(ctx.id, state.collection))
            case _:
                assert_never(command)

    def evolve(self, state: CollectionState | None, event: Event) -> CollectionState:
        """Apply an event."""
        if isinstance(event, CollectionCreated):
            return CollectionState(collection=event.collection, created_at=event.at, updated_at=event.at)
        if state is None:
            raise ValueError(f"{type(event).__name__} stands before the collection's creation")
        old = state.collection
        match event:
            case CollectionChanged():
                new = _changed(old, event.changes)
            case ProductPlaced():
                others = [product for product in old.products if product != event.product]
                placed = (*others[: event.position], event.product, *others[event.position :])
                new = msgspec.structs.replace(old, products=placed)
            case ProductTakenOut():
                rest = tuple(product for product in old.products if product != event.product)
                new = msgspec.structs.replace(old, products=rest)
            case CollectionRemoved():
                return msgspec.structs.replace(state, removed=True, updated_at=event.at)
            case _:
                assert_never(event)
        return msgspec.structs.replace(state, collection=new, updated_at=event.at)

    def show(self, state: CollectionState, id: str, version: int, unseal: Unseal) -> ShownCollection:
        """The public form, texts in all languages."""
        collection = state.collection
        return ShownCollection(
            id=id,
            version=version,
            handle=collection.handle,
            title=collection.title,
            description=collection.description,
            seo=ShownSeo(title=collection.seo.title, description=collection.seo.description),
            media=tuple(ShownMedia(url=medium.url, alt=medium.alt) for medium in collection.media),
            published=collection.published and not state.removed,
            products=collection.products,
            match=collection.match,
            rules=collection.rules,
            sort=collection.sort,
            removed=state.removed,
            created_at=state.created_at,
            updated_at=state.updated_at,
        )


def _create(state: CollectionState | None, command: CreateCollection, ctx: Context) -> Decision | Rejection:
    if state is not None:
        return Rejection("collection_exists", "There is a collection with this id already: change it instead.")
    if wrong := faults(command):
        return invalid(wrong)
    decision = _kept(ctx, CollectionCreated(at=ctx.now, collection=command))
    return msgspec.structs.replace(decision, claims=_claims(ctx.id, command))


def _change(old: CreateCollection, command: ChangeCollection, ctx: Context) -> Decision | Rejection:
    new = _changed(old, command)
    values: dict[str, Any] = {name: getattr(new, name) for name in _FIELDS}
    changes = ChangeCollection(**{name: value for name, value in values.items() if value != getattr(old, name)})
    if changes == ChangeCollection():
        return _kept(ctx)
    if wrong := faults(new):
        return invalid(wrong)
    decision = _kept(ctx, CollectionChanged(at=ctx.now, changes=changes))
    held, wanted = _claims(ctx.id, old), _claims(ctx.id, new)
    return msgspec.structs.replace(
        decision,
        claims=tuple(claim for claim in wanted if claim not in held),
        drops=tuple(claim for claim in held if claim not in wanted),
    )


def _place(old: CreateCollection, command: PlaceProduct, ctx: Context) -> Decision | Rejection:
    if old.rules:
        return invalid([Fault("/product", "rules say what is in this collection")])
    others = [product for product in old.products if product != command.product]
    present = old.products.index(command.product) if command.product in old.products else None
    last = len(others)
    position = (last if present is None else present) if command.position is None else min(command.position, last)
    if position == present:
        return _kept(ctx)
    if wrong := faults(msgspec.structs.replace(old, products=(*others, command.product))):
        return invalid(wrong)
    return _kept(ctx, ProductPlaced(at=ctx.now, product=command.product, position=position))


def _kept(ctx: Context, *events: Event) -> Decision:
    reply = CollectionKept(id=ctx.id, version=ctx.version + len(events), changed=bool(events))
    return Decision(events=events, reply=reply)


def _claims(id: str, collection: CreateCollection) -> tuple[Claim, ...]:
    """Its handle and its id: where a collection is asked for, either may stand."""
    return tuple(dict.fromkeys((Claim("collection", collection.handle), Claim("collection", id))))


def _changed(collection: CreateCollection, changes: ChangeCollection) -> CreateCollection:
    """The collection with the fields that are set."""
    values = {name: getattr(changes, name) for name in _FIELDS}
    return msgspec.structs.replace(collection, **{name: v for name, v in values.items() if v is not UNSET})

"""Merges of carts: lines leave the source first, then the target takes them or gives them back.

A line stands in one place at any time: in the source, in the source's transfer, or in the target. The source decides
that a transfer begins, the target how it ends; each remembers its own decision, so that a repeated or late message
finds it made. The messages go through the outbox, in order per pair of carts.

While a transfer is under way, the source may be filled, changed, ordered and merged into, all without the lines that
were given; room is kept for them, so that they fit when they come back. Only another transfer has to wait.
"""

import hashlib
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import assert_never

import msgspec

from actors import cart_lines
from actors.cart_state import CartState, Received, Transfer, frozen
from ultramarket.domain.shop import Limits
from ultramarket.errors import Fault, Rejection
from ultramarket.messages.cart import CartKept
from ultramarket.messages.cart_transfer import (
    AllowMerge,
    AskTransfer,
    GiveBack,
    GiveLines,
    LinesGiven,
    LinesGivenBack,
    LinesTaken,
    SettleTransfer,
    TakeLines,
    TransferAsked,
    TransferBegun,
    TransferDone,
    TransferOutcome,
    TransferRefused,
    TransferStands,
    TransferTaken,
)
from ultramarket.messages.refusals import invalid, not_found, version_mismatch
from ultramarket.runtime.actor import Context, Decision, Send

Command = AllowMerge | GiveLines | AskTransfer | TakeLines | SettleTransfer | TransferTaken | GiveBack
Event = LinesGiven | TransferAsked | TransferDone | LinesGivenBack | LinesTaken | TransferRefused

OUTCOMES_KEPT = 4
"""Ends of transfers that a source remembers for who waits or repeats; each may name every line of a full cart."""
RECEIVED_KEPT = 50
"""Transfers that a target remembers, so that none is taken twice nor taken after it was refused."""
FIRST_ASK = timedelta(minutes=1)
"""How long a source waits before it asks; then each time as long as it has waited so far."""
LONGEST_ASK = timedelta(days=1)


def decide(state: CartState | None, command: Command, limits: Limits, ctx: Context) -> Decision | Rejection:
    """Judge a command of a merge; see the messages for what each means."""
    match command:
        case AllowMerge():
            return _allow(state, command, ctx)
        case GiveLines():
            return _give(state, command, ctx)
        case AskTransfer():
            return not_found("cart") if state is None else Decision(reply=_stands(state, command.transfer))
        case TakeLines():
            return _take(state, command, limits, ctx)
        case SettleTransfer():
            return _settle(state, command, ctx)
        case TransferTaken() | GiveBack():
            return _end(state, command, ctx)
        case _:
            assert_never(command)


def evolve(state: CartState, event: Event) -> CartState:
    """Apply an event of a merge."""
    match event:
        case LinesGiven():
            transfer = Transfer(
                id=event.transfer, target=event.target, lines=state.lines, given_at=event.at, ask_at=event.ask_at
            )
            return msgspec.structs.replace(state, lines=(), transfer=transfer)
        case TransferAsked():
            asked = msgspec.structs.replace(state.transfer, ask_at=event.ask_at) if state.transfer else None
            return msgspec.structs.replace(state, transfer=asked)
        case TransferDone():
            return _ended(state, TransferOutcome(transfer=event.transfer, changes=event.changes))
        case LinesGivenBack():
            back = state.away
            state = _ended(state, TransferOutcome(transfer=event.transfer, refusal=event.refusal))
            if state.frozen_until:  # what is ordered stays as it is, and what came back must outlive the order
                return msgspec.structs.replace(state, returned=cart_lines.restored(state.returned, back))
            return msgspec.structs.replace(state, lines=cart_lines.restored(state.lines, back))
        case LinesTaken():
            return _received(state, Received(transfer=event.transfer))
        case TransferRefused():
            return _received(state, Received(transfer=event.transfer, refusal=event.refusal))
        case _:
            assert_never(event)


def react(event: Event, ctx: Context) -> Iterable[Send]:
    """The next message of the merge."""
    match event:
        case LinesGiven():
            take = TakeLines(
                transfer=event.transfer,
                source=ctx.id,
                lines=event.lines,
                available=event.available,
                unsold=event.unsold,
                target_version=event.target_version,
            )
            return (Send("cart", event.target, take),)
        case TransferAsked():
            return (Send("cart", event.target, SettleTransfer(transfer=event.transfer, source=ctx.id)),)
        case LinesTaken():
            return (Send("cart", event.source, TransferTaken(transfer=event.transfer, changes=event.changes)),)
        case TransferRefused():
            return (Send("cart", event.source, GiveBack(transfer=event.transfer, refusal=event.refusal)),)
        case TransferDone() | LinesGivenBack():
            return ()
        case _:
            assert_never(event)


def overdue(state: CartState, now: datetime) -> tuple[TransferAsked, ...]:
    """The question after a transfer of which nothing was heard."""
    transfer = state.transfer
    if transfer is None or transfer.ask_at > now:
        return ()
    wait = min(max(now - transfer.given_at, FIRST_ASK), LONGEST_ASK)
    return (TransferAsked(at=now, transfer=transfer.id, target=transfer.target, ask_at=now + wait),)


def _allow(state: CartState | None, command: AllowMerge, ctx: Context) -> Decision | Rejection:
    if state is None:
        return not_found("cart")
    refused = frozen(state) if state.frozen_until else version_mismatch(command.expect, ctx.version)
    return refused or Decision(reply=CartKept(id=ctx.id, version=ctx.version))


def _give(state: CartState | None, command: GiveLines, ctx: Context) -> Decision | Rejection:
    if state is None:
        return not_found("cart")
    if command.target == ctx.id:
        return invalid([Fault("/from", "a cart can't be merged with itself")])
    if state.frozen_until:
        return frozen(state, "/from")
    if state.transfer:
        return Decision(reply=TransferBegun(transfer=state.transfer.id, own=False))
    if not state.lines:
        return Decision(reply=TransferBegun())
    event = LinesGiven(
        at=ctx.now,
        transfer=_transfer_id(command.target, ctx),
        target=command.target,
        lines=cart_lines.offered(state.lines, command.quotes),
        available=command.available,
        unsold=command.unsold,
        target_version=command.target_version,
        ask_at=ctx.now + FIRST_ASK,
    )
    return Decision(events=(event,), reply=TransferBegun(transfer=event.transfer))


def _take(state: CartState | None, command: TakeLines, limits: Limits, ctx: Context) -> Decision:
    if state is None:
        refusal = GiveBack(transfer=command.transfer, refusal=not_found("cart"))
        return Decision(answers=(Send("cart", command.source, refusal),))
    if known := _known(state, command.transfer):
        return _again(known, command.source)
    refused = (
        (frozen(state) if state.frozen_until else None)
        or version_mismatch(command.target_version, ctx.version)
        or cart_lines.untakeable(state.lines, state.away, state.currency, command, limits)
    )
    if refused:
        return _refuse(command, refused, ctx)
    taken = cart_lines.taken(state.lines, state.away, command, limits)
    changes = tuple(each.change for each in taken)
    head = LinesTaken(at=ctx.now, transfer=command.transfer, source=command.source, changes=changes)
    return Decision(events=(head, *cart_lines.recorded(state.lines, taken, ctx)))


def _settle(state: CartState | None, command: SettleTransfer, ctx: Context) -> Decision:
    refusal = Rejection(
        "deadline_passed",
        "The lines did not reach the other cart in time and are back; merge again with a new Idempotency-Key.",
        503,
    )
    if state is None:
        answer = GiveBack(transfer=command.transfer, refusal=refusal)
        return Decision(answers=(Send("cart", command.source, answer),))
    if known := _known(state, command.transfer):
        return _again(known, command.source)
    return _refuse(command, refusal, ctx)


def _end(state: CartState | None, command: TransferTaken | GiveBack, ctx: Context) -> Decision:
    """The word of the target: the first one counts."""
    transfer = state.transfer if state else None
    if transfer is None or transfer.id != command.transfer:
        return Decision()
    if isinstance(command, TransferTaken):
        return Decision(events=(TransferDone(at=ctx.now, transfer=transfer.id, changes=command.changes),))
    back = LinesGivenBack(at=ctx.now, transfer=transfer.id, refusal=command.refusal)
    return Decision(events=(back,))


def _refuse(command: TakeLines | SettleTransfer, refusal: Rejection, ctx: Context) -> Decision:
    refused = TransferRefused(at=ctx.now, transfer=command.transfer, source=command.source, refusal=refusal)
    return Decision(events=(refused,))


def _again(known: Received, source: str) -> Decision:
    """The word that was given before."""
    word: TransferTaken | GiveBack = TransferTaken(transfer=known.transfer)
    if known.refusal:
        word = GiveBack(transfer=known.transfer, refusal=known.refusal)
    return Decision(answers=(Send("cart", source, word),))


def _known(state: CartState, transfer: str) -> Received | None:
    return next((known for known in state.received if known.transfer == transfer), None)


def _stands(state: CartState, transfer: str) -> TransferStands:
    under_way = state.transfer is not None and state.transfer.id == transfer
    outcome = next((outcome for outcome in state.outcomes if outcome.transfer == transfer), None)
    return TransferStands(under_way=under_way, outcome=outcome)


def _ended(state: CartState, outcome: TransferOutcome) -> CartState:
    return msgspec.structs.replace(state, transfer=None, outcomes=(*state.outcomes, outcome)[-OUTCOMES_KEPT:])


def _received(state: CartState, received: Received) -> CartState:
    return msgspec.structs.replace(state, received=(*state.received, received)[-RECEIVED_KEPT:])


def _transfer_id(target: str, ctx: Context) -> str:
    """The same for a repeat of the command, another one for every other command, target and state of the source."""
    return hashlib.sha256(f"{ctx.id}\n{ctx.version}\n{target}\n{ctx.command}".encode()).hexdigest()[:40]

"""Turns that no actor judges: a worker's call that is done, and commands for an entity that can't be read."""

from collections.abc import Sequence

from ultramarket.ports.journal import Loaded, OutboxRow
from ultramarket.ports.mailbox import Delivery
from ultramarket.runtime.loading import Unit
from ultramarket.runtime.rebuild import NewerShape, newer_version
from ultramarket.runtime.turn import Failure, Turn


def worker_turn(unit: Unit, answers: Sequence[tuple[OutboxRow, Delivery]], loaded: Loaded) -> Turn:
    """A worker's call is done: its message goes, its answers come; nothing where an earlier call was answered."""
    turn = Turn.nothing(unit.partition.kind, unit.partition.no, unit.id)
    turn.taken.extend(unit.deliveries)
    if all(delivery.verified or delivery.message in loaded.messages for delivery in unit.deliveries):
        turn.rows.taken.extend(delivery.message or "" for delivery in unit.deliveries)
        turn.rows.outbox.extend(row for row, _ in answers)
        turn.sends.extend(onward for _, onward in answers)
    return turn


def unreadable_turn(unit: Unit, error: Exception) -> Turn:
    """The entity can't be read: one of a newer shape waits for a program that knows it, else everything fails."""
    turn = Turn.nothing(unit.partition.kind, unit.partition.no, unit.id)
    if isinstance(error, NewerShape):
        turn.taken = [delivery for delivery in unit.deliveries if delivery.message is None]
        turn.postponed = [delivery for delivery in unit.deliveries if delivery.message is not None]
        turn.answers = [(delivery, newer_version(), 0) for delivery in turn.taken]
        return turn
    stalled: set[str] = set()
    for delivery in unit.deliveries:
        if delivery.message is not None and delivery.source in stalled:
            turn.deferred.append(delivery)
        else:
            turn.failures.append(Failure(delivery, error))
            stalled.add(delivery.source)
    return turn

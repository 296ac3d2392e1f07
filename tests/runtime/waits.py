"""What the runtime waits for without a failpoint at both sides, and why a crash there can't hurt more than elsewhere.

Keyed by module, function and what is awaited, as Python writes it.
"""

Wait = tuple[str, str, str]

READS = "reads only: nothing changes hands here"
LATER = "waits for work or for its time: nothing has begun"
INSIDE = "calls another module, whose own waits are looked at there"
SHARED = "waits for a read that another task makes"
ANSWER = "waits for an answer: what happens meanwhile happens in the committer"
BOUND = "bounds a wait inside, which is looked at by itself"
TURN = "waits for its turn at a connection for reads"
CLOSES = "lets go of a connection with nothing under way, between handover.before and handover.after"
ENDS = "ends tasks: each of them may be cut off anywhere, as by a crash, and its work stays in the outbox or the log"

_BY_REASON: dict[str, tuple[Wait, ...]] = {
    READS: (
        ("clock", "Clock.ask", "store()"),
        ("committer", "Committer._claim_conflicts", "self.journal.taken_claims(claims)"),
        ("rebuild", "rebuild", "async for journal.history(actor.kind, id)"),
        ("showing", "Showcase.show", "self._vault.opener(subject)"),
        ("ownership", "Ownership._hold_sent", "self._journal.waiting(targets)"),
        ("sweeper", "Sweeper._look_at_owners", "self._journal.epochs(ours)"),
        ("sweeper", "Sweeper._bring", "self._journal.pending(list(ours), after, older_than, BATCH)"),
        ("sweeper", "Sweeper.sweep", "self._journal.blocked(list(ours))"),
        ("timers", "Timers.load", "journal.due_timers(lanes, until)"),
    ),
    "reads only, or takes numbers of a sequence: a crash leaves a gap in them": (
        ("reader", "Reader._asked", "read()"),
    ),
    "a hint that may get lost: the others' next beat shows as much": (
        ("ownership", "Ownership._hand_over", "self._membership.tell()"),
    ),
    LATER: (
        ("following", "Following._answer", "anext(versions)"),
        ("following", "Following._next", "asyncio.sleep(AGAIN_SECONDS)"),
        ("clock", "wait_within", "event.wait()"),
        ("committer", "Committer.run", "self._work.wait()"),
        ("owner", "Owner._restart", "asyncio.sleep(self._backoff.next())"),
        ("ownership", "Ownership.run", "wait_within(self._hurry, BEAT_SECONDS)"),
        ("ownership", "settled", "wait_within(ownership.settled, FIRST_SECONDS)"),
        ("poison", "Poison.run", "self._to_park.get()"),
        ("sweeper", "Sweeper.run", "wait_within(self._asked, EVERY)"),
        ("system", "Runtime._unless_failed", "asyncio.wait((task, failure), return_when=asyncio.FIRST_COMPLETED)"),
        ("system", "Runtime._unless_failed", "failure if failure.done() else task"),
        ("system", "Runtime.failure", "asyncio.shield(self.failed)"),
        ("timers", "Timers.follow", "wait_within(self._stale, HORIZON / 2)"),
        ("timers", "Timers.run", "wait_within(self._changed, max(pause, 0.001))"),
        ("upkeep", "Upkeep.run", "asyncio.sleep(backoff.next())"),
        ("watch", "_versions", "slot.get()"),
    ),
    INSIDE: (
        ("following", "Following._answer", "self._version(delivery.kind, delivery.id)"),
        ("committer", "Committer._judged", "self._loader.load(units)"),
        ("loading", "Loader._entity", "rebuild(self.journal, self.actors[kind], self.codecs[kind], id, stored)"),
        ("owner", "Owner.adopt", "prepare(taken)"),
        ("owner", "Owner.run", "self._committer.run()"),
        ("ownership", "Ownership._hand_over", "owner.hand_over(self._journal, ours)"),
        ("ownership", "Ownership._take", "owner.adopt(self._journal, ours, self._hold_sent)"),
        ("reader", "Reader.entity", "rebuild(self._journal, actor, codec, id, stored)"),
        ("stored", "StoredForms._form", "self._reader.entity(actor, self._codecs[kind], id, row)"),
        ("stored", "StoredForms._form", "self._showcase.show(actor, id, entity)"),
        ("stored", "StoredForms.read_many", "self._reader.load([(kind, id) for id in good])"),
        (
            "stored",
            "StoredForms.read_many",
            "asyncio.gather(*(self._form(kind, id, rows[kind, id]) for id in there))",
        ),
        ("system", "Runtime.number", "self._reader.number(sequence)"),
        ("system", "Runtime.owner", "self._reader.holder(namespace, value)"),
        ("system", "Runtime.read_many", "self._stored.read_many(kind, missing)"),
        ("system", "Runtime.read_many", "self._showcase.show(self._actors[kind], id_, entity)"),
        ("system", "Runtime._finish", "self._ownership.leave()"),
        ("system", "Runtime._begin", "self._ownership.start()"),
        ("system", "Runtime._begin", "self._upkeep.start()"),
        ("system", "Runtime.stored", "self._reader.load((), [(kind, id, key)])"),
        ("upkeep", "Upkeep.start", "self._sweeper.sweep(older_than=0.0)"),
        ("upkeep", "Upkeep.start", "self._timers.load(self._journal, self._lanes())"),
    ),
    SHARED: (
        ("workers", "WorkerPool._is_due", "self._earlier(delivery.message or '')"),
        ("reader", "Reader.holder", "asyncio.shield(task)"),
        ("reader", "Reader.load", "asyncio.shield(task)"),
    ),
    ANSWER: (
        ("following", "Following._next", "future"),
        ("system", "Runtime.ask", "future"),
    ),
    BOUND: (
        ("following", "Following._answer", "async with asyncio.timeout(FOLLOW_SECONDS)"),
        ("following", "Following._next", "async with asyncio.timeout(FOLLOW_SECONDS + AGAIN_SECONDS)"),
        ("clock", "wait_within", "async with asyncio.timeout(seconds)"),
        ("system", "Runtime._first_taken", "async with asyncio.timeout(TAKE_SECONDS)"),
        ("owner", "Owner.hand_over", "async with asyncio.timeout(HAND_OVER_SECONDS)"),
        ("owner", "Owner.hand_over", "asyncio.sleep(0.005)"),
        ("system", "Runtime._finish", "async with asyncio.timeout(self._options.grace_seconds)"),
        ("system", "Runtime._finish", "asyncio.sleep(0.01)"),
        ("upkeep", "Upkeep.run", "async with asyncio.TaskGroup() as group"),
    ),
    "waits until another task has taken or released what it was at": (
        ("owner", "Owner._take", "async with self._changing"),
        ("owner", "Owner.adopt", "async with self._changing"),
        ("owner", "Owner.hand_over", "async with self._changing"),
        ("ownership", "Ownership.leave", "async with self._turn"),
        ("ownership", "Ownership.run", "async with self._turn"),
    ),
    "tells of itself, and writes nothing that anything but a choice depends on": (
        ("ownership", "Ownership.leave", "self._membership.leave()"),
        ("ownership", "Ownership._beat", "self._membership.beat(owns=self._can_own(), figures=self._figures())"),
        ("ownership", "Ownership._stand_by", "self._membership.beat(owns=False, figures=self._figures())"),
        ("ownership", "Ownership.start", "self._membership.join(self._name)"),
    ),
    "what comes in is answered or goes back to the broker; a partition is still ours afterwards": (
        ("ownership", "Ownership._drain", "async with asyncio.timeout(DRAIN_SECONDS)"),
        (
            "ownership",
            "Ownership._drain",
            "asyncio.gather(*(self._mailbox.drain(p.kind, p.no) for p in partitions))",
        ),
    ),
    TURN: (
        ("reader", "Reader._holders", "async with self._lock"),
        ("reader", "Reader._load", "async with self._lock"),
        ("reader", "Reader.number", "async with self._lock"),
    ),
    "opens a connection: the store does not change, and nothing of ours is under way on it": (
        ("owner", "Owner._take", "self._committer.clock.ask(self._committer.journal.open)"),
        ("ownership", "Ownership._connected", "self._clock.ask(self._journal.open)"),
        ("reader", "Reader._asked", "self._journal.open()"),
        ("system", "Runtime._begin", "self.clock.ask(self._sweep_journal.open)"),
        ("upkeep", "Upkeep.run", "self._clock.ask(self._journal.open)"),
    ),
    CLOSES: (
        ("owner", "Owner.close", "self._committer.journal.close()"),
        ("ownership", "Ownership.leave", "self._journal.close()"),
        ("reader", "Reader.close", "self._journal.close()"),
        ("system", "Runtime.stop", "owner.close()"),
        ("system", "Runtime.stop", "self._reader.close()"),
        ("system", "Runtime.stop", "self._sweep_journal.close()"),
    ),
    ENDS: (
        ("following", "Following.stop", "asyncio.gather(*self._tasks, return_exceptions=True)"),
        ("system", "Runtime.stop", "self._following.stop()"),
        ("system", "Runtime.stop", "asyncio.gather(*self._tasks, return_exceptions=True)"),
        ("system", "Runtime.stop", "pool.stop()"),
        ("workers", "WorkerPool.stop", "asyncio.gather(*self._tasks, return_exceptions=True)"),
    ),
}

NO_FAILPOINT = {wait: reason for reason, waits in _BY_REASON.items() for wait in waits}

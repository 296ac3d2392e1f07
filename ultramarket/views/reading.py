"""Views of state: an event only says which entity to look at; its committed public form says what to write."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from ultramarket.errors import Unavailable
from ultramarket.ports.asking import Shown
from ultramarket.views.projection import LogEvent

ReadMany = Callable[[str, list[str]], Awaitable[dict[str, Shown]]]
"""Kind and ids to public forms, as `ports.asking.Actors.read_many`."""

CATCH_UP_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16)
"""The log shows a commit a moment before its owner has heard of it and shows the new state: read again after these."""


async def newest(shown: ReadMany, kind: str, events: Sequence[LogEvent]) -> dict[str, Shown]:
    """The committed public forms of the entities of this kind that the events touched, each at least as new as they.

    Raises:
        Unavailable: a form stays older than its event.
        LookupError: an entity of an event does not exist.
    """
    wanted: dict[str, int] = {}
    for event in events:
        if event.kind == kind:
            wanted[event.id] = max(event.version, wanted.get(event.id, 0))
    if not wanted:
        return {}
    found = await shown(kind, list(wanted))
    for seconds in CATCH_UP_SECONDS:
        late = [id for id, version in wanted.items() if id not in found or found[id].version < version]
        if not late:
            return found
        await asyncio.sleep(seconds)
        found |= await shown(kind, late)
    for id, version in wanted.items():
        if id not in found:
            raise LookupError(f"the log has events of a {kind} that does not exist")
        if found[id].version < version:
            raise Unavailable("view_behind", f"A {kind} is read at version {found[id].version}, the log has {version}.")
    return found

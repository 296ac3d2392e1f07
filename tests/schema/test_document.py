"""What the server answers is what the OpenAPI document says, whatever is asked."""

from pathlib import Path

import pytest

from tests.e2e.server import STAFF_KEY, Server
from tests.schema.conftest import Known
from tests.schema.exploring import Run, explore

pytestmark = pytest.mark.asyncio(loop_scope="module")

ALL = {
    "DELETE /carts/{id}/lines/{line}",
    "GET /carts/{id}",
    "GET /inventory/{sku}",
    "GET /orders/{id}",
    "GET /payments/{id}",
    "GET /products",
    "GET /products/{id}",
    "PATCH /carts/{id}",
    "PATCH /carts/{id}/lines/{line}",
    "POST /carts",
    "POST /carts/{id}/lines",
    "POST /carts/{id}/merge",
    "POST /orders",
    "POST /orders/{id}/cancel",
}
"""What anybody may do; a run that gets too little of it done says nothing. Two calls are left out: only a payment that
waits can be authenticated, and nobody but the gateway can sign a webhook.
"""
STAFF = {
    "DELETE /products/{id}",
    "GET /imports/{id}",
    "GET /orders",
    "PATCH /products/{id}",
    "POST /imports",
    "POST /inventory/{sku}/adjustments",
    "POST /products",
}
BY_CHANCE = 2
"""So many calls may never succeed in a run on a slow machine; what is asked is chosen at random."""


async def test_a_guest_is_answered_as_the_document_says(running: Server, known: Known, tmp_path: Path) -> None:
    run = await explore(running.url, tmp_path, known)
    _check(run, running)
    assert len(ALL - run.granted.keys()) <= BY_CHANCE, ALL - run.granted.keys()
    assert not run.granted.keys() & STAFF


async def test_staff_are_answered_as_the_document_says(running: Server, known: Known, tmp_path: Path) -> None:
    run = await explore(running.url, tmp_path, known, token=STAFF_KEY)
    _check(run, running)
    assert len((ALL | STAFF) - run.granted.keys()) <= BY_CHANCE, (ALL | STAFF) - run.granted.keys()


def _check(run: Run, running: Server) -> None:
    assert not run.failed, run.said
    assert '"level":"error"' not in running.said().replace(" ", "")

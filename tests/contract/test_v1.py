"""The contract of /api/v1: `v1.json` beside this file is the OpenAPI document that clients were made for.

A release that adds to the API puts its `docs/openapi.json` here; nothing that stands here ever goes.
"""

from pathlib import Path
from typing import Any

import msgspec

from tests.contract.breaks import breaks
from web import openapi


def test_clients_of_the_released_contract_go_on_working() -> None:
    contract: dict[str, Any] = msgspec.json.decode(Path(__file__).with_name("v1.json").read_bytes())
    assert contract["paths"].keys() >= {"/products", "/carts/{id}/lines", "/orders", "/inventory/{sku}"}
    current = msgspec.json.decode(msgspec.json.encode(openapi.document()))
    assert breaks(contract, current) == []

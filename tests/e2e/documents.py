"""What commands print with `--json`."""

import json
from typing import Any


def answers(text: str) -> list[Any]:
    """The JSON documents that stand in a text one after the other."""
    decoder, found, place = json.JSONDecoder(), [], 0
    while place < len(text):
        document, place = decoder.raw_decode(text, place)
        found.append(document)
        place += len(text[place:]) - len(text[place:].lstrip())
    return found

"""Servers that the tests are given by their environment; `scripts/test` starts them with `scripts/services`."""

import os

import pytest


def url_of(variable: str) -> str:
    """The URL of a server. Without one the test is skipped, and fails in CI, where nobody would see that it was."""
    url = os.environ.get(variable)
    if url:
        return url
    why = (
        f"{variable} is not set: run scripts/test, or `scripts/services start DIR` and `source DIR/environment`, "
        "or name a server that runs already"
    )
    if os.environ.get("CI") == "true":
        pytest.fail(why, pytrace=False)
    pytest.skip(why)

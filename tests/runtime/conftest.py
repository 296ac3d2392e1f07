"""What the tests of the runtime share."""

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[structlog.typing.EventDict]]:
    """What was logged; drawing tracebacks would cost more than the tests."""
    with structlog.testing.capture_logs() as entries:
        yield entries

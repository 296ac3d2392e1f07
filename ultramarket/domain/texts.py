"""What texts may hold."""

import re

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
"""Unicode's category Cc."""
_BUT_LAYOUT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def without_control(text: str) -> str:
    """Return the text without control characters but tabs and line breaks."""
    return _BUT_LAYOUT.sub("", text)


def control_fault(text: str, *, lines: bool = False) -> str | None:
    """Return why the text can't be kept as it is, None where it can: control characters show nowhere, and break files.

    Args:
        text: what somebody typed.
        lines: whether it may have several lines: tabs and line breaks are all right then.
    """
    if lines:
        return "a text has no control characters but tabs and line breaks" if _BUT_LAYOUT.search(text) else None
    return "a text on one line has no control characters" if _CONTROL.search(text) else None

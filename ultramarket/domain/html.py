"""HTML that people typed or imported, made safe to show."""

import re
from collections import Counter

import nh3

from ultramarket.domain.texts import without_control

DEEPEST = 100
"""Elements that may stand in each other; real texts have a dozen, and the parser's time grows with the square."""

_TAGS = {
    *(
        "a",
        "abbr",
        "b",
        "blockquote",
        "br",
        "caption",
        "cite",
        "code",
        "col",
        "colgroup",
        "dd",
        "del",
        "div",
        "dl",
        "dt",
    ),
    *("em", "figcaption", "figure", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "img", "ins", "kbd", "li", "mark"),
    *("ol", "p", "pre", "q", "s", "small", "span", "strong", "sub", "sup", "table", "tbody", "td", "tfoot", "th"),
    *("thead", "tr", "u", "ul"),
}
_ATTRIBUTES = {
    "*": {"dir", "lang", "title"},
    "a": {"href"},
    "img": {"src", "alt", "width", "height"},
    "ol": {"start"},
    "td": {"colspan", "rowspan"},
    "th": {"colspan", "rowspan", "scope"},
}
_CLEANER = nh3.Cleaner(
    tags=_TAGS,
    attributes=_ATTRIBUTES,
    url_schemes={"http", "https", "mailto", "tel"},
    link_rel="noopener noreferrer nofollow",
)


_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)")
# They are empty, or the next of their kind ends them: they never stand in each other without one that is counted.
_SHALLOW = frozenset({
    *("area", "br", "col", "dd", "dt", "embed", "hr", "img", "input", "li", "link", "meta", "option", "p", "source"),
    *("tbody", "td", "tfoot", "th", "thead", "tr", "wbr"),
})  # fmt: skip


def _flattened(html: str) -> str:
    """The HTML with the tags that open too deep turned into text."""
    depth = 0
    open_: Counter[str] = Counter()

    def seen(tag: re.Match[str]) -> str:
        nonlocal depth
        name = tag[2].lower()
        if name in _SHALLOW:
            return tag[0]
        if tag[1]:
            if open_[name]:
                open_[name] -= 1
                depth -= 1
        elif depth == DEEPEST:
            return f"&lt;{tag[2]}"
        else:
            open_[name] += 1
            depth += 1
        return tag[0]

    return _TAG.sub(seen, html)


def sanitise(html: str) -> str:
    """Return the HTML with text, structure, links and pictures only.

    Scripts, styles, forms, frames, event handlers, classes, comments, control characters (word processors leave some
    behind) and addresses that are not http, https, mailto or tel are left out; text that is no HTML comes back with `&`
    and `<` written as entities, and so do tags nested deeper than `DEEPEST`.
    """
    # Once more at the end: `&#11;` is one, too.
    return without_control(_CLEANER.clean(_flattened(without_control(html)))).strip()

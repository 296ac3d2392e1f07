"""Names that stand in addresses: handles of products, and SKUs."""

import hashlib
import re
import unicodedata

HANDLE_LENGTH = 100
"""Most characters of a handle."""
SKU_LENGTH = 100
"""Most characters of a SKU."""
_BYTES = 200  # ids are kept in at most 200 bytes of UTF-8

# Letters that Unicode does not take apart into an ASCII letter and a mark.
_LETTERS = str.maketrans({
    "ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "ł": "l", "ħ": "h", "ŋ": "ng", "ŧ": "t",
    "ı": "i", "'": "", "’": "", "&": " and ",  # noqa: RUF001  # letters and apostrophes that people type
})  # fmt: skip
_OTHERS = re.compile(r"[^a-z0-9]+")


def handle(title: str) -> str:
    """Make a handle of a title: ASCII letters and digits in lower case, with `-` between words.

    Accents are dropped (`Crème Brûlée` gives `creme-brulee`). Where letters can't be written in ASCII, a hash of the
    title follows what is left, so that two titles of such a script get two handles and neither is empty.
    """
    lowered = unicodedata.normalize("NFKC", title).lower().translate(_LETTERS)
    plain = "".join(mark for mark in unicodedata.normalize("NFKD", lowered) if not unicodedata.combining(mark))
    slug = _OTHERS.sub("-", plain).strip("-")
    lossy = not slug or any(mark.isalnum() and not mark.isascii() for mark in plain)
    if not lossy and len(slug) <= HANDLE_LENGTH:
        return slug
    return shortened(slug or "product", title, HANDLE_LENGTH)


def shortened(text: str, source: str, length: int) -> str:
    """Return the text followed by a hash of its source, in at most `length` (11 or more) characters."""
    digest = hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{text[: length - 9].rstrip('-')}-{digest}"


def handle_fault(text: str) -> str | None:
    """Return why the text can't be a handle, None where it can.

    A handle has 1 to 100 letters and digits of any script, `-` and `_`, in lower case and composed (NFC), in at most
    200 bytes of UTF-8: it is one segment of a URL, the same however it is typed.
    """
    if not 1 <= len(text) <= HANDLE_LENGTH or _too_many_bytes(text):
        return f"a handle has 1 to {HANDLE_LENGTH} characters and at most {_BYTES} bytes"
    # Marks (category M) belong to letters of scripts that NFC leaves apart, e.g. Devanagari.
    if not all(mark.isalnum() or mark in "-_" or unicodedata.category(mark)[0] == "M" for mark in text):
        return "a handle has only letters, digits, '-' and '_'"
    if text != unicodedata.normalize("NFC", text.lower()):
        return "a handle is written in lower case and composed characters (NFC)"
    return None


def sku_fault(text: str) -> str | None:
    r"""Return why the text can't be a SKU, None where it can.

    A SKU has 1 to 100 printable characters in at most 200 bytes of UTF-8, no space at either end, and neither `/` nor
    `\`; it is not `.` or `..`. It is one segment of a URL: slashes and dot segments don't survive proxies, escaped or
    not.
    """
    if not 1 <= len(text) <= SKU_LENGTH or _too_many_bytes(text):
        return f"a SKU has 1 to {SKU_LENGTH} characters and at most {_BYTES} bytes"
    if not text.isprintable() or text != text.strip():
        return "a SKU has only printable characters and no space at either end"
    if "/" in text or "\\" in text or text in {".", ".."}:
        return "a SKU has no slashes and is not '.' or '..': it stands in addresses"
    return None


def _too_many_bytes(text: str) -> bool:
    return len(text.encode("utf-8", "surrogatepass")) > _BYTES

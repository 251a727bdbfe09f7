"""A checksum of a whole file within the file: formats without one show damage as other numbers.

Whoever writes a file puts `BLANK` into it as a text, once; `sealed` replaces it by the checksum of
all bytes, with `BLANK` where the checksum stands. It is to find accidents, not malice.
"""

import hashlib
import re

NAME = "checksum"
"""What the text is called in a file."""

_MARK = "thalweg-sha256:"
BLANK = _MARK + 64 * "0"
_PATTERN = re.compile(_MARK.encode() + rb"[0-9a-f]{64}")


def sealed(content: bytes) -> bytes:
    """Return `content`, which holds `BLANK`, with its checksum.

    >>> is_intact(sealed(BLANK.encode() + b" and numbers"))
    True
    >>> is_intact(sealed(BLANK.encode() + b" and numbers").replace(b"n", b"m"))
    False
    """
    text = _MARK + hashlib.sha256(content).hexdigest()
    return content.replace(BLANK.encode(), text.encode(), 1)


def is_intact(content: bytes) -> bool:
    """Whether `content` is as it was sealed; so is what never was."""
    found = _PATTERN.search(content)
    if found is None:
        return True
    blank = content[: found.start()] + BLANK.encode() + content[found.end() :]
    return sealed(blank) == content

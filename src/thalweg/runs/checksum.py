"""A checksum of a whole file within the file: formats without one show damage as other numbers.

Whoever writes a file puts `BLANK` into it, once, as a text of the name `NAME`; `with_digest`
replaces it by the checksum of all bytes, with `BLANK` where the checksum stands. It is to find
accidents, not malice.
"""

import hashlib
import re

NAME = "thalweg_checksum"

_MARK = "thalweg-sha256:"
BLANK = _MARK + 64 * "0"
_PATTERN = re.compile(_MARK.encode() + rb".{64}", re.DOTALL)


def digest(content: bytes) -> str:
    """Return the checksum of all bytes."""
    return hashlib.sha256(content).hexdigest()


def with_digest(content: bytes) -> bytes:
    """Return `content`, which holds `BLANK`, with its checksum.

    >>> content = with_digest(f"{NAME} {BLANK} and numbers".encode())
    >>> is_intact(content), is_intact(content.replace(b"n", b"m"))
    (True, False)
    """
    return content.replace(BLANK.encode(), (_MARK + digest(content)).encode(), 1)


def is_intact(content: bytes) -> bool:
    """Whether `content` fits its checksum; so does what has none, nor a trace of one."""
    found = _PATTERN.search(content)
    if found is None:
        return NAME.encode() not in content
    blank = content[: found.start()] + BLANK.encode() + content[found.end() :]
    return with_digest(blank) == content

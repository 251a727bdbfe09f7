"""What is wrong with the input or with the machine, as one line that says what to change."""

import contextlib
import errno
from collections.abc import Iterator

from thalweg.basics.memory import is_exhausted
from thalweg.cli.options import BadInputError

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_TOO_MANY_FILES = {errno.EMFILE, errno.ENFILE}
_NO_DISK = {errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN}


class NotDoneError(Exception):
    """The machine could not do it; its text is the one line to print."""


@contextlib.contextmanager
def caller_errors() -> Iterator[None]:
    """Turn what bad input raises into one line; errors elsewhere are ours, with a traceback."""
    try:
        yield
    except ValueError as error:
        raise BadInputError(str(error)) from error
    except OSError as error:
        if error.errno in _NO_ROOM | _TOO_MANY_FILES | _NO_DISK:
            raise NotDoneError(f"{reason(error)}: {remedy(error)}, then try again") from error
        advice = "" if error.errno is None else ": choose another path, or change its permissions"
        raise BadInputError(f"{reason(error)}{advice}") from error
    except (MemoryError, RuntimeError) as error:
        if not is_exhausted(error):
            raise
        raise BadInputError(
            "this does not fit into the memory of this machine: choose smaller numbers"
        ) from error


def reason(error: OSError) -> str:
    """Return what an error of the system says, without its number."""
    if error.errno is None:
        return str(error)
    where = "" if error.filename is None else f"{error.filename}: "
    return f"{where}{error.strerror}"


def remedy(error: OSError) -> str:
    """Return what can be done about an error of the system."""
    if error.errno in _NO_ROOM:
        return "make room"
    if error.errno in _TOO_MANY_FILES:
        return "close other programs, or raise the limit of open files (`ulimit -n`)"
    if error.errno in _NO_DISK:
        return "see to the disk, or to the connection to it"
    return "change permissions"

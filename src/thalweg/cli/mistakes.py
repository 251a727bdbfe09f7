"""What is wrong with the input or with the machine, as one line that says what to change."""

import contextlib
import errno
import io
import re
from collections.abc import Iterator
from typing import Any, NoReturn

import tyro

from thalweg.basics.memory import is_exhausted

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_TOO_MANY_FILES = {errno.EMFILE, errno.ENFILE}
_NO_DISK = {errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN}

# Docstrings explain the options: to look for comments as well takes as long as all the rest.
_CONFIG = (
    tyro.conf.OmitArgPrefixes,
    tyro.conf.FlagCreatePairsOff,
    tyro.conf.HelptextFromCommentsOff,
)


class BadInputError(Exception):
    """A mistake of the caller; its text is the one line to print."""


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


def parse(kind: Any, arguments: list[str], prog: str, description: str | None) -> Any:
    """Return `kind` made of the arguments; tyro's boxed errors become one line."""
    boxed = io.StringIO()
    try:
        with contextlib.redirect_stderr(boxed):
            return tyro.cli(
                kind,
                args=arguments,
                prog=prog,
                description=description,
                config=_CONFIG,
            )
    except SystemExit as exit_:
        if not exit_.code:
            raise
        _refuse_commas(arguments, boxed.getvalue())
        _refuse(boxed.getvalue(), prog)


def _refuse_commas(arguments: list[str], boxed: str) -> None:
    """Raise what to write in place of numbers with commas, where the error is about them."""
    option = ""
    for word in arguments:
        name, _, value = word.rpartition("=")
        option = name or (word if word.startswith("--") else option)
        if re.fullmatch(r"[-+.\deE]*(,[-+.\deE]*)+", value) and re.search(
            rf"parsing {re.escape(option)}\b", boxed
        ):
            apart = value.replace(",", " ").strip()
            raise BadInputError(
                f"{option} cannot be {value}: lists are separated by spaces, as in `{option} "
                f"{apart}`, and decimals have a point"
            )


def _refuse(boxed: str, prog: str) -> NoReturn:
    """Raise the message in tyro's error box as one line.

    tyro prints paragraphs apart by rules, the title first, in a box or (where the terminal's
    encoding has no box) without.
    """
    paragraphs: list[list[str]] = [[]]
    for line in re.sub(r"\x1b\[[0-9;]*m", "", boxed).splitlines():
        text = line.strip("│╭╮╰╯ ")
        if line.startswith("╭"):
            paragraphs += [[text.strip("─ ")], []]
        elif set(text) <= set("─-"):
            paragraphs.append([])
        else:
            paragraphs[-1].append(text)
    messages = [" ".join(lines) for lines in paragraphs if lines]
    raise BadInputError(f"{messages[min(1, len(messages) - 1)]} (see `{prog} --help`)")

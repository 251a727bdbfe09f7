"""Options of the command line: dataclasses made of arguments, one line for every mistake."""

import contextlib
import io
import re
from typing import Any, NoReturn

import tyro


class BadInputError(Exception):
    """A mistake of the caller; its text is the one line to print."""


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
                config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
            )
    except SystemExit as exit_:
        if not exit_.code:
            raise
        _refuse(boxed.getvalue(), prog)


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

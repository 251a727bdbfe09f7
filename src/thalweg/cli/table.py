"""`thalweg table`: many runs in one table."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import tyro

from thalweg.basics.activity import doing
from thalweg.cli.mistakes import BadInputError, caller_errors, parse
from thalweg.display import Display


@dataclass(frozen=True)
class _TableOptions:
    """List runs: a row for each, with φ where it was measured first and last, and the verdict.

    Attributes
    ----------
    folder
        Folders of runs, finished or not, or folders of such.
    csv
        Print comma-separated values, numbers with all their digits.
    """

    folder: tyro.conf.Positional[tuple[Path, ...]]
    csv: bool = False


def table(arguments: list[str], show: Callable[[str], int]) -> int:
    """Print the table by `show`, and return what that returns."""
    options = parse(_TableOptions, arguments, "thalweg table", None)
    if not options.folder:
        raise BadInputError("name the folders of runs: `thalweg table DIR DIR`")
    from thalweg.runs.rows import as_csv, as_text
    from thalweg.runs.rows import table as rows_of

    with caller_errors(), Display("table"), doing("reading the folders"):
        rows = rows_of(options.folder)
    return show(as_csv(rows) if options.csv else as_text(rows))

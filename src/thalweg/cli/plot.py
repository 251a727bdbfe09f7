"""`thalweg plot`: figures from stored results."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import tyro

from thalweg.basics.activity import doing
from thalweg.cli.mistakes import BadInputError, caller_errors, parse
from thalweg.display import display_of
from thalweg.runs.figure_options import FigureOptions


@dataclasses.dataclass(frozen=True)
class _PlotOptions:
    """Draw the figure of a run again, from its stored results; or of several runs side by side.

    Attributes
    ----------
    folder
        Folder of the run, or several, each of which becomes a column.
    out
        Of several folders: the name of the figure, without an ending.
    overwrite
        Replace the figure of that name.
    """

    folder: tyro.conf.Positional[tuple[Path, ...]]
    out: Path | None = None
    overwrite: bool = False
    figure: FigureOptions = dataclasses.field(default_factory=FigureOptions)


def plot(arguments: list[str], show: Callable[[str], int]) -> int:
    """Draw a figure, and say where it is by `show`."""
    options = parse(_PlotOptions, arguments, "thalweg plot", None)
    folders, out = options.folder, options.out
    if not folders:
        raise BadInputError("name the folder of a run: `thalweg plot PATH`")
    if len(folders) > 1 and out is None:
        raise BadInputError("several folders become one figure: name it by --out PATH")
    with caller_errors(), display_of(out or folders[0]), doing("drawing the figure"):
        from thalweg.runs.figure import save_run_figure, save_side_by_side

        options.figure.check()
        if out is None:
            save_run_figure(folders[0], options.figure)
        else:
            paths = save_side_by_side(folders, out, options.figure, overwrite=options.overwrite)
    return show(
        f"The figure is {'in ' + str(folders[0]) if out is None else ', '.join(map(str, paths))}"
    )

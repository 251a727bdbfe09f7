"""The figure of a run, from its stored results."""

import io
import os
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from thalweg.figures import plot
from thalweg.figures.style import style
from thalweg.runs.figure_options import FigureOptions
from thalweg.runs.folder import RunFolder
from thalweg.runs.results import load

_NO_DATE = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}  # equal files of equal runs


def save_run_figure(folder: str | os.PathLike[str], options: FigureOptions | None = None) -> Path:
    """Draw the run in a folder from its stored results, and write its figure there.

    It is `figure.png`, or that in the formats of the `options`; the path of the first is returned.
    Raises as `load`, and a ValueError where there is nothing that can be drawn.
    """
    options = options or FigureOptions()
    dataset, run_folder = load(folder).dataset, RunFolder.open(folder)
    try:
        figure = plot(dataset, **options.layout)
        contents = {name: encoded(figure, name, options.dpi) for name in options.formats}
    # A dataset of others may lack anything, or hold something else under the same name.
    except Exception as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{run_folder.dataset} cannot be drawn: {reason}") from error
    for name, content in contents.items():
        with run_folder.atomic_write(run_folder.figure.with_suffix(f".{name}")) as temporary:
            temporary.write_bytes(content)
    return run_folder.figure.with_suffix(f".{options.formats[0]}")


def encoded(figure: Figure, name: str, dpi: int) -> bytes:
    """Return a figure as a file of a format."""
    content = io.BytesIO()
    with mpl.rc_context(style(figure.get_figwidth())):
        figure.savefig(content, format=name, dpi=dpi, metadata=_NO_DATE.get(name))
    return content.getvalue()

"""The figure of a run, from its stored results."""

import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from thalweg.figures import Layout, plot, side_by_side
from thalweg.figures.style import style
from thalweg.runs.atomic_write import atomic_write
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
    contents = _drawn(lambda: plot(dataset, **options.layout), options, run_folder.dataset)
    for name, content in contents.items():
        with run_folder.atomic_write(run_folder.figure.with_suffix(f".{name}")) as temporary:
            temporary.write_bytes(content)
    return run_folder.figure.with_suffix(f".{options.formats[0]}")


def save_side_by_side(
    folders: Sequence[Path], out: Path, options: FigureOptions, *, overwrite: bool
) -> list[Path]:
    """Draw the runs in several folders, a column for each, called as the folder is.

    Where two have one name, columns are called by paths.

    The figure is written to `out`, with the endings of its formats; the paths are returned.

    Raises
    ------
    FileExistsError
        If there is such a file, and `overwrite` is false.
    ValueError
        Where there is nothing that can be drawn, or a folder is given twice; and as `load`.
    """
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        names = [str(folder) for folder in folders]
    if len(set(names)) < len(names):
        raise ValueError("a folder is given twice, but a column is called as its folder is")
    read = (load(folder).dataset for folder in folders)
    datasets = dict(zip(names, read, strict=True))
    called = out.stem if out.suffix.removeprefix(".") in options.formats else out.name
    paths = [out.with_name(f"{called}.{name}") for name in options.formats]
    for path in paths:
        if path.exists() and not overwrite:
            raise FileExistsError(f"{path} exists; pass --overwrite or choose another --out")
    layout = Layout(**options.layout)
    contents = _drawn(lambda: side_by_side(datasets, layout), options, out)
    out.parent.mkdir(parents=True, exist_ok=True)
    for path, content in zip(paths, contents.values(), strict=True):
        with atomic_write(path) as temporary:
            temporary.write_bytes(content)
    return paths


def _drawn(draw: Callable[[], Figure], options: FigureOptions, what: Path) -> dict[str, bytes]:
    """Return the files of a figure by their formats, or raise a ValueError."""
    try:
        figure = draw()
        return {name: encoded(figure, name, options.dpi) for name in options.formats}
    # A dataset of others may lack anything, or hold something else under the same name.
    except Exception as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{what} cannot be drawn: {reason}") from error


def encoded(figure: Figure, name: str, dpi: int) -> bytes:
    """Return a figure as a file of a format."""
    content = io.BytesIO()
    with mpl.rc_context(style(figure.get_figwidth())):
        figure.savefig(content, format=name, dpi=dpi, metadata=_NO_DATE.get(name))
    return content.getvalue()

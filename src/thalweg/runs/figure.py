"""`figure.png`: the figure of a run, from its stored results."""

import io
import os
from pathlib import Path

import matplotlib as mpl

from thalweg.figures import plot
from thalweg.figures.style import DPI, STYLE
from thalweg.runs.folder import RunFolder
from thalweg.runs.results import load


def save_run_figure(folder: str | os.PathLike[str]) -> Path:
    """Draw the run in a folder from its stored results, write `figure.png` there; return its path.

    Raises as `load`, and a ValueError where there is nothing that can be drawn.
    """
    dataset = load(folder).dataset
    run_folder, content = RunFolder.open(folder), io.BytesIO()
    try:
        with mpl.rc_context(STYLE):
            plot(dataset).savefig(content, dpi=DPI)
    # A dataset of others may lack anything, or hold something else under the same name.
    except Exception as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{run_folder.dataset} cannot be drawn: {reason}") from error
    with run_folder.atomic_write(run_folder.figure) as temporary:
        temporary.write_bytes(content.getbuffer())
    return run_folder.figure

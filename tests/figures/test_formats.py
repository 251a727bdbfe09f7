"""Figures in files: formats, resolution, and what a run folder holds of them."""

import pytest
from matplotlib.image import imread

from drawn import edge_of_stability
from thalweg.figures import plot
from thalweg.runs import RunFolder
from thalweg.runs.figure import save_run_figure
from thalweg.runs.figure_options import FigureOptions


@pytest.fixture
def folder(tmp_path):
    folder = RunFolder.create(tmp_path / "run")
    folder.write_config({})
    folder.write_dataset(edge_of_stability())
    folder.write_summary({})
    return folder


def names(folder):
    return {path.name for path in folder.path.iterdir()}


def test_the_figure_is_saved_from_the_folder(folder, tmp_path):
    assert save_run_figure(folder.path) == folder.figure
    image = imread(folder.figure)
    assert image.shape[1] == 200 * 6.4
    assert image[..., :3].std() > 0.05
    assert names(folder) == {"config.json", "result.nc", "summary.json", "figure.png"}
    with pytest.raises(FileNotFoundError, match="holds no run"):
        save_run_figure(tmp_path)


def test_formats_dots_and_width_are_those_asked_for(folder):
    options = FigureOptions(
        format=("pdf,svg", "png"), dpi=100, width=3.25, title="", log_steps=True
    )
    options.check()
    save_run_figure(folder.path, options)
    first = {name: (folder.path / f"figure.{name}").read_bytes() for name in ("pdf", "svg", "png")}
    assert imread(folder.figure).shape[1] == 325
    assert first["pdf"].startswith(b"%PDF")
    assert b'width="234pt"' in first["svg"]
    assert b"Type 3" not in first["pdf"]
    save_run_figure(folder.path, options)  # equal files of equal runs
    assert all((folder.path / f"figure.{name}").read_bytes() == first[name] for name in first)


@pytest.mark.usefixtures("little_is_drawn")
def test_figures_of_an_old_run_are_removed_with_it(folder):
    save_run_figure(folder.path, FigureOptions(format=("pdf", "png")))
    folder.write_dataset(edge_of_stability())
    assert names(folder) == {"config.json", "result.nc"}
    folder.write_summary({})
    save_run_figure(folder.path, FigureOptions(format=("svg",)))
    again = RunFolder.create(folder.path, overwrite=True)
    again.write_config({"new": 1})
    assert names(folder) == {"config.json"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"format": ("gif",)}, "format is one or several of png, pdf, svg"),
        ({"format": ()}, "format is one or several of"),
        ({"dpi": 0}, "dpi must be"),
        ({"width": 1e9}, "width must be"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        FigureOptions(**options).check()


def test_a_notebook_shows_a_figure_by_itself():
    assert plot(edge_of_stability())._repr_png_().startswith(b"\x89PNG")

"""Several results in one figure: a run of each, side by side or in an overview."""

import numpy as np
import pytest
from matplotlib.image import imread

from drawn import (
    assert_legible,
    curves,
    edge_of_stability,
    legend,
    levels,
    notes,
    panels,
    with_rise,
)
from thalweg import cli
from thalweg.figures import Layout, overview, side_by_side
from thalweg.runs import RunFolder


def four():
    """Results of several lengths; one failed in part, one rises, one has a run that diverges."""
    diverging = edge_of_stability((0.1, 0.4), unconverged=())
    diverging["loss"][1, 4:] = np.nan
    diverging["loss"][1, 3] = 5e19
    return {
        "mlp": edge_of_stability((0.1, 0.2)),
        "vgg": edge_of_stability((0.3,)).isel(step=slice(201), sharpness_step=slice(101)),
        "resnet": with_rise(edge_of_stability((0.2,), unconverged=()), [[0, 20]], [20]),
        "transformer": diverging,
    }


def test_a_column_for_each_with_its_largest_step_size_that_does_not_diverge():
    data = four()
    figure = side_by_side(data, Layout(width=10, title="four architectures"))
    found = panels(figure)
    titles = [axes.get_title().strip().split("\n") for axes in found["loss"]]
    assert [lines[0] for lines in titles] == list(data)
    assert [lines[1].partition(",")[0] for lines in titles] == [
        r"$\eta$ = 0.2", r"$\eta$ = 0.3", r"$\eta$ = 0.2", r"$\eta$ = 0.1",
    ]  # fmt: skip
    for axes, (name, run) in zip(
        found["GFS sharpness"], [("mlp", 1), ("vgg", 0), ("resnet", 0), ("transformer", 0)],
        strict=True,
    ):  # fmt: skip
        one = data[name].isel(run=run)
        scaled = one["gfs_sharpness"].values / float(one["threshold"])
        np.testing.assert_allclose(curves(axes)[0].get_ydata(), scaled, rtol=1e-14)
        assert levels(axes) == [1.0]
    assert found["loss"][0].get_xlim()[1] == found["loss"][3].get_xlim()[1]
    assert figure.get_suptitle() == "four architectures"
    assert_legible(figure)


def test_an_overview_has_a_panel_for_each_with_both_sharpnesses():
    data = four()
    figure = overview(data)
    assert [axes.get_title().partition("\n")[0] for axes in figure.axes] == list(data)
    grey, blue = curves(figure.axes[0])[:2]
    one = data["mlp"].isel(run=1)
    np.testing.assert_allclose(grey.get_ydata(), one["sharpness"] / one["threshold"])
    np.testing.assert_allclose(blue.get_ydata(), one["gfs_sharpness"] / one["threshold"])
    assert legend(figure)[:2] == [
        r"sharpness $\eta\lambda/2$", r"GFS sharpness $\eta \varphi/2$",
    ]  # fmt: skip
    assert notes(figure.axes[2]) == ["rise: -4.7 %, $t$ = 0 to 20"]
    assert_legible(figure)
    assert len(overview(dict.fromkeys("abcde", data["mlp"])).axes) == 5


@pytest.mark.parametrize("error", [2e-5, 0.02])  # thinner than the line, and not
def test_what_one_has_not_measured_is_said_in_its_panel(error):
    both = edge_of_stability((0.2,), error=error)
    gfs = [str(name) for name in both.variables if str(name).startswith("gfs_")]
    truncated = both.rename({name: name.replace("gfs", "truncated") for name in gfs})
    truncated["truncated_sharpness"].attrs = {"label": "truncated sharpness", "symbol": "\\psi"}
    data = {"mlp": both.drop_vars("sharpness"), "cross-entropy": truncated}
    lacking = {"sharpness": "mlp", "GFS sharpness": "cross-entropy", "truncated sharpness": "mlp"}
    if error < 0.01:
        lacking |= {"error bar of $\\varphi$": "cross-entropy", "error bar of $\\psi$": "mlp"}
    for names in (["mlp", "cross-entropy"], ["cross-entropy", "mlp"]):
        figure = side_by_side({name: data[name] for name in names})
        found = panels(figure)
        assert found.keys() == {"loss", *lacking}
        for words, row in found.items():
            drawn = {name: bool(curves(axes)) for name, axes in zip(names, row, strict=True)}
            assert drawn == {name: name != lacking.get(words) for name in names}
            silent = [axes for axes in row if not curves(axes)]
            assert all(notes(axes) == ["not measured"] for axes in silent)
        assert_legible(figure)


def test_nothing_to_draw_is_said():
    with pytest.raises(ValueError, match="nothing to draw"):
        side_by_side({})
    with pytest.raises(ValueError, match="mine has no runs"):
        overview({"mine": edge_of_stability()[["step_size"]]})


def test_folders_become_one_figure_on_the_command_line(tmp_path, capsys):
    folders = []
    data = four()
    for name in ("mlp", "transformer"):
        folder = RunFolder.create(tmp_path / name)
        folder.write_config({})
        folder.write_dataset(data[name])
        folders.append(str(folder.path))
    out = tmp_path / "talk" / "architectures"
    command = ["plot", *folders, "--out", str(out), "--format", "png,svg", "--width", "10"]
    assert cli.main(command) == 0
    assert imread(f"{out}.png").shape[1] == 2000
    drawn = out.with_suffix(".svg").read_bytes()
    assert cli.main(command) == 2
    assert "exists; pass --overwrite" in capsys.readouterr().err
    assert cli.main([*command, "--overwrite"]) == 0
    assert out.with_suffix(".svg").read_bytes() == drawn
    ended = ["plot", *folders, "--out", f"{out}.svg", "--format", "png,svg", "--overwrite"]
    assert cli.main([*ended, "--width", "10"]) == 0
    assert {path.name for path in out.parent.iterdir()} == {f"{out.name}.png", f"{out.name}.svg"}
    assert cli.main(["plot", *folders]) == 2
    assert "name it by --out" in capsys.readouterr().err

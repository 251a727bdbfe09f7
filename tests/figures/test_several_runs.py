"""Several runs are shown side by side, or one below the other; what has diverged hides nothing."""

import numpy as np
import pytest

from drawn import assert_legible, curves, edge_of_stability, levels, notes, panels, with_rise
from marks import slow
from thalweg.figures import plot
from thalweg.figures.limits import ROUNDING


def test_more_than_four_runs_stand_in_rows_in_units_of_their_thresholds():
    sizes = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
    data = edge_of_stability(sizes)
    figure = plot(data)
    # Row by row, and three panels in each.
    rows = np.reshape(figure.axes, (6, 3))
    for run, (loss, sharpness, gfs) in enumerate(rows):
        assert loss.get_ylabel() == f"$\\eta$ = {sizes[run]:g}"
        np.testing.assert_array_equal(curves(loss)[0].get_ydata(), data["loss"][run])
        for axes, name in ((sharpness, "sharpness"), (gfs, "gfs_sharpness")):
            drawn = curves(axes)[0].get_ydata()
            np.testing.assert_allclose(drawn, data[name][run] * sizes[run] / 2, rtol=1e-14)
            assert levels(axes) == [1.0]
    assert [axes.get_title(loc="left").partition("$ ")[2] for axes in rows[0]] == [
        "loss $L(w_t)$", r"sharpness $\eta \lambda/2$", r"GFS sharpness $\eta \varphi/2$",
    ]  # fmt: skip


def test_of_very_many_runs_twelve_are_drawn_and_that_is_said():
    data = edge_of_stability(tuple(np.linspace(0.1, 0.5, 40)), unconverged=())
    data = data.drop_vars(["sharpness", "loss"])
    figure = plot(data)
    assert len(figure.axes) == 12
    assert figure.get_suptitle() == "digits-mlp; 12 of 40 runs"
    assert figure.axes[0].get_ylabel() == r"$\eta$ = 0.1"
    assert figure.axes[-1].get_ylabel() == r"$\eta$ = 0.5"


def test_runs_of_one_step_size_are_told_apart():
    figure = plot(edge_of_stability((0.1, 0.2, 0.2)))
    assert [axes.get_title().partition(", $2")[0] for axes in figure.axes[:3]] == [
        r"$\eta$ = 0.1",
        r"$\eta$ = 0.2, run 1",
        r"$\eta$ = 0.2, run 2",
    ]


def test_the_line_of_a_run_that_is_refined_goes_on_between_its_steps():
    data = edge_of_stability((0.1, 0.2), unconverged=())
    names = [name for name in data.data_vars if name.startswith("gfs_")]
    for name in names:
        data[name][0, 1::2] = np.nan  # the other run alone was measured there
    for axes, run in zip(panels(plot(data))["GFS sharpness"], (0, 1), strict=True):
        (line,) = curves(axes)[:1]
        assert line.get_xdata().tolist() == data["gfs_step"].values[:: 2 - run].tolist()
        assert np.isfinite(line.get_ydata()).sum() == len(line.get_ydata()) - 1  # one has failed


def test_runs_of_several_depths_are_called_by_them():
    data = edge_of_stability((0.1, 0.1)).assign_coords(depth=("run", [2, 5]))
    titles = [axes.get_title().partition(", $2")[0] for axes in plot(data).axes[:2]]
    assert titles == [r"depth 2, $\eta$ = 0.1", r"depth 5, $\eta$ = 0.1"]


def diverging():
    """Two runs, the second of which diverges after step 3, and leaves values on its way."""
    data = edge_of_stability((0.1, 0.4), every=1, unconverged=())
    data["loss"][1, 4:] = np.nan
    data["loss"][1, :4] = [0.5, 2.0, 900.0, 5e19]
    data["sharpness"][1, 2:] = np.nan
    data["sharpness"][1, :2] = [4.0, 1e12]
    data["gfs_sharpness"][1, :] = np.nan
    data["gfs_status"][1, :] = np.nan
    data["gfs_sharpness"][1, :4] = [7.0, 7.5, 1e9, 1e15]
    data["gfs_status"][1, :4] = 0
    data["gfs_sharpness_error"][1, 3] = 1e14
    return with_rise(data, [[np.nan, np.nan], [0, 3]], [0, np.nan])


def test_a_run_that_diverges_is_drawn_and_leaves_the_limits():
    found = panels(plot(diverging()))
    loss, gfs = found["loss"], found["GFS sharpness"]
    assert notes(loss[1]) == ["diverges after $t$ = 2"]
    assert curves(loss[1])[0].get_ydata()[-1] == 5e19
    assert loss[0].get_ylim() == loss[1].get_ylim()
    assert loss[0].get_ylim()[1] < 2000
    assert gfs[1].get_ylim()[1] > 1e9  # step 2 is on its way
    assert gfs[1].get_ylim()[1] < 1e12
    assert found["sharpness"][1].get_ylim()[1] < 1e13
    assert_legible(plot(diverging()))


def test_a_run_that_stops_or_rises_and_comes_back_has_not_diverged():
    data = edge_of_stability()
    data["loss"][0, 300:] = np.nan
    data["loss"][0, 10] = 1e6
    (axes,) = panels(plot(data))["loss"]
    assert notes(axes) == []
    assert axes.get_ylim()[1] > 1e6


@pytest.mark.parametrize("start", [0.0, 1e-25, -0.1])
def test_a_run_that_leaves_a_minimum_has_not_diverged_and_is_no_rounding(start):
    """As from an unstable minimum, or with a loss that has no lower bound at 0."""
    data = edge_of_stability(unconverged=())
    data["loss"][0, :] = np.sign(start or 1) * 0.5
    data["loss"][0, 0] = start
    (axes,) = panels(plot(data))["loss"]
    assert notes(axes) == []


def test_losses_that_are_rounding_are_out_of_the_limits_and_noted():
    data = edge_of_stability((0.1, 0.2))
    steps = data["step"].values
    data["loss"][0] = np.maximum(0.5 * 10.0 ** (-steps / 10), 1e-35)
    lines = panels(plot(data))["loss"]
    floor = 0.5 * ROUNDING
    assert floor / 10 < lines[0].get_ylim()[0] < floor
    first = int(steps[data["loss"].values[0] <= floor][0])
    assert notes(lines[0]) == [r"rounding (below 16 $\epsilon L(w_0)$)", f"from $t$ = {first} on"]
    assert notes(lines[1]) == []
    np.testing.assert_array_equal(curves(lines[0])[0].get_ydata(), data["loss"][0])


def test_steps_are_logarithmic_where_all_happens_early_or_as_asked():
    data = edge_of_stability(unconverged=())
    assert plot(data).axes[0].get_xscale() == "linear"
    assert plot(data, log_steps=True).axes[0].get_xscale() == "symlog"
    data["gfs_sharpness"][0] = 10 + 5 * np.exp(-data["gfs_step"] / 5)
    alone = data[["loss", "sharpness"]]
    assert plot(alone).axes[0].get_xscale() == "linear"
    quick = alone["loss"] * 0 + 0.1 + np.exp(-data["step"] / 3)
    assert plot(alone.assign(loss=quick)).axes[0].get_xscale() == "symlog"
    figure = plot(data)
    assert figure.axes[0].get_xscale() == "symlog"
    assert figure.axes[0].get_xlim()[0] < 0 < 400 < figure.axes[0].get_xlim()[1]
    assert plot(data, log_steps=False).axes[0].get_xscale() == "linear"


@pytest.mark.parametrize(("fall", "is_below"), [(0.1, False), (2, True), (10, True)])
def test_a_note_of_rounding_is_where_the_loss_is_not(fall, is_below):
    data = edge_of_stability()
    data["loss"][0] = np.exp(-data["step"] / fall)
    (note,) = panels(plot(data, log_steps=True))["loss"][0].texts
    assert (note.get_position()[1] < 0.5) == is_below
    (note,) = panels(plot(data, log_steps=False))["loss"][0].texts
    assert note.get_position()[1] > 0.5


@pytest.mark.parametrize("width", [3.25, 6.75])
def test_the_width_and_the_title_are_those_asked_for(width):
    figure = plot(edge_of_stability((0.1, 0.2)), width=width, title="Mine")
    assert figure.get_figwidth() == width
    assert figure.get_suptitle() == "Mine"
    assert len(panels(figure)) == (1 if width < 4 else 4)  # in one column, φ alone
    assert plot(edge_of_stability(), title="").get_suptitle() == ""
    with pytest.raises(ValueError, match="1 to 100 inches"):
        plot(edge_of_stability(), width=0.5)


def test_a_long_title_has_lines_of_about_one_length():
    title = "tanh network, hidden layers of 8 units, on 40 handwritten digits, squared loss"
    lines = plot(edge_of_stability(), title=title, width=5).get_suptitle().splitlines()
    assert " ".join(lines) == title
    assert len(lines) == 2
    assert abs(len(lines[0]) - len(lines[1])) < 12


@pytest.mark.parametrize(
    ("step_sizes", "options"),
    [
        ((0.2,), {}),
        ((0.2,), {"width": 3.25}),
        ((0.1, 0.2), {"log_steps": True}),
        (tuple(np.geomspace(0.05, 0.4, 9)), {"width": 3.25}),
        *slow(((0.05, 0.1, 0.2, 0.4), {"width": 6.75}), ((1 / 3,) * 6, {})),
    ],
)
def test_no_texts_overlap_and_none_is_cut_off(step_sizes, options):
    number = len(step_sizes)
    data = with_rise(edge_of_stability(step_sizes), [[0, 20]] * number, [20] * number)
    title = "tanh network, hidden layers of 64 and 64 units, on 300 handwritten digits"
    assert_legible(plot(data.assign_attrs(title=title), **options))

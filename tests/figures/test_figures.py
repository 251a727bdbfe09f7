"""The figure of a run shows the stored data, all of it, legibly, and nothing else."""

import sys
from itertools import chain

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from matplotlib.text import Text

from drawn import (
    MEANINGS,
    curves,
    edge_of_stability,
    failures,
    legend,
    levels,
    notes,
    panels,
    points,
    rings,
    with_rise,
)
from thalweg.figures import plot_run
from thalweg.figures.measured import runs_of
from thalweg.flow import Status


def gfs(figure, run=0):
    return panels(figure)["GFS sharpness"][run]


@pytest.mark.parametrize("step_sizes", [(0.2,), (0.1, 0.2, 0.4)])
def test_the_artists_hold_the_stored_data(step_sizes):
    data = edge_of_stability(step_sizes)
    found = panels(plot_run(data))
    for name, step in [("loss", "step"), ("sharpness", "sharpness_step")]:
        assert len(found[name]) == len(step_sizes)
        for run, axes in enumerate(found[name]):
            (line,) = curves(axes)
            np.testing.assert_array_equal(line.get_xdata(), data[step])
            np.testing.assert_array_equal(line.get_ydata(), data[name][run])
    for run, size in enumerate(step_sizes):
        assert levels(found["loss"][run]) == []
        assert levels(found["sharpness"][run]) == levels(found["GFS sharpness"][run]) == [2 / size]


@pytest.mark.parametrize("every", [2, 20])
def test_gfs_points_bars_and_band(every):
    data = edge_of_stability((0.1, 0.4), every=every, error=0.01)
    figure = plot_run(data)
    known = np.isfinite(data["gfs_sharpness"].values)
    converged = data["gfs_status"].values == 0
    for run in range(2):
        axes = gfs(figure, run)
        (filled,), (hollow,) = points(axes)
        value, error = data["gfs_sharpness"].values[run], data["gfs_sharpness_error"].values[run]
        line = curves(axes)[0]
        np.testing.assert_array_equal(line.get_xdata(), data["gfs_step"].values)
        np.testing.assert_array_equal(line.get_ydata(), value)  # broken where there is no value
        good, bad = known[run] & converged[run], known[run] & ~converged[run]
        np.testing.assert_array_equal(filled.get_ydata(), value[good])
        np.testing.assert_array_equal(hollow.get_ydata(), value[bad])
        np.testing.assert_array_equal(hollow.get_xdata(), data["gfs_step"].values[bad])
        assert hollow.get_markersize() > 0
        for mask, container in zip((good, bad), axes.containers, strict=True):
            ends = np.array(container.lines[2][0].get_segments())[:, :, 1]
            np.testing.assert_allclose(ends[:, 0], (value - error)[mask], rtol=1e-14)
            np.testing.assert_allclose(ends[:, 1], (value + error)[mask], rtol=1e-14)
            assert bool(container.lines[1]) == (every == 20)  # caps, unless there are too many
        (band,) = [band for band in axes.collections if band.get_alpha()]
        inside = np.concatenate([path.vertices for path in band.get_paths()])
        # The band has the bars of what has converged (its paths start at both ends in between).
        assert set(np.round(inside[:, 1], 9)) <= set(
            np.round(np.concatenate([(value - error)[good], (value + error)[good]]), 9)
        )
        assert len(inside) > good.sum()


def test_labels_titles_and_legend_say_what_is_drawn():
    # GFS sharpness measured in the first half only: the panels still share their steps.
    figure = plot_run(edge_of_stability((0.1, 0.2)).isel(gfs_step=slice(11)))
    assert list(panels(figure)) == ["loss", "sharpness", "GFS sharpness", r"error bar of $\varphi$"]
    left = [axes[0] for axes in panels(figure).values()]
    assert [axes.get_ylabel() for axes in left] == [
        "$L(w_t)$", r"$\lambda(w_t)$", r"$\varphi(w_t)$", "relative",
    ]  # fmt: skip
    assert [axes.get_xlabel() for axes in left] == ["", "", "", "gradient descent step $t$"]
    assert [axes.get_title().strip() for axes in panels(figure)["loss"]] == [
        r"$\eta$ = 0.1, $2/\eta$ = 20", r"$\eta$ = 0.2, $2/\eta$ = 10",
    ]  # fmt: skip
    assert figure.get_suptitle() == "digits-mlp"
    assert [axes.get_yscale() for axes in left] == ["log", "linear", "linear", "log"]
    assert len({axes.get_xlim() for axes in figure.axes}) == 1
    assert legend(figure) == [
        r"stability threshold $2/\eta$ ($\eta$: step size)",
        r"$\varphi$ not as accurate as asked, or error unknown",
        "no value: saddle",
    ]


def test_a_title_that_is_stored_is_shown():
    data = edge_of_stability().assign_attrs(title="a network on digits")
    assert plot_run(data).get_suptitle() == "a network on digits"


def test_the_legend_leaves_out_what_is_not_there():
    data = edge_of_stability(unconverged=())
    data["gfs_sharpness_error"] = (("run", "gfs_step"), np.zeros((1, 21)))
    data["threshold"] = ("run", [np.nan])
    figure = plot_run(data.isel(gfs_step=slice(8)))
    assert figure.legends == []
    assert [levels(axes) for axes in figure.axes] == [[], [], []]


def test_one_unknown_threshold_leaves_the_others():
    data = edge_of_stability((0.1, 0.2))
    data["threshold"] = ("run", [np.nan, 10.0])
    found = panels(plot_run(data))
    assert [levels(axes) for axes in found["sharpness"]] == [[], [10.0]]
    assert found["loss"][0].get_title().strip() == r"$\eta$ = 0.1"


def test_a_threshold_far_from_all_values_is_a_note_and_flattens_nothing():
    data = edge_of_stability(unconverged=())
    data = data.assign_coords(step_size=("run", [0.02]), threshold=("run", [100.0]))
    axes = gfs(plot_run(data))
    assert levels(axes) == []
    assert notes(axes) == [r"$2/\eta$ = 100 is above"]
    assert axes.get_ylim()[1] < 20
    data["threshold"] = ("run", [1.0])  # that of another optimiser
    assert notes(gfs(plot_run(data))) == ["threshold = 1 is below"]


def test_a_point_whose_error_is_not_known_is_hollow():
    data = edge_of_stability(unconverged=())
    data["gfs_sharpness_error"][0, 5] = np.nan
    figure = plot_run(data)
    (_, (hollow,)) = points(gfs(figure))
    assert hollow.get_xdata().tolist() == [100]
    assert r"$\varphi$ not as accurate as asked, or error unknown" in legend(figure)


def test_a_useless_error_bar_does_not_flatten_the_panel():
    data = edge_of_stability()
    before = gfs(plot_run(data)).get_ylim()
    data["gfs_sharpness_error"][0, 3] = 1e6
    assert gfs(plot_run(data)).get_ylim() == before


def test_bars_thinner_than_the_line_have_a_panel_of_their_own():
    data = edge_of_stability(error=2e-5)
    (axes,) = panels(plot_run(data))[r"error bar of $\varphi$"]
    (line,) = curves(axes)
    relative = (data["gfs_sharpness_error"] / data["gfs_sharpness"]).values[0]
    np.testing.assert_array_equal(line.get_ydata(), relative[np.isfinite(relative)])
    assert axes.get_yscale() == "log"
    wide = plot_run(edge_of_stability(error=0.02, unconverged=()))
    assert list(panels(wide)) == ["loss", "sharpness", "GFS sharpness"]
    assert r"error bar of $\varphi$ (relative $\leq$ $2\times10^{-2}$)" in legend(wide)


def failing(**stored):
    """Results whose flow at step 100 failed, with what is stored of it."""
    data = edge_of_stability(unconverged=())
    for name, value in stored.items():
        data[name][0, 5] = value
    return data


@pytest.mark.parametrize("status", [2, 3, 4, 5, 6, 8, 10, 11, 12])
def test_a_failed_flow_is_a_mark_at_the_axis_whatever_number_is_stored(status):
    """Numbers stand there in results of earlier versions; now NaN does."""
    new = failing(gfs_status=status, gfs_sharpness=np.nan, gfs_sharpness_error=np.inf)
    old = failing(gfs_status=status, gfs_sharpness=3257.09, gfs_sharpness_error=np.inf)
    sure = failing(gfs_status=status, gfs_sharpness=3257.09, gfs_sharpness_error=1e-3)
    drawn = [gfs(plot_run(data)) for data in (new, old, sure)]
    limits = gfs(plot_run(edge_of_stability(unconverged=()))).get_ylim()
    for panel in drawn:
        assert panel.get_ylim() == limits
        assert np.isnan(curves(panel)[0].get_ydata()[[5, 8]]).all()
        found = failures(panel)
        assert sorted(chain(*found.values())) == [100, 160]
        assert len(found) == (1 if status == 4 else 2)  # the other is a saddle
        marked = np.concatenate([one.get_xdata() for faces in points(panel) for one in faces])
        assert not {100, 160} & set(marked)
    word = MEANINGS.split()[status].replace("_", " ")
    assert f"no value: {word}" in legend(drawn[0].figure)


def test_statuses_are_those_of_the_package():
    assert " ".join(status.name.lower() for status in Status) == MEANINGS


def test_a_failure_without_a_meaning_is_told_all_the_same():
    data = failing(gfs_status=2, gfs_sharpness=np.nan)
    data["gfs_status"].attrs.clear()
    assert failures(gfs(plot_run(data))) == {"x": [100, 160]}
    assert "no value: failed" in legend(plot_run(data))


def test_a_panel_without_a_value_says_so():
    data = edge_of_stability(unconverged=())
    data["gfs_status"][:] = 2
    figure = plot_run(data)
    assert notes(gfs(figure)) == ["no value"]
    assert gfs(figure).get_yticks().tolist() == []
    assert len(failures(gfs(figure))["x"]) == 21


def test_a_value_with_an_infinite_bar_is_none():
    axes = gfs(plot_run(failing(gfs_status=7, gfs_sharpness_error=np.inf)))
    assert sorted(chain(*failures(axes).values())) == [100, 160]


def test_where_there_is_no_flow_nothing_has_failed():
    data = failing(gfs_status=9, gfs_sharpness=np.nan, gfs_sharpness_error=np.nan)
    data["gfs_status"][0, 8] = np.nan  # not reached
    assert failures(gfs(plot_run(data))) == {}


def test_a_sharpness_whose_eigensolver_failed_is_a_mark_too():
    data = edge_of_stability(unconverged=())
    status = np.zeros((1, 201))
    status[0, [10, 20]] = 1, 2
    data["sharpness_status"] = (("run", "sharpness_step"), status)
    data["sharpness"][0, 10] = 1e9
    (axes,) = panels(plot_run(data))["sharpness"]
    assert failures(axes) == {"x": [20, 40]}
    assert np.isnan(curves(axes)[0].get_ydata()[[10, 20]]).all()
    assert axes.get_ylim()[1] < 100


def test_a_value_between_failures_is_still_seen():
    data = edge_of_stability(every=2, unconverged=())
    data["gfs_status"][0, 1::2] = 2
    data["sharpness_status"] = (("run", "sharpness_step"), np.tile([0.0, 1.0], 101)[None, :201])
    figure = plot_run(data)
    assert all(line.get_markersize() > 0 for line in points(gfs(figure))[0])
    (line,) = curves(panels(figure)["sharpness"][0])
    assert line.get_marker() == "o"
    assert np.all(np.asarray(line.get_markevery())[::2])


def test_the_largest_rise_is_ringed_and_its_size_noted():
    data = edge_of_stability(unconverged=())
    data["gfs_sharpness"][0, :3] = np.array([10.0, 10.5, 10.2])
    figure = plot_run(with_rise(data, [[0, 20]], [20]))
    (ring,) = rings(gfs(figure))
    assert ring.get_xdata().tolist() == [0, 20]
    assert ring.get_ydata().tolist() == [10.0, 10.5]
    (dotted,) = [line for line in gfs(figure).lines if line.get_linestyle() == ":"]
    assert dotted.get_xdata()[0] == 20
    assert notes(gfs(figure)) == ["rise: 5 %, $t$ = 0 to 20"]
    assert {r"largest rise of $\varphi$", "from here on no rise beyond the bars"} <= set(
        legend(figure)
    )
    assert not any(rings(axes) for axes in figure.axes if axes is not gfs(figure))


def test_a_rise_beyond_all_bounds_is_noted_in_a_few_digits():
    data = edge_of_stability(unconverged=())
    data["gfs_sharpness"][0, :3] = np.array([1.0, 1e120, 1.0])
    figure = plot_run(with_rise(data, [[0, 20]], [20]))
    assert notes(gfs(figure)) == ["rise: 1e+122 %, $t$ = 0 to 20"]


def test_runs_that_do_not_rise_have_no_rings():
    nothing = [np.nan, np.nan]
    data = with_rise(edge_of_stability((0.1, 0.2)), [nothing, [0, 40]], [0, np.nan])
    figure = plot_run(data)
    assert [len(rings(gfs(figure, run))) for run in range(2)] == [0, 1]
    assert not [line for line in gfs(figure, 1).lines if line.get_linestyle() == ":"]


@pytest.mark.parametrize(
    ("absent", "shown"),
    [
        (["sharpness"], ["loss", "GFS"]),
        (["gfs_sharpness", "gfs_sharpness_error", "gfs_status"], ["loss", "sharpness"]),
        (["gfs_sharpness_error", "gfs_status", "threshold"], ["loss", "sharpness", "GFS"]),
    ],
)
def test_what_was_not_measured_has_no_panel(absent, shown):
    figure = plot_run(edge_of_stability(error=0.02).drop_vars(absent))
    assert [words.split()[0] for words in panels(figure)] == shown
    assert figure.axes[-1].get_xlabel() == "gradient descent step $t$"
    with pytest.raises(ValueError, match="nothing to draw"):
        plot_run(edge_of_stability()[["step_size"]])


def test_losses_without_a_logarithm_and_empty_runs_are_skipped():
    data = edge_of_stability((0.1, 0.2))
    data["loss"][0, 100:] = [0.0, np.nan, np.inf] + [-1.0] * 298
    for name in ("loss", "sharpness", "gfs_sharpness", "gfs_sharpness_error"):
        data[name][1] = np.nan
    figure = plot_run(data)
    assert curves(figure.axes[0])[0].get_xdata().tolist() == list(range(100))
    data["loss"][0] = 0.0
    data["gfs_sharpness"][0] = np.nan
    data["threshold"] = ("run", [np.nan, np.nan])
    plot_run(data).draw_without_rendering()


def test_drawing_changes_no_global_state_and_not_the_data(monkeypatch):
    monkeypatch.setitem(mpl.rcParams, "font.size", 31)
    settings, pyplot = dict(mpl.rcParams), "matplotlib.pyplot" in sys.modules
    data = edge_of_stability()
    before = data.copy(deep=True)
    figure = plot_run(data)
    xr.testing.assert_identical(data, before)
    assert dict(mpl.rcParams) == settings
    assert ("matplotlib.pyplot" in sys.modules) == pyplot
    assert figure.axes[0].yaxis.label.get_fontsize() == 9


def test_marks_are_numbered_lines_in_every_panel_with_labels_in_the_legend():
    data = edge_of_stability().assign(
        mark_run=("mark", [0, 0]),
        mark_step=("mark", [120, 260]),
        mark_label=("mark", ["at the edge", "convergence certain"]),
    )
    figure = plot_run(data)
    for axes in figure.axes:
        dotted = [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == ":"]
        assert dotted == [120, 260]
    numbers = {text.get_text(): text.xy[0] for text in figure.axes[0].texts}
    assert numbers == {"1": 120, "2": 260}
    assert {"1: at the edge, $t$ = 120", "2: convergence certain, $t$ = 260"} <= set(legend(figure))
    assert len(plot_run(edge_of_stability()).axes[0].texts) == 0


@pytest.mark.parametrize(
    ("size", "threshold", "attributes", "axis", "name", "line"),
    [
        (0.2, 10.0, {}, "gradient descent epoch", "$\\eta$ = 0.2, $2/\\eta$ = 10", "$2/\\eta$"),
        (0.2, np.nan, {"optimizer": "Adam"}, "Adam epoch", "Adam, $\\eta$ = 0.2", None),
        (0.2, 11.0, {"optimizer": "SGD"}, "SGD epoch", "SGD, $\\eta$ = 0.2, threshold = 11", ""),
        (np.nan, 11.0, {}, "epoch", "measured run, threshold = 11", ""),
    ],
)
def test_a_run_is_called_by_what_is_known_of_it(size, threshold, attributes, axis, name, line):
    data = edge_of_stability().assign_attrs(attributes)
    data = data.assign_coords(step_size=("run", [size]), threshold=("run", [threshold]))
    data["step"].attrs["long_name"] = "epoch"
    shown = [text.get_text().strip() for text in plot_run(data).findobj(Text)]
    assert f"{axis} $t$" in shown
    assert name in shown
    lines = [text for text in shown if text.startswith("stability threshold")]
    assert len(lines) == (line is not None)
    assert all(("$2/\\eta$" in text) == bool(line) for text in lines)
    assert not any("nan" in text for text in shown)


def test_starts_tell_runs_of_one_step_size_apart():
    data = edge_of_stability((0.2, 0.2)).assign_coords(seed=("run", [3, 7]))
    labels = [run.label for run in runs_of(data)]
    assert labels == ["$\\eta$ = 0.2, seed 3", "$\\eta$ = 0.2, seed 7"]

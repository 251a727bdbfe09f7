"""The figure of a run shows the stored data, all of it, legibly, and nothing else."""

import itertools
import sys

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import to_hex, to_rgba
from matplotlib.image import imread
from matplotlib.text import Text

from thalweg.figures import plot_run
from thalweg.runs import RunFolder
from thalweg.runs.figure import save_run_figure


def edge_of_stability(step_sizes=(0.2,), *, every=20, error=2e-5, unconverged=(3, 17)):
    """Synthetic results that look like runs at the edge of stability; one flow failed."""
    generator = np.random.default_rng(0)
    eta = np.asarray(step_sizes)[:, None]
    step, sharpness_step, gfs_step = np.arange(401), np.arange(0, 401, 2), np.arange(0, 401, every)
    noise = generator.random((len(step_sizes), step.size))
    loss = 0.5 * np.exp(-step / 50) + 0.02 * np.exp(-step / 130) * noise * (step > 80)
    wobble = 0.06 * generator.standard_normal((len(step_sizes), sharpness_step.size))
    rise = np.minimum(0.3 + sharpness_step / 115, 1.0)
    gfs = 2 / eta * (0.97 + 0.5 * np.exp(-3 * gfs_step / 400))
    status = np.zeros(gfs.shape, int)
    errors = error * gfs
    for index in unconverged:
        status[:, index], errors[:, index] = 1, 0.15 * gfs[:, index]
    gfs[:, 8], errors[:, 8], status[:, 8] = np.nan, np.nan, 4
    dims = ("run", "gfs_step")
    return xr.Dataset(
        {
            "loss": (("run", "step"), loss),
            "sharpness": (("run", "sharpness_step"), 2 / eta * (rise + wobble * (rise == 1))),
            "gfs_sharpness": (dims, gfs),
            "gfs_sharpness_error": (dims, errors),
            "gfs_status": (dims, status),
        },
        coords={
            "step_size": ("run", eta[:, 0]),
            "threshold": ("run", 2 / eta[:, 0]),
            "step": step,
            "sharpness_step": sharpness_step,
            "gfs_step": gfs_step,
        },
        attrs={"experiment": "digits-mlp", "config": "{}"},
    )


def curves(axes):
    """The lines with data in both directions, in order of drawing, without markers-only ones."""
    return [
        line
        for line in axes.lines
        if line.get_linestyle() == "-" and line.get_transform() == axes.transData
    ]


def levels(axes):
    """Heights of the dashed lines."""
    return [line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == "--"]


def points(axes):
    """Markers of the error bars, by their face colour: filled ones and hollow ones."""
    filled, hollow = [], []
    for container in axes.containers:
        line = container.lines[0]
        face = to_hex(line.get_markerfacecolor())
        (hollow if face == to_hex("white") else filled).append(line)
    return filled, hollow


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize("step_sizes", [(0.2,), (0.1, 0.2, 0.4)])
def test_the_artists_hold_the_stored_data(step_sizes):
    data = edge_of_stability(step_sizes)
    top, middle, bottom = plot_run(data).axes
    for axes, name, step in [(top, "loss", "step"), (middle, "sharpness", "sharpness_step")]:
        assert len(curves(axes)) == len(step_sizes)
        for run, line in enumerate(curves(axes)):
            np.testing.assert_array_equal(line.get_xdata(), data[step])
            np.testing.assert_array_equal(line.get_ydata(), data[name][run])
    assert levels(top) == []
    assert levels(middle) == levels(bottom) == list(2 / np.asarray(step_sizes))
    colours = [line.get_color() for line in curves(top)]
    assert len(set(colours)) == len(step_sizes)
    assert [line.get_color() for line in curves(middle)] == colours
    assert [line.get_color() for line in curves(bottom)] == colours


@pytest.mark.parametrize("every", [2, 20])
def test_gfs_points_bars_and_band(every):
    data = edge_of_stability((0.1, 0.4), every=every, error=0.01)
    axes = plot_run(data).axes[2]
    filled, hollow = points(axes)
    known = np.isfinite(data["gfs_sharpness"].values)
    converged = data["gfs_status"].values == 0
    for run, line in enumerate(curves(axes)):
        value, error = data["gfs_sharpness"].values[run], data["gfs_sharpness_error"].values[run]
        np.testing.assert_array_equal(line.get_xdata(), data["gfs_step"].values)
        np.testing.assert_array_equal(line.get_ydata(), value)  # broken where there is no value
        good, bad = known[run] & converged[run], known[run] & ~converged[run]
        np.testing.assert_array_equal(filled[run].get_ydata(), value[good])
        np.testing.assert_array_equal(hollow[run].get_ydata(), value[bad])
        np.testing.assert_array_equal(hollow[run].get_xdata(), data["gfs_step"].values[bad])
        assert hollow[run].get_markersize() > 0
        for mask, container in (
            (good, axes.containers[2 * run]),
            (bad, axes.containers[2 * run + 1]),
        ):
            ends = np.array(container.lines[2][0].get_segments())[:, :, 1]
            np.testing.assert_allclose(ends[:, 0], (value - error)[mask], rtol=1e-14)
            np.testing.assert_allclose(ends[:, 1], (value + error)[mask], rtol=1e-14)
            assert bool(container.lines[1]) == (every == 20)  # caps, unless there are too many
        (band,) = [
            c for i, c in enumerate(b for b in axes.collections if b.get_alpha()) if i == run
        ]
        inside = np.concatenate([path.vertices for path in band.get_paths()])
        # The band has the bars of what has converged (its paths start at both ends in between).
        assert set(np.round(inside[:, 1], 9)) <= set(
            np.round(np.concatenate([(value - error)[good], (value + error)[good]]), 9)
        )
        assert len(inside) > good.sum()


def test_labels_and_legend_say_what_is_drawn():
    # GFS sharpness measured in the first half only: the panels still share their steps.
    figure = plot_run(edge_of_stability((0.1, 0.2)).isel(gfs_step=slice(11)))
    assert [axes.get_ylabel() for axes in figure.axes] == [
        r"loss $L(w_t)$",
        r"sharpness $\lambda(w_t)$",
        r"GFS sharpness $\varphi(w_t)$",
    ]
    assert [axes.get_xlabel() for axes in figure.axes] == ["", "", "gradient descent step $t$"]
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["(a)", "(b)", "(c)"]
    assert figure.get_suptitle() == "digits-mlp"
    assert [axes.get_yscale() for axes in figure.axes] == ["log", "linear", "linear"]
    assert len({axes.get_xlim() for axes in figure.axes}) == 1
    assert legend(figure) == [
        r"step size $\eta$ = 0.1",
        r"step size $\eta$ = 0.2",
        r"stability threshold $2/\eta$",
        r"error bar of $\varphi$ (relative $\leq$ $2\times10^{-5}$)",
        "not converged, or error unknown",
        "failed: no value",
    ]
    colours = [to_rgba(line.get_color()) for line in curves(figure.axes[0])]
    handles = figure.legends[0].legend_handles[:2]
    assert [to_rgba(handle.get_color()) for handle in handles] == colours


def test_the_legend_leaves_out_what_is_not_there():
    data = edge_of_stability(unconverged=()).drop_vars("gfs_sharpness_error")
    data["gfs_sharpness_error"] = (("run", "gfs_step"), np.zeros((1, 21)))
    data["threshold"] = ("run", [np.nan])
    figure = plot_run(data.isel(gfs_step=slice(8)))
    assert legend(figure) == [r"step size $\eta$ = 0.2"]
    assert [levels(axes) for axes in figure.axes] == [[], [], []]


def test_one_unknown_threshold_leaves_the_others():
    data = edge_of_stability((0.1, 0.2))
    data["threshold"] = ("run", [np.nan, 10.0])
    figure = plot_run(data)
    assert [levels(axes) for axes in figure.axes] == [[], [10.0], [10.0]]
    assert r"stability threshold $2/\eta$" in legend(figure)


def test_a_point_whose_error_is_not_known_is_hollow():
    data = edge_of_stability(unconverged=())
    data["gfs_sharpness_error"][0, 5] = np.nan
    figure = plot_run(data)
    (_, (hollow,)) = points(figure.axes[2])
    assert hollow.get_xdata().tolist() == [100]
    assert "not converged, or error unknown" in legend(figure)


def test_a_useless_error_bar_does_not_flatten_the_panel():
    data = edge_of_stability()
    before = plot_run(data).axes[2].get_ylim()
    data["gfs_sharpness_error"][0, 3] = 1e6
    figure = plot_run(data)
    assert figure.axes[2].get_ylim() == before
    assert r"$2\times10^{-5}$" in legend(figure)[2]


def crosses(axes):
    """Steps of the crosses at the axis, one list for each run that has any."""
    lines = [line for line in axes.lines if line.get_marker() == "x"]
    assert all(line.get_transform() == axes.get_xaxis_transform() for line in lines)
    assert all(0 <= height < 0.5 for line in lines for height in line.get_ydata())
    return [line.get_xdata().tolist() for line in lines]


def failing(**stored):
    """Results whose flow at step 100 failed, with what is stored of it."""
    data = edge_of_stability(unconverged=())
    for name, value in stored.items():
        data[name] = data[name].astype(float)
        data[name][0, 5] = value
    return data


@pytest.mark.parametrize("status", [2, 3, 4, 5, 6, 8, 10, 11])
def test_a_failed_flow_is_a_cross_at_the_axis_whatever_number_is_stored(status):
    """Numbers stand there in results of earlier versions; now NaN does."""
    new = failing(gfs_status=status, gfs_sharpness=np.nan, gfs_sharpness_error=np.inf)
    old = failing(gfs_status=status, gfs_sharpness=3257.09, gfs_sharpness_error=np.inf)
    sure = failing(gfs_status=status, gfs_sharpness=3257.09, gfs_sharpness_error=1e-3)
    axes = [plot_run(data).axes[2] for data in (new, old, sure)]
    limits = plot_run(edge_of_stability(unconverged=())).axes[2].get_ylim()
    for panel in axes:
        assert panel.get_ylim() == limits
        (line,) = curves(panel)
        assert np.isnan(line.get_ydata()[[5, 8]]).all()
        assert crosses(panel) == [[100, 160]]
        drawn = np.concatenate([one.get_xdata() for faces in points(panel) for one in faces])
        assert not {100, 160} & set(drawn)
    assert legend(axes[0].figure)[-1] == "failed: no value"


def test_a_value_with_an_infinite_bar_is_none():
    axes = plot_run(failing(gfs_status=7, gfs_sharpness_error=np.inf)).axes[2]
    assert crosses(axes) == [[100, 160]]


def test_where_there_is_no_flow_nothing_has_failed():
    data = failing(gfs_status=9, gfs_sharpness=np.nan, gfs_sharpness_error=np.nan)
    data["gfs_status"][0, 8] = np.nan  # not reached
    assert crosses(plot_run(data).axes[2]) == []


def test_a_sharpness_whose_eigensolver_failed_is_a_cross_too():
    data = edge_of_stability(unconverged=())
    status = np.zeros((1, 201))
    status[0, [10, 20]] = 1, 2
    data["sharpness_status"] = (("run", "sharpness_step"), status)
    data["sharpness"][0, 10] = 1e9
    axes = plot_run(data).axes[1]
    assert crosses(axes) == [[20, 40]]
    assert np.isnan(curves(axes)[0].get_ydata()[[10, 20]]).all()
    assert axes.get_ylim()[1] < 100


def test_a_value_between_failures_is_still_seen():
    data = edge_of_stability(every=2, unconverged=())
    data["gfs_status"][0, 1::2] = 2
    data["sharpness_status"] = (("run", "sharpness_step"), np.tile([0.0, 1.0], 101)[None, :201])
    _, middle, bottom = plot_run(data).axes
    assert all(line.get_markersize() > 0 for line in points(bottom)[0])
    (line,) = curves(middle)
    assert line.get_marker() == "o"
    assert np.all(np.asarray(line.get_markevery())[::2])


def test_crosses_of_several_runs_stand_in_rows():
    lines = plot_run(edge_of_stability((0.1, 0.2))).axes[2].lines
    heights = [line.get_ydata()[0] for line in lines if line.get_marker() == "x"]
    assert len(set(heights)) == 2


def with_rise(data, steps, after):
    return data.assign(
        gfs_rise_step=(("run", "rise_end"), np.asarray(steps, float)),
        gfs_decreasing_from=("run", np.asarray(after, float)),
    )


def rings(axes):
    return [line for line in axes.lines if line.get_markerfacecolor() == "none"]


def test_the_largest_rise_is_ringed_and_told_in_the_legend():
    data = edge_of_stability(unconverged=())
    data["gfs_sharpness"][0, :3] = np.array([10.0, 10.5, 10.2])
    figure = plot_run(with_rise(data, [[0, 20]], [20]))
    (ring,) = rings(figure.axes[2])
    assert ring.get_xdata().tolist() == [0, 20]
    assert ring.get_ydata().tolist() == [10.0, 10.5]
    (dotted,) = [line for line in figure.axes[2].lines if line.get_linestyle() == ":"]
    assert dotted.get_xdata()[0] == 20
    assert r"$\varphi$ rises by 5 %: $t$ = 0 to 20" in legend(figure)
    assert "none beyond the bars from $t$ = 20 on" in legend(figure)
    assert rings(figure.axes[0]) == rings(figure.axes[1]) == []


def test_runs_that_do_not_rise_have_no_rings():
    nothing = [np.nan, np.nan]
    data = with_rise(edge_of_stability((0.1, 0.2)), [nothing, [0, 40]], [0, np.nan])
    figure = plot_run(data)
    assert len(rings(figure.axes[2])) == 1
    assert not [line for line in figure.axes[2].lines if line.get_linestyle() == ":"]
    assert len([text for text in legend(figure) if "rises" in text]) == 1


@pytest.mark.parametrize(
    ("absent", "panels"),
    [
        (["sharpness"], ["loss", "GFS"]),
        (["gfs_sharpness", "gfs_sharpness_error", "gfs_status"], ["loss", "sharpness"]),
        (["gfs_sharpness_error", "gfs_status", "threshold"], ["loss", "sharpness", "GFS"]),
    ],
)
def test_what_was_not_measured_has_no_panel(absent, panels):
    figure = plot_run(edge_of_stability().drop_vars(absent))
    assert [axes.get_ylabel().split()[0] for axes in figure.axes] == panels
    assert figure.axes[-1].get_xlabel() == "gradient descent step $t$"
    with pytest.raises(ValueError, match="nothing to draw"):
        plot_run(edge_of_stability()[["step_size"]])


def test_runs_of_one_step_size_are_told_apart():
    figure = plot_run(edge_of_stability((0.1, 0.2, 0.2)))
    assert legend(figure)[:3] == [
        r"step size $\eta$ = 0.1",
        r"step size $\eta$ = 0.2, run 1",
        r"step size $\eta$ = 0.2, run 2",
    ]


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


def visible_texts(figure):
    """Every text that is drawn, tick labels within the view only."""
    outside = set()
    for axes in figure.axes:
        for axis, limits in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                if not limits[0] <= tick.get_loc() <= limits[1]:
                    outside |= {tick.label1, tick.label2}
    texts = figure.findobj(Text)
    return [
        text for text in texts if text.get_text() and text.get_visible() and text not in outside
    ]


@pytest.mark.parametrize("step_sizes", [(0.2,), tuple(np.geomspace(0.05, 0.4, 9)), (1 / 3,) * 6])
def test_no_texts_overlap_and_none_is_cut_off(step_sizes):
    data = with_rise(
        edge_of_stability(step_sizes), [[0, 20]] * len(step_sizes), [20] * len(step_sizes)
    )
    figure = plot_run(data)
    figure.draw_without_rendering()
    texts = visible_texts(figure)
    boxes = [text.get_window_extent() for text in texts]
    assert len(boxes) > 20
    for (one, a), (other, b) in itertools.combinations(zip(texts, boxes, strict=True), 2):
        apart = a.x1 <= b.x0 or b.x1 <= a.x0 or a.y1 <= b.y0 or b.y1 <= a.y0
        assert apart, f"{one.get_text()!r} lies on {other.get_text()!r}"
    width, height = figure.get_size_inches() * figure.dpi
    for text, box in zip(texts, boxes, strict=True):
        inside = box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height
        assert inside, f"{text.get_text()!r} is cut off"
    frame = figure.legends[0].get_window_extent()
    assert frame.y1 <= figure.axes[-1].get_tightbbox().y0
    assert frame.x0 >= 0
    assert frame.x1 <= width


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


def test_the_figure_is_saved_from_the_folder(tmp_path):
    folder = RunFolder.create(tmp_path / "run")
    folder.write_config({})
    folder.write_dataset(edge_of_stability())
    folder.write_summary({})
    assert save_run_figure(folder.path) == folder.figure
    image = imread(folder.figure)
    assert image.shape[:2] == (200 * 6.91, 1280)
    assert image[..., :3].std() > 0.05
    assert {path.name for path in folder.path.iterdir()} == {
        "config.json", "result.nc", "summary.json", "figure.png",
    }  # fmt: skip
    with pytest.raises(FileNotFoundError, match="holds no run"):
        save_run_figure(tmp_path)


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
    assert legend(figure)[-2:] == ["1: at the edge, $t$ = 120", "2: convergence certain, $t$ = 260"]
    assert len(plot_run(edge_of_stability()).axes[0].texts) == 0

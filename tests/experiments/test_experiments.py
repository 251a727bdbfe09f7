import dataclasses
import json
import math
from types import SimpleNamespace

import numpy as np
import pytest

import thalweg as tw
from thalweg import experiments, figures, results
from thalweg.descent import EigenStatus, GFSSharpness, RunStatus
from thalweg.descent.schedule import scheduled_steps
from thalweg.diagonal import SquaredRegression
from thalweg.display import table
from thalweg.experiments import DigitsMLP, Network, Scalar, SquaredRegressionExperiment
from thalweg.flow.solution import Status
from thalweg.reproduce.cases import Size, cases
from thalweg.runs.summary import summarise

SUMMARY = {"experiment", "runs", "seconds", "gradient_evaluations"}
RUN = {
    "step_size",
    "threshold",
    "steps",
    "status",
    "final",
    "monotonicity",
    "advice",
    "unconverged",
}
FINAL = {"loss", "sharpness", "gfs_sharpness", "gfs_sharpness_error"}
MONOTONICITY = {
    *("verdict", "falls", "rises", "undecided", "largest_possible_rise"),
    *("largest_rise", "net_fall", "decreasing_from"),
}


def strict_json(path):
    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    return json.loads(path.read_text(), parse_constant=refuse)


def check_folder(folder, config, runs):
    """Check that a run folder is as in the contract; return its summary and dataset."""
    assert {"config.json", "result.nc", "summary.json", "figure.png"} <= {
        entry.name for entry in folder.iterdir()
    }
    summary, stored = strict_json(folder / "summary.json"), results.load(folder)
    assert set(summary) == SUMMARY
    assert summary["experiment"] == config.name
    assert len(summary["runs"]) == runs
    for run in summary["runs"]:
        assert (set(run), set(run["final"]), set(run["monotonicity"])) == (RUN, FINAL, MONOTONICITY)
    written = strict_json(folder / "config.json")
    assert written.pop("experiment") == config.name
    assert written == json.loads(json.dumps(dataclasses.asdict(config)))
    data = stored.dataset
    assert data["loss"].dims == ("run", "step")
    assert data["sharpness"].dims == ("run", "sharpness_step")
    for name in ("gfs_sharpness", "gfs_sharpness_error", "gfs_status"):
        assert data[name].dims == ("run", "gfs_step")
    assert {"config", "versions"} <= set(data.attrs)
    assert (folder / "figure.png").stat().st_size > 0
    return summary, data


def test_scalar_goes_through_the_edge_of_stability(tmp_path):
    config = Scalar(gfs_every=10, sharpness_every=5)
    experiments.run(config, tmp_path / "run")
    summary, data = check_folder(tmp_path / "run", config, runs=1)
    (run,) = summary["runs"]
    assert (run["status"], run["steps"], run["advice"]) == ("completed", 200, [])
    assert run["threshold"] == 8.0
    assert run["monotonicity"]["verdict"] == "decreasing"
    assert run["monotonicity"]["falls"] == data.sizes["gfs_step"] - 1 == 20
    # Started above the threshold, and ends just under it, though the loss is not monotone.
    assert float(data["gfs_sharpness"][0, 0]) > 10
    assert 0.98 * 8 < run["final"]["gfs_sharpness"] < 8
    assert (np.diff(data["loss"].values[0]) > 0).sum() > 50
    assert run["final"]["loss"] == data["loss"].values[0, -1]
    assert run["final"]["sharpness"] == data["sharpness"].values[0, -1]
    assert run["final"]["gfs_sharpness_error"] == data["gfs_sharpness_error"].values[0, -1]


@pytest.mark.usefixtures("little_is_drawn")
def test_step_sizes_relative_to_the_sharpness_at_the_start(tmp_path):
    config = Scalar(relative_step_size=(0.5, 1.1), steps=4)
    experiments.run(config, tmp_path / "run")
    stored = results.load(tmp_path / "run")
    threshold = tw.sharpness(*config.build())
    np.testing.assert_allclose(stored.dataset["threshold"], [2 * threshold, threshold / 1.1])
    assert stored.config["step_size"] == stored.dataset["step_size"].values.tolist()
    with pytest.raises(ValueError, match="relative_step_size must be positive"):
        Scalar(relative_step_size=(-1.0,)).check()


@pytest.mark.slow
def test_squared_regression_goes_through_the_edge_of_stability(tmp_path):
    config = SquaredRegressionExperiment(gfs_every=40, sharpness_every=20)
    experiments.run(config, tmp_path / "run")
    summary, data = check_folder(tmp_path / "run", config, runs=1)
    (run,) = summary["runs"]
    assert run["monotonicity"]["verdict"] == "decreasing"
    assert 0.98 * run["threshold"] < run["final"]["gfs_sharpness"] < run["threshold"]
    assert (np.diff(data["loss"].values[0]) > 0).sum() > 50
    assert data.attrs["seed"] == 0


@pytest.mark.parametrize("depth", [2, 3])
@pytest.mark.parametrize(
    ("data", "shape"), [("sparse", (20, 40)), ("random", (20, 40)), ("diabetes", (442, 10))]
)
def test_squared_regression_on_each_data_set(data, shape, depth):
    problem, start = SquaredRegressionExperiment(data=data, depth=depth).build()
    assert (problem.x.shape, problem.depth) == (shape, depth)
    assert isinstance(problem, SquaredRegression) == (depth == 2)
    np.testing.assert_allclose(start["u"], 0.3, rtol=0.1 if data == "random" else 0)
    if data == "sparse":  # three coefficients, all 1
        np.testing.assert_allclose(problem.y, problem.x[:, :3] @ np.ones(3), rtol=1e-12)
    if data == "diabetes":
        np.testing.assert_allclose(np.std(problem.x, axis=0), 1.0, rtol=1e-12)


@pytest.mark.usefixtures("little_is_drawn")
def test_several_step_sizes_one_of_which_diverges(tmp_path):
    config = Scalar(step_size=(0.25, 9.0), steps=20, sharpness_every=20, gfs_every=10, gfs_start=10)
    experiments.run(config, tmp_path / "run")
    summary, data = check_folder(tmp_path / "run", config, runs=2)
    good, bad = summary["runs"]
    assert (good["status"], bad["status"]) == ("completed", "diverged")
    assert good["advice"] == []
    assert len(bad["advice"]) == 1
    assert "choose a step size below 9" in bad["advice"][0]
    assert bad["final"]["gfs_sharpness"] is None  # it never got to step 10
    assert bad["final"]["gfs_sharpness_error"] is None
    assert bad["monotonicity"]["verdict"] == "undecided"
    assert bad["steps"] < 20
    assert np.isnan(data["loss"].values[1, bad["steps"] + 1 :]).all()


@pytest.mark.usefixtures("little_is_drawn")
def test_a_report_stops_it_and_what_there_is_is_written(tmp_path):
    config = Scalar(steps=40, sharpness_every=10, gfs_every=10)
    experiments.run(config, tmp_path / "run", report=lambda progress: progress.step >= 20)
    summary, data = check_folder(tmp_path / "run", config, runs=1)
    (run,) = summary["runs"]
    assert run["status"] == "stopped"
    assert 20 <= run["steps"] < 40
    assert "run it again" in run["advice"][0]
    assert run["monotonicity"]["falls"] == np.isfinite(data["gfs_sharpness"].values).sum() - 1


@pytest.mark.slow
@pytest.mark.usefixtures("little_is_drawn")
def test_an_interrupt_writes_what_there_is_and_goes_on_its_way(tmp_path):
    config = Scalar(steps=40, sharpness_every=10, gfs_every=10)

    def press(progress):
        if progress.step >= 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        experiments.run(config, tmp_path / "run", report=press)
    summary, _ = check_folder(tmp_path / "run", config, runs=1)
    assert summary["runs"][0]["status"] == "stopped"
    assert experiments.resume(tmp_path / "run")["runs"][0]["status"] == "completed"


def test_advice_where_flows_did_not_converge():
    import xarray as xr

    codes = [0, Status.BUDGET_EXHAUSTED, Status.BUDGET_EXHAUSTED, Status.SADDLE, math.nan]
    values = [3.0, 2.0, 1.5, math.nan, math.nan]
    errors = [0.1, 0.1, 0.1, math.inf, math.nan]
    axis = ("run", "gfs_step")
    data = xr.Dataset(
        {
            "loss": (("run", "step"), [[1.0, math.nan]]),
            "sharpness": (("run", "sharpness_step"), [[3.0, 4.0]]),
            "sharpness_status": (("run", "sharpness_step"), [[0.0, 1.0]]),
            "gfs_sharpness": (axis, [values]),
            "gfs_sharpness_error": (axis, [errors]),
            "gfs_status": (axis, [codes]),
        },
        {
            "gfs_step": [10, 20, 30, 40, 50],
            "sharpness_step": [0, 50],
            "step_size": ("run", [0.1]),
            "threshold": ("run", [math.nan]),
        },
    )
    run = SimpleNamespace(
        dataset=data,
        w=[None],
        status=[RunStatus.COMPLETED],
        message=[""],
        steps=[50],
        seconds=1.0,
        gradient_evaluations=2.0,
    )
    (of_run,) = summarise("anything", run)["runs"]
    assert of_run["advice"] == [
        f"Sharpness at step 50: {EigenStatus.NOT_CONVERGED.advice}",
        f"Gradient flow from steps 20, 30: {Status.BUDGET_EXHAUSTED.advice}",
        f"Gradient flow from step 40: {Status.SADDLE.advice}",
    ]
    assert of_run["threshold"] is None
    assert of_run["final"] == {
        "loss": 1.0,
        "sharpness": None,  # the last one did not converge
        "gfs_sharpness": None,
        "gfs_sharpness_error": None,
    }
    # Values of flows that ended elsewhere decide nothing; what was not reached is no step.
    assert of_run["monotonicity"]["falls"] == 0
    assert of_run["monotonicity"]["undecided"] == 3
    assert of_run["unconverged"] == {"sharpness": 1, "gfs_sharpness": 3}


@pytest.mark.slow
def test_a_rise_at_the_start_is_in_the_summary_the_table_the_data_and_the_figure(tmp_path):
    """From a small start, squared regression raises the GFS sharpness at first."""
    config = SquaredRegressionExperiment(
        data="random", samples=6, dimension=8, scale=0.1, step_size=(0.05, 0.06), steps=60,
        gfs_every=20, gfs_also=(5,), sharpness_every=20,
    )  # fmt: skip
    summary = experiments.run(config, tmp_path / "run")
    data = results.load(tmp_path / "run").dataset
    assert data["gfs_step"].values.tolist() == [0, 5, 20, 40, 60]
    figure = figures.plot_run(data)
    for number, run in enumerate(summary["runs"]):
        found = run["monotonicity"]
        assert found["verdict"] == "not decreasing"
        begin, end = found["largest_rise"]["between"]
        values = data["gfs_sharpness"].isel(run=number).set_index(gfs_step="gfs_step")
        rise = float(values.sel(gfs_step=end) - values.sel(gfs_step=begin))
        assert found["largest_rise"]["size"] == rise > 0
        assert found["largest_rise"]["relative"] == rise / float(values.sel(gfs_step=begin))
        assert data["gfs_rise_step"].values[number].tolist() == [begin, end]
        after = data["gfs_decreasing_from"].values[number]
        assert found["decreasing_from"] == (None if np.isnan(after) else after)
        line = f"step size {run['step_size']:g}, GFS sharpness: it rises by {rise:.3g} ± "
        assert line in table(summary)
        assert f"from step {begin} to {end}" in table(summary)
        noted = [text.get_text() for axes in figure.axes for text in axes.texts]
        assert any(f"$t$ = {begin} to {end}" in text for text in noted)


def test_results_without_places_of_rises_are_drawn_all_the_same(tmp_path):
    config = Scalar(steps=20)
    experiments.run(config, tmp_path / "run")
    data = results.load(tmp_path / "run").dataset
    assert np.isnan(data["gfs_rise_step"].values).all()
    assert data["gfs_decreasing_from"].values.tolist() == [0]
    figures.plot_run(data.drop_vars(["gfs_rise_step", "gfs_decreasing_from"]))


@pytest.mark.parametrize("experiment", list(experiments.EXPERIMENTS.values()))
def test_every_descent_is_measured_from_its_first_step(experiment):
    if issubclass(experiment, experiments.DescentExperiment):
        config = experiment()
        assert config.gfs_start == 0
        measured = GFSSharpness(**config.flows())
        assert scheduled_steps(measured, config.steps)[0] == 0


@pytest.mark.parametrize("case", cases(Size.FULL), ids=lambda case: case.folder)
def test_every_chapter_is_measured_from_its_first_step(case):
    assert case.config.gfs_start == 0


def test_falls_known_by_themselves_decide_steps_that_the_bars_do_not():
    import xarray as xr

    axis = ("run", "gfs_step")
    data = xr.Dataset(
        {
            "loss": (("run", "step"), [[1.0, 0.5]]),
            "sharpness": (("run", "sharpness_step"), [[4.0]]),
            "sharpness_status": (("run", "sharpness_step"), [[0.0]]),
            "gfs_sharpness": (axis, [[3.0, 2.99, math.nan]]),
            "gfs_sharpness_error": (axis, [[0.1, 0.1, math.nan]]),
            "gfs_status": (axis, [[0, 0, math.nan]]),
            "gfs_fall": (axis, [[0.01, math.nan, math.nan]]),
            "gfs_fall_error": (axis, [[0.001, math.nan, math.nan]]),
        },
        {
            "gfs_step": [10, 20, 30],
            "step_size": ("run", [0.1]),
            "threshold": ("run", [20.0]),
        },
    )
    run = SimpleNamespace(
        w=[None],
        status=[RunStatus.COMPLETED],
        message=[""],
        steps=[20],
        seconds=1.0,
        gradient_evaluations=2.0,
    )
    bars_alone = data.drop_vars(["gfs_fall", "gfs_fall_error"])
    for run.dataset, verdict in ((data, "decreasing"), (bars_alone, "undecided")):
        (of_run,) = summarise("anything", run)["runs"]
        assert of_run["monotonicity"]["verdict"] == verdict


def test_schedules_of_the_gfs_sharpness():
    def steps(**options):
        measured = Network(steps=100, **options).measurements()[1]
        return scheduled_steps(measured, 100).tolist()

    assert steps() == [0, 1, 2, 3, 4, 5, 7, 10, 13, 26, 39, 52, 65, 78, 91, 100]
    assert steps(gfs_every=40, gfs_also=(3,)) == [0, 3, 40, 80, 100]
    assert steps(gfs_start=20) == [20, 33, 46, 59, 72, 85, 98, 100]
    assert steps(gfs_at=(1, 5), gfs_every=40, gfs_also=(3,)) == [1, 5, 100]
    assert steps(gfs_points=12, gfs_also=(3,)) == [0, 1, 3, 10, 32, 100]
    assert steps(gfs_points=12, gfs_at=(0, 7)) == [0, 7, 100]


@pytest.mark.parametrize("depth", [2, 4, 7])
def test_a_start_is_made_for_every_depth(depth):
    config = Scalar(depth=depth)
    assert config.depth == len(config.init) == depth
    assert max(config.init) == 3
    assert math.prod(config.init) == pytest.approx(0.36, rel=1e-4)
    assert Scalar(init=config.init) == config == Scalar(**dataclasses.asdict(config))


def test_digits_mlp_is_the_network_of_the_issue():
    problem, start = DigitsMLP().build()
    assert [layer["weight"].shape for layer in start] == [(64, 64), (64, 64), (64, 10)]
    assert problem.x.shape == (300, 64)
    assert 0.1 < float(problem(start)) < 2
    other = DigitsMLP(seed=1).build()[1]
    assert not np.allclose(start[0]["weight"], other[0]["weight"])
    config = DigitsMLP()
    assert (config.step_size, config.steps, config.gfs_every) == ((0.23,), 12_000, 500)
    assert (config.gfs_start, config.gfs_also) == (0, (1, 2, 5, 10, 20, 50, 100))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (Scalar(step_size=()), "step_size is empty"),
        (Scalar(step_size=(0.1, -0.2)), "step_size must be positive"),
        (Scalar(step_size=(math.nan,)), "step_size must be positive"),
        (Scalar(steps=0), "steps must be at least 1"),
        (Scalar(sharpness_every=0), "sharpness_every must be at least 1"),
        (Scalar(gfs_every=0), "gfs_every must be at least 1"),
        (Scalar(gfs_start=-1), "gfs_start must be at least 0"),
        (Scalar(gfs_also=(5, -1)), "gfs_also must be at least 0"),
        (Scalar(gfs_points=5), "gfs_points is 5: give at least 6"),
        (Scalar(gfs_points=7, gfs_at=tuple(range(7))), "gfs_points is 7: give at least 8"),
        (Scalar(rtol=0.0), "rtol must be positive"),
        (Scalar(max_gradient_evaluations=-1), "max_gradient_evaluations must be positive"),
        (Scalar(target=-1.0), "target must be positive"),
        (Scalar(init=(1.0,)), "depth must be at least 2"),
        (DigitsMLP(samples=10, devices=3), "devices is 3, among which 10 images"),
        (DigitsMLP(precision="float16"), "precision is 'float16'"),
        (Scalar(rigorous=True), "ask for certify as well"),
        (Scalar(depth=1), "depth must be at least 2"),
        (Scalar(depth=3, init=(1.0, 2.0)), "init holds 2 numbers, but depth is 3"),
        (Scalar(init=(1.0, math.nan)), "init must be finite"),
        (Scalar(init=(1e200, 1e200)), "the loss at the start is inf"),
        (DigitsMLP(samples=0), "samples must be between 1 and 1797"),
        (DigitsMLP(widths=(64, 0)), "widths must be at least 1"),
        (DigitsMLP(seed=-1), "seed must be at least 0"),
        (SquaredRegressionExperiment(samples=0), "samples must be at least 1"),
        (SquaredRegressionExperiment(dimension=0), "dimension must be at least 1"),
        (SquaredRegressionExperiment(scale=0.0), "scale must be positive"),
        (SquaredRegressionExperiment(depth=1), "depth must be at least 2"),
        (SquaredRegressionExperiment(dimension=2), "nonzero is 3, but there are only 2 features"),
        (SquaredRegressionExperiment(data="random", nonzero=2), "of sparse data, not of random"),
        (SquaredRegressionExperiment(data="diabetes", dimension=9), "leave dimension out"),
        (SquaredRegressionExperiment(data="diabetes", samples=443), "between 1 and 442"),
    ],
)
def test_options_that_make_no_sense_write_nothing(config, message, tmp_path):
    with pytest.raises(ValueError, match=message) as caught:
        experiments.run(config, tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_every_option_is_described_where_it_is_defined():
    for kind in experiments.EXPERIMENTS.values():
        described = "".join(base.__doc__ or "" for base in kind.__mro__)
        for field in dataclasses.fields(kind):
            assert f"    {field.name}\n" in described, (kind.name, field.name)

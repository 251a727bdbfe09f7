"""Measurements along iterates that come from elsewhere are those of `descend`."""

import json
import math
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import thalweg as tw
from cases import smooth_network, squared_regression
from marks import slow
from thalweg.cli import main
from thalweg.descent import Interrupted, Quantity
from thalweg.flow import Exponential
from thalweg.runs import saving
from thalweg.scalar import ScalarNetwork

START = jnp.array([1.8, 0.9, 0.5])
NETWORK = ScalarNetwork(3)


def norm(every=1, **options):
    return Quantity("norm", lambda problem, w: jnp.sqrt(jnp.vdot(w, w)), every, **options)


def descended(problem, start, steps, measurements, **options):
    """Return a descent with its iterates, by their steps."""
    iterates = []

    def keep(problem, w):
        iterates.append(w)
        return 0.0

    kept = [*measurements, Quantity("kept", keep)]
    run = tw.descend(problem, start, steps=steps, measurements=kept, **options)
    return run.dataset.drop_vars(["kept", "kept_step"]), iterates


def assert_same(dataset, of_descend):
    """Bit for bit, but for the loss, which another program computes."""
    xr.testing.assert_identical(
        dataset.drop_vars("loss").drop_attrs(deep=False),
        of_descend.drop_vars("loss").drop_attrs(deep=False),
    )
    np.testing.assert_allclose(dataset["loss"], of_descend["loss"], rtol=1e-12, atol=1e-18)
    assert dataset["loss"].attrs == of_descend["loss"].attrs


def measured(problem, iterates, measurements, losses=None, **options):
    along = tw.Along(problem, measurements, **options)
    for step, w in enumerate(iterates):
        loss = None if losses is None else losses[step]
        along.measure(step, w, loss=loss, last=step == len(iterates) - 1)
    return along


def test_along_the_iterates_of_a_descent_it_gives_the_dataset_of_that():
    measurements = [
        tw.Sharpness(every=4),
        tw.GFSSharpness(every=6, also=(1, 2)),
        norm(5, start=3),
    ]
    expected, iterates = descended(NETWORK, START, 20, measurements, step_size=0.3)
    along = measured(NETWORK, iterates, measurements, step_size=0.3)
    assert_same(along.dataset, expected)
    losses = expected["loss"].values[0]
    known = measured(NETWORK, iterates, measurements, losses, step_size=0.3).dataset
    xr.testing.assert_identical(known.drop_attrs(deep=False), expected.drop_attrs(deep=False))
    own = {name: value for name, value in expected.attrs.items() if name != "measurements"}
    assert own.items() <= along.dataset.attrs.items()
    assert json.loads(along.dataset.attrs["measurements"])["gfs"]["rtol"] == 1e-4


def test_flows_that_are_integrated_start_warm_and_falls_are_measured():
    problem, start = smooth_network()
    measurements = [tw.Sharpness(every=10), tw.GFSSharpness(every=1, rtol=1e-2)]
    expected, iterates = descended(problem, start, 3, measurements, step_size=0.01)
    assert np.isfinite(expected["gfs_fall"].values).any()
    assert_same(measured(problem, iterates, measurements, step_size=0.01).dataset, expected)
    run = tw.measure_along(problem, enumerate(iterates), measurements, 0.01)
    assert_same(run.dataset, expected)
    assert (run.status, run.steps) == (["completed"], [3])
    work = float(expected["gfs_gradient_evaluations"].sum())
    assert work < run.gradient_evaluations < 2 * work


@pytest.mark.parametrize("solved_before", [0, 3])
def test_iterates_in_lanes_give_the_numbers_of_one_by_one(solved_before, tmp_path, monkeypatch):
    problem, start = squared_regression()
    iterates = [jax.tree.map(lambda a, k=k: a * 0.97**k, start) for k in range(6)]
    iterates.append(jax.tree.map(lambda a: a * jnp.nan, start))  # it diverges
    flow = {"rtol": 1e-2, "method": Exponential()}
    size = Quantity("size", lambda problem, w: jnp.linalg.norm(w["u"]))
    measurements = [size, tw.GFSSharpness(every=2, also=(3,), **flow)]
    one_by_one = tw.measure_along(problem, enumerate(iterates), measurements).dataset
    folder = tmp_path / "run"
    if solved_before:  # and interrupted then

        def some():
            yield from enumerate(iterates[:solved_before])
            raise KeyboardInterrupt

        with pytest.raises(Interrupted):
            tw.measure_along(problem, some(), measurements, folder=folder)
    batches = []
    solve = tw.GFSSharpness.ahead

    def ahead(self, problem, ws, *rest):
        batches.append(len(ws))
        return solve(self, problem, ws, *rest)

    monkeypatch.setattr(tw.GFSSharpness, "ahead", ahead)
    in_lanes = tw.measure_along(
        problem, enumerate(iterates), measurements, folder=folder, lanes=4
    ).dataset
    assert batches == [2 if solved_before else 3]  # of 0, 2, 3; then 4 alone
    error = in_lanes["gfs_sharpness_error"]
    assert (abs(in_lanes["gfs_sharpness"] - one_by_one["gfs_sharpness"]) <= error).all()
    for name in ("loss", "size", "gfs_status"):
        xr.testing.assert_allclose(in_lanes[name], one_by_one[name])


def test_numbers_of_a_step_are_returned():
    along = tw.Along(NETWORK, [norm(2), tw.Sharpness(every=3)], step_size=0.1)
    assert along.measure(0, START).keys() >= {"loss", "norm", "sharpness", "sharpness_error"}
    assert not along.is_due(1)
    numbers = along.measure(1, 2 * START)
    assert numbers == {"loss": pytest.approx(float(NETWORK(2 * START)), rel=1e-14)}
    assert along.is_due(2)
    norm_there = pytest.approx(float(np.linalg.norm(START)), rel=1e-14)
    assert along.measure(2, START, loss=7.0) == {"loss": 7.0, "norm": norm_there}
    assert along.dataset["loss"].values[0, 2] == 7.0


def test_a_measurement_is_made_at_the_first_iterate_at_or_after_its_step():
    along = tw.Along(NETWORK, norm(10, start=5, also=(31,)))
    for step in (0, 5, 9, 17, 30, 32, 34, 200):
        along.measure(step, START)
    assert along.dataset["norm_step"].values.tolist() == [5, 17, 30, 32, 200]


def test_arrays_that_are_changed_in_place_are_measured_as_they_were():
    problem, start = smooth_network()
    start = jax.tree.map(np.array, start)  # as a training loop of NumPy or PyTorch keeps them
    measurements = tw.GFSSharpness(every=1, rtol=1e-2)
    copies, along = [], tw.Along(problem, measurements)
    for step in range(3):
        copies.append(jax.tree.map(np.copy, start))
        along.measure(step, start)
        for leaf in jax.tree.leaves(start):
            leaf *= 0.99
    run = tw.measure_along(problem, enumerate(copies), measurements)
    xr.testing.assert_identical(run.dataset, along.dataset)


@pytest.mark.parametrize("broken", ["parameters", "loss"])
def test_a_run_that_diverges_keeps_what_it_has(broken):
    along = tw.Along(lambda w: jnp.vdot(w, w), norm(1))
    along.measure(0, START)
    numbers = along.measure(1, START * (math.nan if broken == "parameters" else 1e200))
    assert set(numbers) == {"loss"}
    assert not math.isfinite(numbers["loss"])
    assert along.run.status == ["diverged"]
    assert "step 1" in along.run.message[0]
    assert along.dataset["norm_step"].values.tolist() == [0]
    assert np.isfinite(along.dataset["norm"].values).all()


@pytest.mark.parametrize(
    ("arguments", "threshold", "optimizer"),
    [
        ({"step_size": 0.1}, 20.0, "gradient descent"),
        ({"step_size": 0.1, "optimizer": "Adam"}, math.nan, "Adam"),
        ({"step_size": 0.1, "threshold": tw.HeavyBall(0.9)}, 38.0, None),
        ({"step_size": 0.1, "threshold": tw.HeavyBall(0.9), "optimizer": "SGD"}, 38.0, "SGD"),
        ({"threshold": 12.5}, 12.5, None),
        ({}, math.nan, None),
    ],
)
def test_thresholds_are_known_where_they_can_be(arguments, threshold, optimizer):
    along = tw.Along(NETWORK, norm(), **arguments)
    along.measure(0, START)
    np.testing.assert_allclose(along.dataset["threshold"].values, [threshold])
    assert along.dataset.attrs.get("optimizer") == optimizer
    assert along.dataset["step_size"].values.tolist() == [
        pytest.approx(arguments.get("step_size", math.nan), nan_ok=True)
    ]


def test_steps_must_increase_and_parameters_stay_alike():
    along = tw.Along(NETWORK, norm())
    along.measure(5, START)
    with pytest.raises(ValueError, match="steps must increase: step 5 was given after 5"):
        along.measure(5, START)
    with pytest.raises(ValueError, match=r"another structure, or other shapes, than those before"):
        along.measure(6, {"w": START})
    with pytest.raises(ValueError, match="step must be an integer of at least 0"):
        along.measure(-1, START)
    along.finish()
    with pytest.raises(ValueError, match=r"after finish\(\)"):
        along.measure(7, START)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"step_size": -1.0}, ValueError, "step_size must be positive and finite"),
        ({"threshold": -1.0}, ValueError, "threshold must be positive"),
        ({"threshold": "high"}, TypeError, r"threshold must be a number, .*HeavyBall\(0.9\)"),
        ({"measurements": [norm(), norm()]}, ValueError, "name of its own"),
        ({"measurements": 3}, TypeError, "measurements must be a list"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, error, message):
    with pytest.raises(error, match=message) as caught:
        tw.Along(**{"problem": NETWORK, "measurements": norm()} | arguments)
    assert "\n" not in str(caught.value)


def test_momentum_is_at_least_0_and_below_1():
    with pytest.raises(ValueError, match="momentum must be at least 0 and below 1"):
        tw.HeavyBall(1.0)


def test_many_iterates_are_pairs_or_a_mapping():
    by_step = {0: START, 10: 0.9 * START}
    run = tw.measure_along(NETWORK, by_step, norm(100))
    assert run.dataset["norm_step"].values.tolist() == [0, 10]
    with pytest.raises(TypeError, match=r"pairs \(step, parameters\).* for a list use enumerate"):
        tw.measure_along(NETWORK, [START, START, START], norm())


def test_every_reading_is_handed_on():
    seen, of_descend = [], []
    expected, iterates = descended(
        NETWORK, START, 4, [norm(2)], step_size=0.3, on_reading=of_descend.append
    )
    measured(NETWORK, iterates, norm(2), step_size=0.3, on_reading=seen.append)
    assert [(reading.run, reading.step, reading.step_size) for reading in seen] == [
        (0, step, 0.3) for step in (0, 2, 4)
    ]
    assert [reading.values["norm"] for reading in seen] == expected["norm"].values[0].tolist()
    of_norm = [reading for reading in of_descend if "norm" in reading.values]
    assert [reading.values["norm"] for reading in of_norm] == [r.values["norm"] for r in seen]
    assert of_norm[1].values["loss"] == expected["loss"].values[0, 2]


# Folders.


def iterates(n=7):
    return [START * 0.9**step for step in range(n)]


MEASUREMENTS = [norm(2), tw.GFSSharpness(every=3)]


def kept(folder, ws, **options):
    with tw.Along(NETWORK, MEASUREMENTS, step_size=0.1, folder=folder, **options) as along:
        for step, w in enumerate(ws):
            along.measure(step, w)
    return along


@pytest.mark.usefixtures("little_is_drawn")
def test_a_run_with_a_folder_is_kept_as_any_other(tmp_path):
    along = kept(tmp_path / "run", iterates())
    stored = tw.results.load(tmp_path / "run")
    for name, values in along.dataset.variables.items():
        np.testing.assert_array_equal(stored.dataset[name].values, values.values)
    assert stored.config["experiment"] == "along"
    assert stored.config["measurements"]["gfs"]["every"] == 3
    (run,) = stored.summary["runs"]
    assert (run["status"], run["steps"], run["step_size"]) == ("completed", 6, 0.1)
    assert run["final"]["gfs_sharpness"] == along.dataset["gfs_sharpness"].values[0, -1]
    assert run["final"]["sharpness"] is None
    names = {entry.name for entry in (tmp_path / "run").iterdir()}
    assert names == {"config.json", "result.nc", "summary.json", "figure.png"}
    with pytest.raises(FileExistsError, match="already holds a run"):
        kept(tmp_path / "run", iterates())
    kept(tmp_path / "run", iterates(), overwrite=True)


def interrupted_at(step, error=KeyboardInterrupt):
    for number, w in enumerate(iterates()):
        if number == step:
            raise error
        yield w


def test_ctrl_c_keeps_what_there_is_and_the_program_goes_on_from_there(tmp_path, capsys):
    with pytest.raises(KeyboardInterrupt):
        kept(tmp_path, interrupted_at(4))
    before = tw.results.load(tmp_path)
    assert before.summary is None
    assert before.dataset["gfs_step"].values.tolist() == [0, 3]
    assert main(["plot", str(tmp_path)]) == 0
    assert (tmp_path / "figure.png").stat().st_size > 1000
    calls = []
    along = kept(tmp_path, iterates(), on_reading=calls.append)
    assert [reading.step for reading in calls] == [4, 6, 6]
    whole = kept(tmp_path / "whole", iterates())
    xr.testing.assert_identical(along.dataset, whole.dataset)
    assert along.run.gradient_evaluations == whole.run.gradient_evaluations
    assert tw.results.load(tmp_path).summary["runs"][0]["status"] == "completed"


@pytest.mark.usefixtures("little_is_drawn")
def test_stored_numbers_are_returned_for_steps_that_were_measured(tmp_path):
    whole = tw.Along(NETWORK, MEASUREMENTS, step_size=0.1)
    expected = [whole.measure(step, w) for step, w in enumerate(iterates())]
    with pytest.raises(RuntimeError):
        kept(tmp_path, interrupted_at(5, RuntimeError))
    along = tw.Along(NETWORK, MEASUREMENTS, step_size=0.1, folder=tmp_path)
    again = [along.measure(step, w) for step, w in enumerate(iterates())]
    np.testing.assert_equal(again, expected)
    along.finish()


class Interrupting:
    """Two measurements at a step, with an interruption between them, or within a flow."""

    def __init__(self, call, within):
        self.call, self.within, self.inner = call, within, tw.GFSSharpness(every=1, rtol=1e-3)
        self.name, self.every, self.start = "gfs", 1, 0
        self.variables = self.inner.variables
        self.calls = self.resumed = 0

    def measure(self, *arguments):
        return self.resume(*arguments, None)

    def resume(self, problem, w, memory, report, standing):
        self.calls += 1
        if self.calls != self.call:
            if standing is None:
                return self.inner.measure(problem, w, memory, report)
            self.resumed += 1
            return self.inner.resume(problem, w, memory, report, standing)
        if not self.within:
            raise KeyboardInterrupt

        def press(progress):
            if progress.gradient_evaluations > 100 and not self.resumed:
                self.resumed = 1
                signal.raise_signal(signal.SIGINT)
            return report(progress)

        return self.inner.measure(problem, w, memory, press)


@pytest.mark.usefixtures("little_is_drawn")
@pytest.mark.parametrize("within", [False, *slow(True)])
def test_an_interruption_in_the_middle_of_a_step_changes_no_bit(tmp_path, monkeypatch, within):
    for name in ("INTERVAL", "FIRST_CHECKPOINT"):
        monkeypatch.setattr(saving, name, 0.0)
    monkeypatch.setattr(saving, "SHARE_OF_CHECKPOINTS", math.inf)
    problem, start = smooth_network()
    ws = [jax.tree.map(lambda leaf, s=scale: leaf * s, start) for scale in (1.0, 0.99)]

    def run(measurement, folder):
        quantity = Quantity("zero", lambda problem, w: 0.0)
        return tw.measure_along(problem, enumerate(ws), [quantity, measurement], folder=folder)

    stopping = Interrupting(2, within)
    with pytest.raises(Interrupted) as caught:
        run(stopping, tmp_path / "stopped")
    assert caught.value.run.status == ["stopped"]
    going_on = Interrupting(0, within)
    whole = run(Interrupting(0, False), tmp_path / "whole")
    again = run(going_on, tmp_path / "stopped")
    assert going_on.calls == 1
    assert going_on.resumed == (1 if within else 0)
    xr.testing.assert_identical(again.dataset, whole.dataset)


def test_a_folder_of_other_settings_is_left_alone(tmp_path):
    with pytest.raises(RuntimeError):
        kept(tmp_path, interrupted_at(3, RuntimeError))
    with pytest.raises(ValueError, match=r"other settings \(step_size was \[0.1\] and is"):
        tw.Along(NETWORK, MEASUREMENTS, step_size=0.2, folder=tmp_path)
    with pytest.raises(ValueError, match="the checkpoint is that of another descent"):
        tw.Along(NETWORK, MEASUREMENTS, 0.1, folder=tmp_path).measure(0, jnp.ones(4))


@pytest.mark.usefixtures("little_is_drawn")
def test_a_folder_can_be_used_by_one_program_at_a_time(tmp_path):
    along = tw.Along(NETWORK, MEASUREMENTS, folder=tmp_path)
    with pytest.raises(OSError, match="process"):
        tw.Along(NETWORK, MEASUREMENTS, folder=tmp_path)
    along.measure(0, START)
    along.finish()


def test_resume_says_what_to_do_with_a_run_of_ones_own(tmp_path, capsys):
    with pytest.raises(RuntimeError):
        kept(tmp_path / "run", interrupted_at(3, RuntimeError))
    before = {path: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    assert main(["resume", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert "start that program again, with the same folder, and it goes on" in said
    assert len(said.splitlines()) == 1
    assert before == {path: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    kept(tmp_path / "run", iterates())
    assert main(["resume", str(tmp_path / "run")]) == 0
    assert "there is nothing to continue" in capsys.readouterr().out


def test_what_was_solved_ahead_is_not_taken_for_other_iterates(tmp_path):
    problem, start = squared_regression()
    flows = tw.GFSSharpness(every=1, rtol=1e-2, method=Exponential())

    def iterates(shrink):
        for k in range(4):
            yield k, jax.tree.map(lambda a, k=k: a * shrink**k, start)

    def stopped(reading):
        if reading.step == 1:
            raise KeyboardInterrupt

    folder = tmp_path / "run"
    with pytest.raises(Interrupted):
        tw.measure_along(problem, iterates(0.97), flows, folder=folder, lanes=4, on_reading=stopped)
    run = tw.measure_along(problem, iterates(0.8), flows, folder=folder, lanes=1)
    expected = tw.measure_along(problem, iterates(0.8), flows)
    error = run.dataset["gfs_sharpness_error"] + expected.dataset["gfs_sharpness_error"]
    apart = abs(run.dataset["gfs_sharpness"] - expected.dataset["gfs_sharpness"])
    assert (apart <= error)[0, 2:].all()

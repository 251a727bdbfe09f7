import dataclasses
import math
import signal
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import xarray as xr

import thalweg as tw
import thalweg.descent.sharpness as sharpness_module
from marks import slow
from thalweg.descent import (
    GFSSharpness,
    Interrupted,
    Quantity,
    Reading,
    RunStatus,
    Sharpness,
    TruncatedSharpness,
    descend,
    read_checkpoint,
    write_checkpoint,
)
from thalweg.descent.loop import CHUNK, Iterate, is_finite_and_bounded
from thalweg.flow.gradient_flow_solution import gradient_flow_solution
from thalweg.flow.solution import Status
from thalweg.scalar import ScalarNetwork

START = np.array([1.8, 0.9, 0.5])


def loss(w):
    return 0.5 * (jnp.prod(w) - 1.0) ** 2


def quadratic(w):
    return 50.0 * jnp.vdot(w, w)  # sharpness 100


def by_hand(w, step_size, steps, momentum=0.0):
    """Return losses and the last iterate of a plain loop in numpy."""
    losses, velocity = [], np.zeros_like(w)
    for _ in range(steps):
        losses.append(0.5 * (np.prod(w) - 1.0) ** 2)
        velocity = momentum * velocity + (np.prod(w) - 1.0) * np.prod(w) / w
        w = w - step_size * velocity
    return np.array([*losses, 0.5 * (np.prod(w) - 1.0) ** 2]), w


def norm(every=1, start=0, name="norm"):
    return Quantity(name, lambda problem, w: jnp.sqrt(jnp.vdot(w, w)), every, start)


@dataclass
class Recorder:
    """A measurement of one's own, with memory: it remembers when it was called."""

    every: int = 3
    start: int = 0
    name: str = "recorder"
    memories: list = field(default_factory=list)

    @property
    def variables(self):
        return {"calls": {"long_name": "calls so far", "units": "1"}}

    def measure(self, problem, w, memory, report):
        self.memories.append(memory)
        calls = 1 if memory is None else memory + 1
        return Reading({"calls": calls}, calls, 7.0)


def test_gradient_descent_is_that_of_a_plain_loop():
    run = descend(loss, jnp.asarray(START), step_size=0.3, steps=40)
    losses, w = by_hand(START, 0.3, 40)
    np.testing.assert_allclose(run.dataset["loss"][0], losses, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(run.w[0], w, rtol=1e-13)
    assert run.dataset["loss"].dims == ("run", "step")
    assert run.dataset["step"].values.tolist() == list(range(41))
    assert run.status == [RunStatus.COMPLETED] == ["completed"]
    assert run.steps == [40]
    assert run.gradient_evaluations == 41
    assert run.seconds > 0


def test_more_steps_than_a_chunk_holds():
    steps = 2 * CHUNK + 3
    # So small a step that the loss is still far from rounding at the end.
    run = descend(loss, jnp.asarray(START), step_size=1e-4, steps=steps)
    losses, w = by_hand(START, 1e-4, steps)
    assert losses[-1] > 1e-3
    np.testing.assert_allclose(run.dataset["loss"][0], losses, rtol=1e-10)
    np.testing.assert_allclose(run.w[0], w, rtol=1e-12)


def test_no_steps_leave_the_start():
    run = descend(loss, jnp.asarray(START), step_size=0.3, steps=0, measurements=[norm(5)])
    assert run.dataset["loss"].values.tolist() == [[float(loss(jnp.asarray(START)))]]
    assert run.dataset["norm_step"].values.tolist() == [0]
    np.testing.assert_array_equal(run.w[0], START)


def test_several_step_sizes_are_the_run_dimension():
    run = descend(loss, jnp.asarray(START), step_size=[0.1, 0.4], steps=20, measurements=[norm(5)])
    assert run.dataset["loss"].shape == (2, 21)
    assert run.dataset["norm"].dims == ("run", "norm_step")
    np.testing.assert_allclose(run.dataset["step_size"], [0.1, 0.4])
    np.testing.assert_allclose(run.dataset["threshold"], [20.0, 5.0])
    for number, step_size in enumerate((0.1, 0.4)):
        losses, w = by_hand(START, step_size, 20)
        np.testing.assert_allclose(run.dataset["loss"][number], losses, rtol=1e-11, atol=1e-15)
        np.testing.assert_allclose(run.w[number], w, rtol=1e-12)
        np.testing.assert_allclose(run.dataset["norm"][number, -1], np.linalg.norm(w), rtol=1e-12)


def test_measuring_does_not_change_the_run():
    plain = descend(loss, jnp.asarray(START), step_size=0.5, steps=60)
    measured = descend(
        loss, jnp.asarray(START), step_size=0.5, steps=60, measurements=[norm(7), Recorder(11)]
    )
    np.testing.assert_array_equal(plain.dataset["loss"], measured.dataset["loss"])


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_optax_drives_the_same_loop(momentum):
    def sgd(step_size):
        return optax.sgd(step_size, momentum=momentum or None)

    run = descend(loss, jnp.asarray(START), step_size=[0.1, 0.2], steps=30, optimizer=sgd)
    for number, step_size in enumerate((0.1, 0.2)):
        losses, w = by_hand(START, step_size, 30, momentum)
        np.testing.assert_allclose(run.dataset["loss"][number], losses, rtol=1e-10, atol=1e-15)
        np.testing.assert_allclose(run.w[number], w, rtol=1e-12)
    assert np.isnan(run.dataset["threshold"]).all()


def test_a_ready_transformation_serves_one_step_size():
    run = descend(loss, jnp.asarray(START), step_size=0.1, steps=5, optimizer=optax.sgd(0.1))
    np.testing.assert_allclose(run.dataset["loss"][0], by_hand(START, 0.1, 5)[0], rtol=1e-12)
    with pytest.raises(ValueError, match="one step size built in"):
        descend(loss, jnp.asarray(START), step_size=[1, 2], steps=5, optimizer=optax.sgd(0.1))
    with pytest.raises(TypeError, match=r"optax\.sgd"):
        descend(loss, jnp.asarray(START), step_size=0.1, steps=5, optimizer=lambda step_size: 3)


def test_losses_at_every_so_many_steps_and_at_the_last():
    run = descend(loss, jnp.asarray(START), step_size=0.3, steps=10, loss_every=4)
    assert run.dataset["step"].values.tolist() == [0, 4, 8, 10]
    expected = by_hand(START, 0.3, 10)[0][[0, 4, 8, 10]]
    np.testing.assert_allclose(run.dataset["loss"][0], expected, rtol=1e-12, atol=1e-18)


def test_measurements_keep_to_their_schedules():
    measurements = [norm(4), norm(5, start=3, name="other"), norm(100, start=50, name="late")]
    run = descend(loss, jnp.asarray(START), step_size=0.3, steps=10, measurements=measurements)
    assert run.dataset["norm_step"].values.tolist() == [0, 4, 8, 10]
    assert run.dataset["other_step"].values.tolist() == [3, 8, 10]
    assert run.dataset["late_step"].values.tolist() == [10]
    for name in ("norm", "other"):
        expected = [
            np.linalg.norm(by_hand(START, 0.3, step)[1])
            for step in run.dataset[f"{name}_step"].values
        ]
        np.testing.assert_allclose(run.dataset[name][0], expected, rtol=1e-12)


@pytest.mark.parametrize(
    "measurement",
    [
        Sharpness(every=6, also=(1, 2, 99)),
        *slow(
            GFSSharpness(every=6, also=(2, 1)),
            TruncatedSharpness(level=1e-9, every=6, also=[1, 2]),
        ),
        Quantity("norm", lambda problem, w: 1.0, every=6, also=(1, 1, 2)),
    ],
)
def test_further_steps_are_measured_too(measurement):
    run = descend(loss, jnp.asarray(START), step_size=0.1, steps=9, measurements=[measurement])
    assert run.dataset[f"{measurement.name}_step"].values.tolist() == [0, 1, 2, 6, 9]
    for name in measurement.variables:
        if name.endswith(("sharpness", "norm")):
            assert np.isfinite(run.dataset[name].values).all()


@pytest.mark.parametrize("steps", [3, "12", (1.5,), (-1,), ("a",), iter([1]), range(-1, 5)])
@pytest.mark.parametrize("name", ["also", "at"])
def test_steps_of_a_schedule_must_be_steps(name, steps):
    with pytest.raises(ValueError, match=rf"{name}.* of the measurement 'sharpness' must be"):
        Sharpness(**{name: steps})


def test_log_spaced_steps_begin_with_every_step_and_grow_apart():
    for last, values in [(1, 16), (15, 16), (16, 16), (2000, 16), (10**9, 40), (7, 3)]:
        steps = tw.log_spaced(last, values)
        assert (steps[:2], steps[-1], len(steps)) == ((0, 1), last, min(values, last + 1))
        ratios = np.diff(np.log(steps[1:][-8:]))
        assert (np.diff(steps) >= 1).all()
        assert last < 1e6 or ratios.max() < 1.01 * ratios.min()
    for wrong in ({"last": 0}, {"last": 9, "values": 2}, {"last": 2.5}):
        with pytest.raises(ValueError, match="must be an integer of at least"):
            tw.log_spaced(**wrong)


def test_a_run_that_goes_on_measures_the_start_no_more(tmp_path):
    given = {"step_size": [0.1, 0.2], "steps": 4, "measurements": [GFSSharpness(every=2)]}
    start, path = jnp.asarray(START), tmp_path / "checkpoint"
    whole = descend(loss, start, **given)

    def report(progress):
        if (progress.run, progress.step, progress.readings) == (0, 4, 3):
            write_checkpoint(path, progress.checkpoint(), start)
            return True
        return False

    descend(loss, start, **given, report=report)
    saved, _ = read_checkpoint(path, start)
    resumed = descend(loss, start, **given, checkpoint=saved)
    xr.testing.assert_identical(resumed.dataset, whole.dataset)
    assert resumed.gradient_evaluations == whole.gradient_evaluations


@pytest.mark.parametrize(
    ("at", "steps"),
    [
        (tw.every(4), [0, 2, 4, 8, 9]),
        (tw.every(4, start=3), [2, 3, 7, 9]),
        (tw.log_spaced(50, 8), [0, 1, 2, 4, 8, 9]),
        (np.array([5, 1, 5]), [1, 2, 5, 9]),
        ((), [2, 9]),
    ],
)
def test_a_schedule_of_its_own_replaces_the_regular_one(at, steps):
    first = norm(every=1, name="each")
    own = dataclasses.replace(norm(every=1), at=at, also=(2,))
    data = descend(
        loss, jnp.asarray(START), step_size=0.3, steps=9, measurements=[first, own]
    ).dataset
    assert data["norm_step"].values.tolist() == steps
    np.testing.assert_array_equal(data["norm"], data["each"].sel(each_step=steps))


@pytest.mark.parametrize("at", [tw.every(4), tw.log_spaced(9, 5)])
def test_gfs_sharpness_on_a_schedule_is_that_of_the_iterates(at):
    start = jnp.asarray(START)
    gfs = GFSSharpness(at=at)
    data = descend(loss, start, step_size=0.1, steps=9, measurements=[gfs]).dataset
    for step in data["gfs_step"].values:
        w = jnp.asarray(by_hand(START, 0.1, step)[1])
        direct = gradient_flow_solution(loss, w)
        here = data.sel(gfs_step=step).isel(run=0)
        apart = abs(float(here["gfs_sharpness"]) - direct.sharpness)
        assert apart <= float(here["gfs_sharpness_error"]) + direct.sharpness_error


def test_the_start_is_measured_once_for_all_step_sizes():
    iterates = []

    def entry(problem, w):
        iterates.append(np.asarray(w).tolist())
        return w[0]

    given = {"measurements": [Quantity("entry", entry, 2), Sharpness(every=2)], "steps": 4}
    both = descend(loss, jnp.asarray(START), step_size=[0.1, 0.2], **given)
    assert iterates.count(START.tolist()) == 1
    assert len(iterates) == 5
    alone = [descend(loss, jnp.asarray(START), step_size=size, **given) for size in (0.1, 0.2)]
    for number, run in enumerate(alone):
        xr.testing.assert_identical(both.dataset.isel(run=[number]), run.dataset)
    of_start = descend(loss, jnp.asarray(START), step_size=0.1, **(given | {"steps": 0}))
    saved = sum(run.gradient_evaluations for run in alone) - both.gradient_evaluations
    assert saved == of_start.gradient_evaluations - 1


def test_a_measurement_of_ones_own_has_memory_and_counts_work():
    own = Recorder()
    run = descend(loss, jnp.asarray(START), step_size=[0.1, 0.2], steps=6, measurements=[own])
    assert own.memories == [None, 1, 2, 1, 2]  # both runs go on from the start, measured once
    assert run.dataset["calls"].values.tolist() == [[1, 2, 3], [1, 2, 3]]
    assert run.dataset["calls"].attrs == {"long_name": "calls so far", "units": "1"}
    assert run.gradient_evaluations == 2 * 7 + 5 * 7.0


def test_a_measurement_must_return_what_it_declares():
    class Wrong(Recorder):
        def measure(self, problem, w, memory, report):
            return Reading({"surprise": 1.0})

    with pytest.raises(ValueError, match=r"declares the variables \['calls'\]"):
        descend(loss, jnp.asarray(START), step_size=0.1, steps=2, measurements=[Wrong()])


def test_sharpness_along_a_run():
    run = descend(
        loss, jnp.asarray(START), step_size=0.3, steps=9, measurements=[Sharpness(every=3)]
    )
    assert run.dataset["sharpness_step"].values.tolist() == [0, 3, 6, 9]
    for step, value in zip((0, 3, 6, 9), run.dataset["sharpness"].values[0], strict=True):
        dense = np.linalg.eigvalsh(jax.hessian(loss)(jnp.asarray(by_hand(START, 0.3, step)[1])))
        assert value == pytest.approx(dense[-1], rel=1e-4)


def test_gfs_sharpness_along_a_run_starts_each_flow_from_the_last(monkeypatch):
    network, seen = ScalarNetwork(3), []

    def spy(*arguments, previous, **options):
        solution = gradient_flow_solution(*arguments, previous=previous, **options)
        seen.append((previous, solution))
        return solution

    monkeypatch.setattr(sharpness_module, "gradient_flow_solution", spy)
    run = descend(
        network, jnp.asarray(START), step_size=0.3, steps=6, measurements=[GFSSharpness(every=3)]
    )
    data = run.dataset
    assert [previous for previous, _ in seen] == [None, *(s for _, s in seen[:-1])]
    for number, step in enumerate((0, 3, 6)):
        solution = gradient_flow_solution(network, jnp.asarray(by_hand(START, 0.3, step)[1]))
        assert float(data["gfs_sharpness"][0, number]) == pytest.approx(solution.sharpness)
        assert 0 <= float(data["gfs_sharpness_error"][0, number]) < 1e-4
    assert (data["gfs_status"] == Status.CONVERGED).all()
    assert data["gfs_status"].attrs["flag_values"].tolist() == list(range(len(Status)))
    assert data["gfs_status"].attrs["flag_meanings"].split()[0] == "converged"
    assert float(data["gfs_gradient_evaluations"].sum()) + 7 == run.gradient_evaluations
    assert data["gfs_step"].values.tolist() == [0, 3, 6]


def test_every_variable_has_a_name_and_a_unit():
    measurements = [Sharpness(every=2), GFSSharpness(every=2)]
    run = descend(
        ScalarNetwork(3), jnp.asarray(START), step_size=0.3, steps=2, measurements=measurements
    )
    for name, variable in run.dataset.variables.items():
        assert variable.attrs["long_name"], name
        assert variable.attrs["units"], name
        assert variable.dims[0] == "run" or name.endswith("step"), name


def test_divergence_keeps_what_it_has_and_goes_on_with_the_next_run():
    run = descend(
        quadratic,
        jnp.ones(2),
        step_size=[1.0, 0.005],
        steps=50,
        measurements=[norm(2), norm(9, name="b")],
    )
    assert run.status == ["diverged", "completed"]
    losses = run.dataset["loss"].values
    # The loss grows 99²-fold per step: above 1e6 times its start after the second.
    assert run.steps == [2, 50]
    np.testing.assert_allclose(losses[0, :3], 100 * 99.0 ** (2 * np.arange(3)), rtol=1e-12)
    assert np.isnan(losses[0, 3:]).all()
    assert np.isfinite(losses[1]).all()
    assert np.isfinite(run.dataset["norm"].values[0]).tolist() == [True] + 25 * [False]
    assert "diverged at step 2" in run.message[0]
    assert "step size below 1" in run.message[0]
    assert np.isfinite(run.w[0]).all()


def test_a_loss_that_becomes_nan_is_a_divergence():
    run = descend(lambda w: jnp.sqrt(w[0]), jnp.array([1.0]), step_size=4.0, steps=5)
    assert run.status == ["diverged"]
    assert run.steps == [1]
    assert "not finite" in run.message[0]


@pytest.mark.parametrize(
    ("value", "slope", "holds"),
    [
        (1.0, 1.0, True),
        (2.5, 1.0, False),
        (math.nan, 1.0, False),
        (-math.inf, 1.0, False),
        (1.0, math.nan, False),
    ],
)
def test_iterates_that_go_on_have_finite_losses_and_gradients(value, slope, holds):
    gradient = {"u": jnp.ones(2), "v": jnp.array([0.0, slope])}
    iterate = Iterate(gradient, jnp.asarray(value), gradient, ())
    assert bool(is_finite_and_bounded(iterate, jnp.asarray(2.0))) is holds


def test_a_rise_from_a_tiny_loss_is_no_divergence():
    # At the edge of stability a start next to a minimum is left for a while.
    start = jnp.array([3.0, 1 / 3.0 + 1e-12])
    run = descend(loss, start, step_size=0.3, steps=100)
    assert run.status == ["completed"]
    assert np.nanmax(run.dataset["loss"]) > 1e6 * float(loss(start))


def test_a_report_can_stop_the_descent():
    seen = []

    def report(progress):
        seen.append(progress)
        return progress.step >= 4

    run = descend(
        loss,
        jnp.asarray(START),
        step_size=[0.1, 0.2],
        steps=20,
        measurements=[norm()],
        report=report,
    )
    assert run.status == ["stopped", "stopped"]
    assert run.steps == [4, 0]
    assert np.isfinite(run.dataset["loss"].values).sum(axis=1).tolist() == [5, 0]
    assert np.isfinite(run.dataset["norm"].values).sum(axis=1).tolist() == [5, 0]
    assert [progress.step for progress in seen] == [0, 1, 2, 3, 4]
    assert (seen[-1].runs, seen[-1].steps, seen[-1].step_size) == (2, 20, 0.1)
    assert seen[-1].loss == pytest.approx(by_hand(START, 0.1, 4)[0][-1])
    assert "step 4 of 20" in run.message[0]


def test_stopping_at_the_last_step_is_completing():
    run = descend(
        loss, jnp.asarray(START), step_size=0.1, steps=3, report=lambda progress: progress.step == 3
    )
    assert run.status == ["completed"]


def test_the_progress_of_a_measurement_is_passed_on_and_can_stop_the_run():
    class Slow(Recorder):
        def measure(self, problem, w, memory, report):
            given_up = report("half way")
            return Reading({"calls": -1.0 if given_up else 1.0})

    seen = []

    def report(progress):
        seen.append((progress.step, progress.flow))
        return progress.step == 3 and progress.flow is not None

    run = descend(
        loss, jnp.asarray(START), step_size=0.1, steps=9, measurements=[Slow()], report=report
    )
    assert seen[0] == (0, "half way")
    assert (0, None) in seen
    assert run.status == ["stopped"]
    np.testing.assert_array_equal(run.dataset["calls"].values, [[1.0, -1.0, math.nan, math.nan]])


class Impatient(Recorder):
    """Ctrl-C comes when it is to measure for the third time."""

    def measure(self, problem, w, memory, report):
        if memory == 2:
            raise KeyboardInterrupt
        return super().measure(problem, w, memory, report)


def test_an_interrupt_goes_on_its_way_and_keeps_what_there_is():
    with pytest.raises(KeyboardInterrupt) as caught:
        descend(
            loss, jnp.asarray(START), step_size=[0.1, 0.2], steps=20, measurements=[Impatient()]
        )
    assert type(caught.value) is Interrupted
    assert "interrupted (steps: 6, 0); what was measured is in its .run" in str(caught.value)
    run = caught.value.run
    assert run.status == ["stopped", "stopped"]
    assert run.steps == [6, 0]
    assert np.isfinite(run.dataset["loss"].values).sum() == 7
    assert np.isfinite(run.dataset["calls"].values).sum() == 2
    np.testing.assert_allclose(run.w[0], by_hand(START, 0.1, 6)[1], rtol=1e-13)


def test_an_interrupt_ends_a_loop_over_runs():
    done = []

    def loop():
        for size in (0.1, 0.2, 0.3):
            done.append(size)
            descend(loss, jnp.asarray(START), step_size=size, steps=9, measurements=[Impatient()])

    with pytest.raises(KeyboardInterrupt):
        loop()
    assert done == [0.1]


def test_a_signal_interrupts_as_well():
    """As Ctrl-C does: the handler of Python raises wherever the program is."""
    pressed = []

    def press(progress):
        if progress.step >= 3:
            pressed.append(progress.step)
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted) as caught:
        descend(loss, jnp.asarray(START), step_size=0.1, steps=20, report=press)
    assert caught.value.run.steps == pressed


def test_a_second_run_compiles_nothing_new():
    traced = []

    def counted(w):
        traced.append(None)
        return loss(w)

    descend(counted, jnp.asarray(START), step_size=0.1, steps=30, measurements=[norm(7)])
    before = len(traced)
    assert before > 0
    # Chunks of other lengths than before, such as 5 and 3.
    descend(counted, jnp.asarray(START), step_size=[0.2, 0.3], steps=48, measurements=[norm(5)])
    assert len(traced) == before


def test_parameters_may_be_any_pytree_and_keep_their_dtype():
    w0 = {"a": jnp.array([1.0, 2.0], jnp.float32), "name": "not a number", "square": jnp.square}

    def of_tree(w):
        return jnp.sum(w["square"](w["a"]))

    run = descend(of_tree, w0, step_size=0.25, steps=2, measurements=[Sharpness(every=1, tol=1e-3)])
    assert run.w[0]["a"].dtype == jnp.float32
    np.testing.assert_allclose(run.w[0]["a"], [0.25, 0.5])
    assert run.w[0]["name"] == "not a number"
    np.testing.assert_allclose(run.dataset["sharpness"], [[2.0, 2.0, 2.0]], rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"step_size": 0.0}, "step_size must be positive"),
        ({"step_size": -0.1}, "step_size must be positive"),
        ({"step_size": [0.1, math.nan]}, "step_size must be positive and finite, got nan"),
        ({"step_size": math.inf}, "step_size must be positive and finite"),
        ({"step_size": []}, "step_size must be a number or a list"),
        ({"step_size": "fast"}, "step_size must be a number or a list"),
        ({"steps": -1}, "steps must be an integer of at least 0"),
        ({"steps": 2.5}, "steps must be an integer"),
        ({"loss_every": 0}, "loss_every must be an integer of at least 1"),
        ({"measurements": [norm(), norm()]}, "name of its own"),
        ({"measurements": [Sharpness(), Sharpness(every=3)]}, "name of its own"),
        ({"measurements": [norm(name="loss")]}, "'loss', which is already taken"),
        ({"w0": jnp.array([math.nan])}, "NaN or infinity"),
        ({"loss": lambda w: w[0] / 0.0}, "the loss at the start is inf"),
    ],
)
def test_bad_input_is_one_line(changes, message):
    arguments = {"loss": quadratic, "w0": jnp.ones(2), "step_size": 0.1, "steps": 3} | changes
    with pytest.raises(ValueError, match=message) as caught:
        descend(**arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Sharpness(every=0),
        lambda: Sharpness(start=-1),
        lambda: Sharpness(tol=0.0),
        lambda: GFSSharpness(rtol=math.nan),
        lambda: GFSSharpness(max_gradient_evaluations=0),
        lambda: GFSSharpness(max_seconds=0.0),
        lambda: norm(every=0.5),
    ],
)
def test_bad_measurements_are_refused(make):
    with pytest.raises(ValueError, match=r"must be (positive|an integer)"):
        make()


def test_bad_numbers_are_statuses_of_their_measurements_and_the_run_goes_on():
    def kinked(
        w,
    ):  # second derivatives are infinite at w = 0, where this run sits in one coordinate
        return 0.5 * jnp.vdot(w[1:], w[1:]) + jnp.sum(jnp.abs(w[:1]) ** 1.5)

    run = descend(
        kinked, jnp.array([0.0, 1.0]), step_size=0.5, steps=4, measurements=[Sharpness(every=2)]
    )
    assert run.status == ["completed"]
    assert run.dataset["sharpness_status"].values.tolist() == [[2.0, 2.0, 2.0]]
    assert np.isnan(run.dataset["sharpness"].values).all()


def test_an_eigensolver_that_does_not_converge_says_so(monkeypatch):
    import dataclasses

    import thalweg.descent.sharpness as module

    exact = module.top_eigenpairs
    monkeypatch.setattr(
        module,
        "top_eigenpairs",
        lambda *a, **k: dataclasses.replace(exact(*a, **k), converged=False),
    )
    run = descend(
        loss, jnp.asarray(START), step_size=0.1, steps=2, measurements=[Sharpness(every=1)]
    )
    assert run.status == ["completed"]
    assert run.dataset["sharpness_status"].values.tolist() == [[1.0] * 3]
    assert np.isnan(run.dataset["sharpness"].values).all()
    expected = [tw.sharpness(loss, by_hand(START, 0.1, step)[1]) for step in range(3)]
    np.testing.assert_allclose(run.dataset["sharpness_reached"][0], expected, rtol=1e-6)


def test_parameters_that_overflow_under_a_finite_loss_are_a_divergence():
    run = descend(
        lambda w: jnp.sum(jnp.where(jnp.abs(w) < 2, -w, -2.0 + 0 * w) * 1e308),
        jnp.array([1.0]),
        step_size=1e10,
        steps=3,
        measurements=[Sharpness(every=1)],
    )
    assert run.status == ["diverged"]
    assert "choose a step size below 1e+10" in run.message[0]


def test_a_budget_of_work_stops_at_a_step_that_depends_on_nothing_else():
    for _ in range(2):
        run = descend(
            loss, jnp.asarray(START), step_size=0.1, steps=50, max_gradient_evaluations=20
        )
        assert (run.status, run.steps) == (["stopped"], [19])
        assert run.gradient_evaluations == 20


def test_a_flow_that_takes_too_long_is_given_up_and_the_run_goes_on():
    def quartic(w):  # no closed form; the flow to its minimum takes forever
        return 0.5 * (jnp.prod(w) - 1.0) ** 2 + jnp.vdot(w, w) ** 2

    measured = GFSSharpness(every=2, max_seconds=1e-9)
    run = descend(quartic, jnp.asarray(START), step_size=0.01, steps=4, measurements=[measured])
    assert (run.status, run.steps) == (["completed"], [4])
    assert (run.dataset["gfs_status"].values == Status.BUDGET_EXHAUSTED).all()
    assert np.isnan(run.dataset["gfs_sharpness"].values).all()
    assert np.isfinite(run.dataset["gfs_sharpness_reached"].values).all()
    assert np.isinf(run.dataset["gfs_sharpness_error"].values).all()

"""Several starts are runs of one descent, each as it is alone."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import xarray as xr

import thalweg as tw
from cases import ONE_LAYER, scalar_network, smooth_network
from thalweg.descent import CheckpointError, read_checkpoint, write_checkpoint
from thalweg.models import mlp_init

MEASUREMENTS = (tw.Sharpness(every=2), tw.GFSSharpness(every=3))
NETWORK = scalar_network(3)[0]
WS = {seed: jnp.array([1.8, 0.9, 0.5]) * (1 + 0.1 * seed) for seed in (4, 0, 7)}
STARTS = tw.Starts(WS.values(), seeds=WS)


def descended(w0, **options):
    plan = {"step_size": [0.3, 0.2], "steps": 7, "measurements": MEASUREMENTS} | options
    return tw.descend(NETWORK, w0, **plan)


def assert_each_is_as_alone(run, alone, number):
    """Bit for bit, `alone` against the runs of one start."""
    own = run.dataset.isel(run=number).drop_vars(["seed", "start"], errors="ignore")
    xr.testing.assert_identical(own, alone.dataset)
    for place, other in zip(number, range(len(alone.w)), strict=True):
        assert run.status[place] == alone.status[other]
        assert run.steps[place] == alone.steps[other]
        assert jax.tree.all(jax.tree.map(np.array_equal, run.w[place], alone.w[other]))


def test_runs_of_each_start_are_those_of_that_start_alone():
    run = descended(STARTS)
    assert run.dataset["seed"].dims == ("run",)
    assert run.dataset["seed"].values.tolist() == [4, 4, 0, 0, 7, 7]
    assert run.dataset["step_size"].values.tolist() == [0.3, 0.2] * 3
    for place, w in enumerate(WS.values()):
        assert_each_is_as_alone(run, descended(w), [2 * place, 2 * place + 1])


@pytest.mark.slow
def test_starts_of_a_network_have_warm_starts_and_falls_of_their_own():
    problem, _ = smooth_network()
    ws = [mlp_init(jax.random.key(seed), ONE_LAYER) for seed in range(2)]
    plan = {"step_size": 0.05, "steps": 2, "measurements": tw.GFSSharpness(every=1, rtol=1e-2)}
    run = tw.descend(problem, tw.Starts(ws), **plan)
    assert run.dataset["start"].values.tolist() == [0, 1]
    assert np.isfinite(run.dataset["gfs_fall"].values).any()
    for number, w in enumerate(ws):
        assert_each_is_as_alone(run, tw.descend(problem, w, **plan), [number])


def test_each_start_may_have_a_loss_and_step_sizes_of_its_own():
    problems = [tw.ScalarNetwork(3, target) for target in (1.0, 2.0, 0.5)]
    sizes = [[0.1], [0.2, 0.05], [0.15]]
    run = tw.descend(problems, STARTS, step_size=sizes, steps=3)
    assert run.dataset["seed"].values.tolist() == [4, 0, 0, 7]
    assert run.dataset["step_size"].values.tolist() == [0.1, 0.2, 0.05, 0.15]
    alone = tw.descend(problems[1], WS[0], step_size=sizes[1], steps=3)
    assert_each_is_as_alone(run, alone, [1, 2])


def test_starts_may_be_stacked():
    trees = [{"w": w, "rate": 2} for w in WS.values()]
    stacked = {"w": jnp.stack(list(WS.values())), "rate": 2}
    starts = tw.Starts.stacked(stacked, seeds=WS)
    assert starts.numbers == (4, 0, 7)
    for one, other in zip(starts.ws, trees, strict=True):
        assert one["rate"] == 2
        np.testing.assert_array_equal(one["w"], other["w"])


def test_an_optimizer_that_is_made_already_serves_several_starts():
    run = descended(STARTS, step_size=0.1, optimizer=optax.sgd(0.1), measurements=())
    alone = descended(WS[7], step_size=0.1, optimizer=optax.sgd(0.1), measurements=())
    assert_each_is_as_alone(run, alone, [2])


def test_a_descent_goes_on_in_the_middle_of_a_start(tmp_path):
    saved, names = [], []

    def stop(progress):
        names.append(progress.start)
        if progress.run == 3 and progress.step >= 3 and not saved:
            saved.append(progress.checkpoint())
        return bool(saved)

    stopped = descended(STARTS, report=stop)
    assert stopped.status == ["completed"] * 3 + ["stopped"] * 3
    assert set(names) == {"seed 4", "seed 0"}
    np.testing.assert_array_equal(stopped.w[4], WS[7])
    write_checkpoint(tmp_path / "checkpoint.npz", saved[0], STARTS)
    checkpoint, _ = read_checkpoint(tmp_path / "checkpoint.npz", STARTS)
    whole, again = descended(STARTS), descended(STARTS, checkpoint=checkpoint)
    xr.testing.assert_identical(whole.dataset, again.dataset)
    assert whole.gradient_evaluations == again.gradient_evaluations
    others = tw.Starts(WS.values(), seeds=(4, 1, 7))
    with pytest.raises(CheckpointError, match="that of another descent"):
        descended(others, checkpoint=checkpoint)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: tw.Starts([]), "there is no start"),
        (lambda: tw.Starts([WS[0]], seeds=(1, 2)), "1 starts, but 2 seeds: give one for each"),
        (lambda: tw.Starts([WS[0]], seeds=(-1,)), "seeds must be an integer of at least 0"),
        (lambda: tw.Starts([WS[0], jnp.ones(4)]), "differ in structure or shapes"),
        (lambda: tw.Starts.stacked({"a": jnp.ones(3), "b": jnp.ones(2)}), "one length everywhere"),
        (lambda: tw.Starts.stacked(jnp.ones(())), "one length everywhere"),
        (lambda: descended(STARTS, step_size=[[0.1], [0.2]]), "3 starts, but 2 lists of step"),
        (lambda: descended(STARTS, step_size=[[0.1], 0.2, -1.0]), "positive and finite"),
        (lambda: tw.descend([NETWORK], STARTS, step_size=1.0, steps=1), "3 starts, but 1 losses"),
    ],
)
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)

"""Networks as experiments: options, relative and chosen step sizes, both losses."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import thalweg as tw
from marks import slow
from thalweg import experiments, figures, results
from thalweg.basics.activity import activities
from thalweg.descent import TruncatedSharpness
from thalweg.descent.step_sizes import chosen_step_sizes, relative_step_sizes
from thalweg.experiments import Network
from thalweg.flow import Status
from thalweg.runs import runner
from thalweg.runs.claim import RunClaim
from thalweg.runs.stored import stored

TINY = {"samples": 10, "image_size": 2, "steps": 6, "gfs_every": 3, "gfs_start": 3}


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({"architecture": "mlp", "widths": (3, 4), "activation": "relu"}, 4 * 3 + 3 + 16 + 50),
        *slow(
            ({"architecture": "vgg", "widths": (2,), "depth": 2}, 20 + 38 + 3 * 16 + 170),
            ({"architecture": "resnet", "widths": (2,), "depth": 2}, 20 + 4 * 38 + 30),
            ({"architecture": "transformer", "widths": (2, 2), "patch": 1}, None),
        ),
    ],
)
def test_every_architecture_is_built_from_its_options(options, size):
    config = Network(**TINY, **options, loss="cross-entropy", init_scale=0.5, seed=3)
    config.check()
    problem, start = config.build()
    assert problem.loss == "cross_entropy"
    assert problem.x.shape == (10, 2, 2, 1)
    assert problem.outputs(start).shape == (10, 10)
    assert np.isfinite(problem(start))
    assert size is None or size == sum(leaf.size for leaf in jax.tree.leaves(start))
    once = dataclasses.replace(config, init_scale=1.0).build()[1]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(2 * a, b), start, once)


def test_the_precision_is_that_of_all_that_is_computed():
    problem, start = Network(**TINY, architecture="mlp", precision="float32").build()
    assert {leaf.dtype for leaf in jax.tree.leaves(start)} == {jnp.dtype("float32")}
    loss, gradient = problem.value_and_gradient(start)
    assert {leaf.dtype for leaf in jax.tree.leaves((loss, gradient))} == {jnp.dtype("float32")}
    assert float(loss) == pytest.approx(float(problem(jax.tree.map(jnp.float64, start))), rel=1e-5)


@pytest.mark.slow
def test_seeds_change_the_start_and_the_images_each_by_itself():
    def arrays(**seeds):
        problem, start = Network(**TINY, architecture="mlp", **seeds).build()
        return np.asarray(problem.x), np.asarray(start[0]["weight"])

    (x, w), (x1, w1), (x2, w2) = arrays(), arrays(seed=1), arrays(data_seed=1)
    assert (x == x1).all()
    assert (w != w1).any()
    assert (x != x2).any()
    assert (w == w2).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"step_size": (0.1,), "relative_step_size": (0.5,)}, "contradict each other"),
        ({"relative_step_size": (0.0,)}, "relative_step_size must be positive"),
        ({"step_size": (-1.0,)}, "step_size must be positive"),
        ({"widths": (0,)}, "widths must be at least 1"),
        ({"architecture": "transformer", "widths": (4, 8)}, "must all be equal"),
        ({"init_scale": 0.0}, "init_scale must be positive"),
        ({"level": -1.0}, "level must be positive"),
        ({"samples": 0}, "samples must be at least 1"),
        ({"steps": 0}, "steps must be at least 1"),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(ValueError, match=message):
        Network(**options).check()


def run(config, folder):
    summary = experiments.run(config, folder)
    return summary["runs"], results.load(folder)


@pytest.mark.slow
@pytest.mark.usefixtures("little_is_drawn")
def test_relative_step_sizes_are_stored_as_numbers(tmp_path):
    config = Network(**TINY, architecture="mlp", widths=(3,), relative_step_size=(0.5, 1.0))
    runs, stored = run(config, tmp_path)
    threshold = tw.sharpness(*config.build())
    assert [entry["threshold"] for entry in runs] == pytest.approx([2 * threshold, threshold])
    assert stored.config["step_size"] == [entry["step_size"] for entry in runs]
    assert stored.config["relative_step_size"] == []
    assert stored.dataset.sizes["run"] == 2
    assert all("truncated" not in entry for entry in runs)
    assert all(entry["final"]["gfs_sharpness"] is not None for entry in runs)


@pytest.mark.slow
@pytest.mark.usefixtures("little_is_drawn")
def test_cross_entropy_has_the_truncated_sharpness_under_its_own_name(tmp_path):
    config = Network(
        **TINY, architecture="mlp", widths=(3,), loss="cross-entropy", level=0.5, step_size=(0.05,)
    )
    (entry,), stored = run(config, tmp_path)
    assert not [name for name in stored.dataset if name.startswith("gfs")]
    assert stored.dataset["truncated_sharpness"].dims == ("run", "truncated_step")
    np.testing.assert_array_equal(stored.dataset["truncated_step"], [3, 6])
    assert (stored.dataset["truncated_status"] == Status.CONVERGED).all()
    assert stored.dataset["truncated_sharpness"].attrs["level"] == 0.5
    truncated = entry["truncated"]
    assert truncated["level"] == 0.5
    assert truncated["sharpness"] == stored.dataset["truncated_sharpness"].values[0, -1]
    assert truncated["sharpness_error"] == stored.dataset["truncated_sharpness_error"].values[0, -1]
    assert truncated["monotonicity"]["verdict"] in ("decreasing", "not decreasing", "undecided")
    assert entry["final"]["gfs_sharpness"] is None
    assert entry["monotonicity"]["verdict"] == "undecided"
    assert entry["monotonicity"]["falls"] == 0
    assert json.loads((tmp_path / "summary.json").read_text())["runs"][0] == entry
    labels = [axes.get_ylabel() for axes in figures.plot_run(stored.dataset).axes]
    assert "truncated sharpness" in labels
    assert not any("GFS" in label or "varphi" in label for label in labels)


@pytest.mark.slow
def test_below_the_level_there_is_no_truncated_sharpness():
    problem = tw.Supervised(lambda w, x: x @ w, jnp.eye(2), jnp.array([0, 1]), loss="cross_entropy")
    w0 = jnp.zeros((2, 2))
    measured = tw.TruncatedSharpness(level=0.2, every=5, rtol=1e-3)
    data = tw.descend(problem, w0, step_size=1.0, steps=10, measurements=[measured]).dataset
    above = data["loss"].sel(step=data["truncated_step"]) > 0.2
    assert bool(above[0, 0])
    assert not bool(above[0, -1])
    np.testing.assert_array_equal(data["truncated_sharpness"].notnull(), above)
    expected = np.where(above, Status.CONVERGED, Status.BELOW_LEVEL)
    np.testing.assert_array_equal(data["truncated_status"], expected)
    direct = tw.truncated_sharpness(problem, w0, level=0.2, rtol=1e-3)
    assert float(data["truncated_sharpness"][0, 0]) == pytest.approx(direct.sharpness, rel=1e-9)


@pytest.mark.parametrize("options", [{"level": np.nan}, {"level": 1.0, "rtol": 0.0}])
def test_truncated_measurements_that_make_no_sense(options):
    with pytest.raises(ValueError, match="must be"):
        TruncatedSharpness(**options)


def test_chosen_step_sizes_lie_around_the_sharpness_ahead():
    problem, start = tw.ScalarNetwork(depth=4), jnp.array([1.2, 0.8, 0.9, 0.5])
    at_start = tw.sharpness(problem, start)
    limit = tw.gradient_flow_solution(problem, start).sharpness
    said = []
    stable, low, lower = (2 / size for size in chosen_step_sizes(problem, start, said.append))
    assert stable > limit > low > lower > at_start
    assert said[0].startswith("choosing step sizes: at most 2,000 steps")
    assert said[1].startswith(f"the sharpness grows, from {at_start:.4g} to ")
    assert f"{2 / lower:.4g}" in said[1]
    assert len(said) == 2
    assert relative_step_sizes(problem, start, [1.0]) == pytest.approx([2 / at_start])


@pytest.mark.parametrize(
    "loss",
    [
        lambda w: 0.5 * jnp.vdot(w, w),
        lambda w: jnp.sum(jnp.exp(w)),  # flatter and flatter
        lambda w: 0.5 * jnp.vdot(w, w) + jnp.where(w[0] < 0.9, jnp.nan, 0.0),
    ],
    ids=["constant", "falling", "not a number on the way"],
)
def test_where_the_sharpness_does_not_grow_fractions_of_the_edge_are_chosen(loss):
    start, said = jnp.array([1.0, 2.0]), []
    edge = 2 / tw.sharpness(loss, start)
    sizes = chosen_step_sizes(loss, start, said.append)
    assert sizes == pytest.approx([0.5 * edge, 0.75 * edge, 0.95 * edge], rel=1e-3)
    assert said[1].startswith("the sharpness does not grow, from ")
    assert f", which are 0.5, 0.75, 0.95 of 2 / {2 / edge:.4g}" in said[1]


def test_choosing_step_sizes_says_how_far_it_has_come():
    said = []

    class Loss(tw.ScalarNetwork):
        def __call__(self, w):
            jax.debug.callback(lambda: said.extend(one.what for one in activities()))
            return super().__call__(w)

    chosen_step_sizes(Loss(depth=4), jnp.array([1.2, 0.8, 0.9, 0.5]))
    jax.effects_barrier()
    told = [line for line in said if line.startswith("step ")]
    assert told
    assert ", to come down to " in told[-1]


def test_choosing_step_sizes_is_cheap():
    """Also where the loss never comes down to a tenth."""
    calls = []

    def loss(w):
        jax.debug.callback(lambda _: calls.append(None), w[0])
        return 1.0 + 0.25 * jnp.sum((w**2 - 1) ** 2)

    chosen_step_sizes(loss, jnp.array([0.8, 1.2]))
    jax.effects_barrier()
    assert len(calls) < 2500


def test_where_no_step_size_can_be_chosen():
    with pytest.raises(ValueError, match="sharpness at the start is -2"):
        chosen_step_sizes(lambda w: -jnp.vdot(w, w), jnp.array([1.0, 2.0]))


@pytest.mark.slow
@pytest.mark.usefixtures("little_is_drawn")
def test_what_takes_long_before_a_run_is_announced(tmp_path):
    config = Network(**TINY, architecture="mlp", widths=(3,))
    said = []
    claim = RunClaim.of_new_run(stored(config), tmp_path / "run", overwrite=False)
    summary = runner.prepare_claimed(claim, config, said.append).run()
    assert [line.split()[0] for line in said] == ["choosing", "the"]
    assert len(summary["runs"]) == 3


def test_a_figure_with_both_kinds_of_flows_has_a_panel_for_each():
    axis = {"step_size": ("run", [0.1]), "threshold": ("run", [20.0])}
    data = {"loss": (("run", "step"), [[1.0, 0.5]])}
    for name in ("gfs", "truncated"):
        data[f"{name}_sharpness"] = (("run", f"{name}_step"), [[21.0, 20.5]])
        axis[f"{name}_step"] = [0, 1]
    figure = figures.plot_run(xr.Dataset(data, {**axis, "step": [0, 1]}))
    titles = [axes.get_title(loc="left").partition("$ ")[2] for axes in figure.axes]
    assert titles == ["loss", "GFS sharpness", "truncated sharpness"]
    assert figure.axes[1].get_ylabel() == "$\\varphi(w_t)$"

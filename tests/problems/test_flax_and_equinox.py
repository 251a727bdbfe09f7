"""Modules of flax (linen and nnx) and equinox give what the same function of plain arrays gives."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import thalweg as tw

pytest.importorskip("flax")

import flax.linen as nn
from flax import nnx

pytestmark = pytest.mark.slow

X = jnp.linspace(-1.0, 1.0, 8)[:, None]
Y = jnp.sin(3 * X)
NUMBERS = np.random.default_rng(0)
PLAIN = {
    "in": NUMBERS.standard_normal((1, 6)),
    "bias": NUMBERS.standard_normal(6) / 2,
    "out": NUMBERS.standard_normal((6, 1)) / 3,
    "shift": np.zeros(1),
}


@pytest.fixture(autouse=True)
def as_users_have_it():
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def plain(w, x):
    return jnp.tanh(x @ w["in"] + w["bias"]) @ w["out"] + w["shift"]


def linen(dtype=float):
    model = nn.Sequential([nn.Dense(6, param_dtype=dtype), nn.tanh, nn.Dense(1, param_dtype=dtype)])
    made = model.init(jax.random.key(0), X)
    numbers = {
        "layers_0": {"kernel": PLAIN["in"], "bias": PLAIN["bias"]},
        "layers_2": {"kernel": PLAIN["out"], "bias": PLAIN["shift"]},
    }
    w = jax.tree.map(lambda new, own: jnp.asarray(own, new.dtype), made, {"params": numbers})
    return lambda w, x: model.apply(w, x), w


class Network(nnx.Module):
    def __init__(self, rngs, dtype, **norm):
        self.first = nnx.Linear(1, 6, rngs=rngs, param_dtype=dtype)
        self.norm = nnx.BatchNorm(6, rngs=rngs, param_dtype=dtype, **norm) if norm else None
        self.last = nnx.Linear(6, 1, rngs=rngs, param_dtype=dtype)

    def __call__(self, x):
        x = self.first(x)
        return self.last(jnp.tanh(x if self.norm is None else self.norm(x)))


def of_nnx():
    model = Network(nnx.Rngs(0), float)
    model.first.kernel[...], model.first.bias[...] = PLAIN["in"], PLAIN["bias"]
    model.last.kernel[...], model.last.bias[...] = PLAIN["out"], PLAIN["shift"]
    graph, w, rest = nnx.split(model, nnx.Param, ...)
    return lambda w, x: nnx.merge(graph, w, rest)(x), w


def of_equinox():
    model = eqx.nn.MLP(1, 1, width_size=6, depth=1, activation=jnp.tanh, key=jax.random.key(0))
    numbers = (PLAIN["in"].T, PLAIN["bias"], PLAIN["out"].T, PLAIN["shift"])

    def places(model):
        first, last = model.layers
        return first.weight, first.bias, last.weight, last.bias

    w = eqx.tree_at(places, model, tuple(map(jnp.asarray, numbers)))
    return lambda model, x: jax.vmap(model)(x), w


@pytest.mark.parametrize("make", [linen, of_nnx, of_equinox])
def test_values_flows_and_descents_are_those_of_plain_arrays(make):
    predict, w = make()
    problem, same = tw.Supervised(predict, X, Y), tw.Supervised(plain, X, Y)
    expected = jax.tree.map(jnp.asarray, PLAIN)
    assert {leaf.dtype for leaf in jax.tree.leaves(eqx.filter(w, eqx.is_array))} == {X.dtype}
    assert float(problem(w)) == pytest.approx(float(same(expected)), rel=1e-13)
    assert tw.sharpness(problem, w) == pytest.approx(tw.sharpness(same, expected), rel=1e-9)
    flow, reference = (
        tw.gradient_flow_solution(*pair) for pair in [(problem, w), (same, expected)]
    )
    assert flow.converged
    assert abs(flow.sharpness - reference.sharpness) <= reference.sharpness_error
    assert flow.sharpness_error <= 1e-3 * flow.sharpness
    run, other = (
        tw.descend(*pair, step_size=0.1, steps=5).dataset
        for pair in [(problem, w), (same, expected)]
    )
    np.testing.assert_allclose(run["loss"], other["loss"], rtol=1e-12)


def test_flax_makes_single_precision_which_no_flow_settles_silently_in():
    predict, w = linen(jnp.float32)
    assert {leaf.dtype for leaf in jax.tree.leaves(w)} == {jnp.dtype("float32")}
    problem, (right, exact) = tw.Supervised(predict, X, Y), linen()
    truth = tw.gradient_flow_solution(tw.Supervised(right, X, Y), exact)
    flow = tw.gradient_flow_solution(problem, w, max_gradient_evaluations=20_000)
    assert tw.sharpness(problem, w) == pytest.approx(tw.sharpness(problem, exact), rel=1e-5)
    assert not flow.converged or abs(flow.sharpness - truth.sharpness) <= flow.sharpness_error
    double = jax.tree.map(lambda leaf: leaf.astype(float), w)  # the remedy of the page
    assert tw.gradient_flow_solution(problem, double).converged


def test_statistics_of_nnx_are_refused_as_parameters_in_one_line():
    model = Network(nnx.Rngs(0), float, use_running_average=True)
    for w in (model, nnx.split(model)[1]):
        with pytest.raises(ValueError, match=r"flax's BatchStat.*nnx\.Param") as caught:
            tw.sharpness(lambda w: jnp.sum(X), w)
        assert "\n" not in str(caught.value)
    graph, w, rest = nnx.split(model, nnx.Param, ...)
    problem = tw.Supervised(lambda w, x: nnx.merge(graph, w, rest)(x), X, Y)
    # Statistics of mean 0 and variance 1 do nothing but for an ε in the variance.
    free = tw.Supervised(lambda w, x: jnp.tanh(x @ w[0] / np.sqrt(1 + 1e-5)) @ w[1], X, Y)
    kernels = [w["first"]["kernel"][...], w["last"]["kernel"][...]]
    assert float(problem(w)) == pytest.approx(float(free(kernels)), rel=1e-12)

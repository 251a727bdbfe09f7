"""Optimizers that ask for more than the gradient."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import thalweg as tw
from marks import slow

OPTIMIZERS = {
    "lbfgs": optax.lbfgs,
    "lbfgs_without_line_search": lambda size: optax.lbfgs(size, linesearch=None),
    "polyak_sgd": optax.polyak_sgd,
    "plateau": lambda size: optax.chain(
        optax.sgd(size), optax.contrib.reduce_on_plateau(patience=2)
    ),
    "backtracking": lambda size: optax.chain(
        optax.sgd(size), optax.scale_by_backtracking_linesearch(15)
    ),
}
W = {"a": jnp.array([2.0, 0.5, 0.3]), "kept": 3}


def loss(w):
    return 0.5 * (jnp.prod(w["a"]) - 1.0) ** 2 + 0.1 * jnp.sum(w["a"] ** 4)


@pytest.fixture(autouse=True)
def as_optax_needs_it():
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


@pytest.mark.parametrize("name", [n if n != "lbfgs" else slow(n)[0] for n in OPTIMIZERS])
def test_value_gradient_and_function_are_handed_over(name):
    run = tw.descend(loss, W, step_size=0.2, steps=6, optimizer=OPTIMIZERS[name])

    def of(a):
        return loss({"a": a})

    @jax.jit
    def step(a, state):
        value, gradient = jax.value_and_grad(of)(a)
        change, state = optax.with_extra_args_support(optimizer).update(
            gradient, state, a, value=value, grad=gradient, value_fn=of
        )
        return a + change, state, value

    optimizer, a, losses = OPTIMIZERS[name](0.2), W["a"], []
    state = optimizer.init(a)
    for _ in range(6):
        a, state, value = step(a, state)
        losses.append(float(value))
    np.testing.assert_allclose(run.dataset["loss"][0], [*losses, float(of(a))], rtol=1e-10)
    np.testing.assert_allclose(run.w[0]["a"], a, rtol=1e-10)
    assert run.w[0]["kept"] == 3


class OfValueOnly(eqx.Module):
    """Takes one of the extra arguments, by name."""

    def init(self, params):
        return ()

    def update(self, updates, state, params, value):
        return jax.tree.map(lambda g: -0.1 * value * g, updates), state


def test_an_update_gets_what_it_names():
    run = tw.descend(loss, W, step_size=0.1, steps=1, optimizer=OfValueOnly())
    value, gradient = jax.value_and_grad(lambda a: loss({"a": a}))(W["a"])
    np.testing.assert_allclose(run.w[0]["a"], W["a"] - 0.1 * value * gradient, rtol=1e-12)

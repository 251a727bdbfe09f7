"""Problems that tests share, each with a start where it has one.

Most of the time of a test goes into compiling, once for each structure: a problem's functions, its
shapes, its dtypes. What is drawn here differs in its data alone from seed to seed, and in more than
seeds where a choice can be data (`Activation`, `Terms`), so that a structure is compiled once in a
process, whichever tests ask for it. What a test changes in a problem it changes in a copy.
"""

from collections.abc import Callable
from functools import cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import thalweg as tw
from thalweg.models import mlp, mlp_init

ONE_LAYER, TWO_LAYERS = (2, 8, 1), (2, 5, 4, 1)


class Smooth(eqx.Module):
    """A fully connected network whose activation is a combination of three, chosen by data."""

    mix: jax.Array

    def __call__(self, w, x):
        def activation(z):
            tanh, softplus, gelu = self.mix.astype(x.dtype)
            return tanh * jnp.tanh(z) + softplus * jax.nn.softplus(z) + gelu * jax.nn.gelu(z)

        return mlp(w, x, activation)


ACTIVATIONS = {"tanh": [1.0, 0, 0], "softplus": [0, 1.0, 0], "gelu": [0, 0, 1.0]}


@cache
def smooth_network(activation="tanh", widths=ONE_LAYER, seed=0, samples=6):
    """Return a regression by a smooth network, on normal data, and a start."""
    keys = jax.random.split(jax.random.key(seed), 3)
    x = jax.random.normal(keys[0], (samples, widths[0]))
    y = jax.random.normal(keys[1], (samples, widths[-1]))
    w = mlp_init(keys[2], widths)
    return tw.Supervised(Smooth(jnp.array(ACTIVATIONS[activation])), x, y), w


class Activated(eqx.Module):
    """A fully connected network with an activation: a structure for each."""

    activation: Callable = eqx.field(static=True)

    def __call__(self, w, x):
        return mlp(w, x, self.activation)


@cache
def activated_network(activation=jax.nn.relu, seed=0, widths=(4, 24, 2), samples=16):
    """Return a regression by a network with any activation, on normal data, and a start."""
    rng = np.random.default_rng(seed)
    x = jnp.asarray(rng.normal(size=(samples, widths[0])))
    y = jnp.asarray(rng.normal(size=(samples, widths[-1])))
    problem = tw.Supervised(Activated(activation), x, y)
    return problem, mlp_init(jax.random.key(seed), widths, jnp.float64)


@cache
def squared_regression(seed=0, samples=6, dimension=10):
    """Return squared regression that can be fitted, and a start of positive numbers."""
    rng = np.random.default_rng([5, seed])
    x = rng.normal(size=(samples, dimension))
    problem = tw.SquaredRegression(x, x @ rng.normal(size=dimension))
    return problem, {name: jnp.asarray(rng.uniform(0.3, 1.2, dimension)) for name in ("u", "v")}


@cache
def scalar_network(depth=4, seed=0):
    """Return a scalar network and a start away from saddles; every second product is negative."""
    rng = np.random.default_rng([depth, seed])
    magnitude, signs = rng.uniform(0.7, 1.5, depth), rng.choice([-1.0, 1.0], depth)
    signs[0] *= np.prod(signs) * (-1) ** seed
    if seed % 2:  # the smallest coordinate crosses zero: keep it clear of the next
        order = np.argsort(magnitude)
        magnitude[order[0]] = 0.5 * magnitude[order[1]]
    target = [1.0, 0.5, 1.4][seed % 3]
    return tw.ScalarNetwork(depth, target=target), jnp.asarray(signs * magnitude)


def linear(w, x):
    return x @ w


def two_matrices(w, x):
    return x @ w["a"] @ w["b"]


@cache
def deep_linear(seed=0, scale=1.0):
    """Return a regression by two matrices that can be fitted, and a start."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(20, 5))
    y = x @ rng.normal(size=(5, 3))
    w = {"a": jnp.asarray(rng.normal(size=(5, 4))), "b": jnp.asarray(rng.normal(size=(4, 3)))}
    return tw.Supervised(two_matrices, x, y), jax.tree.map(lambda a: scale * a, w)


@cache
def classifier(separable=True):
    """Return a linear classifier of twelve points in two classes, and a start."""
    rng = np.random.default_rng(3)
    x = jnp.asarray(rng.normal(size=(12, 3)))
    mixed = rng.integers(0, 2, size=12)
    apart = (np.asarray(x) @ np.array([1.0, -2.0, 0.5]) > 0).astype(int)
    labels = jnp.asarray(apart if separable else mixed)
    start = jnp.array([[0.3, -0.2], [0.1, 0.4], [-0.5, 0.2]])
    return tw.Supervised(linear, x, labels, loss="cross_entropy"), start


def elman(w, x):
    def step(h, u):
        return jnp.tanh(h @ w["h"] + u[:, None] * w["x"][None, :]), None

    return jax.lax.scan(step, jnp.zeros((len(x), 4)), x.T)[0] @ w["o"]


RECURRENT = {"h": (4, 4), "x": (4,), "o": (4,)}


@cache
def recurrent(seed=0):
    """Return a regression by a recurrent network of six steps, and a start."""
    x = jax.random.normal(jax.random.key(3), (5, 6))
    keys = jax.random.split(jax.random.key(seed), 3)
    w = {n: jax.random.normal(key, RECURRENT[n]) for key, n in zip(keys, RECURRENT, strict=True)}
    return tw.Supervised(elman, x, jnp.sin(x[:, 0])), w


class Terms(eqx.Module):
    """A callable, `½ product (Π w - 1)² + Σ_ij powers[i, j] w_i^j`, all of it data.

    Valleys, saddles, losses without bound and minima without curvature, in one structure for each
    number of parameters.
    """

    product: jax.Array
    powers: jax.Array

    def __call__(self, w):
        monomials = jnp.stack([jnp.ones_like(w), w, w**2, w**3, w**4], axis=1)
        valley = 0.5 * self.product * (jnp.prod(w) - 1.0) ** 2
        return valley + jnp.sum(self.powers * monomials)


def terms(size=2, product=0.0, **powers):
    """Return a loss of `size` numbers, as in `terms(product=1, quadratic=0.5, quartic=[0, 1])`.

    Every coefficient is one number for all coordinates, or one for each.
    """
    names = ("constant", "linear", "quadratic", "cubic", "quartic")
    assert set(powers) <= set(names)
    columns = [np.broadcast_to(np.asarray(powers.get(name, 0.0), float), size) for name in names]
    return Terms(jnp.asarray(float(product)), jnp.asarray(np.stack(columns, axis=1)))

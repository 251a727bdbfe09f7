"""The suite: flows that are hard for one reason or another, as problems and starts.

`FLOWS[name]()` builds one in float64. `references.py` makes the reference values in
`references.json`, `suite.py` the table of costs and errors.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import thalweg as tw
from thalweg.data import digits
from thalweg.models import mlp, mlp_init

MAIN_STEP_SIZE = 0.23


@dataclass(frozen=True)
class HardFlow:
    """A flow to follow: a problem and the parameters it starts from."""

    problem: tw.Problem
    w: Any


def gradient_descent(problem, w, step_size, steps):
    """Return the parameters after `steps` steps, and the loss before each of them."""

    def step(w, _):
        loss, gradient = problem.value_and_gradient(w)
        return jax.tree.map(lambda a, g: a - step_size * g, w, gradient), loss

    return jax.jit(lambda w: lax.scan(step, w, length=steps))(w)


def perceptron(activation):
    return lambda layers, x: mlp(layers, x, activation)


def digits_network(activation, widths, samples, step_size, steps):
    """Return a fully connected network on the first images of the digits, after some GD."""
    problem = tw.Supervised(perceptron(activation), *digits(samples))
    w = mlp_init(jax.random.key(0), (64, *widths, 10), jnp.float64)
    return HardFlow(problem, gradient_descent(problem, w, step_size, steps)[0])


def tanh_digits(steps):
    return digits_network(jnp.tanh, (64, 64), 300, MAIN_STEP_SIZE, steps)


def tanh_digits_at_peak():
    """Return the iterate of highest loss between steps 2,000 and 3,000 of the main job."""
    start = tanh_digits(2000)
    losses = gradient_descent(start.problem, start.w, MAIN_STEP_SIZE, 1000)[1]
    after = int(jnp.argmax(losses))
    w = gradient_descent(start.problem, start.w, MAIN_STEP_SIZE, after)[0]
    return HardFlow(start.problem, w)


def tanh_digits_far():
    """Return a random start whose last layer is scaled up until the loss is 100 times as large."""
    start = tanh_digits(0)
    *layers, last = start.w

    def scaled(scale):
        return [*layers, jax.tree.map(lambda a: scale * a, last)]

    low, high = 1.0, 1000.0
    for _ in range(60):
        middle = (low + high) / 2
        is_near = float(start.problem(scaled(middle))) < 100 * float(start.problem(start.w))
        low, high = (middle, high) if is_near else (low, middle)
    return HardFlow(start.problem, scaled(high))


def sine():
    """Sixteen points of a sine by a 1-60-60-1 network of tanh units."""
    x = jnp.linspace(-1.0, 1.0, 16)[:, None]
    problem = tw.Supervised(mlp, x, jnp.sin(3 * jnp.pi * x))
    w = mlp_init(jax.random.key(0), (1, 60, 60, 1), jnp.float64)
    return HardFlow(problem, gradient_descent(problem, w, 0.05, 200)[0])


def deep_linear():
    """Six linear layers, 10 units wide, learning a random linear map."""
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (30, 10), jnp.float64)
    problem = tw.Supervised(
        perceptron(lambda z: z), x, x @ jax.random.normal(keys[1], (10, 10)) / 4
    )
    w = mlp_init(keys[2], (10,) * 7, jnp.float64)
    return HardFlow(problem, gradient_descent(problem, w, 0.02, 100)[0])


def convolutional(w, x):
    """Two strided 3x3 convolutions of GELU units and a dense layer, on 8x8 images."""
    z = x.reshape(-1, 8, 8, 1)
    for kernel in w["kernels"]:
        z = lax.conv_general_dilated(
            z, kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        z = jax.nn.gelu(z)
    return z.reshape(x.shape[0], -1) @ w["dense"]


def convolutional_digits():
    keys = jax.random.split(jax.random.key(0), 3)
    w = {
        "kernels": [
            jax.random.normal(keys[0], (3, 3, 1, 8), jnp.float64) / 3,
            jax.random.normal(keys[1], (3, 3, 8, 16), jnp.float64) / 72**0.5,
        ],
        "dense": jax.random.normal(keys[2], (64, 10), jnp.float64) / 8,
    }
    problem = tw.Supervised(convolutional, *digits(100))
    return HardFlow(problem, gradient_descent(problem, w, 0.1, 500)[0])


class ByDefinition(tw.Problem):
    """A problem with its closed form hidden: a least-squares loss, and nothing else known."""

    inner: tw.Problem

    @property
    def is_least_squares(self):
        """Whether there are residuals: yes."""
        return True

    def residuals(self, w):
        """Return those of the problem behind."""
        return self.inner.residuals(w)

    def __call__(self, w):
        """Return the loss of the problem behind."""
        return self.inner(w)


def squared_regression():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((20, 40))
    truth = np.where(np.arange(40) < 4, 1.0, 0.0)
    problem = tw.SquaredRegression(jnp.asarray(x), jnp.asarray(x @ truth))
    w = {"u": jnp.full(40, 0.3), "v": jnp.full(40, 0.2)}
    return HardFlow(ByDefinition(problem), w)


def scalar_network():
    problem = tw.ScalarNetwork(depth=5)
    return HardFlow(ByDefinition(problem), jnp.array([2.0, 1.5, 0.4, 0.3, -0.8]))


def unfittable():
    """More noisy samples than dimensions: the loss at the limit is not zero."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((30, 12))
    y = x[:, 0] - x[:, 1] + 0.5 * rng.standard_normal(30)
    problem = tw.SquaredRegression(jnp.asarray(x), jnp.asarray(y))
    w = {"u": jnp.full(12, 0.3), "v": jnp.full(12, 0.2)}
    return HardFlow(ByDefinition(problem), w)


FLOWS: dict[str, Callable[[], HardFlow]] = {
    "tanh digits, step 1,000": lambda: tanh_digits(1000),
    "tanh digits, step 4,000": lambda: tanh_digits(4000),
    "tanh digits, step 12,000": lambda: tanh_digits(12_000),
    "tanh digits, peak of an oscillation": tanh_digits_at_peak,
    "tanh digits, far start": tanh_digits_far,
    "GELU digits": lambda: digits_network(jax.nn.gelu, (64, 64), 200, 0.1, 1000),
    "softplus digits, four layers": lambda: digits_network(
        jax.nn.softplus, (48, 48, 48), 200, 0.01, 1000
    ),
    "ReLU digits": lambda: digits_network(jax.nn.relu, (64, 64), 200, 0.1, 1000),
    "convolutional digits": convolutional_digits,
    "sine, 16 points": sine,
    "deep linear": deep_linear,
    "squared regression": squared_regression,
    "scalar network": scalar_network,
    "squared regression, unfittable": unfittable,
}

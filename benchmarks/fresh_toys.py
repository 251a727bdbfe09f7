"""Fresh flows of small losses written down: factorised, decaying, drifting, with edges, endless."""

from functools import cache

import jax
import jax.numpy as jnp

from fresh_case import EDGE, KINKED, UNSETTLED, Case, squared
from fresh_networks import draw_layers, normal, perceptron, size


def norm2(w):
    return sum(jnp.sum(a**2) for a in jax.tree.leaves(w))


# What factorised parameters stand for: a vector that multiplies inputs, or a matrix.


def product(w):
    return w["u"] * w["v"]


def squares(w):
    return w["u"] ** 2 - w["v"] ** 2


def matrix(w):
    return w["u"] @ w["v"].T


def three(w):
    return w["u"] * w["v"] * w["z"]


def scalar(w):
    return jnp.prod(w["u"])[None]


@cache
def model(made):
    """Return the model `x · made(w)`."""
    return lambda w, x: x @ made(w)


SHAPES = {
    product: {"u": (3,), "v": (3,)},
    squares: {"u": (5,), "v": (5,)},
    matrix: {"u": (3, 2), "v": (3, 2)},
    three: {"u": (3,), "v": (3,), "z": (3,)},
}
STARTS = ("1e-2", "0.1", "1", "3", "equal 1e-2", "equal 0.5")


def draw_factors(rng, shapes, start):
    if start.startswith("equal"):
        scale = float(start.split()[1])
        return {name: jnp.full(shape, scale) for name, shape in shapes.items()}
    return {name: float(start) * normal(rng, *shape) for name, shape in shapes.items()}


def factorised(seed, rng):
    """Draw `u∘v`, `u²-v²`, `UVᵀ` and `u∘v∘z` from small, large and balanced starts."""
    made, start = list(SHAPES)[seed % 4], STARTS[seed // 4 % 6]
    w = draw_factors(rng, SHAPES[made], start)
    if made is matrix:
        w = {name: a + 1e-2 * normal(rng, *a.shape) for name, a in w.items()}  # no exact symmetry
        x, y = jnp.eye(3), normal(rng, 3, 2) @ normal(rng, 2, 3)
    elif made is squares:
        x = normal(rng, 3, 5)
        y = x @ jnp.asarray([1.0, -0.5, 0.0, 0.0, 0.3])
    else:
        x, y = jnp.eye(3), jnp.sort(jnp.abs(normal(rng, 3)) + 0.1)
        if not start.startswith("equal"):  # no coordinate is to end in a saddle
            w = {name: jnp.abs(a) for name, a in w.items()}
    predict = model(made)
    return Case(squared(predict), (x, y), w, predict if seed // 24 % 2 else None)


@cache
def with_decay(fit):
    def loss(w, data, edge=None):
        return fit(w, data[:-1]) + 0.5 * data[-1] * norm2(w)

    return loss


def decay(seed, rng):
    """Draw weight decay from 1e-8 to 1e-1 on scalar networks, factorisations and a tanh network."""
    kind, rate = seed % 6, 10.0 ** (seed // 6 % 8 - 8)
    if kind < 3:
        w = {"u": jnp.asarray(rng.uniform(0.2, 3.0, kind + 2))}
        predict, x, y = model(scalar), jnp.eye(1), jnp.ones(1)
    elif kind == 5:
        x = jnp.asarray(rng.uniform(-1.0, 1.0, (5, 1)))
        w, predict, y = draw_layers(rng, (1, 4, 1), 1.5), perceptron("tanh"), jnp.sin(3 * x[:, 0])
    else:
        made = (product, matrix)[kind - 3]
        w = draw_factors(rng, SHAPES[made], "1")
        predict, x, y = model(made), jnp.eye(3), jnp.asarray([1.0, 0.5, 0.2])
        if made is matrix:
            y = jnp.diag(y)
        else:
            w = {name: jnp.abs(a) for name, a in w.items()}
    return Case(with_decay(squared(predict)), (x, y, jnp.asarray(rate)), w)


def hyperbola(w):
    return 0.5 * (w["u"][0] * w["u"][1] - 1) ** 2


def surface(w):
    return 0.5 * (jnp.prod(w["u"]) - 1) ** 2


def ellipse(w):
    return 0.5 * (w["u"][0] ** 2 + 4 * w["u"][1] ** 2 - 1) ** 2


def towards(w, c):
    return 0.5 * (w["u"][0] - c) ** 2


def wavy(w, c):
    return jnp.sin(w["u"][0] - c) + 0.1 * jnp.sum(w["u"] ** 2)


def along(w, c):
    return w["u"][0] + c * w["u"][1]


VALLEYS = ((hyperbola, towards), (surface, towards), (ellipse, along), (hyperbola, wavy))


@cache
def drifting(valley, pull):
    def loss(w, data, edge=None):
        rate, c = data
        return valley(w) + rate * pull(w, c)

    return loss


def drift(seed, rng):
    """Draw a slow pull along a curved valley, without weight decay: 1e-8 to 1e-3 of the loss."""
    (valley, pull), rate = VALLEYS[seed % 4], 10.0 ** (seed // 4 % 6 - 8)
    w = {"u": jnp.asarray(rng.uniform(0.2, 2.0, 3 if valley is surface else 2))}
    return Case(drifting(valley, pull), (jnp.asarray(rate), jnp.asarray(rng.uniform(1, 4))), w)


def positive(m, edge):
    """Return `max(0, m)`, for an edge that is pushed outwards where that is asked for."""
    return jnp.maximum(0.0, m if edge is None else m + edge)


def hinge_of_product(w, data, edge=None):
    return 0.5 * positive(1 - jnp.prod(w["u"]), edge) ** 2


def hinge_of_coordinates(w, data, edge=None):
    return 0.5 * jnp.sum(data[0] * positive(1 - w["u"], edge) ** 2)


def hinge_of_factors(w, data, edge=None):
    return 0.5 * jnp.sum(positive(data[0] - w["u"] * w["v"], edge) ** 2)


def hinge_of_classes(w, data, edge=None):
    x, y = data
    return 0.5 * jnp.mean(positive(1 - y * (x @ w["u"]), edge) ** 2)


def hinge_of_network(w, data, edge=None):
    x, y = data
    return 0.5 * jnp.mean(positive(1 - y * perceptron("tanh")(w, x), edge) ** 2)


def dead_zone(w, data, edge=None):
    x, y = data
    return 0.5 * jnp.mean(positive(jnp.abs(x @ w["u"] - y) - 0.3, edge) ** 2)


def dead_zone_of_network(w, data, edge=None):
    x, y = data
    misfit = perceptron("tanh")(w, x) - y
    return 0.5 * jnp.mean(positive(jnp.abs(misfit) - 0.1, edge) ** 2)


def ball(w, data, edge=None):
    return 0.5 * positive(jnp.sum(data[0] * w["u"] ** 2) ** 0.5 - 1, edge) ** 2


def hinge(seed, rng):
    """Draw squared hinges and plateaus: losses with a flat minimum that ends at an edge."""
    kind = seed % 9
    x = normal(rng, 5, 4)
    y = jnp.sign(x[:, 0])
    u = {"u": normal(rng, 4)}
    if kind < 2:
        loss, data = hinge_of_product, ()
        u = {"u": jnp.asarray(rng.uniform(0.3, 0.9, kind + 2))}
    elif kind == 2:
        loss, data = hinge_of_coordinates, (10.0 ** normal(rng, 4),)
    elif kind == 3:
        loss, data = hinge_of_factors, (jnp.asarray(rng.uniform(0.3, 2, 3)),)
        u = {name: jnp.abs(normal(rng, 3)) for name in "uv"}
    elif kind == 4:
        loss, data = hinge_of_classes, (x, y)
    elif kind == 5:
        loss, data, u = hinge_of_network, (x[:, :2], y), draw_layers(rng, (2, 4, 1), 1.0)
    elif kind == 6:
        loss, data = dead_zone, (x[:3], normal(rng, 3))
    elif kind == 7:
        loss, u = dead_zone_of_network, draw_layers(rng, (2, 4, 1), 1.0)
        data = (x[:, :2], jnp.sin(2 * x[:, 0]))
    else:
        loss, data, u = ball, (jnp.asarray(rng.uniform(0.2, 5, 4)),), {"u": 3 * normal(rng, 4)}
    return Case(loss, data, u, limit=EDGE)


def lasso(w, data, edge=None):
    x, y, rate = data
    return 0.5 * jnp.mean((x @ w["u"] - y) ** 2) + rate * jnp.sum(size(w["u"], edge))


def absolute_misfit(w, data, edge=None):
    x, y, rate = data
    return jnp.mean(size(x @ w["u"] - y, edge)) + rate * norm2(w)


def kinked_toy(seed, rng):
    """Draw sums of |·|: a lasso, or the mean absolute error with weight decay."""
    data = (normal(rng, 5, 4), normal(rng, 5), jnp.asarray(rng.uniform(0.05, 0.5)))
    return Case((lasso, absolute_misfit)[seed % 2], data, {"u": 2 * normal(rng, 4)}, limit=KINKED)


def quartic(w, data, edge=None):
    return 0.25 * jnp.sum(data[0] * w["u"] ** 4)


def quartic_and_square(w, data, edge=None):
    return 0.25 * w["u"][0] ** 4 + 0.5 * jnp.sum(data[0] * w["u"][1:] ** 2)


def cross(w, data, edge=None):
    return 0.5 * w["u"][0] ** 2 * w["u"][1] ** 2


def degenerate(seed, rng):
    """Draw `x⁴` and `x⁴ + c y²`, reached as a power of time, and `x²y²`, minimal on a cross."""
    kind, u = seed % 3, rng.uniform(0.3, 2.0, 4)
    if kind == 0:
        return Case(
            quartic, (jnp.asarray(rng.uniform(0.5, 2, 4)),), {"u": jnp.asarray(u)}, truth=0.0
        )
    if kind == 1:
        c = rng.uniform(0.1, 2, 3)
        data, w = (jnp.asarray(c),), {"u": jnp.asarray(u)}
        return Case(quartic_and_square, data, w, truth=float(c.max()))
    # u0² - u1² is conserved.
    return Case(cross, (), {"u": jnp.asarray(u[:2])}, truth=float(abs(u[0] ** 2 - u[1] ** 2)))


def logistic(w, data, edge=None):
    x, y = data
    return jnp.mean(jax.nn.softplus(-y * (x @ w["u"])))


def logistic_of_network(w, data, edge=None):
    x, y = data
    return jnp.mean(jax.nn.softplus(-y * perceptron("tanh")(w, x)))


def exponential(w, data, edge=None):
    return jnp.exp(-w["u"][0]) + 0.5 * data[0] * jnp.sum(w["u"][1:] ** 2)


def logistic_of_product(w, data, edge=None):
    return jax.nn.softplus(-jnp.prod(w["u"]))


def reciprocal(w, data, edge=None):
    return 1 / (1 + w["u"][0] ** 2) + 0.5 * data[0] * jnp.sum((w["u"][1:] - 1) ** 2)


def unbounded(w, data, edge=None):
    return -w["u"][0] + 0.5 * data[0] * jnp.sum(w["u"][1:] ** 2)


def cubic(w, data, edge=None):
    return w["u"][0] ** 3 / 3 + 0.5 * data[0] * jnp.sum((w["u"][1:] - 1) ** 2)


def saddle(w, data, edge=None):
    return 0.5 * jnp.sum((w["u"] * w["v"] - data[0]) ** 2)


ENDLESS = (logistic, logistic_of_network, exponential, logistic_of_product, reciprocal, unbounded)


def unsettled(seed, rng):
    """Draw flows without a limit, or that end in a saddle by an exact symmetry."""
    kind, x = seed % 8, normal(rng, 6, 3)
    w = {"u": jnp.asarray(rng.uniform(0.2, 1.5, 3))}
    if kind == 6:
        data = (jnp.asarray(rng.uniform(0.3, 2, 3)),)
        return Case(saddle, data, w | {"v": -w["u"]}, limit=UNSETTLED)
    if kind == 7:
        return Case(cubic, (jnp.asarray(rng.uniform(0.5, 2)),), {"u": -w["u"]}, limit=UNSETTLED)
    loss, data = ENDLESS[kind], (jnp.asarray(rng.uniform(0.5, 2)),)
    if kind < 2:
        data = (x, jnp.sign(x[:, 0]))
        w = draw_layers(rng, (3, 4, 1), 1.0) if kind else w
    return Case(loss, data, w, limit=UNSETTLED)

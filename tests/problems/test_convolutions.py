"""Convolutions as matrix products against those of JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

import thalweg as tw
from thalweg.problems import as_problem, flatten
from thalweg.problems.convolutions import LARGEST_KERNEL, with_products

RNG = np.random.default_rng(0)


def convolves(function, *args):
    return "conv_general_dilated" in str(jax.make_jaxpr(function)(*args))


def replaced(function):
    return jax.jit(lambda *args: with_products(function, *args))


@st.composite
def convolutions(draw):
    """Draw images, a kernel, and what else a convolution is told."""
    dimensions, groups = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    each = st.tuples(*[st.integers(1, 3)] * dimensions)
    kernel, n, inputs, features = draw(each), *draw(st.tuples(*[st.integers(1, 3)] * 3))
    edges = draw(st.tuples(*[st.tuples(st.integers(-1, 2), st.integers(0, 2))] * dimensions))
    dilations = draw(st.tuples(*[st.integers(1, 2)] * dimensions))
    pixels = [
        d * (k - 1) + 2 + draw(st.integers(0, 3)) for d, k in zip(dilations, kernel, strict=True)
    ]
    shapes = (n, groups * inputs, *pixels), (groups * features, inputs, *kernel)
    last = (0, *range(2, dimensions + 2), 1)
    orders = [draw(st.permutations(range(dimensions + 2))) for _ in range(3)]
    orders = draw(st.sampled_from([orders, [last, last, last], [range(dimensions + 2)] * 3]))
    x, w = (
        jnp.asarray(np.transpose(RNG.normal(size=shape), order))
        for shape, order in zip(shapes, orders, strict=False)
    )
    axes = lax.ConvDimensionNumbers(*(tuple(np.argsort(order).tolist()) for order in orders))
    options = {
        "window_strides": draw(each),
        "padding": edges,
        "lhs_dilation": draw(st.tuples(*[st.integers(1, 2)] * dimensions)),
        "rhs_dilation": dilations,
        "dimension_numbers": axes,
        "feature_group_count": groups,
    }
    return x, w, options


@settings(max_examples=60, deadline=None)
@given(convolutions())
def test_products_are_the_convolution(drawn):
    x, w, options = drawn

    def convolve(x, w):
        return lax.conv_general_dilated(x, w, **options)

    assert not convolves(replaced(convolve), x, w)
    np.testing.assert_allclose(replaced(convolve)(x, w), convolve(x, w), rtol=1e-12, atol=1e-12)


IMAGES, KERNEL = (
    jnp.asarray(RNG.normal(size=(4, 2, 6, 6))),
    jnp.asarray(RNG.normal(size=(3, 2, 3, 3))),
)


def convolve(x, w):
    return lax.conv(x, w, (1, 1), "SAME")


def test_derivatives_are_those_of_the_convolution():
    def loss(w, f):
        return jnp.sum(jnp.tanh(f(IMAGES, w)) ** 2)

    def derivatives(f):
        gradient = jax.grad(loss)
        product = jax.jvp(lambda w: gradient(w, f), (KERNEL,), (KERNEL**2,))[1]
        return gradient(KERNEL, f), product

    for found, wanted in zip(derivatives(replaced(convolve)), derivatives(convolve), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-11, atol=1e-12)


def test_within_calls_and_under_vmap():
    def network(x, w):
        return jax.vmap(jax.jit(convolve), (None, 0))(x, w)

    w = jnp.stack([KERNEL, -2 * KERNEL])
    assert not convolves(replaced(network), IMAGES, w)
    np.testing.assert_allclose(replaced(network)(IMAGES, w), network(IMAGES, w), atol=1e-12)


def test_large_kernels_and_loops_are_left():
    wide = jnp.ones((1, 2, 1, LARGEST_KERNEL + 1))
    assert convolves(replaced(lambda x: lax.conv(x, wide, (1, 1), "SAME")), IMAGES)

    def loop(x):
        return lax.fori_loop(0, 2, lambda _, y: convolve(y, KERNEL[:2]), x)

    assert convolves(replaced(loop), IMAGES)
    np.testing.assert_allclose(replaced(loop)(IMAGES), loop(IMAGES), atol=1e-12)


def test_what_is_no_array_is_kept():
    def several(x, options):
        return {"y": convolve(x, KERNEL), "name": options["name"], "none": None}

    seen = []
    jax.jit(lambda x: seen.append(with_products(several, x, {"name": "a", "scale": 2.0})))(IMAGES)
    assert (seen[0]["name"], seen[0]["none"], seen[0]["y"].shape) == ("a", None, (4, 3, 6, 6))


@pytest.mark.parametrize("as_callable", [False, True])
def test_losses_are_rid_of_them(as_callable):
    targets = jnp.asarray(RNG.normal(size=(4, 3, 6, 6)))
    supervised = tw.Supervised(lambda w, x: convolve(x, w), IMAGES, targets)
    problem = (
        as_problem(lambda w: jnp.sum(supervised.residuals(w) ** 2) / 2)
        if as_callable
        else supervised
    )
    flat, w = flatten(problem, KERNEL)
    assert not convolves(flat.value_and_gradient, w)
    residuals = np.asarray(convolve(IMAGES, KERNEL) - targets).ravel() / 2
    np.testing.assert_allclose(flat(w), 0.5 * residuals @ residuals, rtol=1e-12)

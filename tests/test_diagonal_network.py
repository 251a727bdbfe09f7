"""Diagonal networks of any depth: the dual closed form against integrators and exact facts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy.integrate import solve_ivp

import thalweg as tw
from thalweg.flow import ClosedForm, Status
from thalweg.problems import flatten


def make(depth, shape, scale, seed=0):
    """Return a problem, not interpolable where n > d, and a start with the signs allowed."""
    n, d = shape
    rng = np.random.default_rng([seed, depth, n, d])
    x, y = rng.standard_normal(shape), rng.standard_normal(n)
    signs = rng.choice([-1, 1], (2, d))
    if depth % 2:
        signs[1] = signs[0]
    u, v = jnp.asarray(scale * rng.uniform(0.5, 1.5, (2, d)) * signs)
    return tw.DiagonalNetwork(x, y, depth), {"u": u, "v": v}


def integrated(problem, w, method="Radau", time=1e7):
    """Return the limit of the flow `(u, v)` by SciPy, the velocity written out by hand."""
    x, y, p = np.asarray(problem.x), np.asarray(problem.y), problem.depth
    n, d = x.shape

    def velocity(_, w):
        g = p * x.T @ (x @ (w[:d] ** p - w[d:] ** p) - y) / n
        return np.concatenate([-(w[:d] ** (p - 1)) * g, w[d:] ** (p - 1) * g])

    start = np.concatenate([w["u"], w["v"]])
    return solve_ivp(velocity, (0, time), start, method=method, rtol=1e-10, atol=1e-13).y[:, -1]


def full_hessian(problem, vector):
    """Return the top eigenvalue of the whole Hessian, by dense automatic differentiation."""
    flat, _ = flatten(problem, {"u": vector[: vector.size // 2], "v": vector[vector.size // 2 :]})
    return np.linalg.eigvalsh(jax.hessian(flat)(jnp.asarray(vector)))[-1]


@pytest.mark.parametrize("depth", [2, 3, 4, 5])
@pytest.mark.parametrize("shape", [(12, 3), (4, 4), (3, 8)])
def test_agrees_with_the_integrated_flow_and_the_dense_hessian(depth, shape):
    problem, w = make(depth, shape, scale=0.5)
    s = tw.gradient_flow_solution(problem, w, rtol=1e-6)
    other = integrated(problem, w)
    assert (s.method, s.status) == ("closed_form", Status.CONVERGED)
    np.testing.assert_allclose(ravel_pytree(s.w)[0], other, atol=2e-8)
    assert s.sharpness == pytest.approx(full_hessian(problem, other), rel=1e-7)
    assert s.sharpness == pytest.approx(
        full_hessian(problem, np.asarray(ravel_pytree(s.w)[0])), rel=1e-11
    )


@pytest.mark.parametrize("depth", [3, 4])
@pytest.mark.parametrize("shape", [(30, 10), (10, 30)])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e2])
def test_limit_is_stationary_and_keeps_what_the_flow_conserves(depth, shape, scale):
    problem, w = make(depth, shape, scale)
    s = tw.gradient_flow_solution(problem, w)
    assert s.status is Status.CONVERGED
    gradient = ravel_pytree(problem.gradient(s.w))[0]
    np.testing.assert_allclose(gradient, 0.0, atol=1e-10 * s.sharpness)

    def conserved(w):
        return np.asarray(w["u"] ** (2.0 - depth) + w["v"] ** (2.0 - depth))

    if depth % 2 == 0:
        w, end = ({name: np.abs(a) for name, a in v.items()} for v in (w, s.w))
    else:
        end = s.w
    np.testing.assert_allclose(conserved(end), conserved(w), rtol=1e-12)


@pytest.mark.parametrize("change", ["zero", "two signs"])
def test_starts_without_a_closed_form_are_integrated(change):
    problem, w = make(3, (12, 3), scale=0.5)
    w["v"] = w["v"].at[1].multiply(0.0 if change == "zero" else -1.0)
    assert not ClosedForm.applies(*flatten(problem, w))
    assert np.isnan(problem.flow_limit(w).sharpness)


@pytest.mark.parametrize("depth", [1, 2.5, True, "3"])
def test_bad_depths_are_refused(depth):
    with pytest.raises(ValueError, match="depth must be an integer of at least 2"):
        tw.DiagonalNetwork(np.ones((1, 1)), np.ones(1), depth)


def test_depth_two_is_squared_regression():
    network, w = make(2, (3, 8), scale=0.5)
    assert tw.SquaredRegression(network.x, network.y)(w) == network(w)
    assert isinstance(tw.SquaredRegression(network.x, network.y), tw.DiagonalNetwork)

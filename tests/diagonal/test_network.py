"""Diagonal networks of any depth: the dual closed form against integrators and exact facts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy.integrate import solve_ivp

import thalweg as tw
from dense import hessian
from marks import slow
from thalweg.experiments import SquaredRegressionExperiment
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


def hessian_values(problem, vector):
    """Return the eigenvalues of the whole Hessian, by dense automatic differentiation."""
    flat, _ = flatten(problem, {"u": vector[: vector.size // 2], "v": vector[vector.size // 2 :]})
    return np.linalg.eigvalsh(hessian(flat, jnp.asarray(vector)))


@pytest.mark.parametrize("depth", [2, 3, *slow(4, 5)])
@pytest.mark.parametrize("shape", [(3, 8), *slow(((12, 3),), ((4, 4),))])
def test_agrees_with_the_integrated_flow_and_the_dense_hessian(depth, shape):
    problem, w = make(depth, shape, scale=0.5)
    s = tw.gradient_flow_solution(problem, w, rtol=1e-6)
    other = integrated(problem, w)
    assert (s.method, s.status) == ("closed_form", Status.CONVERGED)
    np.testing.assert_allclose(ravel_pytree(s.w)[0], other, atol=2e-8)
    assert s.sharpness == pytest.approx(hessian_values(problem, other)[-1], rel=1e-7)
    assert s.sharpness == pytest.approx(
        hessian_values(problem, np.asarray(ravel_pytree(s.w)[0]))[-1], rel=1e-11
    )


@pytest.mark.parametrize("depth", [3, *slow(4)])
@pytest.mark.parametrize("shape", [(10, 30), *slow(((30, 10),))])
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


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("depth", "seed", "zeros", "status"),
    [(2, 0, "u", Status.CONVERGED), (2, 1, "u", Status.SADDLE), (3, 0, "uv", Status.CONVERGED)],
)
def test_zero_coordinates_are_integrated_and_judged_by_the_full_hessian(depth, seed, zeros, status):
    problem, w = make(depth, (12, 3), scale=0.5, seed=seed)
    w |= {name: w[name].at[1].set(0.0) for name in zeros}
    assert tw.gradient_flow_solution(problem, w).status is status
    s = tw.gradient_flow_solution(problem, w, rtol=1e-7, method=tw.flow.Stabilized())
    other = integrated(problem, w)
    assert (s.method, s.status) == ("stabilized", status)
    assert float(problem(s.w)) > 0.01  # a residual that cannot be fitted is left
    values = hessian_values(problem, other)
    assert abs(s.sharpness - values[-1]) <= s.sharpness_error < 1e-6 * s.sharpness
    assert (values[0] < -1e-3) == (status is Status.SADDLE)


@pytest.mark.slow
@pytest.mark.parametrize(("depth", "shape"), [(2, (12, 3)), (3, (3, 8))])
def test_the_stabilised_integrator_agrees(depth, shape):
    problem, w = make(depth, shape, scale=0.5)
    exact = tw.gradient_flow_solution(problem, w)
    s = tw.gradient_flow_solution(problem, w, rtol=1e-7, method=tw.flow.Stabilized())
    assert abs(s.sharpness - exact.sharpness) <= s.sharpness_error < 2e-7 * s.sharpness


@pytest.mark.slow
def test_duplicated_rows_and_a_neighbour_change_nothing():
    problem, w = make(3, (5, 8), scale=0.5)
    x, y = np.asarray(problem.x), np.asarray(problem.y)
    doubled = tw.DiagonalNetwork(np.vstack([x, x]), np.concatenate([y, y + 1.0]), 3)
    single = tw.DiagonalNetwork(x, y + 0.5, 3)  # the same gradient
    one, two = (tw.gradient_flow_solution(p, w) for p in (single, doubled))
    np.testing.assert_allclose(one.w["u"], two.w["u"], rtol=1e-10)
    assert one.sharpness == pytest.approx(two.sharpness, rel=1e-11)
    for factor in (1.001, 3.0):  # a good start of the iteration, and one off its domain
        near = tw.gradient_flow_solution(single, {k: factor * a for k, a in w.items()})
        warm = tw.gradient_flow_solution(single, w, previous=near)
        assert abs(warm.sharpness - one.sharpness) <= one.sharpness_error + warm.sharpness_error
        if factor < 2:
            assert warm.gradient_evaluations < one.gradient_evaluations


@pytest.mark.slow
def test_from_small_scales_the_gfs_sharpness_can_rise():
    """A rise by 1e-4 at one step of gradient descent, seen by the integrated flow as well."""
    problem, w = SquaredRegressionExperiment(scale=0.1).build()
    step_size = 2.2 / tw.gradient_flow_solution(problem, w).sharpness
    for _ in range(8):
        w, before = _step(problem, w, step_size), w
    one, two = (tw.gradient_flow_solution(problem, p) for p in (before, w))
    rise = two.sharpness - one.sharpness
    assert rise > 1e-5 * one.sharpness > 1e3 * (one.sharpness_error + two.sharpness_error)
    others = [hessian_values(problem, integrated(problem, p, "LSODA"))[-1] for p in (before, w)]
    assert others[1] - others[0] == pytest.approx(rise, rel=1e-3)


@jax.jit
def _step(problem, w, step_size):
    return jax.tree.map(lambda a, g: a - step_size * g, w, problem.gradient(w))

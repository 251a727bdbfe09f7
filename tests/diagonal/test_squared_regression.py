"""Squared regression: the dual closed form against the integrated flow and exact facts."""

import equinox as eqx
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.flatten_util import ravel_pytree
from scipy.integrate import solve_ivp

from thalweg.diagonal import SquaredRegression
from thalweg.flow.closed_form import ClosedForm
from thalweg.flow.method import Request
from thalweg.flow.solution import Status
from thalweg.problems import FlatProblem, flatten


def make(seed, n, d, scale=0.5):
    """Return a problem, not interpolable where n > d, and a start with mixed signs."""
    rng = np.random.default_rng([seed, n, d])
    x, y = rng.standard_normal((n, d)), rng.standard_normal(n)
    w = {
        name: jnp.asarray(scale * rng.uniform(0.5, 1.5, d) * rng.choice([-1, 1], d))
        for name in ("u", "v")
    }
    return SquaredRegression(x, y), w


def solve(problem, w, rtol=1e-6):
    flat, vector = flatten(problem, w)
    return flat, ClosedForm().solve(flat, vector, Request(rtol, 1e6))


def dense_hessian(problem, w):
    """Return the full Hessian at the vector `w`, by hand."""
    x, y = np.asarray(problem.x), np.asarray(problem.y)
    n, d = x.shape
    u, v = np.asarray(w[:d]), np.asarray(w[d:])
    J = 2 * np.hstack([x * u, -x * v])
    curvature = 2 * x.T @ (x @ (u**2 - v**2) - y)
    return (J.T @ J + np.diag(np.concatenate([curvature, -curvature]))) / n


def integrated(problem, w):
    """Return the limit of the flow `(u, v)` by SciPy's Radau."""
    x, y = np.asarray(problem.x), np.asarray(problem.y)
    n, d = x.shape

    def velocity(_, w):
        g = x.T @ (x @ (w[:d] ** 2 - w[d:] ** 2) - y) / n
        return np.concatenate([-2 * w[:d] * g, 2 * w[d:] * g])

    start = np.concatenate([w["u"], w["v"]])
    return solve_ivp(velocity, (0, 1e7), start, method="Radau", rtol=1e-9, atol=1e-12).y[:, -1]


@eqx.filter_jit
def _gradient(problem, w):
    return ravel_pytree(problem.gradient(w))[0]


SHAPES = [(12, 3), (4, 4), (3, 8)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(8))
def test_agrees_with_the_integrated_flow(shape, seed):
    problem, w = make(seed, *shape)
    _, s = solve(problem, w)
    other = integrated(problem, w)
    assert s.status is Status.CONVERGED
    np.testing.assert_allclose(s.w, other, rtol=1e-6, atol=1e-6)
    top = np.linalg.eigvalsh(dense_hessian(problem, other))[-1]
    assert s.sharpness == pytest.approx(top, rel=1e-6)


@pytest.mark.parametrize("shape", [*SHAPES, (1, 1), (20, 60)])
@pytest.mark.parametrize("scale", [1e2, 2.0, 0.3, 1e-2, 1e-4, 1e-6])
def test_limit_is_stationary_and_conserves_the_products(shape, scale):
    problem, w = make(7, *shape, scale=scale)
    flat, s = solve(problem, w)
    assert s.status is Status.CONVERGED
    end = flat.tree(s.w)
    np.testing.assert_allclose(end["u"] * end["v"], w["u"] * w["v"], rtol=1e-13)
    assert np.all(np.sign(end["u"]) == np.sign(w["u"]))
    rounding = 1e-12 + 1e-15 * s.sharpness * scale
    np.testing.assert_allclose(_gradient(problem, end), 0.0, atol=rounding)
    hessian = dense_hessian(problem, s.w)
    assert s.sharpness == pytest.approx(np.linalg.eigvalsh(hessian)[-1], rel=1e-12)
    np.testing.assert_allclose(
        hessian @ s.eigenvector, s.sharpness * s.eigenvector, atol=1e-11 * s.sharpness
    )
    # The exponents lie in the range of Xᵀ: the flow went along its path and to no other minimum.
    e = np.log(np.asarray(end["u"] / w["u"]))
    outside = e - np.linalg.pinv(problem.x) @ (np.asarray(problem.x) @ e)
    np.testing.assert_allclose(outside, 0.0, atol=1e-11 * (1 + np.max(np.abs(e))))
    if shape[0] <= shape[1]:
        assert s.loss < 1e-24 * max(scale, 1) ** 4


def exact_sharpness(problem, w, digits=50):
    """Return `φ` to many digits: Newton on `Xᵀ(Xβ(Xᵀν) - y) = 0` or `Xβ(Xᵀν) = y`, from `ν` good
    to double precision, then power iteration."""
    x, y = np.asarray(problem.x), np.asarray(problem.y)
    n, d = x.shape
    flat, s = solve(problem, w)
    start = np.log(np.asarray(flat.tree(s.w)["u"] / w["u"]))
    with mpmath.workdps(digits):
        X, Y = mpmath.matrix(x.tolist()), mpmath.matrix(y.tolist())
        u0 = [mpmath.mpf(float(a)) for a in w["u"]]
        v0 = [mpmath.mpf(float(a)) for a in w["v"]]
        tall = n > d  # then e itself is free, else e = Xᵀν
        basis = mpmath.eye(d) if tall else X.T
        unknown = mpmath.matrix((start if tall else np.linalg.pinv(x.T) @ start).tolist())
        for _ in range(6):
            e = basis * unknown
            u2 = [a**2 * mpmath.exp(2 * t) for a, t in zip(u0, e, strict=True)]
            v2 = [a**2 * mpmath.exp(-2 * t) for a, t in zip(v0, e, strict=True)]
            residual = X * mpmath.matrix([a - b for a, b in zip(u2, v2, strict=True)]) - Y
            slope = X * mpmath.diag([2 * (a + b) for a, b in zip(u2, v2, strict=True)]) * basis
            if tall:
                residual, slope = X.T * residual, X.T * slope
            unknown -= mpmath.lu_solve(slope, residual)
        squares = mpmath.diag([a + b for a, b in zip(u2, v2, strict=True)])
        return max(mpmath.eigsy(4 * X * squares * X.T / n, eigvals_only=True))


@pytest.mark.parametrize("shape", [(12, 3), (4, 4), (3, 8)])
@pytest.mark.parametrize("scale", [3.0, 0.5, 1e-2, 1e-4])
@pytest.mark.parametrize("stretch", [1.0, 1e-4])
def test_error_bar_covers_the_truth(shape, scale, stretch):
    problem, w = make(3, *shape, scale=scale)
    problem = SquaredRegression(problem.x.at[:, 0].multiply(stretch), problem.y)
    _, s = solve(problem, w)
    truth = exact_sharpness(problem, w)
    error = abs(mpmath.mpf(s.sharpness) - truth)
    assert error <= s.sharpness_error
    if stretch == 1.0:
        assert error <= 1e-12 * s.sharpness
        assert s.sharpness_error <= 1e-7 * s.sharpness


@pytest.mark.parametrize("shape", [(12, 3), (4, 4), (3, 8)])
@pytest.mark.parametrize("gap", [1e-4, 1e-6])
def test_error_bar_covers_the_truth_for_nearly_dependent_data(shape, gap):
    problem, w = make(4, *shape)
    x = np.asarray(problem.x).copy()
    if shape[0] > shape[1]:
        x[:, 1] = x[:, 0] + gap * x[:, 1]
    else:
        x[1] = x[0] + gap * x[1]
    problem = SquaredRegression(x, problem.y)
    _, s = solve(problem, w)
    error = abs(mpmath.mpf(s.sharpness) - exact_sharpness(problem, w))
    assert error > 1e-14 * s.sharpness  # rounding of the data's condition, not of the last digit
    assert error <= s.sharpness_error
    assert s.sharpness_error <= 1e-2 * s.sharpness


def test_float32_error_bar_covers_the_truth():
    problem, w = make(5, 3, 8)
    low = jax.tree.map(lambda a: a.astype(jnp.float32), (problem, w))
    high = jax.tree.map(lambda a: a.astype(jnp.float64), low)
    _, single = solve(*low, rtol=1e-3)
    _, double = solve(*high)
    assert single.w.dtype == jnp.float32
    assert abs(single.sharpness - double.sharpness) <= single.sharpness_error
    assert single.converged
    assert solve(*low, rtol=1e-9)[1].status is Status.INACCURATE


def test_one_feature_by_hand():
    """`u v = p` kept and `u² - v² = y/x` at the end: `φ = 4 x² √((y/x)² + 4p²)`."""
    problem = SquaredRegression([[2.0]], [-3.0])
    _, s = solve(problem, {"u": jnp.array([0.5]), "v": jnp.array([-0.2])})
    assert s.sharpness == pytest.approx(16 * np.sqrt(1.5**2 + 4 * 0.1**2), rel=1e-14)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-3, 3), min_size=6, max_size=6),
    st.lists(st.floats(-3, 3), min_size=2, max_size=2),
    st.lists(st.floats(0.01, 3), min_size=6, max_size=6),
)
def test_any_small_problem_ends_where_the_gradient_vanishes(x, y, w):
    x, y, w = np.array(x).reshape(2, 3), np.array(y), np.array(w)
    values = np.linalg.svd(x, compute_uv=False)
    if values[1] < 1e-3 * values[0] or values[0] < 1e-3:
        x = x + np.eye(2, 3)  # ordinary condition; others have their own test
        if np.linalg.cond(x) > 1e3:
            return
    problem = SquaredRegression(x, y)
    found = _limit(problem, {"u": jnp.asarray(w[:3]), "v": jnp.asarray(w[3:])})
    end = {"u": found.u, "v": found.v}
    if np.isfinite(found.error) and found.error < 1e-6 * found.sharpness:
        scale = float(jnp.sum(found.u**2 + found.v**2)) + 1
        np.testing.assert_allclose(problem.residuals(end), 0.0, atol=1e-9 * scale)
    np.testing.assert_allclose(found.u * found.v, w[:3] * w[3:], rtol=1e-12)


_limit = eqx.filter_jit(lambda problem, w: problem.flow_limit(w))


def test_rank_deficient_data():
    problem, w = make(11, 4, 4)
    x = np.asarray(problem.x).copy()
    x[:, 3] = x[:, 0] + x[:, 1]
    problem = SquaredRegression(x, problem.y)
    flat, s = solve(problem, w)
    assert s.status is Status.CONVERGED
    np.testing.assert_allclose(_gradient(problem, flat.tree(s.w)), 0.0, atol=1e-12)
    e = np.log(np.asarray(flat.tree(s.w)["u"] / w["u"]))
    assert abs(e @ [1.0, 1.0, 0.0, -1.0]) < 1e-13  # the null vector of X: no motion along it


def test_no_data_at_all_leaves_the_start_where_it_is():
    problem, w = make(0, 3, 8)
    flat, s = solve(SquaredRegression(np.zeros((3, 8)), problem.y), w)
    np.testing.assert_array_equal(flat.tree(s.w)["u"], w["u"])
    assert s.sharpness == 0.0


@pytest.mark.slow
def test_jit_vmap_and_shared_coordinates_agree():
    problem, _ = make(0, 3, 8)
    rng = np.random.default_rng(0)
    ws = {name: jnp.asarray(rng.uniform(0.01, 2.0, (4, 8))) for name in ("u", "v")}
    shared = problem.coordinates(jnp.float64)
    mapped = eqx.filter_jit(jax.vmap(lambda w: problem.flow_limit(w, shared)))(ws)
    for i in range(4):
        alone = _limit(problem, jax.tree.map(lambda a, i=i: a[i], ws))
        np.testing.assert_allclose(mapped.u[i], alone.u, rtol=1e-11)
        np.testing.assert_allclose(mapped.sharpness[i], alone.sharpness, rtol=1e-12)


def test_iterations_stay_few_down_to_tiny_scales():
    counts = [int(_limit(*make(1, 20, 60, scale=scale)).iterations) for scale in (1, 1e-2, 1e-4)]
    assert max(counts) <= 40


@pytest.mark.parametrize("name", ["u", "v"])
def test_zero_coordinates_are_left_to_integration(name):
    problem, w = make(0, 12, 3)
    w[name] = w[name].at[1].set(0.0)
    flat, vector = flatten(problem, w)
    assert not ClosedForm.applies(flat, vector)
    with pytest.raises(ValueError, match="no closed form"):
        ClosedForm().solve(flat, vector, Request(1e-4, 1e4))
    assert np.isnan(_limit(problem, w).sharpness)


def test_overflow_is_said():
    problem, w = make(0, 12, 3)
    _, s = solve(problem, jax.tree.map(lambda a: 1e200 * a, w))
    assert s.status is Status.NON_FINITE
    assert s.sharpness_error == np.inf


def test_loss_residuals_and_order_of_the_flat_vector():
    problem, w = make(0, 12, 3)
    x, y = np.asarray(problem.x), np.asarray(problem.y)
    r = x @ (w["u"] ** 2 - w["v"] ** 2) - y
    np.testing.assert_allclose(problem(w), r @ r / 24, rtol=1e-14)
    np.testing.assert_allclose(problem.residuals(w), r / np.sqrt(12), rtol=1e-14)
    np.testing.assert_allclose(problem.gradient(w)["v"], -x.T @ r * w["v"] / 6, rtol=1e-13)
    flat, vector = flatten(problem, w)
    np.testing.assert_array_equal(vector[:3], w["u"])
    assert isinstance(flat, FlatProblem)


@pytest.mark.parametrize(
    ("x", "y", "match"),
    [
        (np.ones((3, 2)), np.ones(2), "shapes"),
        (np.ones(3), np.ones(3), "shapes"),
        (np.ones((3, 2)), np.ones((3, 1)), "shapes"),
        (np.ones((0, 2)), np.ones(0), "empty"),
        (np.array([[np.nan, 1.0]]), np.ones(1), "x holds NaN"),
        (np.ones((1, 2)), np.array([np.inf]), "y holds NaN"),
    ],
)
def test_bad_data_are_refused(x, y, match):
    with pytest.raises(ValueError, match=match):
        SquaredRegression(x, y)


@pytest.mark.parametrize(
    "w", [{"u": np.ones(2)}, np.ones(4), {"u": np.ones(2), "v": np.ones(3)}, {"a": np.ones(2)}]
)
def test_wrong_parameters_are_refused_in_one_line(w):
    with pytest.raises(ValueError, match=r"parameters|shape \(2,\)") as caught:
        flatten(SquaredRegression(np.ones((3, 2)), np.ones(3)), w)
    assert "\n" not in str(caught.value)


def test_integer_data_are_taken():
    problem = SquaredRegression([[1, 0], [0, 2]], [1, 2])
    assert float(problem({"u": jnp.ones(2), "v": jnp.zeros(2)})) == 0.0

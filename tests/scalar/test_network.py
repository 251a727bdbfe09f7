"""Scalar networks: the closed form against 50-digit arithmetic and against the integrated flow."""

import equinox as eqx
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from thalweg.flow.closed_form import ClosedForm
from thalweg.flow.method import Request
from thalweg.flow.solution import Status
from thalweg.problems import flatten
from thalweg.scalar import ScalarNetwork

REQUEST = Request(rtol=1e-6, max_gradient_evaluations=1e5)
_limit = eqx.filter_jit(lambda network, w: network.flow_limit(w))
_gradient = eqx.filter_jit(lambda network, w: network.gradient(w))
_hessian = eqx.filter_jit(lambda network, w: jax.vmap(network.hessian(w))(jnp.eye(w.size)))


def solve(network, w, rtol=1e-6):
    problem, vector = flatten(network, jnp.asarray(w))
    return ClosedForm().solve(problem, vector, Request(rtol, 1e5))


def exact(w, target):
    """Return `S(w)` and `φ(w)` to 50 digits: bisection on `Σ log(x + b) = 2 log y`."""
    with mpmath.workdps(50):
        magnitude = [abs(mpmath.mpf(float(a))) for a in w]
        m = min(range(len(w)), key=lambda i: magnitude[i])
        balances = [a**2 - magnitude[m] ** 2 for a in magnitude]
        y = mpmath.mpf(float(target))

        def excess(s):
            return sum(mpmath.log(mpmath.exp(s) + b) for b in balances) - 2 * mpmath.log(y)

        high = 2 * mpmath.log(y) / len(w) + mpmath.mpf(10) ** -40
        low = high - 1
        while excess(low) > 0:
            low = high - 2 * (high - low)
        for _ in range(12):  # a good bracket, then an order-2 method to the last digit
            middle = (low + high) / 2
            low, high = (low, middle) if excess(middle) > 0 else (middle, high)
        s = high
        for _ in range(60):
            slope = sum(mpmath.exp(s) / (mpmath.exp(s) + b) for b in balances)
            step = excess(s) / slope
            s -= step
            if abs(step) < mpmath.mpf(10) ** -45:
                break
        x = mpmath.exp(s)
        signs = [-1 if a < 0 else 1 for a in w]
        if np.prod(signs) < 0:
            signs[m] = -signs[m]
        limit = [sign * mpmath.sqrt(x + b) for sign, b in zip(signs, balances, strict=True)]
        return limit, y**2 * sum(1 / (x + b) for b in balances)


def integrated(w, target):
    """Return the limit of the flow by SciPy's LSODA, in the closed form's place."""

    def velocity(_, w):
        others = np.array([np.prod(np.delete(w, i)) for i in range(len(w))])
        return -(np.prod(w) - target) * others

    return solve_ivp(velocity, (0, 1e4), w, method="LSODA", rtol=1e-11, atol=1e-12).y[:, -1]


def random_start(rng, depth, target, negative):
    """Return an ordinary start, with the sign of its product as asked, far from ties."""
    w = target ** (1 / depth) * rng.uniform(0.5, 1.5, depth) * rng.choice([-1, 1], depth)
    w[0] *= 0.7
    return w if (np.prod(w) < 0) == negative else w * np.r_[-1, np.ones(depth - 1)]


@pytest.mark.parametrize("depth", [2, 3, 5, 7, 10])
@pytest.mark.parametrize("negative", [False, True])
@pytest.mark.parametrize("target", [1.0, 0.2, 7.0])
def test_agrees_with_the_integrated_flow(depth, negative, target):
    rng = np.random.default_rng([depth, negative, int(10 * target)])
    w = random_start(rng, depth, target, negative)
    s = solve(ScalarNetwork(depth, target), w)
    other = integrated(w, target)
    assert s.status is Status.CONVERGED
    np.testing.assert_allclose(s.w, other, rtol=1e-7)
    assert s.sharpness == pytest.approx(target**2 * np.sum(other**-2.0), rel=1e-7)


@pytest.mark.parametrize("depth", [2, 5, 10, 100])
@pytest.mark.parametrize("spread", [0.0, 1e-12, 1.0, 10.0, 60.0])
@pytest.mark.parametrize("target", [1.0, 1e-3, 40.0])
def test_error_bar_covers_the_truth(depth, spread, target):
    rng = np.random.default_rng([depth, int(10 * spread), int(target)])
    w = np.exp(spread * rng.standard_normal(depth)) * rng.choice([-1, 1], depth)
    w[0] *= np.prod(np.sign(w)) if spread == 0 else 1  # ties: no saddle
    found = jax.device_get(_limit(ScalarNetwork(depth, target), jnp.asarray(w)))
    limit, sharpness = exact(w, target)
    log_sharpness = mpmath.log(sharpness)
    assert found.log_sharpness == pytest.approx(float(log_sharpness), rel=1e-12, abs=1e-12)
    assert not found.is_saddle
    if np.isfinite(found.sharpness):
        error = abs(mpmath.mpf(float(found.sharpness)) - sharpness)
        assert error <= found.error
        assert found.error <= 1e-9 * found.sharpness
        wanted = np.array([float(a) for a in limit])
        normal = np.abs(wanted) > 1e-300
        np.testing.assert_allclose(found.limit[normal], wanted[normal], rtol=1e-11)


def test_float32_error_bar_covers_the_truth():
    rng = np.random.default_rng(0)
    ws = rng.standard_normal((60, 4)).astype(np.float32)
    found = ScalarNetwork(4, 0.5).flow_limits(ws)
    assert found.limit.dtype == np.float32
    truth = np.array([float(exact(w, 0.5)[1]) for w in ws])
    assert np.all(np.abs(found.sharpness - truth) <= found.error)
    assert np.max(found.error / truth) < 1e-3


def test_many_random_starts_are_covered_and_accurate():
    rng = np.random.default_rng(1)
    ws = rng.standard_normal((100, 5))
    found = ScalarNetwork(5).flow_limits(ws)
    truth = [exact(w, 1.0)[1] for w in ws]
    errors = np.array(
        [abs(float(a - b)) for a, b in zip(found.sharpness.tolist(), truth, strict=True)]
    )
    assert np.all(errors <= found.error)
    assert np.max(errors / found.sharpness) < 2e-14


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.floats(-1e3, 1e3, allow_subnormal=False).filter(lambda a: abs(a) > 1e-3),
        min_size=5,
        max_size=5,
    ),
    st.floats(1e-2, 1e2),
)
def test_limit_conserves_balances_and_fits_the_target(w, target):
    w = np.array(w)
    found = jax.device_get(_limit(ScalarNetwork(5, target), jnp.asarray(w)))
    scale = np.max(w**2) + target
    old, new = w**2 - w[0] ** 2, found.limit**2 - found.limit[0] ** 2
    assert np.all(np.abs(old - new) <= 1e-12 * scale)
    smallest = np.sort(np.abs(w))
    if smallest[0] == smallest[1] and np.prod(np.sign(w)) < 0:
        assert found.is_saddle
    else:
        assert not found.is_saddle
        assert np.prod(found.limit) == pytest.approx(target, rel=1e-11)
        kept = np.abs(w) > smallest[0]
        assert np.all(np.sign(w)[kept] == np.sign(found.limit)[kept])


def test_a_minimum_is_its_own_limit():
    w = np.array([2.0, -0.5, -1.0])
    s = solve(ScalarNetwork(3, 1.0), w)
    np.testing.assert_allclose(s.w, w, rtol=1e-15)
    assert s.loss < 1e-30


@pytest.mark.parametrize("depth", [2, 3, 5, 10])
@pytest.mark.parametrize("target", [1.0, 0.3, 9.0])
def test_balanced_starts_reach_the_flattest_minimum(depth, target):
    s = solve(ScalarNetwork(depth, target), np.full(depth, 0.9))
    assert s.sharpness == pytest.approx(depth * target ** (2 - 2 / depth), rel=1e-13)


def test_sharpness_and_eigenvector_are_those_of_the_hessian():
    network = ScalarNetwork(4, 2.0)
    s = solve(network, [0.5, -2.0, 1.0, 0.3])
    np.testing.assert_allclose(_gradient(network, s.w), 0.0, atol=1e-13)
    hessian = _hessian(network, s.w)
    assert s.sharpness == pytest.approx(float(jnp.linalg.eigvalsh(hessian)[-1]), rel=1e-13)
    np.testing.assert_allclose(hessian @ s.eigenvector, s.sharpness * s.eigenvector, atol=1e-12)
    assert float(jnp.linalg.norm(s.eigenvector)) == pytest.approx(1.0)


@pytest.mark.parametrize("xy", [(2.0, 0.5), (4.0, 0.25), (-1.25, -0.8)])
def test_two_layers_have_hessian_eigenvalues_zero_and_the_squared_norm(xy):
    """`L = ½ (1 - xy)²` at a minimum."""
    hessian = _hessian(ScalarNetwork(2), jnp.array(xy))
    np.testing.assert_allclose(
        np.linalg.eigvalsh(hessian), [0.0, xy[0] ** 2 + xy[1] ** 2], atol=1e-12
    )
    assert solve(ScalarNetwork(2), xy).sharpness == pytest.approx(xy[0] ** 2 + xy[1] ** 2)


@pytest.mark.parametrize(
    ("w", "saddle"),
    [
        ([1.0, -1.0], [0.0, 0.0]),
        ([1.0, -1.0, 2.0], [0.0, 0.0, 3**0.5]),
        ([-1.0, 1.0, -3.0, -2.0], [0.0, 0.0, -(8**0.5), -(3**0.5)]),
        ([-1.0, 1.0, 1.0, 2.0], [0.0, 0.0, 0.0, 3**0.5]),
        ([0.0, 0.0, 3.0], [0.0, 0.0, 3.0]),
        ([0.0, 0.0, 0.0], [0.0, 0.0, 0.0]),
    ],
)
def test_ties_with_negative_product_and_two_zeros_end_in_a_saddle(w, saddle):
    network = ScalarNetwork(len(w), 1.5)
    s = solve(network, w)
    assert s.status is Status.SADDLE
    np.testing.assert_allclose(s.w, saddle, atol=1e-15)
    np.testing.assert_allclose(_gradient(network, s.w), 0.0, atol=1e-14)
    hessian = _hessian(network, s.w)
    truth = np.linalg.eigvalsh(hessian)[-1]
    assert abs(s.sharpness - truth) <= s.sharpness_error + 1e-14


def test_ties_with_positive_product_do_not_matter():
    s = solve(ScalarNetwork(3), [0.5, -0.5, -0.5])
    assert s.status is Status.CONVERGED
    np.testing.assert_allclose(s.w, [1.0, -1.0, -1.0], rtol=1e-14)


def test_one_zero_moves_to_the_side_of_the_target():
    np.testing.assert_array_less(solve(ScalarNetwork(3), [0.0, 2.0, -1.0]).w[0], 0.0)
    np.testing.assert_array_less(0.0, solve(ScalarNetwork(3), [-0.0, -2.0, -1.0]).w[0])


def test_nearly_tied_starts_still_have_a_limit():
    s = solve(ScalarNetwork(2), [1.0, -1.0 - 1e-15])
    assert s.status is Status.CONVERGED
    np.testing.assert_allclose(s.w, [-1.0, -1.0], rtol=1e-12)


def test_huge_starts_overflow_honestly():
    w = np.array([1e150, 2e150, 3e150, 1.0])
    found = ScalarNetwork(4).flow_limits(w[None])
    assert found.sharpness[0] == np.inf
    assert found.error[0] == np.inf
    truth = mpmath.log(exact(w, 1.0)[1])
    assert found.log_sharpness[0] == pytest.approx(float(truth), rel=1e-13)
    s = solve(ScalarNetwork(4), w)
    assert s.status is Status.NON_FINITE
    assert not s.converged
    assert s.sharpness_error == np.inf


@pytest.mark.parametrize(
    "w", [[1e200, 1e-5], [1.0e308, 1.7e308], [1e-200, 1e-250], [1e-300, 1e200]]
)
def test_extreme_magnitudes_neither_overflow_nor_cancel(w):
    found = jax.device_get(_limit(ScalarNetwork(2, 3.0), jnp.asarray(w)))
    truth = mpmath.log(exact(w, 3.0)[1])
    assert found.log_sharpness == pytest.approx(float(truth), rel=1e-13)


def test_jit_vmap_and_chunks_agree():
    network = ScalarNetwork(5, 1.7)
    ws = np.random.default_rng(2).standard_normal((403, 5))
    ws[3] = [1.0, -1.0, 2.0, 3.0, 1.5]
    single = [jax.device_get(_limit(network, jnp.asarray(w))) for w in ws[:6]]
    mapped = jax.device_get(jax.jit(jax.vmap(network.flow_limit))(jnp.asarray(ws)))
    done = []
    chunked = network.flow_limits(ws, chunk=5, report=done.append)  # three calls, the last ragged
    assert chunked.is_saddle.tolist() == mapped.is_saddle.tolist()
    np.testing.assert_allclose(chunked.limit, mapped.limit, rtol=1e-13, atol=1e-300)
    np.testing.assert_allclose(chunked.sharpness, mapped.sharpness, rtol=1e-13)
    np.testing.assert_allclose([s.sharpness for s in single], mapped.sharpness[:6], rtol=1e-13)
    assert np.sum(mapped.is_saddle) == 1
    assert done == sorted(done)
    assert done[-1] == 403


def test_no_starts_give_no_limits():
    found = ScalarNetwork(3).flow_limits(np.empty((0, 3)))
    assert found.limit.shape == (0, 3)
    assert found.sharpness.shape == (0,)


def test_starts_that_are_not_finite_give_nan_for_themselves_only():
    found = ScalarNetwork(2).flow_limits([[1.0, np.nan], [2.0, 0.5], [np.inf, 1.0]])
    assert np.isnan(found.sharpness[0])
    assert found.sharpness[1] == pytest.approx(4.25)
    assert not found.error[2] < np.inf


def test_scaling_of_the_target():
    """`w = y^(1/D) v` gives `φ_w = y^(2 - 2/D) φ_v`."""
    v, y = np.array([0.4, -1.3, 2.0]), 5.0
    scaled = solve(ScalarNetwork(3, y), y ** (1 / 3) * v).sharpness
    assert scaled == pytest.approx(y ** (4 / 3) * solve(ScalarNetwork(3), v).sharpness, rel=1e-13)


def test_loss_residuals_and_gradient():
    network = ScalarNetwork(3, 2.0)
    w = jnp.array([1.0, -2.0, 3.0])
    assert float(network(w)) == 32.0
    assert network.is_least_squares
    np.testing.assert_allclose(network.residuals(w), [-8.0])
    np.testing.assert_allclose(network.gradient(w), -8.0 * np.array([-6.0, 3.0, -2.0]))
    hessian = _hessian(network, jnp.array([0.0, 0.0, 3.0]))
    np.testing.assert_allclose(hessian[0], [0.0, -6.0, 0.0])


def test_accuracy_that_the_dtype_cannot_give_is_said():
    s = solve(ScalarNetwork(3), jnp.array([1.0, 2.0, 0.3], jnp.float32), rtol=1e-12)
    assert s.status is Status.INACCURATE
    assert s.sharpness_error > 0
    assert s.w.dtype == jnp.float32


def test_compiled_solver_takes_the_target_as_an_argument():
    limit = eqx.filter_jit(lambda network, w: network.flow_limit(w).sharpness)
    w = jnp.array([1.0, 1.0])
    assert float(limit(ScalarNetwork(2, 1.0), w)) == pytest.approx(2.0)
    assert float(limit(ScalarNetwork(2, 3.0), w)) == pytest.approx(6.0)


@pytest.mark.parametrize("depth", [1, 0, -3, 2.5, True, "3", None])
def test_bad_depth_is_refused(depth):
    with pytest.raises(ValueError, match="depth must be an integer of at least 2"):
        ScalarNetwork(depth)


@pytest.mark.parametrize("target", [0.0, -1.0, np.nan, np.inf, [1.0, 2.0], "one", None])
def test_bad_target_is_refused(target):
    with pytest.raises(ValueError, match="target must be a positive finite number"):
        ScalarNetwork(2, target)


@pytest.mark.parametrize("w", [np.ones(3), np.ones((2, 1)), {"w": np.ones(2)}])
def test_wrong_parameters_are_refused_in_one_line(w):
    with pytest.raises(ValueError, match=r"needs one array of shape \(2,\)") as caught:
        flatten(ScalarNetwork(2), w)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="shape"):
        ScalarNetwork(2).flow_limits(np.ones((4, 3)))


def test_closed_form_applies_to_what_it_solves_only():
    problem, w = flatten(lambda w: jnp.sum(w**2), jnp.ones(2))
    assert not ClosedForm.applies(problem, w)
    with pytest.raises(ValueError, match="no closed form"):
        ClosedForm().solve(problem, w, REQUEST)

"""Where flows end: slow drifts, edges of flat minima, saddles, and minima that are not there."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

import thalweg as tw
from calibration import draw_case, make_reference, network
from cases import RECURRENT, deep_linear, elman, recurrent, scalar_network, terms
from dense import hessian
from marks import slow
from thalweg.flow import Exponential, ExponentialRosenbrock, Stabilized, Status
from thalweg.flow.linearized_limit import LinearizedLimit, LinearizedSolver
from thalweg.flow.stationary_point import stationary_point_near
from thalweg.problems import flatten


def top(loss, w):
    """Return the largest eigenvalue of the dense Hessian at `w`."""
    return float(np.linalg.eigvalsh(hessian(loss, jnp.asarray(w)))[-1])


def covers(found, right):
    return abs(found.sharpness - right) <= found.sharpness_error


# By SciPy's LSODA at 1e-10 with the dense Hessian.
SHARPNESS_OF_RECURRENT = {0: 68.18286119, 12: 122.26180820, 6: 5.446862}


@pytest.mark.parametrize("seed", slow(*SHARPNESS_OF_RECURRENT))
def test_recurrent_networks(seed):
    found = tw.gradient_flow_solution(*recurrent(seed))
    assert found.converged
    assert covers(found, SHARPNESS_OF_RECURRENT[seed])


@pytest.mark.slow
def test_an_accidental_agreement_of_two_tolerances_is_seen_through():
    """A recurrent network of 20 steps: the finer of two tolerances happens to err more."""
    rng = np.random.default_rng(103)
    x = jnp.asarray(rng.standard_normal((5, 20)))
    w = {name: jnp.asarray(1.2 * rng.standard_normal(shape)) for name, shape in RECURRENT.items()}
    found = tw.gradient_flow_solution(tw.Supervised(elman, x, jnp.sin(x[:, 0])), w)
    assert found.converged
    assert covers(found, 22213.321204)  # by SciPy's LSODA and Radau at 1e-10


def random_case(seed):
    """Return a case of the calibration, its problem and start, and its sharpness by LSODA."""
    case = draw_case(seed)
    functions, reference = network(case.architecture), make_reference(case, seconds=60.0)
    problem = tw.Supervised(functions.predict, case.x, case.y)
    return case, problem, functions.unravel(case.w), reference.sharpness


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "method"),
    [
        (7, Stabilized()),  # off by 7e-4 at two tolerances, which agree to 1e-4
        (51, Stabilized()),  # off by 3e-4: differences fall by two from tolerance to tolerance
        (1083, Stabilized()),  # off by 1.6e-2 after a plateau, at tolerances in proportion to rtol
        (2018, Stabilized()),  # off by 3.6e-5, where limits agree to 3e-6: they turn around
        (45, ExponentialRosenbrock()),  # off by 3.2 bars after a plateau, as 1083
        (4912, ExponentialRosenbrock()),  # off by 1.05 bars, where differences fall by 3.3, not 11
    ],
)
def test_agreement_by_accident_is_seen_through(seed, method):
    case, problem, w, sharpness = random_case(seed)
    found = tw.gradient_flow_solution(
        problem,
        w,
        rtol=case.rtol,
        method=method,
        max_gradient_evaluations=1e6,  # not to be given up early, however its start is rounded
    )
    assert found.converged
    assert covers(found, sharpness)


@pytest.mark.slow
def test_rounding_over_a_long_time_is_not_taken_for_a_drift():
    """A minimum that is reached at time 2e10: what rounding leaves of the gradient is no speed."""
    _, problem, w, sharpness = random_case(2207)
    for rtol in (1e-4, 1e-5):
        found = tw.gradient_flow_solution(problem, w, rtol=rtol)
        assert found.converged
        assert covers(found, sharpness)


def decayed(decay, size=2):
    return terms(size, product=1, quadratic=0.5 * decay)


@pytest.mark.parametrize(
    ("start", "decay"),
    # A decay below the tolerance: beside the valley's floor the loss curves downwards along it.
    [((3.0, 0.2), 1e-3), *slow(((3.0, 0.2), 1e-9), ((3.0, 1.0, 0.3), 1e-7))],
)
def test_weight_decay_leads_to_the_balanced_minimum(start, decay):
    depth = len(start)
    # On the diagonal: (s^D - 1) s^(D-1) + decay s = 0.
    s = brentq(lambda s: (s**depth - 1) * s ** (depth - 2) + decay, 0.9, 1.0, xtol=1e-15)
    loss = decayed(decay, depth)
    found = tw.gradient_flow_solution(loss, jnp.asarray(start))
    assert found.converged
    assert covers(found, top(loss, [s] * depth))


@pytest.mark.slow
def test_an_unbounded_tail_beside_a_minimum_does_not_settle():
    found = tw.gradient_flow_solution(lambda w: jnp.exp(-w[0]) + w[1] ** 2, jnp.asarray([1.0, 1.0]))
    assert not found.status.is_settled


def test_a_slow_pull_along_the_valley_is_followed():
    # ½ (w₀ w₁ - 1)² + ½e-6 (w₀ - 3)²
    pull = {"quadratic": [0.5e-6, 0], "linear": [-3e-6, 0], "constant": [4.5e-6, 0]}
    loss = terms(product=1, **pull)
    found = tw.gradient_flow_solution(loss, jnp.asarray([1.5, 0.2]))
    assert found.converged
    assert covers(found, 9 + 1 / 9)


@pytest.mark.slow
def test_a_drift_too_slow_for_the_method_is_not_settled():
    found = tw.gradient_flow_solution(
        decayed(1e-6), jnp.asarray([3.0, 0.2]), method=Stabilized(), max_gradient_evaluations=20000
    )
    assert not found.status.is_settled


def vanishing_slowly(small):
    """Return r = (w₀ w₁ - 1, small (w₀ - 3)), whose second part is next to nothing of the loss."""

    def predict(w, x):
        return x * jnp.stack([w[0] * w[1], small * w[0]])[None]

    return tw.Supervised(predict, jnp.ones((1, 1)), jnp.asarray([[1.0, 3 * small]]))


@pytest.mark.slow
@pytest.mark.parametrize("small", [0.1, 0.01])
def test_a_residual_that_vanishes_slowly_is_followed(small):
    found = tw.gradient_flow_solution(
        vanishing_slowly(small), jnp.asarray([1.5, 0.2]), method=Stabilized()
    )
    jacobian = np.array([[1 / 3, 3.0], [small, 0.0]])
    assert found.converged
    assert covers(found, np.linalg.eigvalsh(jacobian.T @ jacobian)[-1])


@pytest.mark.parametrize("small", [1e-3, 1e-5])
def test_a_point_from_which_a_residual_still_leads_far_is_not_stationary(small):
    problem, w = flatten(vanishing_slowly(small), jnp.asarray([1.5, 1 / 1.5]))
    limit = LinearizedLimit(w, float(problem(w)), 0.0, 0.0, 1, True)
    asked = LinearizedSolver(True, None, 1), 2.7, 1e-4, 1e4, lambda work: None
    found = stationary_point_near(problem, limit, *asked)
    assert found is None or np.allclose(found.w, [3, 1 / 3], atol=1e-6)


def squared_hinge(w):
    return 0.5 * jnp.maximum(0.0, 1 - w[0] * w[1]) ** 2


@pytest.mark.slow
@pytest.mark.parametrize("a", [0.2, *slow(0.5)])
@pytest.mark.parametrize("method", [None, *slow(Stabilized())])
def test_a_squared_hinge_is_met_from_its_active_side(a, method):
    # As in the scalar network, a² - b² is conserved, and the flow ends on ab = 1.
    found = tw.gradient_flow_solution(squared_hinge, jnp.asarray([a, 1.0]), method=method)
    balance = 1 - a**2
    assert found.status is Status.SET_VALUED
    assert found.sharpness == pytest.approx(np.sqrt(balance**2 + 4), rel=1e-3)
    assert covers(found, np.sqrt(balance**2 + 4))


def two_hinges(w):
    hinges = jnp.maximum(0.0, 1 - w) ** 2
    return 0.5 * hinges[0] + 0.05 * hinges[1]


@pytest.mark.slow
@pytest.mark.parametrize("method", [None, Stabilized()])
def test_an_edge_that_is_reached_before_the_rest_is_covered(method):
    found = tw.gradient_flow_solution(two_hinges, jnp.zeros(2), method=method)
    assert covers(found, 1.0)


def products(w):
    return 0.5 * jnp.sum((w[0] * w[1] - jnp.asarray([1.0, 0.5, 0.2])) ** 2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scale", "method"), [(1.0, None), *slow((0.01, None), (0.1, Stabilized()))]
)
def test_the_global_minimum_of_a_factorisation_is_no_saddle(scale, method):
    found = tw.gradient_flow_solution(products, jnp.full((2, 3), scale), method=method)
    assert found.converged
    assert covers(found, 2.0)  # balanced: each pair ends at (√y, √y), whose curvature is 2 y


@pytest.mark.slow
def test_a_plateau_that_the_flow_leaves_is_no_saddle():
    flat, v = flatten(*deep_linear(scale=1e-4))
    velocity = jax.jit(lambda v: -flat.gradient(v))
    path = solve_ivp(
        lambda t, v: np.asarray(velocity(v)), (0, 1e3), v, method="LSODA", rtol=1e-11, atol=1e-13
    )
    for method in (None, Stabilized()):
        found = tw.gradient_flow_solution(flat, v, method=method)
        assert found.converged
        assert covers(found, top(flat, path.y[:, -1]))


@pytest.mark.parametrize(
    ("loss", "start"),
    [
        (terms(quadratic=[1, -1], quartic=[0, 0.25]), [1.0, 0.0]),
        (terms(product=1), [1.0, -1.0]),
        *slow((products, [[0.5, 0.5, 0.5], [-0.5, 0.5, 0.5]])),
    ],
)
@pytest.mark.parametrize("method", [None, *slow(Stabilized())])
def test_a_saddle_that_only_rounding_would_leave_is_one(loss, start, method):
    found = tw.gradient_flow_solution(loss, jnp.asarray(start), method=method)
    assert found.status is Status.SADDLE


SEPARABLE = np.random.default_rng(1).normal(size=(20, 3))
SEPARABLE *= np.sign(SEPARABLE[:, :1])
WITHOUT_MINIMUM = (
    lambda w: jnp.exp(-w[0]),
    lambda w: 1 / w[0],
    lambda w: jnp.mean(jnp.logaddexp(0.0, -SEPARABLE @ w)),
)


@pytest.mark.slow
@pytest.mark.parametrize("method", [None, Stabilized()])
def test_a_loss_without_minimum_is_told(method):
    for loss in WITHOUT_MINIMUM:
        found = tw.gradient_flow_solution(loss, jnp.asarray([1.0, 1.0, 0.5]), method=method)
        assert found.status is Status.NO_MINIMISER_FOUND


@pytest.mark.parametrize("method", [Stabilized(), Exponential(), ExponentialRosenbrock()])
@pytest.mark.parametrize("distance", [1e-14, *slow(1e-12, 1e-11, 1e-8)])
def test_a_start_next_to_a_minimum_has_settled(method, distance):
    network, w = scalar_network()
    minimum = tw.gradient_flow_solution(network, w).w
    start = minimum + distance * jnp.arange(1.0, 1.0 + minimum.size)
    found = tw.gradient_flow_solution(network, start, method=method)
    assert found.converged
    assert found.gradient_evaluations < 1000
    assert covers(found, tw.gradient_flow_solution(network, start).sharpness)


@pytest.mark.slow
def test_a_minimum_without_curvature_is_not_taken_for_exact():
    found = tw.gradient_flow_solution(terms(quartic=1), jnp.asarray([1.0, 0.5]))
    assert found.status is Status.INACCURATE
    assert covers(found, 0.0)

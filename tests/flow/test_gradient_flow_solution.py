"""Gradient flow to its limit: integrated against closed forms and SciPy; statuses; bad input."""

import logging

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy.integrate import solve_ivp

import thalweg as tw
from cases import ACTIVATIONS, ONE_LAYER, TWO_LAYERS, classifier, scalar_network, smooth_network
from marks import slow
from thalweg.flow import ClosedForm, RungeKutta4, Stabilized, Status
from thalweg.problems import COST, Problem, flatten

STABILIZED = Stabilized()


def agree(one, other):
    return abs(one.sharpness - other.sharpness) <= one.sharpness_error + other.sharpness_error


# Closed forms against the integrated flow


@pytest.mark.parametrize("seed", [0, *slow(1, 2)])
@pytest.mark.parametrize("depth", [3, *slow(2, 5, 10)])
def test_scalar_networks_integrated_agree_with_the_closed_form(depth, seed):
    network, w = scalar_network(depth, seed)
    assert np.sign(np.prod(w)) == (-1) ** seed
    exact = tw.gradient_flow_solution(network, w, rtol=1e-7)
    found = tw.gradient_flow_solution(network, w, rtol=1e-7, method=STABILIZED)
    assert (exact.method, found.method) == ("closed_form", "stabilized")
    assert exact.converged
    assert found.converged
    assert agree(found, exact)
    assert found.sharpness == pytest.approx(exact.sharpness, rel=1e-6)
    assert found.sharpness_error <= 1e-7 * found.sharpness
    np.testing.assert_allclose(found.w, exact.w, rtol=1e-5)
    balances = np.subtract.outer(w**2, w**2)
    np.testing.assert_allclose(np.subtract.outer(found.w**2, found.w**2), balances, atol=1e-5)


@pytest.mark.parametrize("seed", [0, *slow(*range(1, 5))])
@pytest.mark.parametrize("shape", [(3, 5), *slow(((8, 3),))])
def test_squared_regression_integrated_agrees_with_the_closed_form(shape, seed):
    rng = np.random.default_rng([*shape, seed])
    problem = tw.SquaredRegression(rng.normal(size=shape), rng.normal(size=shape[0]))
    w = {
        name: jnp.asarray(rng.choice([-1, 1], shape[1]) * rng.uniform(0.3, 1.5, shape[1]))
        for name in ("u", "v")
    }
    exact = tw.gradient_flow_solution(problem, w, rtol=1e-7)
    found = tw.gradient_flow_solution(problem, w, rtol=1e-7, method=STABILIZED)
    assert exact.method == "closed_form"
    assert exact.converged
    assert found.converged
    assert agree(found, exact)
    assert found.sharpness == pytest.approx(exact.sharpness, rel=1e-6)
    np.testing.assert_allclose(found.w["u"] * found.w["v"], w["u"] * w["v"], rtol=1e-5)
    if shape == (8, 3):
        assert found.loss > 1e-3, "meant not to be fittable"


# The error bar against SciPy


@eqx.filter_jit
def _gradient(flat, w):
    return jax.grad(flat)(w)


@eqx.filter_jit
def _hessian(flat, w):
    return jax.hessian(flat)(w)


def reference(problem, w, time=1e8):
    """Return the sharpness at the limit: LSODA to a very late time, then a dense eigensolver."""
    flat, vector = flatten(problem, w)
    found = solve_ivp(
        lambda t, w: -np.asarray(_gradient(flat, w)),
        (0, time),
        np.asarray(vector),
        method="LSODA",
        jac=lambda t, w: -np.asarray(_hessian(flat, w)),
        rtol=1e-11,
        atol=1e-13,
    )
    assert found.success
    end = found.y[:, -1]
    eigenvalues = np.linalg.eigvalsh(_hessian(flat, end))
    assert np.linalg.norm(_gradient(flat, end)) < 1e-12 * eigenvalues[-1]
    return eigenvalues[-1]


CASES = [
    (activation, widths, seed, 1e-4)
    for activation in ACTIVATIONS
    for widths in (ONE_LAYER, TWO_LAYERS)
    for seed in (0, 1)
] + [("tanh", ONE_LAYER, 1, 1e-6), ("softplus", TWO_LAYERS, 0, 1e-6), ("gelu", ONE_LAYER, 0, 1e-6)]
QUICK = [("tanh", ONE_LAYER, 0, 1e-4), ("gelu", ONE_LAYER, 1, 1e-4), ("tanh", ONE_LAYER, 1, 1e-6)]


@pytest.mark.parametrize(
    ("activation", "widths", "seed", "rtol"),
    [*QUICK, *slow(*(case for case in CASES if case not in QUICK))],
)
def test_the_error_bar_covers_the_truth(activation, widths, seed, rtol):
    problem, w = smooth_network(activation, widths, seed)
    true = reference(problem, w)
    s = tw.gradient_flow_solution(problem, w, rtol=rtol)
    assert s.converged
    assert abs(s.sharpness - true) <= s.sharpness_error
    assert abs(s.sharpness - true) <= rtol * true
    assert s.sharpness_error <= rtol * s.sharpness


@pytest.mark.slow
def test_the_fourth_order_baseline_agrees():
    problem, w = smooth_network("tanh", ONE_LAYER, 1)
    baseline = tw.gradient_flow_solution(problem, w, method=RungeKutta4())
    s = tw.gradient_flow_solution(problem, w, method=Stabilized())
    assert baseline.method == "runge_kutta4"
    assert baseline.converged
    assert agree(baseline, s)
    assert s.gradient_evaluations < baseline.gradient_evaluations


@pytest.mark.slow
def test_targets_in_conflict_have_a_limit_with_non_zero_loss():
    problem, w = smooth_network("tanh", ONE_LAYER, 2)
    x, y = problem.x, problem.y
    problem = tw.Supervised(problem.predict, x.at[3:].set(x[:3]), y)  # each input, two targets
    s = tw.gradient_flow_solution(problem, w)
    assert s.loss > 1e-3
    assert s.converged
    assert abs(s.sharpness - reference(problem, w)) <= s.sharpness_error


def rosenbrock_like(w):
    return jnp.log(jnp.cosh(w["a"] - w["b"] ** 2)) + 0.1 * (w["b"] - 1) ** 2


@pytest.mark.slow
def test_a_bare_callable_with_a_minimum_of_any_loss():
    w = {"a": jnp.array(2.0), "b": jnp.array(0.3), "name": "kept"}
    s = tw.gradient_flow_solution(rosenbrock_like, w)
    # At the minimum a = b² = 1: Hessian [[1, -2], [-2, 4.2]].
    true = np.linalg.eigvalsh([[1.0, -2.0], [-2.0, 4.2]])[-1]
    assert s.converged
    assert abs(s.sharpness - true) <= s.sharpness_error <= 1e-4 * true
    assert s.w["name"] == "kept"
    assert float(s.w["a"]) == pytest.approx(1, abs=1e-3)


@pytest.mark.slow
def test_float32_is_honest_about_what_it_can_give():
    problem, w = smooth_network("tanh", ONE_LAYER, 0)
    single = jax.tree.map(lambda a: a.astype(jnp.float32), w)
    exact = tw.gradient_flow_solution(problem, w, rtol=1e-6)
    s = tw.gradient_flow_solution(problem, single, rtol=1e-3)
    assert jax.tree.leaves(s.w)[0].dtype == jnp.float32
    assert s.status is (
        Status.CONVERGED if s.sharpness_error <= 1e-3 * s.sharpness else Status.INACCURATE
    )
    assert s.sharpness_error < 1e-2 * s.sharpness
    assert agree(s, exact)


@pytest.mark.slow
def test_an_accuracy_beyond_float32_is_refused_with_advice():
    problem, w = smooth_network("tanh", ONE_LAYER, 0)
    single = jax.tree.map(lambda a: a.astype(jnp.float32), w)
    s = tw.gradient_flow_solution(problem, single, rtol=1e-9, max_gradient_evaluations=30_000)
    assert s.status in (Status.INACCURATE, Status.BUDGET_EXHAUSTED)
    assert s.sharpness_error > 1e-9 * s.sharpness
    assert agree(s, tw.gradient_flow_solution(problem, w, rtol=1e-6))


# Special starts


def test_a_start_at_a_minimum_stays_there():
    network = tw.ScalarNetwork(depth=2)
    w = jnp.array([2.0, 0.5])
    s = tw.gradient_flow_solution(network, w, method=STABILIZED)
    assert s.converged
    np.testing.assert_array_equal(s.w, w)
    assert abs(s.sharpness - 4.25) <= s.sharpness_error < 1e-10


@pytest.mark.slow
def test_a_start_at_the_origin_of_a_linear_model():
    x = jax.random.normal(jax.random.key(0), (4, 6))
    problem = tw.Supervised(lambda w, x: x @ w, x, jnp.arange(4.0))
    s = tw.gradient_flow_solution(problem, jnp.zeros(6))
    true = np.linalg.eigvalsh(np.asarray(x.T @ x / 4))[-1]
    assert s.converged
    assert abs(s.sharpness - true) <= s.sharpness_error
    # From the origin gradient flow finds the solution of least norm.
    least = np.linalg.lstsq(x, np.arange(4.0))[0]
    np.testing.assert_allclose(s.w, least, rtol=1e-2, atol=1e-2)


# Statuses


def test_every_status_carries_a_sentence():
    for status in Status:
        assert len(status.advice) > 20
        assert status.advice.endswith(".")


def test_a_spent_budget_is_a_result():
    problem, w = smooth_network("tanh", ONE_LAYER, 0)
    for budget in (0, 1, 100, 700):
        s = tw.gradient_flow_solution(problem, w, max_gradient_evaluations=budget)
        assert s.status is Status.BUDGET_EXHAUSTED
        assert s.sharpness_error == np.inf
        assert not s.converged
        assert np.isfinite(s.loss)
        assert jax.tree.structure(s.w) == jax.tree.structure(w)


class Decayed(eqx.Module):
    problem: Problem

    def __call__(self, w):  # 1e-9: steps of thousands of stages
        return self.problem(w) + 0.5e-9 * sum(jnp.sum(a**2) for a in jax.tree.leaves(w))


@pytest.mark.slow
@pytest.mark.parametrize("budget", [2000, 5000])
def test_a_budget_is_not_exceeded_by_a_step_a_look_or_an_eigensolver(budget):
    problem, w = smooth_network("tanh", ONE_LAYER, 1)
    for loss, method in (
        (problem, Stabilized()),
        (Decayed(problem), Stabilized()),
        (problem, None),
    ):
        s = tw.gradient_flow_solution(
            loss, w, rtol=1e-10, method=method, max_gradient_evaluations=budget
        )
        assert s.status in (Status.BUDGET_EXHAUSTED, Status.TOO_SLOW)
        assert s.gradient_evaluations <= 1.05 * budget


def test_spent_time_is_a_result_too():
    problem, w = smooth_network("tanh", ONE_LAYER, 0)
    s = tw.gradient_flow_solution(problem, w, rtol=1e-8, max_seconds=1e-9)
    assert s.status is Status.BUDGET_EXHAUSTED
    assert s.sharpness_error == np.inf
    assert "of time" in s.status.advice
    patient = tw.gradient_flow_solution(problem, w, rtol=1e-2, max_seconds=1e9)
    assert patient.converged


def test_a_watcher_can_stop_the_flow():
    problem, w = smooth_network("tanh", ONE_LAYER, 0)
    seen = []

    def stop(progress):
        seen.append(progress)
        return True

    s = tw.gradient_flow_solution(problem, w, rtol=1e-8, report=stop)
    assert s.status is Status.STOPPED
    assert s.sharpness_error == np.inf
    assert len(seen) == 1
    assert 0 <= seen[0].fraction <= 1


def test_a_watcher_that_does_not_stop_changes_nothing():
    problem, w = smooth_network("tanh", ONE_LAYER, 0)
    seen = []
    s = tw.gradient_flow_solution(problem, w, report=seen.append)
    assert s.converged
    assert s.sharpness == tw.gradient_flow_solution(problem, w).sharpness
    assert all(0 <= progress.fraction <= 1 for progress in seen)
    assert all(progress.gradient_evaluations <= s.gradient_evaluations for progress in seen)


def test_a_loss_that_is_not_finite_at_the_start():
    s = tw.gradient_flow_solution(lambda w: jnp.sum(jnp.log(w)), jnp.array([-1.0, 2.0]))
    assert s.status is Status.NON_FINITE
    assert s.sharpness_error == np.inf


@pytest.mark.slow
def test_a_loss_that_stops_being_finite_on_the_way():
    def loss(w):
        return jnp.sum(jnp.where(w > 0.5, w, jnp.nan))

    s = tw.gradient_flow_solution(loss, jnp.array([1.0, 2.0]), max_gradient_evaluations=5000)
    assert s.status is Status.NON_FINITE
    assert s.sharpness_error == np.inf


@pytest.mark.slow
def test_separable_data_have_no_minimiser():
    s = tw.gradient_flow_solution(*classifier())
    assert s.status is Status.NO_MINIMISER_FOUND
    assert s.sharpness_error == np.inf
    assert "truncated_sharpness" in s.status.advice


@pytest.mark.slow
def test_a_saddle_of_squared_regression():
    problem = tw.SquaredRegression(jnp.eye(2), jnp.array([1.0, 2.0]))
    w = {"u": jnp.array([0.8, 0.0]), "v": jnp.array([0.4, 0.0])}
    s = tw.gradient_flow_solution(problem, w)
    assert s.method == "exponential_rosenbrock"
    assert s.status is Status.SADDLE
    assert not s.converged


def test_a_saddle_of_a_scalar_network():
    w = jnp.array([1.0, -1.0])
    exact = tw.gradient_flow_solution(tw.ScalarNetwork(depth=2), w)
    assert (exact.method, exact.status) == ("closed_form", Status.SADDLE)


@pytest.mark.slow
def test_a_saddle_of_a_callable():
    def loss(w):
        return w[0] ** 2 + jnp.cos(w[1])

    s = tw.gradient_flow_solution(loss, jnp.array([1.0, 0.0]))
    assert s.status is Status.SADDLE


# Cost


class Counted(Problem):
    """A problem that counts what is asked of it, as it is computed."""

    problem: Problem
    count: object = eqx.field(static=True)

    @property
    def is_least_squares(self):
        return self.problem.is_least_squares

    def _note(self, kind, v):
        # The argument makes a mapped operator call back once for each vector.
        jax.debug.callback(lambda _: self.count.append(kind), jnp.sum(v))

    def __call__(self, w):
        self._note("loss", ravel_pytree(w)[0])
        return self.problem(w)

    def residuals(self, w):
        return self.problem.residuals(w)

    def value_and_gradient(self, w):
        self._note("gradient", ravel_pytree(w)[0])
        return self.problem.value_and_gradient(w)

    def hessian(self, w):
        product = self.problem.hessian(w)

        def counted(v):
            self._note("hessian_product", ravel_pytree(v)[0])
            return product(v)

        return counted

    def jacobian(self, w):
        r, product, transpose = self.problem.jacobian(w)

        def counted(operator):
            def apply(v):
                self._note("jacobian_product", ravel_pytree(v)[0])
                return operator(v)

            return apply

        return r, counted(product), counted(transpose)


class Tally(list):
    """A list that can be a static field."""

    def __hash__(self):
        return id(self)

    def __eq__(self, other):
        return self is other


@pytest.mark.slow
@pytest.mark.parametrize("method", [Stabilized(), *slow(RungeKutta4())])
def test_gradient_evaluations_are_counted_honestly(method):
    problem, w = smooth_network("tanh", (1, 4, 1), 0, samples=3)
    tally = Tally()
    s = tw.gradient_flow_solution(Counted(problem, tally), w, rtol=1e-3, method=method)
    jax.effects_barrier()
    spent = sum(getattr(COST, kind) for kind in tally)
    assert s.converged
    assert len(set(tally)) >= 3
    assert s.gradient_evaluations == pytest.approx(spent, rel=0.1)


def test_closed_forms_report_their_cost_too():
    s = tw.gradient_flow_solution(tw.ScalarNetwork(depth=3), jnp.array([1.0, 2.0, 0.5]))
    assert 0 < s.gradient_evaluations < 100


def test_another_solve_of_the_same_structure_compiles_nothing(caplog):
    first, w = smooth_network("tanh", ONE_LAYER, 0)
    tw.gradient_flow_solution(first, w)
    second, start = smooth_network("gelu", ONE_LAYER, 7)
    with jax.log_compiles(), caplog.at_level(logging.WARNING):
        tw.gradient_flow_solution(second, start)
    compiled = [r.getMessage() for r in caplog.records if "XLA compilation" in r.getMessage()]
    assert not compiled
    with jax.log_compiles(), caplog.at_level(logging.WARNING):  # the check can fail
        jax.jit(lambda z: z * 3)(jnp.ones(17))
    assert any("XLA compilation" in r.getMessage() for r in caplog.records)


@pytest.mark.slow
def test_a_previous_solution_does_not_change_the_answer():
    problem, w = smooth_network("tanh", (3, 12, 3), 0, samples=5)
    assert flatten(problem, w)[1].size > 64  # a small Hessian is formed, whatever the start
    cold = tw.gradient_flow_solution(problem, w)
    assert cold.converged
    near = jax.tree.map(lambda a: a + 1e-3, w)
    neighbour = tw.gradient_flow_solution(problem, near)
    warm = tw.gradient_flow_solution(problem, w, previous=neighbour)
    assert warm.converged
    assert agree(warm, cold)
    assert warm.gradient_evaluations <= 1.02 * cold.gradient_evaluations
    true = reference(problem, w)
    assert abs(cold.sharpness - true) <= cold.sharpness_error
    assert abs(warm.sharpness - true) <= warm.sharpness_error


def test_a_previous_solution_that_does_not_fit_is_ignored():
    problem, w = smooth_network("tanh", ONE_LAYER, 0)
    other = tw.gradient_flow_solution(tw.ScalarNetwork(depth=2), jnp.array([2.0, 1.0]))
    assert tw.gradient_flow_solution(problem, w, previous=other).converged


# Bad input


def quadratic(w):
    return 0.5 * jnp.sum(w**2)


@pytest.mark.parametrize(
    ("loss", "w", "kind", "message"),
    [
        (quadratic, jnp.array([1.0, jnp.nan]), ValueError, "NaN or infinity"),
        (quadratic, jnp.array([1.0, jnp.inf]), ValueError, "NaN or infinity"),
        (quadratic, jnp.array([1, 2]), TypeError, "no floating-point array"),
        (quadratic, {"name": "none"}, TypeError, "no floating-point array"),
        (quadratic, jnp.zeros(0), TypeError, "no floating-point array"),
        (quadratic, jnp.array([1j]), TypeError, "complex"),
        (lambda w: w**2, jnp.ones(3), TypeError, r"one real scalar, .* shape \(3,\)"),
        (lambda w: w, jnp.ones(1), TypeError, r"one real scalar, .* shape \(1,\)"),
        (lambda w: jnp.sum(w).astype(complex), jnp.ones(2), TypeError, "one real scalar"),
        (lambda w: "high", jnp.ones(2), (TypeError, ValueError), "loss"),
        (lambda w: jnp.eye(3) @ w, jnp.ones(2), ValueError, "do the shapes fit"),
        (tw.ScalarNetwork(depth=3), jnp.ones(2), ValueError, "shape"),
        (3.0, jnp.ones(2), TypeError, "a Problem or a callable"),
    ],
)
def test_bad_input_is_refused_in_one_line(loss, w, kind, message):
    with pytest.raises(kind, match=message) as refusal:
        tw.gradient_flow_solution(loss, w)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("rtol", [0.0, -1e-4, float("nan")])
def test_rtol_must_be_positive(rtol):
    with pytest.raises(ValueError, match="rtol must be positive"):
        tw.gradient_flow_solution(quadratic, jnp.ones(2), rtol=rtol)


def test_a_closed_form_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="no closed form") as refusal:
        tw.gradient_flow_solution(quadratic, jnp.ones(2), method=ClosedForm())
    assert "\n" not in str(refusal.value)

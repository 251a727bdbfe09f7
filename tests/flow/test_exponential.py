"""Exponential steps: against mpmath, SciPy and closed forms; when they are chosen."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import thalweg as tw
from marks import slow
from thalweg.flow import Exponential, Stabilized
from thalweg.flow.exponential import krogstad, linearize, phi_functions
from thalweg.models import mlp, mlp_init
from thalweg.problems import flatten

X = jnp.linspace(-1.0, 1.0, 8)[:, None]


def fit(predict=mlp, frequency=2.0, width=12):
    problem = tw.Supervised(predict, X, jnp.sin(frequency * X))
    return problem, mlp_init(jax.random.key(1), (1, width, 1), jnp.float64)


def by_scipy(problem, w, time):
    gradient = jax.jit(lambda y: problem.gradient(y))
    return solve_ivp(
        lambda t, y: -np.asarray(gradient(jnp.asarray(y))),
        (0, time),
        np.asarray(w),
        method="DOP853",
        rtol=1e-12,
        atol=1e-14,
    ).y[:, -1]


@pytest.mark.parametrize("z", [0.0, -1e-9, -0.3, -0.999, -1.001, -30.0, -1e9])
def test_phi_functions_agree_with_mpmath(z):
    with mpmath.workdps(60):
        exact, x = [mpmath.exp(z)], mpmath.mpf(z)
        for j in range(1, 5):
            at_zero = 1 / mpmath.factorial(j - 1)
            by_definition = (exact[-1] - at_zero) / x if z else 1 / mpmath.factorial(j)
            exact.append(by_definition)
        exact = [float(value) for value in exact]
    np.testing.assert_allclose(phi_functions(np.array(z), 4), exact, rtol=2e-14)


@pytest.mark.slow
def test_the_matrix_of_derivatives_is_that_of_the_operators():
    flat, w = flatten(*fit())
    r, product, transpose = flat.jacobian(w)
    matrix = flat.jacobian_matrix(w)
    assert matrix.shape == (r.size, w.size)
    np.testing.assert_allclose(matrix @ w, product(w), atol=1e-13)
    np.testing.assert_allclose(r @ matrix, transpose(r), atol=1e-13)


def test_a_step_has_order_four_and_converges_to_the_flow():
    flat, w = flatten(*fit())
    time, errors = 4.0, []
    exact = by_scipy(flat, w, time)
    for steps in (8, 16, 32):
        end = w
        for _ in range(steps):
            end = krogstad(flat, linearize(flat, end), time / steps)[0]
        errors.append(float(jnp.linalg.norm(end - exact)))
    assert errors[-1] < 1e-5
    slopes = np.log2(np.array(errors[:-1]) / errors[1:])
    assert np.all(slopes > 3.3)
    assert np.all(slopes < 5.5)


@pytest.mark.parametrize("seed", [0, *slow(1, 2)])
def test_the_limit_of_squared_regression_is_that_of_the_closed_form(seed):
    rng = np.random.default_rng(seed)
    problem = tw.SquaredRegression(rng.standard_normal((3, 6)), rng.standard_normal(3))
    w = {"u": jnp.asarray(rng.uniform(0.3, 1, 6)), "v": jnp.asarray(rng.uniform(0.3, 1, 6))}
    exact = tw.gradient_flow_solution(problem, w)
    found = tw.gradient_flow_solution(problem, w, method=Exponential())
    assert (exact.method, found.method) == ("closed_form", "exponential")
    assert found.converged
    assert found.sharpness_error <= 1e-4 * found.sharpness
    assert abs(found.sharpness - exact.sharpness) <= found.sharpness_error
    assert found.loss < 1e-20


@pytest.mark.slow
def test_it_is_chosen_where_residuals_are_few_and_the_flow_is_stiff():
    stiff, w = flatten(*fit(frequency=12.0, width=24))
    assert Exponential.applies(stiff, w)
    found = tw.gradient_flow_solution(*fit(frequency=12.0, width=24), rtol=1e-2)
    assert found.method == "exponential"
    assert found.converged
    scalar, start = flatten(lambda w: 0.5 * (w[0] * w[1] - 1) ** 2, jnp.array([1.0, 0.5]))
    assert not Exponential.applies(scalar, start)  # nothing is known of its residuals


def test_samples_that_influence_each_other_are_left_to_the_stabilised_method():
    def normalised(layers, x):
        z = mlp(layers, x)
        return z - jnp.mean(z, axis=0, keepdims=True)

    problem, w = fit(normalised)
    assert not Exponential.applies(*flatten(problem, w))


@pytest.mark.slow
def test_targets_that_contradict_each_other_are_left_to_the_stabilised_method():
    x = jnp.repeat(X, 2, axis=0)
    y = jnp.sin(2 * x) + jnp.tile(jnp.array([[-1.0], [1.0]]), (8, 1))
    w = mlp_init(jax.random.key(1), (1, 24, 1), jnp.float64)
    problem = tw.Supervised(mlp, x, y)
    assert not Exponential.applies(*flatten(problem, w))
    chosen = tw.gradient_flow_solution(problem, w, max_gradient_evaluations=100).method
    assert chosen == Stabilized().name == "stabilized"

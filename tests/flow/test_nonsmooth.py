"""Losses with kinks: they are recognised, followed, and said to be set-valued where they are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import thalweg as tw
from cases import activated_network, squared_regression
from dense import hessian, residuals_and_jacobian
from marks import slow
from thalweg.flow import Kinked, Status
from thalweg.flow.gradient_jumps import has_gradient_jumps
from thalweg.flow.one_sided_sharpness import nearest_jump, one_sided_sharpness
from thalweg.problems import flatten


@pytest.mark.parametrize("dtype", [jnp.float64, *slow(jnp.float32)])
@pytest.mark.parametrize(
    ("activation", "kinked"),
    [
        (jnp.tanh, False),
        (jax.nn.softplus, False),
        (jax.nn.gelu, False),
        (jax.nn.relu, True),
        (jax.nn.leaky_relu, True),
    ],
)
def test_kinks_are_told_from_curvature(activation, kinked, dtype):
    for seed in range(3):
        problem, w = activated_network(activation, seed)
        w = jax.tree.map(lambda a: a.astype(dtype), w)
        if dtype == jnp.float32:
            problem = tw.Supervised(
                problem.predict, problem.x.astype(dtype), problem.y.astype(dtype)
            )
        assert has_gradient_jumps(*flatten(problem, w)) is kinked


def test_a_point_of_symmetry_is_no_kink():
    for loss in (
        lambda w: w[0] ** 2 + jnp.cos(w[1]),
        lambda w: jnp.sum(w**2),
        lambda w: jnp.sum(w**4),
    ):
        assert not has_gradient_jumps(*flatten(loss, jnp.asarray([1.0, 0.0])))


@pytest.mark.slow
def test_on_a_smooth_loss_the_bar_covers_the_closed_form():
    for seed in range(6):
        problem, w = squared_regression(seed)
        exact = tw.gradient_flow_solution(problem, w)
        found = tw.gradient_flow_solution(problem, w, rtol=1e-2, method=Kinked())
        assert abs(found.sharpness - exact.sharpness) <= found.sharpness_error
        assert found.status in (Status.CONVERGED, Status.SET_VALUED)
        assert found.sharpness_error <= 0.05 * exact.sharpness


def independent_limit(problem, w):
    """Follow the flow by short steps of Euler's method, then take Gauss-Newton limits."""
    flat, v = flatten(problem, w)
    step = 0.2 / float(np.linalg.eigvalsh(hessian(flat, v))[-1])
    euler = jax.jit(
        lambda v: jax.lax.fori_loop(0, 20_000, lambda _, v: v - step * jax.grad(flat)(v), v)
    )
    for _ in range(10):
        v = euler(v)
    for _ in range(3):
        residuals, jacobian = map(np.asarray, residuals_and_jacobian(flat, v))
        v = v - np.linalg.lstsq(jacobian, residuals, rcond=1e-10)[0]
    assert float(flat(v)) < 1e-12
    return float(np.linalg.eigvalsh(hessian(flat, v))[-1])


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_networks_of_relu_units_are_chosen_for_and_covered(seed):
    problem, w = activated_network(jax.nn.relu, seed)
    found = tw.gradient_flow_solution(problem, w, rtol=1e-2)
    assert found.method == "kinked"
    assert found.status in (Status.CONVERGED, Status.SET_VALUED)
    assert abs(found.sharpness - independent_limit(problem, w)) <= found.sharpness_error
    assert found.sharpness_error <= 0.1 * found.sharpness  # the sides themselves spread by 5 %


@pytest.mark.parametrize("activation", slow(jnp.tanh, jax.nn.silu, jax.nn.gelu))
def test_deep_networks_at_large_scales_have_no_kinks(activation):
    for seed in range(6):
        problem, w = activated_network(activation, seed, widths=(5, *(8,) * 8, 2))
        assert not has_gradient_jumps(*flatten(problem, jax.tree.map(lambda a: 2.0 * a, w)))


def test_rounding_is_no_kink():
    problem, w = activated_network(jnp.tanh)
    flat, v = flatten(problem, w)

    def rounded(v):
        return problem(flat.tree(v.astype(jnp.float32))).astype(jnp.float64)

    assert not has_gradient_jumps(*flatten(rounded, v))


@pytest.mark.slow
def test_a_slope_that_jumps_is_no_kink():
    for seed in range(3):
        assert not has_gradient_jumps(*flatten(*activated_network(jax.nn.elu, seed)))


def kinked_parabola(w):
    return 0.5 * w[0] ** 2 + jax.nn.relu(w[1]) ** 2 + 1e-3 * jnp.sum(w**2)


def test_the_spread_is_that_of_the_sides_of_a_jump():
    flat, w = flatten(kinked_parabola, jnp.asarray([1.0, 0.0]))
    spread = one_sided_sharpness(flat, w, 1e-6, 1e-5)
    assert spread.lowest == pytest.approx(1.002)
    assert spread.highest == pytest.approx(2.002)
    assert spread.work > 0


@pytest.mark.parametrize("beside", [0.0, 1e-9, -1e-6, 3e-5, -3e-5])
def test_jumps_are_seen_where_they_are_near(beside):
    near, work = nearest_jump(*flatten(kinked_parabola, jnp.asarray([1.0, beside])))
    assert abs(beside) < near < 1e-3
    assert work > 0


@pytest.mark.slow
def test_smooth_minima_have_no_jumps_near():
    losses = (
        lambda w: 0.5 * (1 - w[0] * w[1]) ** 2,
        lambda w: jnp.sum(w**4),
        lambda w: jnp.sum(jnp.cosh(3 * w)),
        lambda w: (w[0] - w[1]) ** 2,
    )
    for loss in losses:
        assert nearest_jump(*flatten(loss, jnp.asarray([1.0, 1.0])))[0] == np.inf

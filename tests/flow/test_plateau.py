"""Flows that pass close to a saddle, where a small error decides when they leave it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import thalweg as tw
from thalweg.problems import flatten


def deep_linear():
    """Six linear layers, 10 units wide, that stay at a loss of 5.5e-4 from time 10³ to 10⁵."""
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (30, 10), jnp.float64)
    y = x @ jax.random.normal(keys[1], (10, 10)) / 4
    problem = tw.Supervised(lambda w, x: tw.models.mlp(w, x, lambda z: z), x, y)
    w = tw.models.mlp_init(keys[2], (10,) * 7, jnp.float64)
    gradient = jax.jit(lambda w: problem.gradient(w))
    for _ in range(100):
        w = jax.tree.map(lambda a, g: a - 0.02 * g, w, gradient(w))
    return problem, w


@pytest.mark.slow
def test_error_bars_hold_after_a_plateau():
    problem, w = deep_linear()
    flat, v = flatten(problem, w)
    gradient, hessian = jax.jit(lambda v: flat.gradient(v)), jax.jit(jax.hessian(lambda v: flat(v)))
    flow = solve_ivp(
        lambda t, v: -np.asarray(gradient(v)),
        (0.0, 1e6),
        np.asarray(v),
        method="LSODA",
        rtol=1e-10,
        atol=1e-12,
        jac=lambda t, v: -np.asarray(hessian(v)),
    )
    known = np.linalg.eigvalsh(np.asarray(hessian(flow.y[:, -1])))[-1]
    for rtol in (1e-4, 1e-5):
        s = tw.gradient_flow_solution(problem, w, rtol=rtol, method=tw.flow.Stabilized())
        assert s.status is tw.Status.CONVERGED
        assert abs(s.sharpness - known) <= s.sharpness_error

"""Flows that pass close to a saddle, where a small error decides when they leave it."""

import jax
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import thalweg as tw
from hard_flows import deep_linear
from thalweg.problems import flatten


@pytest.mark.slow
def test_error_bars_hold_after_a_plateau():
    start = deep_linear()  # at a plateau from time 10³ to 10⁵
    problem, w = start.problem, start.w
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

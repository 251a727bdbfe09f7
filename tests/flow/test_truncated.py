"""The sharpness where the flow first reaches a loss level, for losses without a minimiser."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import thalweg as tw
from cases import classifier
from marks import slow
from thalweg.flow import Status

SEPARABLE, START = classifier()
MIXED, _ = classifier(separable=False)


@eqx.filter_jit
def derivatives(problem, w):
    def loss(v):
        return problem(v.reshape(START.shape))

    return loss(w), jax.grad(loss)(w), jax.hessian(loss)(w)


def crossing(problem, level):
    """Return where the flow from `START` crosses `level`, and the sharpness there, by LSODA."""

    def event(t, w):
        return float(derivatives(problem, jnp.asarray(w))[0]) - level

    event.terminal = True
    found = solve_ivp(
        lambda t, w: -np.asarray(derivatives(problem, jnp.asarray(w))[1]),
        (0, 1e6),
        np.asarray(START).ravel(),
        method="LSODA",
        rtol=1e-11,
        atol=1e-13,
        events=event,
    )
    assert found.status == 1, "the reference does not reach the level"
    w = jnp.asarray(found.y_events[0][0])
    return w, np.linalg.eigvalsh(np.asarray(derivatives(problem, w)[2]))[-1]


@pytest.mark.parametrize(
    ("level", "rtol"), [(0.1, 1e-4), *slow((0.5, 1e-4), (0.01, 1e-4), (0.1, 1e-6))]
)
def test_the_crossing_agrees_with_lsoda(level, rtol):
    problem = SEPARABLE
    w, sharpness = crossing(problem, level)
    s = tw.truncated_sharpness(problem, START, level=level, rtol=rtol)
    assert s.status is Status.CONVERGED
    assert s.converged
    assert s.method == "truncated"
    assert abs(s.sharpness - sharpness) <= s.sharpness_error <= rtol * s.sharpness
    assert s.loss == pytest.approx(level, rel=rtol)
    np.testing.assert_allclose(s.w.ravel(), w, rtol=10 * rtol)
    assert s.gradient_evaluations > 0


def test_a_level_on_the_way_to_a_minimum_is_found_too():
    problem = MIXED
    minimum = tw.gradient_flow_solution(problem, START).loss
    level = 0.5 * (minimum + float(problem(START)))
    _, sharpness = crossing(problem, level)
    s = tw.truncated_sharpness(problem, START, level=level)
    assert s.converged
    assert abs(s.sharpness - sharpness) <= s.sharpness_error


def test_a_level_below_the_minimum_is_not_reached():
    problem = MIXED
    minimum = tw.gradient_flow_solution(problem, START).loss
    s = tw.truncated_sharpness(problem, START, level=0.9 * minimum)
    assert s.status is Status.LEVEL_NOT_REACHED
    assert not s.converged
    assert s.sharpness_error == np.inf
    assert "level" in s.status.advice


def test_a_level_that_is_not_below_the_start_is_refused():
    problem = SEPARABLE
    initial = float(problem(START))
    for level in (initial, 2 * initial, float("nan")):
        with pytest.raises(ValueError, match="level must be below the loss at w") as refusal:
            tw.truncated_sharpness(problem, START, level=level)
        assert "\n" not in str(refusal.value)


def test_rtol_must_be_positive():
    with pytest.raises(ValueError, match="rtol must be positive"):
        tw.truncated_sharpness(SEPARABLE, START, level=0.1, rtol=0.0)


def test_budget_and_stop_are_statuses():
    problem = SEPARABLE
    spent = tw.truncated_sharpness(problem, START, level=0.01, max_gradient_evaluations=30)
    assert spent.status is Status.BUDGET_EXHAUSTED
    assert spent.sharpness_error == np.inf
    late = tw.truncated_sharpness(problem, START, level=0.01, max_seconds=1e-9)
    assert late.status is Status.BUDGET_EXHAUSTED
    stopped = tw.truncated_sharpness(problem, START, level=0.01, report=lambda progress: True)
    assert stopped.status is Status.STOPPED

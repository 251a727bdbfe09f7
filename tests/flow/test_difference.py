"""The fall of the GFS sharpness between neighbours: against closed forms and tighter solves."""

import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import thalweg as tw
from cases import smooth_network, squared_regression
from marks import slow
from thalweg import ScalarNetwork
from thalweg.flow import Exponential, Stabilized, Status, gfs_sharpness_fall

STABILIZED = Stabilized()


def descended(problem, w, step_size=0.01):
    gradient = problem.value_and_gradient(w)[1]
    return jax.tree.map(lambda a, g: a - step_size * g, w, gradient)


@pytest.mark.slow
def test_falls_are_covered_and_sharper_than_the_values():
    covered, gains = [], []
    for seed in range(6):
        problem, w = squared_regression(seed)
        w_next = descended(problem, w)
        here, there = (tw.gradient_flow_solution(problem, v, rtol=1e-8) for v in (w, w_next))
        exact = here.sharpness - there.sharpness
        solution = tw.gradient_flow_solution(problem, w, rtol=1e-3, method=STABILIZED)
        fall = gfs_sharpness_fall(problem, w, w_next, rtol=1e-3, solution=solution)
        assert fall.status is Status.CONVERGED
        covered.append(abs(fall.fall - exact) <= fall.error)
        gains.append(2 * solution.sharpness_error / fall.error)
    assert all(covered)
    assert np.median(gains) > 5


def test_a_step_too_small_for_two_values_is_decided_by_its_fall():
    problem, w = squared_regression(3)
    w_next = descended(problem, w, 1e-3)
    one, other = (tw.gradient_flow_solution(problem, v, method=STABILIZED) for v in (w, w_next))
    assert abs(one.sharpness - other.sharpness) < one.sharpness_error + other.sharpness_error
    fall = gfs_sharpness_fall(problem, w, w_next, solution=one)
    exact = [tw.gradient_flow_solution(problem, v).sharpness for v in (w, w_next)]
    assert fall.fall == pytest.approx(exact[0] - exact[1], abs=fall.error)
    assert abs(fall.fall) > 10 * fall.error


def test_a_fall_that_its_two_values_contradict_is_their_difference():
    problem, w = squared_regression(3)
    w_next = descended(problem, w, 1e-3)
    here, there = (tw.gradient_flow_solution(problem, v, method=STABILIZED) for v in (w, w_next))
    bars = here.sharpness_error + there.sharpness_error
    fall = gfs_sharpness_fall(problem, w, w_next, solution=here, solution_next=there)
    assert fall.error < 0.1 * bars
    other = replace(there, sharpness=there.sharpness + 3 * bars)
    fall = gfs_sharpness_fall(problem, w, w_next, solution=here, solution_next=other)
    assert (fall.fall, fall.error) == (here.sharpness - other.sharpness, bars)


@pytest.mark.parametrize("method", slow(STABILIZED, Exponential()))
def test_networks_agree_with_tight_solves(method):
    problem, w = smooth_network(seed=1)
    w_next = descended(problem, w, 1e-3)
    tight = [tw.gradient_flow_solution(problem, v, rtol=1e-6, method=method) for v in (w, w_next)]
    solution = tw.gradient_flow_solution(problem, w, rtol=1e-3, method=method)
    fall = gfs_sharpness_fall(problem, w, w_next, rtol=1e-3, solution=solution)
    left = sum(s.sharpness_error for s in tight)
    assert abs(fall.fall - (tight[0].sharpness - tight[1].sharpness)) <= fall.error + left
    assert fall.error < 0.2 * solution.sharpness_error


def test_a_start_does_not_fall_from_itself():
    problem, w = squared_regression(0)
    solution = tw.gradient_flow_solution(problem, w, method=STABILIZED)
    fall = gfs_sharpness_fall(problem, w, w, solution=solution)
    assert abs(fall.fall) <= fall.error < 1e-6 * solution.sharpness


def test_closed_forms_fall_between_two_exact_values():
    problem, w = squared_regression(1)
    w_next = descended(problem, w)
    values = [tw.gradient_flow_solution(problem, v) for v in (w, w_next)]
    fall = gfs_sharpness_fall(problem, w, w_next)
    assert fall.fall == pytest.approx(values[0].sharpness - values[1].sharpness, abs=fall.error)
    assert fall.error < 1e-9


def test_what_cannot_be_followed_is_a_status():
    problem, w = squared_regression(2)
    w_next = descended(problem, w)
    spent = tw.gradient_flow_solution(
        problem, w, method=STABILIZED, max_gradient_evaluations=50, rtol=1e-6
    )
    assert gfs_sharpness_fall(problem, w, w_next, solution=spent).status is Status.BUDGET_EXHAUSTED
    solution = tw.gradient_flow_solution(problem, w, method=STABILIZED)
    for answer, status in [
        ({"max_gradient_evaluations": 20}, Status.BUDGET_EXHAUSTED),
        ({"max_seconds": 1e-9}, Status.BUDGET_EXHAUSTED),
        ({"report": lambda progress: True}, Status.STOPPED),
    ]:
        fall = gfs_sharpness_fall(problem, w, w_next, solution=solution, **answer)
        assert (fall.status, fall.error) == (status, math.inf)
        assert math.isnan(fall.fall)


def test_other_shapes_are_refused_in_one_line():
    with pytest.raises(ValueError, match="different shapes"):
        gfs_sharpness_fall(lambda v: jnp.sum(v**2), jnp.ones(2), jnp.ones(3))


def test_a_run_measures_falls_where_its_bars_leave_them_open():
    problem, w = squared_regression(4)
    measured = tw.GFSSharpness(every=1, method=STABILIZED, rtol=1e-3)
    data = tw.descend(problem, w, step_size=1e-3, steps=3, measurements=[measured]).dataset
    data = data.isel(run=0)
    values, errors = data["gfs_sharpness"].values, data["gfs_sharpness_error"].values
    falls, fall_errors = data["gfs_fall"].values, data["gfs_fall_error"].values
    assert tw.monotonicity(values, errors).undecided == 3
    assert np.isnan(falls[-1])
    assert np.isfinite(falls[:-1]).all()
    known = tw.monotonicity(values, errors, falls=falls, fall_errors=fall_errors)
    assert known.undecided == 0
    exact = tw.GFSSharpness(every=1)
    data = tw.descend(problem, w, step_size=1e-3, steps=3, measurements=[exact]).dataset
    true = -np.diff(data["gfs_sharpness"].values[0])
    assert (np.abs(falls[:-1] - true) <= fall_errors[:-1]).all()


@pytest.mark.parametrize(
    "w_next",
    # Sharper by far than the steps from `w` can take: unstable there, or far too long.
    [[8.0, 2.0, 0.06], *slow([5.0, 5.0, 0.04], [60.0, 1.0, 0.02])],
)
def test_starts_far_apart_are_covered_too(w_next):
    network, w = ScalarNetwork(3), jnp.array([0.6, 0.6, 0.6])
    solution = tw.gradient_flow_solution(network, w, method=STABILIZED)
    fall = gfs_sharpness_fall(network, w, jnp.array(w_next), solution=solution)
    exact = [tw.gradient_flow_solution(network, jnp.asarray(v)).sharpness for v in (w, w_next)]
    assert fall.status is Status.CONVERGED
    assert abs(fall.fall - (exact[0] - exact[1])) <= fall.error
    assert fall.error <= 2.5e-4 * max(exact)

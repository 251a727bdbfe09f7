"""What a method is tuned by: the control of its steps, and the ladder of its tolerances."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import thalweg as tw
from cases import scalar_network
from thalweg.flow import Ladder, Stabilized, StepControl

errors = st.floats(0, 1e300)


@given(errors, errors)
def test_a_larger_error_makes_no_longer_step(one, other):
    control = StepControl()
    low, high = sorted([one, other])
    assert 0.2 <= control.factor(high) <= control.factor(low) <= 5.0


@given(st.floats(0.1, 10.0), st.integers(2, 5))
def test_the_step_proposed_has_the_tolerated_error_but_for_safety(step, order):
    """Of a method whose error is `step ** order`."""
    control = StepControl(safety=1.0, shortest=0.0, longest=np.inf, order=order)
    assert (step * control.factor(step**order)) ** order == pytest.approx(1.0)


@given(st.floats(1e-9, 1.0), st.floats(0, 1e-3))
def test_tolerances_decrease_and_stay_above_the_finest(rtol, finest):
    tolerances = Ladder(1e-3).tolerances(rtol, finest)
    assert len(tolerances) >= 2
    assert all(np.diff(tolerances) < 0)
    assert min(tolerances) >= finest


def test_a_finer_ladder_costs_more_and_agrees():
    problem, w = scalar_network()
    usual, finer = (
        tw.gradient_flow_solution(problem, w, rtol=1e-3, method=method)
        for method in (Stabilized(), Stabilized(ladder=Ladder(1e-5)))
    )
    assert finer.gradient_evaluations > 1.2 * usual.gradient_evaluations
    assert abs(finer.sharpness - usual.sharpness) <= usual.sharpness_error


def test_steps_that_may_not_grow_are_more():
    problem, w = scalar_network()
    usual, timid = (
        tw.gradient_flow_solution(problem, w, rtol=1e-3, method=method)
        for method in (Stabilized(), Stabilized(control=StepControl(longest=1.01)))
    )
    assert len(timid.step_records.fine.lengths) > len(usual.step_records.fine.lengths)
    assert abs(timid.sharpness - usual.sharpness) <= usual.sharpness_error


@given(st.floats(1e-8, 1e-2), st.floats(1.5, 100.0))
def test_tolerances_fall_like_a_power_of_the_accuracy_asked_for(rtol, finer):
    ladder = Ladder(0.1, power=0.75)
    one, other = ladder.tolerances(rtol), ladder.tolerances(rtol / finer)
    np.testing.assert_allclose(np.divide(one, other), finer**0.75)


def test_tolerances_are_never_looser_than_the_loosest():
    ladder = Ladder(0.1, loosest=1e-4)
    np.testing.assert_allclose(ladder.tolerances(1e-2), ladder.tolerances(1e-3))
    np.testing.assert_allclose(ladder.tolerances(1e-4), Ladder(0.1).tolerances(1e-4))


@pytest.mark.slow
def test_a_neighbour_leaves_out_tolerances_that_were_too_coarse():
    problem, w = scalar_network()
    method, accuracy = Stabilized(ladder=Ladder(4.0)), 1e-4
    first = tw.gradient_flow_solution(problem, w, rtol=accuracy, method=method)
    neighbour = tw.gradient_flow_solution(problem, w, rtol=accuracy, method=method, previous=first)
    assert first.converged
    assert neighbour.converged
    assert first.too_coarse > 0
    assert neighbour.gradient_evaluations < 0.8 * first.gradient_evaluations
    exact = tw.gradient_flow_solution(problem, w).sharpness
    assert abs(neighbour.sharpness - exact) <= neighbour.sharpness_error


@pytest.mark.slow
def test_a_neighbour_tries_a_coarser_pair_where_the_finer_one_had_room():
    problem, w = scalar_network()
    usual = tw.gradient_flow_solution(problem, w, method=Stabilized())
    assert usual.too_coarse == 0
    finer = tw.gradient_flow_solution(
        problem, w, method=Stabilized(), previous=replace(usual, too_coarse=2)
    )
    assert finer.gradient_evaluations > 1.2 * usual.gradient_evaluations
    assert finer.too_coarse == 1

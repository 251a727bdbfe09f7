"""What a method is tuned by: the control of its steps, and the ladder of its tolerances."""

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

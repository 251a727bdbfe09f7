"""The shift of a limit by a coarser tolerance, known before the coarse flow is at its own limit."""

import itertools

import pytest

import thalweg as tw
from cases import scalar_network, smooth_network
from thalweg.flow import Ladder, Stabilized, Status, tolerance_pair, work_budget
from thalweg.flow.integrate import FlowIntegrator
from thalweg.flow.shifted_limit import ShiftedIntegrator

TOO_COARSE = Stabilized(ladder=Ladder(0.1))  # for the first two tolerances


@pytest.fixture
def integrations(monkeypatch):
    """Those of a flow at its tolerances, in the order in which they began."""
    found, add = [], tolerance_pair._ToleranceRefinement._add

    def noted(self, integrator, tolerance):
        found.append(add(self, integrator, tolerance))
        return found[-1]

    monkeypatch.setattr(tolerance_pair._ToleranceRefinement, "_add", noted)
    return found


@pytest.mark.parametrize("seed", [0, *(pytest.param(s, marks=pytest.mark.slow) for s in (1, 2, 3))])
def test_the_shift_is_that_of_the_coarse_limit(integrations, monkeypatch, seed):
    """Against the same two tolerances, each followed to its own limit."""
    problem, w = smooth_network("tanh", (4, 8, 2), seed)
    tw.gradient_flow_solution(problem, w, method=Stabilized())
    fine, coarse = integrations[:2]
    assert isinstance(coarse.integrator, ShiftedIntegrator)
    assert coarse.limit.beside is not None
    assert coarse.integrator.time < fine.integrator.time
    shift = coarse.limit.sharpness - coarse.limit.beside.sharpness
    assert coarse.limit.shifted_to(fine.limit).sharpness == fine.limit.sharpness + shift
    monkeypatch.setattr("thalweg.flow.stabilized.ShiftedIntegrator", None)
    tw.gradient_flow_solution(problem, w, method=Stabilized())
    finer, whole = integrations[-2:]
    assert type(whole.integrator) is FlowIntegrator
    errors = coarse.limit.error + finer.limit.error + whole.limit.error
    assert abs(shift - (whole.limit.sharpness - finer.limit.sharpness)) <= errors
    assert whole.integrator.work_of_steps > coarse.integrator.work_of_steps


def test_a_finer_flow_whose_shift_is_too_large_is_left_on_its_way(integrations):
    problem, w = smooth_network("tanh", (4, 8, 2), 0)
    s = tw.gradient_flow_solution(problem, w, method=TOO_COARSE)
    exact = tw.gradient_flow_solution(problem, w, rtol=1e-6, method=Stabilized())
    assert abs(s.sharpness - exact.sharpness) <= s.sharpness_error + exact.sharpness_error
    fine, coarse, finer, again = integrations[:4]
    assert fine.limit is None
    assert (finer.tolerance, again.tolerance) == (
        fine.tolerance / TOO_COARSE.ladder.ratio,
        fine.tolerance,
    )
    assert coarse.integrator.time <= fine.integrator.time <= again.integrator.time
    assert again.integrator.budget.spent < fine.integrator.budget.spent


@pytest.mark.slow
def test_a_flow_goes_on_from_wherever_it_was_stopped(monkeypatch):
    problem, w = smooth_network("tanh", (4, 8, 2), 0)
    whole = tw.gradient_flow_solution(problem, w, method=TOO_COARSE)
    monkeypatch.setattr(work_budget, "REPORT_INTERVAL", -1.0)
    for after in range(5, 400, 23):
        reports, standing = itertools.count(), []

        def stop(progress, reports=reports, standing=standing, after=after):
            standing[:] = [progress.standing()]
            return next(reports) == after

        stopped = tw.gradient_flow_solution(problem, w, method=TOO_COARSE, report=stop)
        again = tw.gradient_flow_solution(problem, w, method=TOO_COARSE, standing=standing[0])
        assert (again.sharpness, again.sharpness_error) == (whole.sharpness, whole.sharpness_error)
        assert again.gradient_evaluations == whole.gradient_evaluations
        if stopped.status is not Status.STOPPED:
            break
    assert after > 100


@pytest.mark.parametrize("ratio", [6.0, 60.0])
def test_several_comparisons_within_one_coarse_step(ratio):
    network, w = scalar_network(4, 3)
    method = Stabilized(ladder=Ladder(1.0, ratio=ratio))
    s = tw.gradient_flow_solution(network, w, rtol=1e-2, method=method)
    exact = tw.gradient_flow_solution(network, w).sharpness
    assert abs(s.sharpness - exact) <= s.sharpness_error

"""The shift of a limit by a coarser tolerance, known before the coarse flow is at its own limit."""

import pytest

import thalweg as tw
from cases import scalar_network, smooth_network
from thalweg.flow import Ladder, Stabilized, tolerance_pair
from thalweg.flow.integrate import FlowIntegrator
from thalweg.flow.shifted_limit import ShiftedIntegrator


@pytest.fixture
def limits(monkeypatch):
    """The integrators of a flow and their limits, in the order in which they came."""
    found, integrate = [], tolerance_pair._ToleranceRefinement._integrate

    def noted(self, tolerance, vector):
        limit = integrate(self, tolerance, vector)
        found.append((self.integrators[-1], limit))
        return limit

    monkeypatch.setattr(tolerance_pair._ToleranceRefinement, "_integrate", noted)
    return found


@pytest.mark.parametrize("seed", [0, *(pytest.param(s, marks=pytest.mark.slow) for s in (1, 2, 3))])
def test_the_shift_is_that_of_the_coarse_limit(limits, monkeypatch, seed):
    """Against the same coarse tolerance followed to its own limit."""
    problem, w = smooth_network("tanh", (4, 8, 2), seed)
    tw.gradient_flow_solution(problem, w, method=Stabilized())
    (fine, its_limit), (coarse, shifted) = limits[:2]
    assert isinstance(coarse, ShiftedIntegrator)
    assert shifted.beside is not None
    assert coarse.time < fine.time
    monkeypatch.setattr("thalweg.flow.stabilized.ShiftedIntegrator", None)
    tw.gradient_flow_solution(problem, w, method=Stabilized())
    (_, same_limit), (whole, limit) = limits[-2:]
    assert type(whole) is FlowIntegrator
    assert same_limit.sharpness == its_limit.sharpness
    assert abs(shifted.sharpness - limit.sharpness) <= shifted.error + limit.error
    assert whole.work_of_steps > coarse.work_of_steps


@pytest.mark.parametrize("coarsening", [6.0, 60.0])
def test_several_comparisons_within_one_coarse_step(coarsening):
    network, w = scalar_network(4, 3)
    method = Stabilized(ladder=Ladder(1.0, coarsening=coarsening))
    s = tw.gradient_flow_solution(network, w, rtol=1e-2, method=method)
    exact = tw.gradient_flow_solution(network, w).sharpness
    assert abs(s.sharpness - exact) <= s.sharpness_error

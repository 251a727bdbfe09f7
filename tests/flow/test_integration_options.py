"""The choices of an integration: what they allow, and that values do not depend on them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import thalweg as tw
from cases import scalar_network
from thalweg.flow import LimitSearch, LocalErrors, SpectralBound, Stabilized

positive = st.floats(1e-6, 1e6)


@given(*[positive] * 4)
def test_a_step_may_err_by_little_however_short_it_is_and_by_no_more_than_is_left(
    size, stiffness, moved, left
):
    errors, tolerance = LocalErrors(), 2.0**-17  # a power of two: scaling by it does not round
    free = errors.allowed(tolerance, size, stiffness, moved, np.inf)
    assert free >= errors.least * tolerance * size
    way = min(errors.motion * tolerance, errors.most_motion) * moved
    assert free <= max(errors.least * tolerance * size, way)
    near = errors.allowed(tolerance, size, stiffness, moved, left)
    assert min(free, tolerance * size) <= near <= max(errors.remaining * left, tolerance * size)


def test_the_error_grows_with_the_step():
    allowed = [LocalErrors().allowed(1e-5, 1.0, h, 1.0, np.inf) for h in (1.0, 100.0, 200.0)]
    np.testing.assert_allclose(allowed, [1e-4, 1e-3, 2e-3])


@pytest.mark.slow
@pytest.mark.parametrize(
    "dearer",
    [
        Stabilized(errors=LocalErrors(least=0.1, motion=1.0)),
        Stabilized(bound=SpectralBound(tolerance=1e-4, lifetime=10.0)),
        Stabilized(search=LimitSearch(stopping=1e-4)),
    ],
)
def test_other_choices_cost_more_and_agree(dearer):
    network, w = scalar_network()
    exact = tw.gradient_flow_solution(network, w).sharpness
    usual = tw.gradient_flow_solution(network, w, method=Stabilized())
    found = tw.gradient_flow_solution(network, w, method=dearer)
    assert found.converged
    assert abs(found.sharpness - exact) <= found.sharpness_error
    assert found.gradient_evaluations > 1.05 * usual.gradient_evaluations

"""Any loss: a stabilised explicit method, whose cost grows with the root of the stiffness."""

from dataclasses import dataclass, field
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array

from thalweg.flow.integrate import FlowIntegrator
from thalweg.flow.integration_options import (
    IntegrationOptions,
    LimitSearch,
    LocalErrors,
    SpectralBound,
)
from thalweg.flow.method import Request
from thalweg.flow.shifted_limit import ShiftedIntegrator
from thalweg.flow.solution import FlowSolution
from thalweg.flow.step_control import StepControl
from thalweg.flow.tolerance_pair import Ladder, TolerancePair, solve
from thalweg.problems import FlatProblem

LADDER = Ladder(4e-4, loosest=2e-7)
FINEST = 0.1  # in units of the rounding unit: below it nothing is gained


@dataclass(frozen=True)
class Stabilized:
    """RKC2 with a tracked spectral bound, completed by the limit of the linearised flow.

    The flow is integrated twice, at local tolerances a factor of six apart, and the sharpness is
    extrapolated from the two, by a third of their difference: their errors have a ratio near 4.
    The error bar is the sum of 0.6 of that difference (or of what the distance of the two
    endpoints, or the sum of the local errors on the way, would make of it, if that is more), of the
    change of the sharpness between linearised limits taken one after the other (the stopping
    error), of the residual of the eigenpair, and of rounding; it is widened up to three times where
    it stays within `rtol`, and is never below `rtol / 1000`. Where it exceeds `rtol`,
    or the difference shows early that it would, the flow is integrated at a finer tolerance. The
    bar is an estimate, not a proof.

    Attributes
    ----------
    ladder
        Local tolerances; the error bar is calibrated for the default.
    control, errors, bound, search
        The length of steps, the local errors they may make, the spectral bound they rely on, and
        when the limit is looked for.
    """

    ladder: Ladder = LADDER
    control: StepControl = field(default_factory=StepControl)
    errors: LocalErrors = field(default_factory=LocalErrors)
    bound: SpectralBound = field(default_factory=SpectralBound)
    search: LimitSearch = field(default_factory=LimitSearch)

    name: ClassVar[str] = "stabilized"

    def solve(self, problem: FlatProblem, w: Array, request: Request) -> FlowSolution:
        """Follow the flow from the vector `w`, shape `(p,)`, to its limit."""
        finest = FINEST * float(jnp.finfo(w.dtype).eps)
        tolerances = self.ladder.tolerances(request.rtol, finest)
        options = IntegrationOptions(self.control, self.errors, self.bound, self.search)
        pair = TolerancePair(
            *(self.name, FlowIntegrator, tolerances, options), comparing=ShiftedIntegrator
        )
        return solve(pair, problem, w, request)

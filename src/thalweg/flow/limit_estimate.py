"""The limit of a flow: estimated by that of the linearised flow, or reached, at rest."""

from dataclasses import dataclass, replace
from math import inf, isfinite, nan

from jaxtyping import Array

from thalweg.curvature import Eigenpairs
from thalweg.flow.linearized_limit import LinearizedLimit, LinearizedSolver
from thalweg.flow.solution import Status
from thalweg.flow.step_record import Endpoint, StepRecord
from thalweg.problems.programs import distance, norm

LEAST_CHANGE = 0.12  # of the sharpness from limit to limit, in units of their relative distance


@dataclass(frozen=True)
class Limit:
    """The end of a flow as integrated at one tolerance.

    `error` bounds what is missing from stopping early and from the eigensolver, not the error of
    the integration; `local_errors` is the sum of those of its steps (`FlowState.errors`). `status`
    is `None` at a minimum; then `step_record` says how it was reached. `detail` is what else is to
    be said of how it ended. One that is known by its distance from another flow's, on the way, has
    the estimate of that which is `beside` it.
    """

    w: Array
    sharpness: float
    error: float
    loss: float
    eigenvector: Array | None
    status: Status | None = None
    step_record: StepRecord | None = None
    detail: str = ""
    beside: "LimitEstimate | None" = None
    local_errors: float = 0.0

    def shifted_to(self, other: "Limit") -> "Limit":
        """Return the limit as far from `other`'s as it is from the estimate beside it."""
        if self.beside is None:
            return self
        sharpness = other.sharpness + (self.sharpness - self.beside.sharpness)
        return replace(self, sharpness=sharpness, w=other.w + (self.w - self.beside.limit.w))


@dataclass(frozen=True)
class LimitEstimate:
    """The limit of a flow, estimated by that of the flow linearised at a `time`, after `steps`.

    `solver` repeats it from another point, with as many iterations.
    """

    time: float
    steps: int
    solver: LinearizedSolver
    work: float
    limit: LinearizedLimit
    loss: float
    pairs: Eigenpairs | None

    @property
    def sharpness(self) -> float:
        """The sharpness at the limit, NaN where it was not computed."""
        return float(self.pairs.values[0]) if self.pairs is not None else nan

    @property
    def residual(self) -> float:
        """The residual of the eigenpair, infinite where there is none."""
        return float(self.pairs.residuals[0]) if self.pairs is not None else inf

    def error_from(self, earlier: "LimitEstimate") -> float:
        """Return an estimate of the error of the sharpness, from an earlier estimate of the limit.

        A change may be small by accident, the distance of two limits hardly; and all earlier ones
        are asked. Two estimates from nearly the same point do not tell that either is right
        (infinity).
        """
        part = self.error_ratio(earlier)
        if part == inf:
            return inf
        moved = distance(self.limit.w, earlier.limit.w) / max(norm(self.limit.w), 1e-300)
        change = abs(self.sharpness - earlier.sharpness)
        return part * max(change, LEAST_CHANGE * abs(self.sharpness) * moved)

    def error_ratio(self, earlier: "LimitEstimate") -> float:
        """Return the error in units of the change since an earlier estimate.

        The error of a linearised limit is about quadratic in its length.
        """
        length = self.limit.length
        ratio = (earlier.limit.length / length) ** 2 if length > 0 else inf
        return min(1.0, 2.0 / (ratio - 1)) if ratio >= 2 else inf

    def endpoint(self) -> Endpoint:
        """Return this estimate as an endpoint."""
        return Endpoint(self.steps, self.solver, self.work, self.limit.w)

    @property
    def next_estimate_loss(self) -> float:
        """The loss at which the next estimate is worth its price.

        A misfit falls like the length of the linearised limit, about as the root of the loss.
        """
        if self.pairs is not None:
            return 0.2 * self.loss
        misfit = self.limit.misfit
        if not (self.limit.solved and isfinite(misfit)):
            return 0.12 * self.loss
        return self.loss * min(0.2, max(1e-3, (0.4 / misfit) ** 2))

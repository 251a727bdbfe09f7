"""What `gradient_flow_solution` returns, and how a flow can end."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Array, PyTree

from thalweg.basics.named import Named
from thalweg.flow.step_record import StepRecordPair


class Status(Named):
    """How a flow ended. Everything but `CONVERGED` carries advice on what to do."""

    CONVERGED = 0
    INACCURATE = 1
    BUDGET_EXHAUSTED = 2
    NO_MINIMISER_FOUND = 3
    SADDLE = 4
    NON_FINITE = 5
    STOPPED = 6
    SET_VALUED = 7
    LEVEL_NOT_REACHED = 8
    BELOW_LEVEL = 9
    UNBOUNDED = 10
    NON_FINITE_HESSIAN = 11
    TOO_SLOW = 12

    @property
    def advice(self) -> str:
        """One sentence: what happened and what to change."""
        return _ADVICE[self]

    @property
    def is_settled(self) -> bool:
        """Whether the flow reached a minimiser, so that value and error bar are those of `φ`."""
        return self in (Status.CONVERGED, Status.INACCURATE, Status.SET_VALUED)


_ADVICE = {
    Status.CONVERGED: "The flow settled and the sharpness is known to the accuracy asked for.",
    Status.INACCURATE: (
        "The flow settled, but the sharpness is not known to the accuracy asked for: use float64, "
        "or accept the error bar by asking for a larger rtol; of a minimum without curvature (as "
        "that of x^4), whose sharpness is 0, no relative accuracy can be reached."
    ),
    Status.BUDGET_EXHAUSTED: (
        "The flow did not settle within its budget of gradient evaluations or of time: raise "
        "max_gradient_evaluations or that of time, or ask for a larger rtol; a minimum without "
        "curvature (as that of x^6) is approached ever more slowly, and no budget is enough."
    ),
    Status.NO_MINIMISER_FOUND: (
        "No minimiser at finite distance was found (as with cross-entropy on separable data, or "
        "e^-x): the loss keeps falling while the parameters grow, so that there may be no gradient "
        "flow solution; measure thalweg.truncated_sharpness at one loss level fixed for the whole "
        "run instead."
    ),
    Status.SADDLE: (
        "The flow ends in a saddle, not in a minimum: there is no gradient flow solution in the "
        "sense of a minimiser; perturb the parameters."
    ),
    Status.NON_FINITE: (
        "The loss or its gradient became NaN or infinite: check the data, the loss, and the start."
    ),
    Status.STOPPED: "The flow was stopped before it settled: run it again to let it finish.",
    Status.SET_VALUED: (
        "The limit lies on kinks of the loss (as with ReLU), where the sharpness depends on the "
        "side taken: the error bar covers the sides that were tried, and no tolerance narrows it."
    ),
    Status.LEVEL_NOT_REACHED: (
        "The flow settled above the loss level asked for: the loss has a minimum there, and its "
        "gradient flow solution can be measured; or choose a higher level."
    ),
    Status.BELOW_LEVEL: (
        "The loss is at or below the level already, so that the flow never reaches it: choose a "
        "level below the losses of the whole run."
    ),
    Status.UNBOUNDED: (
        "The loss falls without bound along the flow, so that it has no minimum and no gradient "
        "flow solution: add what bounds it from below, as a regulariser does."
    ),
    Status.NON_FINITE_HESSIAN: (
        "The Hessian became NaN or infinite where loss and gradient are finite: the loss has no "
        "second derivative there (as x^1.5 has none at 0); smooth it, or start elsewhere."
    ),
    Status.TOO_SLOW: (
        "The flow was given up early: the way left to go has hardly been getting shorter, and by "
        "forecast its budget is not enough to settle (`detail` of the solution says how far it "
        "came): raise max_gradient_evaluations, ask for a larger rtol, or measure "
        "thalweg.truncated_sharpness at one loss level fixed for the whole run."
    ),
}


@dataclass(frozen=True)
class FlowSolution:
    """The gradient flow solution `S(w)` and its sharpness, with an error bar.

    Attributes
    ----------
    w
        Where the flow ends (the structure of the start).
    sharpness, sharpness_error
        `φ(w) = λ(S(w))`, and an absolute bound meant to hold for `|sharpness - φ(w)|`
        (infinite where nothing can be said).
    loss
        The loss at `w`.
    status
        How the flow ended; `status.advice` is a sentence.
    gradient_evaluations
        All work, in units of one gradient (`thalweg.problems.COST`).
    method
        The method that was used.
    eigenvector
        A top eigenvector at `w`, as a flat vector; `None` where it was not computed.
    step_records
        The steps that were taken, for `gfs_sharpness_fall`; `None` where the flow was not
        integrated to its end.
    detail
        What is to be said of this flow beyond `status.advice`; often nothing.
    too_coarse
        How many of the coarsest tolerances were of no use: a neighbour leaves them out.
    """

    w: PyTree
    sharpness: float
    sharpness_error: float
    loss: float
    status: Status
    gradient_evaluations: float
    method: str
    eigenvector: Array | np.ndarray | None = None
    step_records: StepRecordPair | None = field(default=None, repr=False, compare=False)
    detail: str = ""
    too_coarse: int = 0

    @property
    def converged(self) -> bool:
        """Whether the flow settled and the sharpness is as accurate as asked."""
        return self.status is Status.CONVERGED

"""Where a flow is found to end: by a look ahead to the limit of the linearised flow, or at rest."""

from dataclasses import dataclass
from math import inf, isfinite, nan

from jaxtyping import Array

from thalweg.curvature import Eigenpairs
from thalweg.flow.course import Course, Landing
from thalweg.flow.finish import Finish, LinearLimit
from thalweg.flow.solution import Status


@dataclass(frozen=True)
class Limit:
    """The end of a flow as followed at one tolerance.

    `error` bounds what is missing from stopping early and from the eigensolver, not the error of
    the integration. `status` is `None` where the flow settled; then `course` says how.
    """

    w: Array
    sharpness: float
    error: float
    loss: float
    eigenvector: Array | None
    status: Status | None = None
    course: Course | None = None


@dataclass(frozen=True)
class Look:
    """A look ahead to the limit of the linearised flow, after so many steps of the flow.

    `finish` repeats it from another point, with as many iterations.
    """

    after: int
    finish: Finish
    work: float
    limit: LinearLimit
    loss: float
    pairs: Eigenpairs | None

    @property
    def sharpness(self) -> float:
        """The sharpness at the limit, NaN where it was not computed."""
        return float(self.pairs.values[0]) if self.pairs is not None else nan

    def error_seen_from(self, earlier: "Look") -> float:
        """Return an estimate of the error of this look's sharpness, from an earlier look.

        A change that is small by accident is why all earlier looks are asked. Two looks from
        nearly the same point do not tell that either is right (infinity).
        """
        part = self.part_of_change_since(earlier)
        return part * abs(self.sharpness - earlier.sharpness) if part < inf else inf

    def part_of_change_since(self, earlier: "Look") -> float:
        """Return the error in units of the change since an earlier look.

        The error of a linear limit is about quadratic in its length.
        """
        length = self.limit.length
        ratio = (earlier.limit.length / length) ** 2 if length > 0 else inf
        return min(1.0, 2.0 / (ratio - 1)) if ratio >= 2 else inf

    def landing(self) -> Landing:
        """Return where this look landed."""
        return Landing(self.after, self.finish, self.work, self.limit.w)

    @property
    def next_loss(self) -> float:
        """The loss at which the next look is worth its price.

        A misfit falls like the length of the linear limit, about as the root of the loss.
        """
        if self.pairs is not None:
            return 0.2 * self.loss
        misfit = self.limit.misfit
        if not (self.limit.solved and isfinite(misfit)):
            return 0.12 * self.loss
        return self.loss * min(0.2, max(1e-3, (0.4 / misfit) ** 2))

"""What can be chosen about following a flow at one tolerance."""

from dataclasses import dataclass, field

from thalweg.flow.step_control import StepControl


@dataclass(frozen=True)
class LocalErrors:
    """Which local error a step may make, relative to the size of the parameters.

    It grows with the step (an error per unit step): the short steps of the beginning cost little,
    and errors made there last as long as any. On a network of tanh units this halved the error at
    equal work, against equal errors in all steps.

    Attributes
    ----------
    least
        What a step may err by, however short it is, in units of the tolerance.
    motion
        The part of the way it goes that a step may err by, in units of the tolerance: close to a
        saddle, a small error is large beside what leads away from it.
    most_motion
        That part at most, however coarse the tolerance.
    remaining
        The part of the way to the limit that a step may err by, once that is estimated: errors as
        long as what is left to go would keep the flow from its limit.
    largest_size
        The size that errors are relative to, at most, in units of the way of the flow: an offset,
        or a parameter that the loss hardly knows, does not move.
    """

    least: float = 10.0
    motion: float = 1e6
    most_motion: float = 0.6
    remaining: float = 0.3
    largest_size: float = 20.0

    def allowed(
        self, tolerance: float, size: float, stiffness: float, moved: float, left: float
    ) -> float:
        """Return a bound on the local error of a step of length `h`, in the units of `w`.

        Parameters
        ----------
        size
            That of the parameters, as far as they take part.
        stiffness
            `h λ`.
        moved
            The length of the step at its first velocity.
        left
            The distance to the limit, infinite where that is not known.

        Examples
        --------
        >>> LocalErrors().allowed(1e-4, 1.0, 50.0, 1.0, float("inf"))
        0.005
        """
        way = min(tolerance * self.motion, self.most_motion) * moved
        error = max(tolerance * self.least * size, min(tolerance * stiffness * size, way))
        return min(error, max(self.remaining * left, tolerance * size))


@dataclass(frozen=True)
class SpectralBound:
    """How the bound on the Hessian's eigenvalues is kept that steps of RKC2 rely on.

    Attributes
    ----------
    tolerance
        The relative residual of the eigenvalue behind it.
    margin
        The bound, in units of that eigenvalue and its residual.
    lifetime
        The work of steps after which it is renewed, in units of one gradient.
    """

    tolerance: float = 0.03
    margin: float = 1.06
    lifetime: float = 300.0


@dataclass(frozen=True)
class LimitSearch:
    """When the limit is estimated by that of the linearised flow, and what that may cost.

    Attributes
    ----------
    stopping
        The error that stopping early may leave, in units of `rtol`.
    first_loss, first_work
        The first estimate is made once the loss has fallen to this part, or this work is done.
    slower
        Where the loss settles above zero, the next one is due when the flow is slower than at the
        last one by this factor.
    share
        The part of the work of the steps so far that one estimate may cost.
    least_iterations, most_iterations
        Of its linear solve, whatever that part is.
    endpoint_share
        The part of the work of the steps so far that it may cost to find the stationary point at
        an estimate.
    """

    stopping: float = 0.4
    first_loss: float = 2e-3
    first_work: float = 1800.0
    slower: float = 0.3
    share: float = 0.2
    least_iterations: int = 15
    most_iterations: int = 5000
    endpoint_share: float = 0.5


@dataclass(frozen=True)
class IntegrationOptions:
    """All that an integrator is told of how to go about it."""

    control: StepControl = field(default_factory=StepControl)
    errors: LocalErrors = field(default_factory=LocalErrors)
    bound: SpectralBound = field(default_factory=SpectralBound)
    search: LimitSearch = field(default_factory=LimitSearch)
